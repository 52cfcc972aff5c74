// Upload slabs of one link, as nginx announced them.
//
// For: finding a job's input. Not for: the free list of slabs (nginx owns that).
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/bytes.hpp"
#include "base/unique_fd.hpp"
#include "shm/layout.hpp"
#include "shm/segment.hpp"

namespace sonogate::broker {

// A warm slab is mapped, and copied from; of a fresh one the descriptor is kept for the worker and
// the one that tries again.
struct Slab {
    bool warm = false;
    bool in_use = false;  // by a job that is not answered
    bool used = false;    // ever
    std::uint32_t generation = 0;
    std::uint64_t bytes = 0;
    shm::Mapping mapping;
    UniqueFd fd;
};

class SlabTable {
  public:
    static constexpr std::size_t max_slabs = 8192;

    // False where the message or the descriptor is a lie: number 0 or in use, size out of bounds,
    // seals missing.
    bool add(const shm::SlabAdd& message, UniqueFd fd) {
        const std::uint64_t most =
            shm::slab_audio_offset +
            (message.warm != 0 ? shm::warm_slab_audio_bytes : shm::max_upload_bytes);
        if (message.slab == 0 || message.warm > 1 ||
            message.segment_bytes < shm::slab_audio_offset || message.segment_bytes > most ||
            slabs_.size() >= max_slabs || slabs_.contains(message.slab)) {
            return false;
        }
        auto slab = std::make_shared<Slab>();
        slab->warm = message.warm != 0;
        slab->bytes = message.segment_bytes;
        if (slab->warm) {
            auto mapping = shm::map_peer_segment(fd.get(), message.segment_bytes);
            if (!mapping) {
                return false;
            }
            slab->mapping = std::move(*mapping);
        } else {
            if (!shm::verify_segment(fd.get(), message.segment_bytes, shm::live_seals)) {
                return false;
            }
            slab->fd = std::move(fd);
        }
        slabs_.emplace(message.slab, std::move(slab));
        return true;
    }

    // False for a number that is none. A job that still runs keeps its slab until its answer.
    bool drop(std::uint32_t number) { return slabs_.erase(number) != 0; }

    std::shared_ptr<Slab> find(std::uint32_t number) const {
        const auto found = slabs_.find(number);
        return found == slabs_.end() ? nullptr : found->second;
    }

    std::size_t size() const noexcept { return slabs_.size(); }

  private:
    std::unordered_map<std::uint32_t, std::shared_ptr<Slab>> slabs_;
};

}  // namespace sonogate::broker
