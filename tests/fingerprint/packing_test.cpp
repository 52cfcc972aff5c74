#include "fingerprint/packing.hpp"

#include <algorithm>
#include <cstring>

#include "tests/fingerprint/synthetic.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using fingerprint::Density;
using fingerprint::Fingerprint;
using fingerprint::Peak;

Fingerprint example(std::uint32_t seed, double seconds) {
    return test::fingerprint_of(test::music(seed, seconds), Density::track);
}

// As packing.cpp has it: whoever lies on purpose knows it too.
void repair_checksum(std::vector<std::byte>& packed) {
    std::uint32_t hash = 2166136261U;
    for (std::size_t i = 0; i < packed.size(); ++i) {
        if (i < 20 || i >= 24) {
            hash = (hash ^ static_cast<std::uint32_t>(packed[i])) * 16777619U;
        }
    }
    if (packed.size() >= 24) {
        std::memcpy(packed.data() + 20, &hash, 4);
    }
}

bool unpacks(Bytes packed) {
    return static_cast<bool>(fingerprint::unpack(packed));
}

void what_is_packed_unpacks_to_the_same(void**) {
    for (const std::uint32_t seed : {1U, 2U, 3U}) {
        const Fingerprint made = example(seed, 10.0 * seed);
        const auto unpacked = fingerprint::unpack(fingerprint::pack(made));
        assert_true(unpacked && *unpacked == made);
    }
    const Fingerprint nothing;
    const auto unpacked = fingerprint::unpack(fingerprint::pack(nothing));
    assert_true(unpacked && *unpacked == nothing);
}

void an_hour_of_a_track_takes_a_third_of_a_megabyte(void**) {
    const auto packed =
        fingerprint::pack(test::fingerprint_of(test::noise(1, 60, 0.1), Density::track));
    assert_true(packed.size() * 60 < 350'000);
}

void every_truncation_and_every_changed_byte_is_refused(void**) {
    const auto packed = fingerprint::pack(example(4, 5));
    for (std::size_t size = 0; size < packed.size(); ++size) {
        assert_false(unpacks(Bytes(packed).first(size)));
    }
    auto longer = packed;
    longer.push_back(std::byte{0});
    assert_false(unpacks(longer));
    for (std::size_t i = 0; i < packed.size(); ++i) {
        auto changed = packed;
        changed[i] ^= std::byte{0x10};
        assert_false(unpacks(changed));
    }
}

// Random damage under a right checksum: refused, or something that holds all promises.
void lies_with_a_right_checksum_keep_within_bounds(void**) {
    constexpr std::uint32_t seed = 20261123;
    print_message("seed %u\n", seed);
    test::Random random(seed);
    const auto honest = fingerprint::pack(example(5, 5));
    int accepted = 0;
    for (int round = 0; round < 20'000; ++round) {
        auto lie = honest;
        lie.resize(random.below(4) == 0 ? random.below(static_cast<std::uint32_t>(lie.size()))
                                        : lie.size());
        for (std::uint32_t k = 0; k < 1 + random.below(4) && !lie.empty(); ++k) {
            lie[random.below(static_cast<std::uint32_t>(lie.size()))] =
                static_cast<std::byte>(random.below(256));
        }
        repair_checksum(lie);
        const auto out = fingerprint::unpack(lie);
        if (!out) {
            assert_true(out.failure().code == Errc::malformed_request);
            continue;
        }
        ++accepted;
        assert_true(std::is_sorted(out->peaks.begin(), out->peaks.end()));
        assert_true(out->peaks.size() * 3 <= lie.size());
        assert_true(out->peaks.empty() || out->peaks.back().time <= out->duration_ms / 4 + 1);
        for (const Peak& p : out->peaks) {
            assert_true(p.frequency <= fingerprint::max_frequency);
        }
    }
    assert_true(accepted > 0);  // or the test tries nothing
}

void a_thousand_peaks_at_one_moment_are_refused(void**) {
    Fingerprint crowded{
        .density = Density::clip, .duration_ms = 10'000, .loudest_dbfs = -10, .peaks = {}};
    for (std::uint16_t i = 0; i < 200; ++i) {
        crowded.peaks.push_back({100, i, 0});
    }
    assert_true(unpacks(fingerprint::pack(crowded)));
    crowded.peaks.push_back({101, 0, 0});
    assert_false(unpacks(fingerprint::pack(crowded)));
}

void peaks_out_of_order_or_after_the_end_are_refused(void**) {
    Fingerprint made{
        .density = Density::track, .duration_ms = 1000, .loudest_dbfs = -10, .peaks = {}};
    made.peaks = {{250, 100, 0}};
    assert_true(unpacks(fingerprint::pack(made)));
    made.peaks = {{251, 100, 0}};
    assert_false(unpacks(fingerprint::pack(made)));
    made.peaks = {{10, 100, 0}, {10, 99, 0}};
    assert_false(unpacks(fingerprint::pack(made)));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_unpacks_to_the_same),
        cmocka_unit_test(an_hour_of_a_track_takes_a_third_of_a_megabyte),
        cmocka_unit_test(every_truncation_and_every_changed_byte_is_refused),
        cmocka_unit_test(lies_with_a_right_checksum_keep_within_bounds),
        cmocka_unit_test(a_thousand_peaks_at_one_moment_are_refused),
        cmocka_unit_test(peaks_out_of_order_or_after_the_end_are_refused),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
