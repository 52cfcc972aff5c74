#include "digest/sha256.hpp"

#include <array>
#include <cstddef>
#include <stdexcept>
#include <string_view>

namespace sonogate::digest {
namespace {

// Fetched once: looking it up for each file takes libcrypto longer than hashing a short one.
const EVP_MD* method() {
    static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return fetched;
}

void expect(int done) {
    if (done != 1) {
        throw std::runtime_error("libcrypto has no SHA-256");
    }
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    expect(context_ ? EVP_DigestInit_ex(context_.get(), method(), nullptr) : 0);
}

void Sha256::add(Bytes bytes) {
    expect(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

std::string Sha256::finish() {
    std::array<unsigned char, 32> digest{};
    expect(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr));
    constexpr std::string_view digits = "0123456789abcdef";
    std::string hex;
    hex.reserve(2 * digest.size());
    for (const unsigned char byte : digest) {
        hex += digits[byte >> 4U];
        hex += digits[byte & 15U];
    }
    return hex;
}

}  // namespace sonogate::digest
