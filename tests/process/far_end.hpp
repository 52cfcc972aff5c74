// The broker's side of a link, for tests: what a daemon does, without one, and what only a lying
// one would do.
//
// For: broker_lie_test. Not for: anything that ships. One thread; every call waits with a bound.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "shm/handshake.hpp"
#include "shm/layout.hpp"
#include "shm/message.hpp"
#include "shm/ring.hpp"
#include "shm/segment.hpp"

namespace sonogate::tests {

template <typename T>
Bytes as_bytes(const T& content) {
    if constexpr (std::is_same_v<T, std::string_view>) {
        return std::as_bytes(std::span(content.data(), content.size()));
    } else {
        return std::as_bytes(std::span(&content, 1));
    }
}

class FarEnd {
  public:
    static constexpr int patience_ms = 20'000;

    // Takes the greeting of a link that was accepted. Null where it is none.
    static std::unique_ptr<FarEnd> greeted(UniqueFd socket, std::uint64_t epoch) {
        std::unique_ptr<FarEnd> out(new FarEnd);
        out->socket = std::move(socket);
        out->epoch_ = epoch;
        pollfd ready{out->socket.get(), POLLIN, 0};
        shm::Message message;
        if (::poll(&ready, 1, patience_ms) != 1 ||
            shm::receive_message(out->socket.get(), message, false) != shm::Received::message ||
            !message.as<shm::Hello>(1)) {
            return nullptr;
        }
        auto up = shm::map_peer_headed(message.fds[0].get(), sizeof(shm::LinkUp));
        auto below = shm::OwnedSegment::create("test-link-down", sizeof(shm::LinkDown));
        auto results = shm::OwnedSegment::create("test-results", shm::result_segment_bytes);
        if (!up || !below || !results) {
            return nullptr;
        }
        out->up_ = std::move(*up);
        out->down_ = std::move(*below);
        out->results_ = std::move(*results);
        shm::write_header(out->down().header, sizeof(shm::LinkDown), epoch);
        out->down().heartbeat_ns.store(now_ns());
        out->down().catalog.store(static_cast<std::uint32_t>(shm::PartState::ready));
        out->down().daemon.store(static_cast<std::uint32_t>(shm::PartState::ready));
        const auto& above = *reinterpret_cast<const shm::LinkUp*>(out->up_.data());
        // The peer's part of the segment is only read.
        out->submissions_.emplace(above.submissions, above.submission_tail,
                                  out->down().submission_head);
        out->completions_.emplace(out->down().completions, out->down().completion_tail,
                                  above.completion_head);
        return out;
    }

    shm::LinkDown& down() { return *down_.as<shm::LinkDown>(); }

    shm::Welcome honest_welcome() const {
        shm::Welcome out;
        out.epoch = epoch_;
        return out;
    }
    std::vector<int> descriptors() const { return {down_.fd(), results_.fd()}; }
    bool welcome() { return send(as_bytes(honest_welcome()), descriptors()); }

    // The next job, whatever else comes before it.
    std::optional<shm::Submission> take() {
        const std::uint64_t until = now_ms() + patience_ms;
        for (shm::Submission out; now_ms() < until;) {
            down().heartbeat_ns.store(now_ns());
            const shm::RingResult result = submissions_->pop(out);
            if (result == shm::RingResult::ok && out.op == shm::Op::submit) {
                return out;
            }
            if (result != shm::RingResult::ok) {
                ::usleep(500);
            }
        }
        return std::nullopt;
    }

    // A list of no tracks, in a slot.
    shm::Completion honest(const shm::Submission& job) {
        constexpr std::string_view result = "{\"tracks\":[]}";
        std::memcpy(results_.data(), result.data(), result.size());
        shm::Completion out;
        out.kind = shm::CompletionKind::done;
        out.status = 200;
        out.place = shm::ResultPlace::slot;
        out.job = job.job;
        out.result_bytes = result.size();
        return out;
    }
    void answer(const shm::Completion& completion) {
        (void)completions_->push(completion);
        ring();
    }

    void ring() {
        const char bell = 0;
        (void)::send(socket.get(), &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    // One packet, whatever it is.
    bool send(Bytes packet, const std::vector<int>& fds) {
        alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {};
        iovec part{const_cast<std::byte*>(packet.data()), packet.size()};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (!fds.empty()) {
            message.msg_control = control;
            message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
            std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
        }
        return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL) >= 0;
    }

    void hang_up() { socket.reset(); }

    // True where nginx has ended this link, within that time, or we have.
    bool is_closed() const {
        const std::uint64_t until = now_ms() + patience_ms;
        char rest[64];
        while (socket && now_ms() < until) {
            pollfd ready{socket.get(), POLLIN, 0};
            ::poll(&ready, 1, 100);
            const ssize_t n = ::recv(socket.get(), rest, sizeof(rest), MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                return true;
            }
        }
        return !socket;
    }

    UniqueFd socket;

  private:
    FarEnd() = default;

    std::uint64_t epoch_ = 0;
    shm::Mapping up_;
    shm::OwnedSegment down_;
    shm::OwnedSegment results_;
    std::optional<shm::Consumer<shm::Submission, shm::link_ring_entries>> submissions_;
    std::optional<shm::Producer<shm::Completion, shm::link_ring_entries>> completions_;
};

class FakeBroker {
  public:
    explicit FakeBroker(const std::string& path)
        : listening_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        ::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
        ::listen(listening_.get(), 8);
    }

    // The next link, greeted; null where none came.
    std::unique_ptr<FarEnd> accept() {
        pollfd ready{listening_.get(), POLLIN, 0};
        if (::poll(&ready, 1, FarEnd::patience_ms) != 1) {
            return nullptr;
        }
        return FarEnd::greeted(
            UniqueFd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC)), ++epoch_);
    }

  private:
    UniqueFd listening_;
    std::uint64_t epoch_ = 0;
};

}  // namespace sonogate::tests
