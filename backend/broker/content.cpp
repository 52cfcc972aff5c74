#include "broker/content.hpp"

#include <highwayhash/c_bindings.h>

#include <algorithm>

#include "broker/memfd.hpp"

namespace sonogate::broker {

bool ContentReader::step() {
    const std::uint64_t take = std::min(bytes_ - done_bytes_, piece_bytes);
    if (take == 0) {
        return true;
    }
    const std::uint64_t at = shm::slab_audio_offset + done_bytes_;
    std::vector<std::byte> copy;
    Bytes piece;
    if (slab_->warm) {
        piece = {slab_->mapping.data() + at, take};
    } else {
        copy = read_part(slab_->fd, at, take);
        piece = copy;
    }
    if (piece.size() != take) {
        bytes_ = done_bytes_ = 0;  // it could not be read: no content
        return true;
    }
    hashes_.push_back(
        HighwayHash64(key_.data(), reinterpret_cast<const char*>(piece.data()), take));
    done_bytes_ += take;
    if (is_done()) {
        slab_.reset();  // whoever waits for a verdict keeps no upload in memory
    }
    return is_done();
}

std::optional<Content> ContentReader::content() const {
    if (bytes_ == 0 || !is_done()) {
        return std::nullopt;
    }
    return Content{bytes_, HighwayHash64(key_.data(), reinterpret_cast<const char*>(hashes_.data()),
                                         hashes_.size() * sizeof(hashes_[0]))};
}

}  // namespace sonogate::broker
