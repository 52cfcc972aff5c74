// A packed fingerprint from anybody: what is accepted packs again to the same bytes.
#include "fingerprint/packing.hpp"

#include <algorithm>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const sonogate::Bytes packed = std::as_bytes(std::span(data, size));
    if (const auto fingerprint = sonogate::fingerprint::unpack(packed)) {
        const auto again = sonogate::fingerprint::pack(*fingerprint);
        const auto twice = sonogate::fingerprint::unpack(again);
        if (!twice || sonogate::fingerprint::pack(*twice) != again) {
            __builtin_trap();
        }
    }
    return 0;
}
