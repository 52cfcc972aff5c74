// Bytes of a memfd that is not mapped here.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/unique_fd.hpp"

namespace sonogate::broker {

// As many of the `bytes` at `offset` as there are.
inline std::vector<std::byte> read_part(const UniqueFd& file, std::uint64_t offset,
                                        std::uint64_t bytes) {
    std::vector<std::byte> out(bytes);
    std::size_t got = 0;
    while (got < bytes) {
        const ssize_t n =
            ::pread(file.get(), out.data() + got, bytes - got, static_cast<off_t>(offset + got));
        if (n <= 0) {
            break;
        }
        got += static_cast<std::size_t>(n);
    }
    out.resize(got);
    return out;
}

}  // namespace sonogate::broker
