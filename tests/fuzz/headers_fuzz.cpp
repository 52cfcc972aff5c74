// What stands in Origin and traceparent, and in a key file, a line each: what is let through is of
// the form that it must have.
#include <string_view>
#include <vector>

#include "base/key_line.hpp"
#include "ngx_module/origin.hpp"
#include "ngx_module/trace.hpp"

namespace {

using namespace sonogate;
using namespace sonogate::ngx_module;

void demand(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

std::string_view next_line(std::string_view& rest) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() < rest.size() ? line.size() + 1 : line.size());
    return line;
}

// An origin that a wildcard matches names a host below the pattern's, and nothing else.
void try_origin(std::string_view text, std::string_view origin) {
    std::vector<char> room(text.size());
    OriginPattern pattern;
    if (read_origin(text, room, pattern) != nullptr || !matches(pattern, origin)) {
        return;
    }
    if (!pattern.any_subdomain) {
        demand(origin == pattern.head);
        return;
    }
    const std::size_t host_at = origin.find("://") + 3;
    demand(pattern.head == origin.substr(0, host_at));
    demand(origin.find_first_of("/?#@\\% []", host_at) == std::string_view::npos);
    demand(origin.find(':', host_at) == std::string_view::npos ||
           origin.substr(origin.find(':', host_at)) == pattern.tail.substr(pattern.tail.find(':')));
    demand(origin.ends_with(pattern.tail) && pattern.tail.front() == '.');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    const std::string_view pattern = next_line(rest);
    try_origin(pattern, next_line(rest));
    const std::string_view trace = trace_id_of(next_line(rest));
    demand(trace.empty() || (trace.size() == 32 && trace.find_first_not_of("0123456789abcdef") ==
                                                       std::string_view::npos));
    KeyLine key;
    const char* why = nullptr;
    if (read_key_line(rest, key, why) == KeyLineKind::key) {
        demand(is_key_name(key.name) && key.roles != 0);
    } else {
        demand(key.name.empty() || why != nullptr);
    }
    return 0;
}
