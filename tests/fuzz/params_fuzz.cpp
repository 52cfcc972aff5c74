// Packed parameters as a lying nginx worker might write them.
#include "shm/params.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const sonogate::Bytes packed = std::as_bytes(std::span(data, size));
    if (const auto params = sonogate::shm::Params::parse(packed)) {
        for (std::size_t i = 1; i < sonogate::parameter_count; ++i) {
            const auto value = params->get(static_cast<sonogate::Parameter>(i));
            if (value && value->size() > size) {
                __builtin_trap();
            }
        }
    }
    return 0;
}
