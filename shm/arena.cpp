#include "shm/arena.hpp"

#include <algorithm>
#include <cassert>

namespace sonogate::shm {

std::optional<std::uint64_t> Arena::allocate(std::uint64_t bytes) noexcept {
    if (count_ == max_blocks || bytes > bytes_) {
        return std::nullopt;
    }
    const std::uint64_t wanted =
        bytes == 0 ? alignment_bytes
                   : (bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
    std::uint64_t start = 0;
    std::size_t place = 0;
    while (place < count_ && blocks_[place].offset - start < wanted) {
        start = blocks_[place].offset + blocks_[place].bytes;
        ++place;
    }
    if (start > bytes_ || bytes_ - start < wanted) {
        return std::nullopt;
    }
    std::copy_backward(blocks_.begin() + static_cast<std::ptrdiff_t>(place),
                       blocks_.begin() + static_cast<std::ptrdiff_t>(count_),
                       blocks_.begin() + static_cast<std::ptrdiff_t>(count_ + 1));
    blocks_[place] = {start, wanted};
    ++count_;
    return start;
}

void Arena::release(std::uint64_t offset) noexcept {
    const auto end = blocks_.begin() + static_cast<std::ptrdiff_t>(count_);
    const auto found = std::find_if(blocks_.begin(), end,
                                    [&](const Block& block) { return block.offset == offset; });
    assert(found != end);
    if (found != end) {
        std::copy(found + 1, end, found);
        --count_;
    }
}

std::uint64_t Arena::used_bytes() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < count_; ++i) {
        sum += blocks_[i].bytes;
    }
    return sum;
}

}  // namespace sonogate::shm
