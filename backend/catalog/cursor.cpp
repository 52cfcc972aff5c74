#include "catalog/cursor.hpp"

#include <charconv>
#include <cstddef>

namespace sonogate::catalog {
namespace {

constexpr std::size_t row_digits = 16;
constexpr std::size_t check_digits = 8;

// Tells a typing error from a cursor, no more.
std::uint32_t check_of(std::uint64_t row) noexcept {
    return static_cast<std::uint32_t>((row + 1) * 0x9e3779b97f4a7c15U >> 32U);
}

std::string hexadecimal(std::uint64_t value, std::size_t digits) {
    std::string out(digits, '0');
    for (std::size_t i = digits; i-- > 0; value >>= 4U) {
        out[i] = "0123456789abcdef"[value & 0xfU];
    }
    return out;
}

bool read_hexadecimal(std::string_view text, std::uint64_t& out) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
    return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string make_cursor(std::int64_t after_row) {
    const auto row = static_cast<std::uint64_t>(after_row);
    return hexadecimal(row, row_digits) + hexadecimal(check_of(row), check_digits);
}

Result<std::int64_t> read_cursor(std::string_view cursor) {
    std::uint64_t row = 0;
    std::uint64_t check = 0;
    if (cursor.size() != row_digits + check_digits ||
        !read_hexadecimal(cursor.substr(0, row_digits), row) ||
        !read_hexadecimal(cursor.substr(row_digits), check) || check != check_of(row) ||
        row > INT64_MAX) {
        return invalid(Parameter::cursor);
    }
    return static_cast<std::int64_t>(row);
}

}  // namespace sonogate::catalog
