// Upload slabs: the memory that bodies are received into.
//
// For: one nginx worker's own segments, one memfd a slab: warm ones of three sizes, used again and
// again, and fresh ones of any size, used once (no descriptor that a worker process has held may
// ever carry another client's bytes). Not for: telling the broker of them (link.hpp). One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "shm/layout.hpp"
#include "shm/segment.hpp"

namespace sonogate::ngx_module {

class Slab {
  public:
    std::uint32_t id() const noexcept { return id_; }
    std::uint32_t generation() const noexcept { return generation_; }
    bool warm() const noexcept { return warm_; }
    int fd() const noexcept { return segment_.fd(); }
    std::uint64_t segment_bytes() const noexcept { return segment_.size(); }

    std::span<std::byte> params() const noexcept {
        return segment_.bytes().first(shm::slab_params_bytes);
    }
    std::span<std::byte> audio() const noexcept {
        return segment_.bytes().subspan(shm::slab_audio_offset);
    }

    // The most audio bytes that were ever in it: what it costs.
    void touched(std::uint64_t audio_bytes) noexcept {
        touched_ = audio_bytes > touched_ ? audio_bytes : touched_;
    }

    std::uint64_t announced_epoch = 0;  // of the link that knows it

  private:
    friend class Slabs;
    shm::OwnedSegment segment_;
    std::uint32_t id_ = 0;
    std::uint32_t generation_ = 0;
    bool warm_ = false;
    std::uint64_t touched_ = 0;
    std::uint64_t counted_ = 0;
};

class Slabs {
  public:
    // Audio bytes of the warm classes.
    static constexpr std::array<std::uint64_t, 3> classes = {64U << 10U, 1U << 20U,
                                                             shm::warm_slab_audio_bytes};

    // What lies in free slabs stays below this; past it they are closed.
    explicit Slabs(std::uint64_t warm_bytes_max) noexcept : warm_bytes_max_(warm_bytes_max) {}

    // A slab for at most `audio_bytes`, owned by the caller until give_back(). Errors: internal.
    Result<Slab*> take(std::uint64_t audio_bytes) noexcept;

    // No job names it any more. True where it is gone, and the broker is to be told.
    bool give_back(Slab* slab) noexcept;

    // Closes free slabs that were not needed since the last call, all but a few of each class, and
    // hands their numbers to `gone`. Call every few seconds while idle() is false.
    template <typename Gone>
    void trim(Gone&& gone) noexcept {
        for (std::size_t i = 0; i < classes.size(); ++i) {
            for (; spare_[i] > kept_slabs; --spare_[i]) {
                gone(close_oldest(i));
            }
            spare_[i] = free_[i].size();
        }
    }
    bool idle() const noexcept;  // nothing is left to trim

    // Memory of all slabs, for the counters. Counts what was touched.
    std::uint64_t bytes() const noexcept { return bytes_; }
    void count(Slab& slab) noexcept;

  private:
    static constexpr std::size_t kept_slabs = 2;

    std::uint32_t close_oldest(std::size_t size_class) noexcept;
    Result<Slab*> create(std::uint64_t audio_bytes, bool warm) noexcept;

    std::uint64_t warm_bytes_max_;
    std::uint64_t free_bytes_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint32_t next_id_ = 1;
    std::array<std::vector<std::unique_ptr<Slab>>, classes.size()> free_;  // the last is warmest
    std::array<std::size_t, classes.size()> spare_{};  // fewest free ones since the last trim()
};

}  // namespace sonogate::ngx_module
