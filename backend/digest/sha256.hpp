// SHA-256 of bytes that come in pieces, as 64 lower-case hex digits.
//
// For: whoever names audio or a snapshot by its bytes. Not for: cache keys (HighwayHash, in nginx).
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>

#include "base/bytes.hpp"

namespace sonogate::digest {

// Throws std::runtime_error where libcrypto has none, and std::bad_alloc.
class Sha256 {
  public:
    Sha256();
    void add(Bytes bytes);
    // The end. Nothing may be added after.
    std::string finish();

  private:
    struct Free {
        void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
    };
    std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace sonogate::digest
