// Whose quota it is: a key of any length as 64 bits.
//
// SipHash-1-3 (Aumasson and Bernstein, 2012) under a secret that is random at start: nobody outside
// can choose a key that shares another's word. The secret is the master's and its workers', and
// survives a reload as the counters do.
//
// For: caller_key.cpp. Not for: content.
#pragma once

#include <cstdint>
#include <string_view>

namespace sonogate::ngx_module {

// Makes the secret where there is none. Once, before workers are forked. False: no random bytes.
bool make_key_secret() noexcept;

std::uint64_t hash_of_key(std::string_view key) noexcept;

}  // namespace sonogate::ngx_module
