// The hash is HighwayHash, whatever processor it runs on and however the bytes are cut.
#include "ngx_module/content_hash.hpp"

#include <highwayhash/highwayhash_target.h>
#include <highwayhash/instruction_sets.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

#include "ngx_module/cache_control.hpp"

using namespace sonogate;
using namespace sonogate::ngx_module;

namespace {

const ContentHash::Key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x1716151413121110,
                              0x1f1e1d1c1b1a1918};

// The library's own, in one piece.
ContentHash::Digest reference(Bytes bytes) {
    const highwayhash::HHKey words = {key[0], key[1], key[2], key[3]};
    highwayhash::HHResult128 out;
    highwayhash::InstructionSets::Run<highwayhash::HighwayHash>(
        words, reinterpret_cast<const char*>(bytes.data()), bytes.size(), &out);
    return {out[0], out[1]};
}

// By one implementation, chosen or not.
ContentHash::Digest digest_of(const HashFunctions& functions, Bytes bytes, std::size_t piece) {
    alignas(64) std::array<std::byte, HashFunctions::state_bytes> state;
    functions.start(state.data(), key.data());
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        functions.add(state.data(), reinterpret_cast<const char*>(bytes.data()) + at,
                      std::min(piece, bytes.size() - at));
    }
    ContentHash::Digest out;
    functions.finish(state.data(), out.data());
    return out;
}

std::vector<std::byte> some_bytes(std::size_t size) {
    std::mt19937 random(static_cast<unsigned>(size));
    std::vector<std::byte> out(size);
    for (auto& byte : out) {
        byte = static_cast<std::byte>(random());
    }
    return out;
}

void it_is_highwayhash_however_the_bytes_are_cut(void**) {
    for (const std::size_t size : {0UL, 1UL, 31UL, 32UL, 33UL, 64UL, 1000UL, 70'001UL}) {
        const auto bytes = some_bytes(size);
        for (const std::size_t piece : {1UL, 3UL, 32UL, 33UL, 4096UL, 100'000UL}) {
            ContentHash hash(key);
            for (std::size_t at = 0; at < size; at += piece) {
                hash.add(Bytes(bytes).subspan(at, std::min(piece, size - at)));
            }
            assert_true(hash.finish() == reference(bytes));
            assert_true(digest_of(hash_for_any_processor, bytes, piece) == reference(bytes));
        }
    }
}

void another_key_or_bit_is_another_digest(void**) {
    auto bytes = some_bytes(500);
    ContentHash one(key);
    one.add(bytes);
    auto other_key = key;
    other_key[3] ^= 1;
    ContentHash two(other_key);
    two.add(bytes);
    bytes[499] ^= std::byte{1};
    ContentHash three(key);
    three.add(bytes);
    const auto first = one.finish();
    assert_true(first != two.finish());
    assert_true(first != three.finish());
}

void clients_may_forbid_the_cache(void**) {
    for (const char* forbids :
         {"no-store", "no-cache", "No-Store", "max-age=0, no-store", "no-cache , max-age=0",
          " \tno-store\t", "private,no-store,", ",,no-cache"}) {
        assert_true(forbids_cache(forbids));
    }
    for (const char* allows : {"", ",", "max-age=0", "no-storage", "xno-store", "no-store=1",
                               "no-stor", "no-transform, max-stale"}) {
        assert_false(forbids_cache(allows));
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(it_is_highwayhash_however_the_bytes_are_cut),
        cmocka_unit_test(another_key_or_bit_is_another_digest),
        cmocka_unit_test(clients_may_forbid_the_cache),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
