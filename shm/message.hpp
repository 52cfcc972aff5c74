// Messages on a link's socket: one packet each, with up to three descriptors.
//
// For: handshake, descriptors, doorbells, on SOCK_SEQPACKET unix sockets. Not for: jobs (they go
// through the rings).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "shm/layout.hpp"

namespace sonogate::shm {

inline constexpr std::size_t max_message_fds = 3;

// A received packet. Descriptors are close-on-exec and owned here.
struct Message {
    std::array<std::byte, max_message_bytes> data{};
    std::size_t size = 0;
    std::array<UniqueFd, max_message_fds> fds;
    std::size_t fd_count = 0;

    bool is_bell() const noexcept { return size == 1; }

    // What the packet says it is; `count_` for anything that is none.
    MessageKind kind() const noexcept {
        std::uint32_t kind = 0;
        if (size < sizeof(kind)) {
            return is_bell() ? MessageKind::bell : MessageKind::count_;
        }
        std::memcpy(&kind, data.data(), sizeof(kind));
        return kind < static_cast<std::uint32_t>(MessageKind::count_)
                   ? static_cast<MessageKind>(kind)
                   : MessageKind::count_;
    }

    // The packet as T where it has just that size and that many descriptors. Errors:
    // malformed_request.
    template <typename T>
    requires std::is_trivially_copyable_v<T> Result<T> as(std::size_t fds_wanted)
    const noexcept {
        if (size != sizeof(T) || fd_count != fds_wanted) {
            return Errc::malformed_request;
        }
        T out;
        std::memcpy(&out, data.data(), sizeof(T));
        return out;
    }
};

enum class Received : std::uint8_t { message, nothing, closed, lie };

// Takes one packet. `wait` blocks (a worker's only sleep); otherwise `nothing` where none is there.
// `closed`: EOF or a broken socket. `lie`: a packet larger than any of ours, truncated or too many
// descriptors (all are closed).
Received receive_message(int socket, Message& out, bool wait) noexcept;

// Sends one packet with descriptors, without blocking. Errors: overloaded where the socket is full,
// internal with errno where it is broken.
Result<void> send_packet(int socket, Bytes packet, std::span<const int> fds) noexcept;

template <typename T>
requires std::is_trivially_copyable_v<T> Result<void> send_message(int socket, const T& message,
                                                                   std::span<const int> fds = {})
noexcept {
    static_assert(sizeof(T) > 1 && sizeof(T) <= max_message_bytes);
    return send_packet(socket, std::as_bytes(std::span(&message, 1)), fds);
}

// True where a non-blocking recv would find EOF or a broken socket: the peer is gone.
bool peer_closed(int socket) noexcept;

}  // namespace sonogate::shm
