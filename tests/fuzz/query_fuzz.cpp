// The query of a request line: whatever it holds, the packed parameters parse.
#include "ngx_module/query.hpp"

#include <array>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static std::array<std::byte, 4096> packed;
    std::vector<char> scratch(size);
    sonogate::shm::ParamsWriter writer(packed);
    const std::string_view query(reinterpret_cast<const char*>(data), size);
    (void)sonogate::ngx_module::read_query(query, scratch, writer);
    if (!sonogate::shm::Params::parse(sonogate::Bytes(packed).first(writer.size()))) {
        __builtin_trap();
    }
    return 0;
}
