#include "ngx_module/slab.hpp"

#include <algorithm>
#include <utility>

namespace sonogate::ngx_module {

Result<Slab*> Slabs::create(std::uint64_t audio_bytes, bool warm) noexcept {
    auto segment = shm::OwnedSegment::create(
        "sonogate-upload", static_cast<std::size_t>(shm::slab_audio_offset + audio_bytes));
    if (!segment) {
        return segment.failure();
    }
    auto slab = std::make_unique<Slab>();
    slab->segment_ = std::move(*segment);
    slab->id_ = next_id_++;
    slab->warm_ = warm;
    return slab.release();
}

Result<Slab*> Slabs::take(std::uint64_t audio_bytes) noexcept {
    std::size_t size_class = 0;
    while (size_class < classes.size() && classes[size_class] < audio_bytes) {
        ++size_class;
    }
    if (size_class == classes.size()) {
        return create(audio_bytes, false);
    }
    auto& free = free_[size_class];
    if (free.empty()) {
        spare_[size_class] = 0;
        return create(classes[size_class], true);
    }
    Slab* slab = free.back().release();
    free.pop_back();
    spare_[size_class] = std::min(spare_[size_class], free.size());
    free_bytes_ -= slab->counted_;
    ++slab->generation_;
    return slab;
}

std::uint32_t Slabs::close_oldest(std::size_t size_class) noexcept {
    auto& free = free_[size_class];
    const std::unique_ptr<Slab> slab = std::move(free.front());
    free.erase(free.begin());
    free_bytes_ -= slab->counted_;
    bytes_ -= slab->counted_;
    return slab->id_;
}

bool Slabs::idle() const noexcept {
    return std::all_of(free_.begin(), free_.end(),
                       [](const auto& free) { return free.size() <= kept_slabs; });
}

void Slabs::count(Slab& slab) noexcept {
    bytes_ += slab.touched_ - slab.counted_;
    slab.counted_ = slab.touched_;
}

bool Slabs::give_back(Slab* slab) noexcept {
    std::unique_ptr<Slab> owned(slab);
    count(*owned);
    if (owned->warm_ && free_bytes_ + owned->counted_ <= warm_bytes_max_) {
        for (std::size_t i = 0; i < classes.size(); ++i) {
            if (owned->audio().size() == classes[i]) {
                free_bytes_ += owned->counted_;
                free_[i].push_back(std::move(owned));
                return false;
            }
        }
    }
    bytes_ -= owned->counted_;
    return true;
}

}  // namespace sonogate::ngx_module
