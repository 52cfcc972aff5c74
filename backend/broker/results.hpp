// Result slots of one link: who reads which slot, in which use of it.
//
// For: the broker, which writes the result segment; nginx sends from a slot and gives it back. Not
// for: results larger than a slot, or where none is free (they travel as sealed memfds).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "shm/layout.hpp"

namespace sonogate::broker {

class ResultSlots {
  public:
    struct Lease {
        std::uint32_t slot = 0;
        std::uint32_t generation = 0;
    };

    ResultSlots() {
        for (std::uint32_t slot = 0; slot < shm::result_slots; ++slot) {
            free_of(slot).push_back(slot);
        }
    }

    // A slot of at least that many bytes: a small one where it fits, the one used last first (its
    // pages are warm). Nothing where none is free.
    std::optional<Lease> lease(std::uint64_t bytes) {
        auto& free = bytes <= shm::small_result_bytes && !small_.empty() ? small_ : large_;
        if (bytes > shm::large_result_bytes || free.empty()) {
            return std::nullopt;
        }
        const std::uint32_t slot = free.back();
        free.pop_back();
        in_use_[slot] = true;
        return Lease{slot, ++generations_[slot]};
    }

    // False for a slot that is not leased in that use: the peer lies.
    bool release(std::uint32_t slot, std::uint32_t generation) {
        if (slot >= shm::result_slots || !in_use_[slot] || generations_[slot] != generation) {
            return false;
        }
        in_use_[slot] = false;
        free_of(slot).push_back(slot);
        return true;
    }

    std::size_t leased() const noexcept {
        return shm::result_slots - small_.size() - large_.size();
    }

  private:
    std::vector<std::uint32_t>& free_of(std::uint32_t slot) noexcept {
        return slot < shm::small_result_slots ? small_ : large_;
    }

    std::vector<std::uint32_t> small_;
    std::vector<std::uint32_t> large_;
    std::array<std::uint32_t, shm::result_slots> generations_{};
    std::array<bool, shm::result_slots> in_use_{};
};

}  // namespace sonogate::broker
