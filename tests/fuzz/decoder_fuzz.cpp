// Audio of any format from anybody: sniffing and decoding, at most a minute of it.
#include "audio/decoder.hpp"

#include <array>
#include <new>

namespace {

void decode(const std::uint8_t* data, std::size_t size) {
    auto decoder = sonogate::audio::open_decoder(std::as_bytes(std::span(data, size)));
    if (!decoder) {
        return;
    }
    const auto& info = (*decoder)->info();
    if (info.channels == 0 || info.sample_rate_hz == 0) {
        __builtin_trap();
    }
    static std::array<float, 65536> block;
    const std::size_t frames = block.size() / info.channels;
    for (int i = 0; i < 64; ++i) {
        const auto read = (*decoder)->read(std::span(block).first(frames * info.channels));
        if (!read || *read == 0) {
            break;
        }
        if (*read > frames) {
            __builtin_trap();
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        decode(data, size);
    } catch (const std::bad_alloc&) {
        return 0;  // a header that asks for more memory than there is: job-too-large
    }
    return 0;
}
