// A multipart body in pieces: however it is cut, the same steps come out, and the parser consumes
// no more than it was shown. The first byte is the size of the pieces, the boundary is "x".
#include "ngx_module/multipart.hpp"

#include <algorithm>
#include <string>

namespace {

using sonogate::ngx_module::Multipart;

// The audio and the parameters that a body holds, and how parsing ended, as one string.
std::string outcome(std::string_view body, std::size_t piece_bytes) {
    auto parser = Multipart::with_boundary("x");
    std::string out;
    std::string window;
    std::size_t received = 0;
    for (;;) {
        const auto step = parser->next(window);
        if (step.kind == Multipart::Kind::failed) {
            return out + "!";
        }
        if (step.kind == Multipart::Kind::more) {
            if (received == body.size()) {
                return out + (parser->finished() ? "." : "?");
            }
            const std::size_t bytes = std::min(piece_bytes, body.size() - received);
            window.append(body.substr(received, bytes));
            received += bytes;
            continue;
        }
        if (step.bytes == 0 || step.bytes > window.size()) {
            __builtin_trap();
        }
        if (step.kind == Multipart::Kind::audio) {
            out.append(window, 0, step.bytes);
        } else if (step.kind == Multipart::Kind::parameter) {
            out.append("[").append(step.value).append("]");
        }
        window.erase(0, step.bytes);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string whole = outcome(body, std::max<std::size_t>(body.size(), 1));
    if (outcome(body, std::size_t{data[0]} + 1) != whole) {
        __builtin_trap();
    }
    return 0;
}
