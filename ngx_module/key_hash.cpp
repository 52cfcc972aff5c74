#include "ngx_module/key_hash.hpp"

#include <sys/random.h>

#include <array>

#include <highwayhash/c_bindings.h>

namespace sonogate::ngx_module {

namespace {

// Of this process and its children. nginx keeps the module loaded through reloads.
std::array<std::uint64_t, 2> secret{};

}  // namespace

bool make_key_secret() noexcept {
    return secret[0] != 0 || ::getrandom(secret.data(), sizeof(secret), 0) == sizeof(secret);
}

std::uint64_t hash_of_key(std::string_view key) noexcept {
    return SipHash13C(secret.data(), key.data(), key.size());
}

}  // namespace sonogate::ngx_module
