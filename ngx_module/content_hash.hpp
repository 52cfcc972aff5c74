// A keyed hash of bytes as they arrive: HighwayHash (Alakuijala, Cox, Wassenberg 2016), 128 bits.
//
// For: keys of the result cache. Who does not know the key cannot make two inputs meet, and 10 GB/s
// with AVX2 (1.1 without) are fast enough for an event loop. Not for: digests that are told to
// anybody (the worker makes those), nor for short keys (key_hash.hpp). Knows nothing of nginx.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"

namespace sonogate::ngx_module {

// One implementation; `state` is memory of state_bytes, aligned to 64.
struct HashFunctions {
    static constexpr std::size_t state_bytes = 320;
    void (*start)(void* state, const std::uint64_t* key);
    void (*add)(void* state, const char* bytes, std::size_t size);
    void (*finish)(void* state, std::uint64_t* out);
};

extern const HashFunctions hash_for_any_processor;

class ContentHash {
  public:
    using Key = std::array<std::uint64_t, 4>;
    using Digest = std::array<std::uint64_t, 2>;

    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): start() makes the state
    explicit ContentHash(const Key& key) noexcept { functions().start(state_.data(), key.data()); }

    // How the bytes are cut does not matter.
    void add(Bytes bytes) noexcept {
        functions().add(state_.data(), reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }

    // Once, at the end.
    Digest finish() noexcept {
        Digest out;
        functions().finish(state_.data(), out.data());
        return out;
    }

  private:
    static const HashFunctions& functions() noexcept;  // the fastest for this processor

    alignas(64) std::array<std::byte, HashFunctions::state_bytes> state_;
};

}  // namespace sonogate::ngx_module
