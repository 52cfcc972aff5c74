#include "keys/add.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/key_line.hpp"
#include "base/unique_fd.hpp"

namespace sonogate::keys {

namespace {

constexpr std::size_t key_bytes = 32;  // 256 bits: no slow hash is needed to keep them from guesses

// `sg_` and the bytes in base64url without padding (RFC 4648 section 5): found by secret scanners,
// and nothing in it needs quoting.
std::optional<std::string> make_key() {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::array<std::uint8_t, key_bytes> secret{};
    if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size())) {
        return std::nullopt;
    }
    std::string out = "sg_";
    std::uint32_t bits = 0;
    int have = 0;
    for (const std::uint8_t byte : secret) {
        bits = bits << 8U | byte;
        for (have += 8; have >= 6; have -= 6) {
            out += digits[bits >> (have - 6) & 63U];
        }
    }
    out += digits[bits << (6 - have) & 63U];
    return out;
}

bool ends_in_line_break(int file) {
    const off_t size = ::lseek(file, 0, SEEK_END);
    char last = '\n';
    return size <= 0 || (::pread(file, &last, 1, size - 1) == 1 && last == '\n');
}

// One write under a lock: two that add at once make two whole lines.
bool append(const std::string& path, const std::string& line) {
    const UniqueFd file(
        ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!file || ::flock(file.get(), LOCK_EX) != 0) {
        return false;
    }
    const std::string text = (ends_in_line_break(file.get()) ? "" : "\n") + line + "\n";
    return ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
           ::fsync(file.get()) == 0;
}

int fail(std::string_view what, std::string_view why) {
    std::fprintf(stderr, "sonogated key add: %.*s %.*s\n", static_cast<int>(what.size()),
                 what.data(), static_cast<int>(why.size()), why.data());
    return 1;
}

}  // namespace

int add(const AddOptions& options) {
    constexpr std::string_view naming = "is not a name: 1 to 64 of A-Za-z0-9._@-, a letter first";
    KeyLine line{
        .name = options.name, .roles = roles_of(options.roles), .rate_class = options.rate_class};
    if (!is_key_name(line.name)) {
        return fail(line.name, naming);
    }
    if (!line.rate_class.empty() && !is_key_name(line.rate_class)) {
        return fail(line.rate_class, naming);
    }
    if (line.roles == 0) {
        return fail(options.roles, "has roles other than analyze, identify, catalog and ops");
    }
    const auto key = make_key();
    if (!key || EVP_Digest(key->data(), key->size(), line.digest.data(), nullptr, EVP_sha256(),
                           nullptr) != 1) {
        return fail("the key", "cannot be made");
    }
    const std::string text = write_key_line(line);
    if (options.file.empty()) {
        std::printf("%s\n%s\n", key->c_str(), text.c_str());
        return 0;
    }
    if (!append(options.file, text)) {
        return fail(options.file, std::strerror(errno));
    }
    std::printf("%s\n", key->c_str());
    std::fprintf(stderr, "Added to %s. Reload nginx; the key is not shown again.\n",
                 options.file.c_str());
    return 0;
}

}  // namespace sonogate::keys
