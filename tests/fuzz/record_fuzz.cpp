// A worker's record as a worker that was taken over might write it: what is accepted packs to what
// is accepted again.
#include "catalog/record.hpp"

#include "base/bytes.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (const auto record =
            sonogate::catalog::unpack_record(std::as_bytes(std::span(data, size)))) {
        const std::string again = sonogate::catalog::pack(*record);
        const auto twice = sonogate::catalog::unpack_record(sonogate::as_bytes_of(again));
        if (!twice || sonogate::catalog::pack(*twice) != again) {
            __builtin_trap();
        }
    }
    return 0;
}
