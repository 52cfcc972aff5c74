#include "sandbox/confinement.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "sandbox/layers.hpp"
#include "sandbox/namespaces.hpp"

namespace sonogate::sandbox {

namespace {

// The channel, results on their way, uploads that wait for their job: shm/channel.hpp holds 16 of
// each at the most.
constexpr rlim_t most_descriptors = 64;
// A result file is written from memory, so it is no larger than that; and its own segment.
constexpr rlim_t file_bytes_beside_memory = 32U << 20U;

// Private memory that this process has mapped writable, as RLIMIT_DATA counts it; 0 = unknown.
std::uint64_t private_bytes() {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                               &std::fclose);
    unsigned long data_pages = 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel's numbers
    if (!file || std::fscanf(file.get(), "%*u %*u %*u %*u %*u %lu", &data_pages) != 1) {
        return 0;
    }
    return data_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// /proc shows what the strings held, so they are overwritten.
void empty_environment() noexcept {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        std::memset(*entry, 0, std::strlen(*entry));
    }
    ::clearenv();
}

void close_all_but(int keep) noexcept {
    // Nothing that a library prints may reach the daemon's log, and what a damaged file makes it
    // say is no news. A sanitizer has something to say.
    const unsigned first = has_filters ? 0 : STDERR_FILENO + 1;
    const auto kept = static_cast<unsigned>(keep);
    if (kept > first) {
        ::close_range(first, kept - 1, 0);
    }
    ::close_range(kept + 1, ~0U, 0);
}

bool limit(__rlimit_resource what, rlim_t value) noexcept {
    rlimit now{};
    if (::getrlimit(what, &now) == 0 && now.rlim_max < value) {
        value = now.rlim_max;
    }
    const rlimit wanted{.rlim_cur = value, .rlim_max = value};
    return ::setrlimit(what, &wanted) == 0;
}

// Hard limits: nothing in the process can raise them. An address-space limit would forbid mapping a
// large upload; RLIMIT_DATA counts private memory only.
bool limit_worker(std::uint64_t start_bytes, std::uint64_t job_memory_bytes) noexcept {
    const bool bounded = start_bytes != 0 && job_memory_bytes != 0;
    const bool data = !bounded || limit(RLIMIT_DATA, start_bytes + job_memory_bytes);
    const bool files = !bounded || limit(RLIMIT_FSIZE, job_memory_bytes + file_bytes_beside_memory);
    return data && files && limit(RLIMIT_NOFILE, most_descriptors) &&
           limit(RLIMIT_NPROC, has_filters ? 0 : RLIM_INFINITY) && limit(RLIMIT_CORE, 0) &&
           limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_MSGQUEUE, 0);
}

std::optional<Filter> kept(Result<Filter> (*compile)()) {
    auto filter = has_filters ? compile() : Result<Filter>(system_failure(ENOSYS));
    return filter ? std::optional(std::move(*filter)) : std::nullopt;
}

}  // namespace

Confinement::Confinement(const std::string& state_folder)
    : worker_(kept(Filter::worker)),
      librarian_(kept(Filter::librarian)),
      data_bytes_(private_bytes()),
      nameless_folder_(has_filters && enter_nameless_folder(state_folder)) {
    empty_environment();
    if (const auto own = kept(Filter::zygote); own) {
        (void)own->load();  // the children's own say more, and tell whether there are any
    }
}

std::uint32_t Confinement::enter_as_worker(std::uint32_t layers, int channel,
                                           std::uint64_t job_memory_bytes) const noexcept {
    layers = move_apart(layers, nameless_folder_);
    close_all_but(channel);
    layers |= limit_worker(data_bytes_, job_memory_bytes) ? sandbox::limits : 0U;
    // After the change of user, which undoes both. Nobody of the same user may look inside, and
    // nothing of it outlives the zygote.
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    layers |= ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? no_new_privileges : 0U;
    handle_refused_calls();
    return layers | (worker_ && worker_->load() ? filter : 0U);
}

std::uint32_t Confinement::enter_as_librarian() const noexcept {
    return librarian_ && librarian_->load() ? filter_layers : 0U;
}

std::uint32_t enter_as_broker() noexcept {
    const auto own = kept(Filter::broker);
    return own && own->load() ? filter_layers : 0U;
}

}  // namespace sonogate::sandbox
