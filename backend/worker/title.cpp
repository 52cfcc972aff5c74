#include "worker/title.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "log/log.hpp"

namespace sonogate::worker {

namespace {

char* area = nullptr;
std::size_t area_bytes = 0;

std::size_t append(char* out, std::size_t at, std::size_t room, std::string_view text) noexcept {
    const std::size_t n = std::min(room - at, text.size());
    std::memcpy(out + at, text.data(), n);
    return at + n;
}

}  // namespace

void remember_arguments(int argc, char** argv) noexcept {
    if (argc < 1 || argv == nullptr || argv[0] == nullptr) {
        return;
    }
    const char* const end = argv[argc - 1] + std::strlen(argv[argc - 1]);
    area = argv[0];
    area_bytes = static_cast<std::size_t>(end - argv[0]);
}

void set_title(std::string_view role) noexcept {
    log::set_process(std::string(role));
    if (area != nullptr) {
        std::size_t n = append(area, 0, area_bytes, "sonogated: ");
        n = append(area, n, area_bytes, role);
        std::memset(area + n, 0, area_bytes - n);
    }
    std::array<char, 16> name{};  // the kernel's bound, the terminating zero included
    std::size_t n = append(name.data(), 0, name.size() - 1, "sg: ");
    append(name.data(), n, name.size() - 1, role);
    ::prctl(PR_SET_NAME, name.data(), 0, 0, 0);
}

}  // namespace sonogate::worker
