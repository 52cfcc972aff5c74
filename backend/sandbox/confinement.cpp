#include "sandbox/confinement.hpp"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
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

// The channel and its segment, a result on its way, and uploads that wait for their job:
// shm/channel.hpp holds 16 of them at the most.
constexpr rlim_t most_descriptors = 20;
// Mapped beside data and an upload: the channel's two segments, and what rounding takes.
constexpr rlim_t more_address_space_bytes = 128U << 20U;
constexpr rlim_t stack_bytes = 8U << 20U;

// /proc shows what the strings held, so they are overwritten.
void empty_environment() noexcept {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        std::memset(*entry, 0, std::strlen(*entry));
    }
    ::clearenv();
    // libavformat prints dates, and the C library opens /etc/localtime for them where this is
    // unset.
    ::setenv("TZ", "UTC0", 1);
    ::tzset();
}

void close_all_but(std::array<int, 2> keep) noexcept {
    // Nothing that a library prints may reach the daemon's log, and what a damaged file makes it
    // say is no news. A sanitizer has something to say.
    unsigned first = has_filters ? 0 : STDERR_FILENO + 1;
    std::sort(keep.begin(), keep.end());
    for (const int fd : keep) {
        const auto kept = static_cast<unsigned>(fd);
        if (kept > first) {
            ::close_range(first, kept - 1, 0);
        }
        first = kept + 1;
    }
    ::close_range(first, ~0U, 0);
}

bool limit(__rlimit_resource what, rlim_t value) noexcept {
    rlimit now{};
    if (::getrlimit(what, &now) == 0 && now.rlim_max < value) {
        value = now.rlim_max;
    }
    const rlimit wanted{.rlim_cur = value, .rlim_max = value};
    return ::setrlimit(what, &wanted) == 0;
}

// Hard limits: nothing in the process can raise them. RLIMIT_DATA counts private memory alone; the
// address space bounds what is mapped beside, uploads above all. A sanitizer maps terabytes.
bool limit_worker(const Size& start, const WorkerBounds& bounds) noexcept {
    const bool bounded = start.data_bytes != 0 && bounds.job_memory_bytes != 0;
    const rlim_t address_bytes = start.address_bytes + bounds.job_memory_bytes +
                                 bounds.upload_bytes + more_address_space_bytes;
    const bool memory =
        !bounded || (limit(RLIMIT_DATA, start.data_bytes + bounds.job_memory_bytes) &&
                     limit(RLIMIT_AS, has_filters ? address_bytes : RLIM_INFINITY));
    const bool files = bounds.result_bytes == 0 || limit(RLIMIT_FSIZE, bounds.result_bytes);
    return memory && files && limit(RLIMIT_STACK, stack_bytes) &&
           limit(RLIMIT_NOFILE, most_descriptors) &&
           limit(RLIMIT_NPROC, has_filters ? 0 : RLIM_INFINITY) && limit(RLIMIT_CORE, 0) &&
           limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_MSGQUEUE, 0);
}

std::optional<Filter> kept(Result<Filter> (*compile)()) {
    auto filter = has_filters ? compile() : Result<Filter>(system_failure(ENOSYS));
    return filter ? std::optional(std::move(*filter)) : std::nullopt;
}

}  // namespace

Size Size::of_this_process() {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                               &std::fclose);
    unsigned long pages = 0;
    unsigned long data_pages = 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel's numbers
    if (!file || std::fscanf(file.get(), "%lu %*u %*u %*u %*u %lu", &pages, &data_pages) != 2) {
        return {};
    }
    const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return {.address_bytes = pages * page_bytes, .data_bytes = data_pages * page_bytes};
}

Confinement::Confinement(const std::string& state_folder)
    : worker_(kept(Filter::worker)),
      librarian_(kept(Filter::librarian)),
      start_(Size::of_this_process()),
      nameless_folder_(has_filters && enter_nameless_folder(state_folder)) {
    empty_environment();
    // Whoever is of the same user may else open our memory in /proc; a child is born like it.
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (const auto own = kept(Filter::zygote); own) {
        (void)own->load();  // the children's own say more, and tell whether there are any
    }
}

std::uint32_t Confinement::enter_as_worker(std::uint32_t layers, std::array<int, 2> channel,
                                           const WorkerBounds& bounds) const noexcept {
    layers = move_apart(layers, nameless_folder_);
    close_all_but(channel);
    layers |= limit_worker(start_, bounds) ? sandbox::limits : 0U;
    // After the change of user, which undoes both. Nobody of the same user may look inside, and
    // nothing of it outlives the zygote.
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    layers |= ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? no_new_privileges : 0U;
    handle_refused_calls();
    return layers | (worker_ && worker_->load() ? filter : 0U);
}

std::uint32_t Confinement::enter_as_librarian() const noexcept {
    // A catalog in a folder of somebody else is opened all the same, and stays his.
    (void)keep_capabilities({CAP_DAC_OVERRIDE, CAP_CHOWN});
    return librarian_ && librarian_->load() ? filter_layers : 0U;
}

std::uint32_t enter_as_broker() noexcept {
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    // Workers of root's daemon are another user, and its state folder may be.
    (void)keep_capabilities({CAP_KILL, CAP_DAC_READ_SEARCH});
    const auto own = kept(Filter::broker);
    return own && own->load() ? filter_layers : 0U;
}

}  // namespace sonogate::sandbox
