// Segments: sealed memfds with one writer.
//
// For: making one (the writer), and accepting one from a peer (everybody else). Not for: what lies
// inside.
//
// The seals F_SEAL_SHRINK|GROW|FUTURE_WRITE|SEAL are set after the owner mapped it: from then on
// nobody, the owner included, gets another writable mapping, and the size is fixed, so that a
// reader cannot be hit by SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sonogate::shm {

// A mapping of a whole descriptor (Boost.Interprocess mapped_region behind it); unmapped when
// destroyed.
class Mapping {
  public:
    enum class Access : std::uint8_t { read, write };

    Mapping() noexcept;
    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&& other) noexcept;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    // Errors: internal with errno (no memory, no address space).
    static Result<Mapping> map(int fd, std::size_t bytes, Access wanted) noexcept;

    std::byte* data() const noexcept;
    std::size_t size() const noexcept;
    explicit operator bool() const noexcept { return data() != nullptr; }

  private:
    struct Region;
    std::unique_ptr<Region> region_;
};

// A segment this process writes. The mapping is not inherited by a forked child (MADV_DONTFORK).
class OwnedSegment {
  public:
    // `name` shows in /proc/PID/maps. Errors: internal with errno.
    static Result<OwnedSegment> create(const char* name, std::size_t bytes) noexcept;

    std::byte* data() const noexcept { return mapping_.data(); }
    std::size_t size() const noexcept { return mapping_.size(); }
    std::span<std::byte> bytes() const noexcept { return {data(), size()}; }
    int fd() const noexcept { return fd_.get(); }
    void close_fd() noexcept { fd_.reset(); }  // once the peer has it and nobody else will

    template <typename T>
    T* as() const noexcept {
        return reinterpret_cast<T*>(data());
    }

  private:
    UniqueFd fd_;
    Mapping mapping_;
};

// What a received descriptor must be before it is mapped or handed on: a memfd (tmpfs, not hugetlb)
// of just that size with all seals of `seals`. Errors: malformed_request.
Result<void> verify_segment(int fd, std::uint64_t bytes, int seals) noexcept;

// The seals of a segment with a living writer, and of a finished result.
extern const int live_seals;
extern const int finished_seals;

// A segment that a peer writes, verified and mapped read-only.
// Errors: malformed_request where verify_segment says so, internal with errno.
Result<Mapping> map_peer_segment(int fd, std::uint64_t bytes) noexcept;

// A finished memfd holding `content`, filled with write() and sealed against everything: a large
// result. Errors: internal with errno.
Result<UniqueFd> make_result_file(Bytes content) noexcept;

}  // namespace sonogate::shm
