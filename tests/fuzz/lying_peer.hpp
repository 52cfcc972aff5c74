// The far end of a socket and a segment, driven by a fuzzer's bytes: what a process that was taken
// over could do to who trusts nobody.
//
// For: link_fuzz and channel_fuzz, which hold the near end. Not for: what the near end makes of it.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/unique_fd.hpp"
#include "shm/handshake.hpp"
#include "shm/message.hpp"
#include "shm/segment.hpp"

namespace sonogate::fuzzing {

inline void demand(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

// The input, taken from its front; zeros where it has ended.
class Script {
  public:
    Script(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

    bool ended() const noexcept { return rest_.empty(); }

    template <typename T>
    T take() noexcept {
        T out{};
        const std::span<const std::uint8_t> part = bytes(sizeof(T));
        std::memcpy(static_cast<void*>(&out), part.data(), part.size());
        return out;
    }

    std::span<const std::uint8_t> bytes(std::size_t count) noexcept {
        const auto out = rest_.first(std::min(count, rest_.size()));
        rest_ = rest_.subspan(out.size());
        return out;
    }

  private:
    std::span<const std::uint8_t> rest_;
};

class LyingPeer {
  public:
    explicit LyingPeer(std::size_t segment_bytes) {
        std::array<int, 2> ends{-1, -1};
        demand(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                            ends.data()) == 0);
        near_ = UniqueFd(ends[0]);
        far_ = UniqueFd(ends[1]);
        auto segment = shm::OwnedSegment::create("fuzz", segment_bytes);
        demand(static_cast<bool>(segment));
        segment_ = std::move(*segment);
        unsealed_ = UniqueFd(::memfd_create("fuzz", MFD_CLOEXEC));
    }

    UniqueFd take_near_end() noexcept { return std::move(near_); }
    shm::OwnedSegment& segment() noexcept { return segment_; }

    // A packet that is not ours to choose: bytes, and up to three descriptors of four kinds.
    void send(Script& script) {
        const auto shape = script.take<std::uint8_t>();
        const auto packet = script.bytes(script.take<std::uint16_t>() % 2048);
        std::array<int, 3> fds{};
        const std::size_t count = shape & 3U;
        for (std::size_t i = 0; i < count; ++i) {
            fds[i] = descriptor(shape >> (2 + 2 * i));
        }
        if (!packet.empty()) {
            (void)shm::send_packet(far_.get(), std::as_bytes(packet), std::span(fds).first(count));
        }
    }

    // A message of the right size and form, with any content but its first words.
    template <typename T>
    void send_message(const T& message) {
        const int fd = segment_.fd();
        (void)shm::send_message(far_.get(), message, std::span(&fd, 1));
    }

    // Up to 64 bytes anywhere in the segment, at any time.
    void write(Script& script) {
        const std::size_t at = script.take<std::uint32_t>() % segment_.size();
        const auto bytes = script.bytes(script.take<std::uint8_t>() % 65);
        std::memcpy(segment_.data() + at, bytes.data(),
                    std::min(bytes.size(), segment_.size() - at));
    }

  private:
    int descriptor(unsigned kind) const noexcept {
        switch (kind & 3U) {
            case 0:
                return segment_.fd();
            case 1:
                return unsealed_.get();
            case 2:
                return STDERR_FILENO;
            default:
                return far_.get();
        }
    }

    UniqueFd near_;
    UniqueFd far_;
    UniqueFd unsealed_;
    shm::OwnedSegment segment_;
};

// Plays the input as steps of a Trial, until it or the trial ends. Trial::step() is false where the
// near end has had enough.
template <typename Trial>
int play(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t most_steps = 64;
    Script script(data, size);
    Trial trial;
    for (std::size_t i = 0; i < most_steps && !script.ended() && trial.step(script); ++i) {
    }
    return 0;
}

}  // namespace sonogate::fuzzing
