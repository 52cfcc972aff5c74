#include "ngx_module/random.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

namespace sonogate::ngx_module {

namespace {

// One system call for many ids. Filled after the fork: nothing asks the master for ids.
struct Reserve {
    std::array<std::uint8_t, 512> bytes{};
    std::size_t left = 0;
};

void refill(Reserve& reserve) noexcept {
    std::size_t have = 0;
    while (have < reserve.bytes.size()) {
        const ssize_t n = ::getrandom(reserve.bytes.data() + have, reserve.bytes.size() - have, 0);
        if (n > 0) {
            have += static_cast<std::size_t>(n);
        } else if (errno != EINTR) {
            std::abort();  // getrandom() cannot fail otherwise on any kernel that has memfds
        }
    }
    reserve.left = have;
}

}  // namespace

void fill_random(std::span<std::uint8_t> out) noexcept {
    static Reserve reserve;
    for (std::uint8_t& byte : out) {
        if (reserve.left == 0) {
            refill(reserve);
        }
        byte = reserve.bytes[--reserve.left];
    }
}

void write_request_id(std::span<char, 32> out) noexcept {
    constexpr std::string_view hex = "0123456789abcdef";
    std::array<std::uint8_t, 16> bytes{};
    fill_random(bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        out[2 * i] = hex[bytes[i] >> 4U];
        out[2 * i + 1] = hex[bytes[i] & 15U];
    }
}

void write_track_id(std::span<char, 26> out) noexcept {
    constexpr std::string_view digits = "0123456789abcdefghjkmnpqrstvwxyz";
    std::array<std::uint8_t, 26> bytes{};
    fill_random(bytes);
    std::transform(bytes.begin(), bytes.end(), out.begin(),
                   [&](std::uint8_t byte) { return digits[byte & 31U]; });
}

}  // namespace sonogate::ngx_module
