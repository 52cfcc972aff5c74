// One line of a key file: whose key it is, its SHA-256, and what it may do.
//
//     NAME SHA256 [roles=ROLE,…] [rate=CLASS]
//
// For: nginx, which reads such files, and `sonogated key add`, which writes them. Not for: keys
// themselves (no file has them) nor for looking one up (ngx_module/keys.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace sonogate {

// Bits of a set.
enum Role : std::uint8_t {
    role_analyze = 1U << 0U,
    role_identify = 1U << 1U,
    role_catalog = 1U << 2U,
    role_ops = 1U << 3U,
};
inline constexpr std::uint8_t default_roles = role_analyze | role_identify;

using KeyDigest = std::array<std::uint8_t, 32>;  // SHA-256 of the key as it is sent

struct KeyLine {
    std::string_view name;  // 1 to 64 of A-Za-z0-9._@-, a letter first: never an address
    KeyDigest digest{};
    std::uint8_t roles = default_roles;
    std::string_view rate_class;  // as a name; empty where there is none
};

enum class KeyLineKind : std::uint8_t { key, blank, bad };

// Blank: nothing, or a comment after `#`. Bad: `why` says what is wrong, for `nginx -t`, after
// the words "a key". `out` borrows from `line`.
KeyLineKind read_key_line(std::string_view line, KeyLine& out, const char*& why) noexcept;

bool is_key_name(std::string_view text) noexcept;

// The set that a comma list names; 0 where it is empty or names what is no role.
std::uint8_t roles_of(std::string_view list) noexcept;

// The line of a key, without a line break. Allocates, may throw: for the daemon's side.
std::string write_key_line(const KeyLine& key);

}  // namespace sonogate
