// The nginx side of a link, for tests: what an nginx worker does, without nginx, and what only a
// lying one would do.
//
// For: tests/process. Not for: anything that ships. One thread; every call waits with a bound.
#pragma once

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "shm/cache.hpp"
#include "shm/doorbell.hpp"
#include "shm/handshake.hpp"
#include "shm/layout.hpp"
#include "shm/message.hpp"
#include "shm/ring.hpp"
#include "shm/segment.hpp"

namespace sonogate::tests {

inline shm::PoolSettings settings_with(std::string_view catalog, std::uint32_t workers = 2) {
    shm::PoolSettings out;
    out.stamp = now_ms();
    out.workers = workers;
    out.catalog_bytes =
        static_cast<std::uint16_t>(catalog.copy(out.catalog.data(), catalog.size()));
    return out;
}

inline UniqueFd connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
        0) {
        socket.reset();
    }
    return socket;
}

class LinkClient {
  public:
    // Connects and shakes hands. Null where the daemon is not there or refuses; `refusal` says why.
    static std::unique_ptr<LinkClient> open(const std::string& path,
                                            const shm::PoolSettings& settings,
                                            Errc* refusal = nullptr) {
        std::unique_ptr<LinkClient> out(new LinkClient);
        out->socket = connect_to(path);
        if (!out->socket) {
            return nullptr;
        }
        auto up = shm::OwnedSegment::create("test-link-up", sizeof(shm::LinkUp));
        if (!up) {
            return nullptr;
        }
        out->up_segment = std::move(*up);
        shm::write_header(out->up().header, sizeof(shm::LinkUp), 0);
        shm::Hello hello;
        hello.settings = settings;
        const int fd = out->up_segment.fd();
        if (!shm::send_message(out->socket.get(), hello, {&fd, 1}) || !out->shake(refusal)) {
            return nullptr;
        }
        return out;
    }

    shm::LinkUp& up() { return *up_segment.as<shm::LinkUp>(); }
    const shm::LinkDown& down() const {
        return *reinterpret_cast<const shm::LinkDown*>(down_mapping.data());
    }

    // True once every worker and the catalog are there.
    bool all_ready() const {
        const auto ready = static_cast<std::uint32_t>(shm::PartState::ready);
        for (int i = 0; i < 1000; ++i) {
            if (down().workers_wanted.load() != 0 &&
                down().workers_ready.load() == down().workers_wanted.load() &&
                down().catalog.load() == ready) {
                return true;
            }
            ::usleep(10'000);
        }
        return false;
    }

    // A new slab; the broker is told.
    std::uint32_t add_slab(std::uint64_t audio_bytes, bool warm) {
        auto segment = shm::OwnedSegment::create("test-slab", shm::slab_audio_offset + audio_bytes);
        const std::uint32_t number = next_slab++;
        if (!segment) {
            return 0;
        }
        const shm::SlabAdd add{
            .slab = number, .segment_bytes = segment->size(), .warm = warm ? 1U : 0U};
        const int fd = segment->fd();
        send(add, &fd);
        slabs.emplace(number, std::move(*segment));
        return number;
    }
    void drop_slab(std::uint32_t number) {
        send(shm::SlabDrop{.slab = number}, nullptr);
        slabs.erase(number);
    }

    void fill(std::uint32_t slab, std::string_view params, std::string_view body) {
        std::byte* const data = slabs.at(slab).data();
        std::memcpy(data, params.data(), params.size());
        std::memcpy(data + shm::slab_audio_offset, body.data(), body.size());
    }

    // An honest submission of what lies in a slab (0 = none).
    shm::Submission job(shm::Endpoint endpoint, std::uint32_t slot, std::uint32_t slab,
                        std::uint64_t params_bytes, std::uint64_t body_bytes) {
        shm::Submission out;
        out.op = shm::Op::submit;
        out.endpoint = endpoint;
        out.body = body_bytes != 0 ? shm::BodyKind::raw : shm::BodyKind::none;
        out.flags = shm::submission_catalog_write;
        out.slab = slab;
        out.slab_generation = next_generation++;
        out.job = {epoch, slot, next_generation};
        out.params_bytes = static_cast<std::uint32_t>(params_bytes);
        out.audio_bytes = body_bytes;
        set(out.request_id, "test-" + std::to_string(next_generation));
        return out;
    }

    static void set(shm::Text& text, std::string_view value) {
        text.size = static_cast<std::uint16_t>(value.copy(text.data.data(), value.size()));
    }

    bool push(const shm::Submission& submission) {
        const bool pushed = submissions->push(submission) == shm::RingResult::ok;
        bell->ring_if_due();
        return pushed;
    }

    // The next completion; nothing after that long, or where the link is dead (see closed()).
    std::optional<shm::Completion> wait(int timeout_ms = 10'000) {
        const std::uint64_t until = now_ms() + static_cast<std::uint64_t>(timeout_ms);
        for (;;) {
            shm::Completion out;
            const shm::RingResult result = completions->pop(out);
            if (result == shm::RingResult::ok) {
                return out;
            }
            if (result == shm::RingResult::lie || dead || now_ms() >= until) {
                return std::nullopt;
            }
            sleeper->arm();
            if (completions->empty()) {
                pollfd ready{socket.get(), POLLIN, 0};
                ::poll(&ready, 1, static_cast<int>(until - now_ms()) + 1);
                receive_all();
            }
            sleeper->disarm();
        }
    }

    // The result's bytes; slots are given back.
    std::string take_result(const shm::Completion& completion) {
        std::string out;
        if (completion.place == shm::ResultPlace::slot) {
            const auto* const at = reinterpret_cast<const char*>(
                results_mapping.data() + shm::result_slot_offset(completion.result_slot));
            out.assign(at, completion.result_bytes);
            shm::Submission release;
            release.op = shm::Op::release_result;
            release.result_slot = completion.result_slot;
            release.result_generation = completion.result_generation;
            push(release);
        } else if (completion.place == shm::ResultPlace::file) {
            receive_all();
            const auto found = files.find(completion.result_slot);
            if (found == files.end()) {
                return "the result file never came";
            }
            out.resize(completion.result_bytes);
            if (::pread(found->second.get(), out.data(), out.size(), 0) !=
                static_cast<ssize_t>(out.size())) {
                out = "the result file is short";
            }
            files.erase(found);
        }
        return out;
    }

    // True where the broker ended this link, within that time.
    bool closed(int timeout_ms = 5'000) {
        const std::uint64_t until = now_ms() + static_cast<std::uint64_t>(timeout_ms);
        while (!dead && now_ms() < until) {
            pollfd ready{socket.get(), POLLIN, 0};
            ::poll(&ready, 1, 50);
            receive_all();
        }
        return dead;
    }

    template <typename T>
    bool send(const T& message, const int* fd) {
        for (int tries = 0; tries < 1000; ++tries) {
            const auto sent = shm::send_message(
                socket.get(), message,
                fd != nullptr ? std::span<const int>(fd, 1) : std::span<const int>());
            if (sent || sent.failure().code != Errc::overloaded) {
                return static_cast<bool>(sent);
            }
            pollfd ready{socket.get(), POLLOUT, 0};
            ::poll(&ready, 1, 10);
        }
        return false;
    }

    UniqueFd socket;
    std::uint64_t epoch = 0;
    bool dead = false;
    shm::OwnedSegment up_segment;
    shm::Mapping down_mapping;
    shm::Mapping results_mapping;
    shm::Mapping cache_mapping;  // of no size where the broker has no cache
    shm::CacheReader cache;
    std::map<std::uint32_t, shm::OwnedSegment> slabs;
    std::map<std::uint32_t, UniqueFd> files;
    std::uint32_t next_slab = 1;
    std::uint32_t next_generation = 1;

  private:
    bool shake(Errc* refusal) {
        pollfd ready{socket.get(), POLLIN, 0};
        ::poll(&ready, 1, 10'000);
        shm::Message message;
        if (shm::receive_message(socket.get(), message, false) != shm::Received::message) {
            return false;
        }
        const auto welcome = message.as<shm::Welcome>(message.fd_count);
        if (!welcome) {
            return false;
        }
        if (const auto checked = shm::check_welcome(*welcome); !checked) {
            if (refusal != nullptr) {
                *refusal = checked.failure().code;
            }
            return false;
        }
        auto below = shm::map_peer_headed(message.fds[0].get(), sizeof(shm::LinkDown));
        auto results = shm::map_peer_segment(message.fds[1].get(), shm::result_segment_bytes);
        if (!below || !results) {
            return false;
        }
        if (welcome->cache_bytes != 0) {
            auto kept = shm::map_peer_segment(message.fds[2].get(), welcome->cache_bytes);
            if (!kept) {
                return false;
            }
            cache_mapping = std::move(*kept);
            cache = {cache_mapping.data(), shm::CacheShape::of(welcome->cache_bytes)};
        }
        epoch = welcome->epoch;
        down_mapping = std::move(*below);
        results_mapping = std::move(*results);
        submissions.emplace(up().submissions, up().submission_tail, down().submission_head);
        completions.emplace(down().completions, down().completion_tail, up().completion_head);
        sleeper.emplace(up().armed);
        bell.emplace(down().armed, socket.get());
        return true;
    }

    void receive_all() {
        for (;;) {
            shm::Message message;
            const shm::Received received = shm::receive_message(socket.get(), message, false);
            if (received != shm::Received::message) {
                dead = dead || received != shm::Received::nothing;
                return;
            }
            if (message.kind() == shm::MessageKind::result_file) {
                const auto file = message.as<shm::ResultFile>(1);
                if (file && shm::verify_segment(message.fds[0].get(), file->result_bytes,
                                                shm::finished_seals)) {
                    files[file->token] = std::move(message.fds[0]);
                }
            }
        }
    }

    std::optional<shm::Producer<shm::Submission, shm::link_ring_entries>> submissions;
    std::optional<shm::Consumer<shm::Completion, shm::link_ring_entries>> completions;
    std::optional<shm::Sleeper> sleeper;
    std::optional<shm::Bell> bell;
};

}  // namespace sonogate::tests
