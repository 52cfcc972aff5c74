#include "bench/varied_tracks.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bench/posting_lists.hpp"
#include "catalog/search.hpp"
#include "fingerprint/packing.hpp"
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
using catalog::Index;
using fingerprint::Density;
using fingerprint::Fingerprint;

constexpr std::uint32_t track_count = 10;
constexpr double track_s = 60;

std::vector<Fingerprint> real_tracks() {
    std::vector<Fingerprint> out;
    for (std::uint32_t i = 0; i < track_count; ++i) {
        out.push_back(test::fingerprint_of(test::music(i, track_s), Density::track));
    }
    return out;
}

std::vector<Fingerprint> variations(const std::vector<Fingerprint>& tracks) {
    std::vector<Fingerprint> out;
    for (std::uint64_t seed = 0; seed < 2 * track_count; ++seed) {
        out.push_back(bench::vary(tracks[seed % track_count], seed));
    }
    return out;
}

// All of one track, one after the other; ascending.
std::vector<std::uint32_t> lengths_within(const std::vector<Fingerprint>& tracks) {
    std::vector<std::uint32_t> out;
    for (const Fingerprint& track : tracks) {
        const auto lengths = bench::list_lengths({&track, 1});
        out.insert(out.end(), lengths.begin(), lengths.end());
    }
    std::sort(out.begin(), out.end());
    return out;
}

// Within each track: these are all tuned alike, which real music is not. Across tracks real music
// is held against its variations by the benchmark (bench/identify.py).
void posting_lists_of_variations_are_as_long_as_those_of_their_tracks(void**) {
    const auto real = real_tracks();
    const auto all = variations(real);
    const std::vector<Fingerprint> varied(all.begin(), all.begin() + track_count);
    const auto of_real = lengths_within(real);
    const auto of_varied = lengths_within(varied);
    for (const double share : bench::told_shares) {
        const double ratio =
            (bench::quantile(of_varied, share) + 1.0) / (bench::quantile(of_real, share) + 1.0);
        assert_true(ratio > 1 / 1.5 && ratio < 1.5);
    }
    assert_true(std::abs(bench::hashes_per_s(varied) / bench::hashes_per_s(real) - 1) < 0.1);
}

void variations_are_fingerprints_that_a_store_takes_and_differ_by_seed(void**) {
    const auto real = real_tracks();
    for (const Fingerprint& track : variations(real)) {
        const auto again = fingerprint::unpack(fingerprint::pack(track));
        assert_true(again && *again == track);
    }
    assert_true(bench::vary(real[0], 7) == bench::vary(real[0], 7));
    assert_false(bench::vary(real[0], 7) == bench::vary(real[0], 8));
}

void no_clip_of_a_track_matches_its_variations(void**) {
    std::vector<Index::Addition> additions;
    for (const Fingerprint& track : variations(real_tracks())) {
        additions.push_back(
            {static_cast<Index::Row>(additions.size() + 1),
             std::make_shared<const std::vector<std::byte>>(fingerprint::pack(track))});
    }
    const auto index = Index().with(additions, {});
    catalog::Searcher searcher;
    for (std::uint32_t i = 0; i < track_count; ++i) {
        const auto clip = test::cut(test::music(i, track_s), 5.5 * i, 5);
        assert_true(
            searcher.search(*index, test::fingerprint_of(clip, Density::clip), {}).matches.empty());
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(posting_lists_of_variations_are_as_long_as_those_of_their_tracks),
        cmocka_unit_test(variations_are_fingerprints_that_a_store_takes_and_differ_by_seed),
        cmocka_unit_test(no_clip_of_a_track_matches_its_variations),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
