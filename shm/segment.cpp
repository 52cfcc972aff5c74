#include "shm/segment.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sonogate::shm {

const int live_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
const int finished_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

Result<OwnedSegment> OwnedSegment::create(const char* name, std::size_t bytes) noexcept {
    OwnedSegment out;
    out.fd_.reset(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!out.fd_ || ::ftruncate(out.fd_.get(), static_cast<off_t>(bytes)) != 0) {
        return system_failure(errno);
    }
    auto mapping = Mapping::map(out.fd_.get(), bytes, Mapping::Access::write);
    if (!mapping) {
        return mapping.failure();
    }
    out.mapping_ = std::move(*mapping);
    // A forked child would keep a writable mapping in spite of the seal.
    if (::madvise(out.data(), bytes, MADV_DONTFORK) != 0 ||
        ::fcntl(out.fd_.get(), F_ADD_SEALS, live_seals) != 0) {
        return system_failure(errno);
    }
    return out;
}

Result<void> verify_segment(int fd, std::uint64_t bytes, int seals) noexcept {
    struct stat status {};
    struct statfs filesystem {};
    // The library's fstat asks by newfstatat, which a worker is refused: that one takes paths too.
    if (::syscall(SYS_fstat, fd, &status) != 0 || ::fstatfs(fd, &filesystem) != 0) {
        return Errc::malformed_request;
    }
    const int present = ::fcntl(fd, F_GET_SEALS);
    // hugetlbfs has a magic of its own; on ordinary files F_GET_SEALS fails.
    if (!S_ISREG(status.st_mode) || filesystem.f_type != TMPFS_MAGIC || present < 0 ||
        (present & seals) != seals || bytes == 0 ||
        static_cast<std::uint64_t>(status.st_size) != bytes) {
        return Errc::malformed_request;
    }
    return {};
}

Result<Mapping> map_peer_segment(int fd, std::uint64_t bytes) noexcept {
    if (const auto verified = verify_segment(fd, bytes, live_seals); !verified) {
        return verified.failure();
    }
    return Mapping::map(fd, bytes, Mapping::Access::read);
}

Result<UniqueFd> make_result_file(Bytes content) noexcept {
    UniqueFd fd(::memfd_create("sonogate-result", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) {
        return system_failure(errno);
    }
    std::size_t written = 0;
    while (written < content.size()) {
        const ssize_t n = ::write(fd.get(), content.data() + written, content.size() - written);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return system_failure(n < 0 ? errno : EIO);
        }
        written += static_cast<std::size_t>(n);
    }
    if (::fcntl(fd.get(), F_ADD_SEALS, finished_seals) != 0) {
        return system_failure(errno);
    }
    return fd;
}

}  // namespace sonogate::shm
