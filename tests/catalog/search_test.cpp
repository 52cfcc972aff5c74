#include "catalog/search.hpp"

#include <cmath>
#include <string>

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
using catalog::Reason;
using catalog::SearchOptions;
using catalog::SearchResult;
using fingerprint::Density;

constexpr int track_count = 12;
constexpr double track_s = 40;

Index::Packed packed_track(const std::vector<float>& samples) {
    return std::make_shared<const std::vector<std::byte>>(
        fingerprint::pack(test::fingerprint_of(samples, Density::track)));
}

std::vector<float> track_audio(int row) {
    return test::music(static_cast<std::uint32_t>(100 + row), track_s);
}

// Rows 1 to 12, each added by its own change.
std::shared_ptr<const Index> catalog_of_twelve() {
    static const auto index = [] {
        auto made = std::make_shared<const Index>();
        for (int row = 1; row <= track_count; ++row) {
            const Index::Addition addition{row, packed_track(track_audio(row))};
            made = made->with({&addition, 1}, {});
        }
        return made;
    }();
    return index;
}

SearchResult search(const Index& index, const std::vector<float>& samples,
                    const SearchOptions& options = {}) {
    catalog::Searcher searcher;
    return searcher.search(index, test::fingerprint_of(samples, Density::clip), options);
}

double start_s(const catalog::Match& match) {
    return match.alignment.offset_time * fingerprint::seconds_per_time_unit;
}

void a_noisy_clip_is_found_within_50_ms(void**) {
    const auto index = catalog_of_twelve();
    for (int row = 1; row <= track_count; ++row) {
        const double at_s = 2.87 * row;
        const auto clip = test::mixed(test::cut(track_audio(row), at_s, 5),
                                      test::noise(static_cast<std::uint32_t>(row), 5, 0.02));
        const SearchResult found = search(*index, clip);
        assert_int_equal(found.matches.size(), 1);
        assert_int_equal(found.matches[0].row, row);
        assert_true(std::abs(start_s(found.matches[0]) - at_s) < 0.05);
        assert_true(found.matches[0].false_positive_probability <= 1e-6);
        assert_true(found.matches[0].aligned_hashes > 10);
        assert_true(found.query_hashes >= found.matches[0].aligned_hashes);
    }
}

// Played `speed` times as fast, by linear interpolation: 8 kHz is far above these notes.
std::vector<float> at_speed(const std::vector<float>& samples, double speed) {
    std::vector<float> out;
    for (double at = 0; at + 1 < static_cast<double>(samples.size()); at += speed) {
        const auto i = static_cast<std::size_t>(at);
        const auto part = static_cast<float>(at - static_cast<double>(i));
        out.push_back(samples[i] * (1 - part) + samples[i + 1] * part);
    }
    return out;
}

void a_clip_at_another_speed_is_found_with_its_ratio(void**) {
    const auto index = catalog_of_twelve();
    int row = 1;
    for (const double speed : {0.953, 0.98, 0.9933, 1.0125, 1.03, 1.048}) {
        const double at_s = 4.3 * row;
        const auto clip = at_speed(test::cut(track_audio(row), at_s, 6), speed);
        const SearchResult found = search(*index, clip);
        assert_int_equal(found.matches.size(), 1);
        const catalog::Match& match = found.matches[0];
        assert_int_equal(match.row, row);
        assert_true(std::abs(match.ratio.tempo - speed) < 0.002);
        assert_true(std::abs(match.ratio.pitch - speed) < 0.002);
        // Peaks are timed by their blocks' middles, which are not scaled: 64 ms × (speed − 1).
        assert_true(std::abs(start_s(match) - at_s) < 0.02);
        assert_true(match.alignment.last_time * fingerprint::seconds_per_time_unit < 6 / speed);
        ++row;
    }
}

void multi_tells_plays_at_different_speeds(void**) {
    const auto index = catalog_of_twelve();
    auto mix = test::cut(track_audio(3), 4, 8);
    for (const auto& piece : {at_speed(test::cut(track_audio(9), 10, 8), 1.03),
                              at_speed(test::cut(track_audio(5), 20, 8), 0.98)}) {
        mix.insert(mix.end(), piece.begin(), piece.end());
    }
    const auto plays = search(*index, mix, {.limit = 10, .multi = true}).matches;
    assert_int_equal(plays.size(), 3);
    for (const auto& play : plays) {
        const double expected = play.row == 3 ? 1 : play.row == 9 ? 1.03 : 0.98;
        assert_true(std::abs(play.ratio.tempo - expected) < 0.002);
    }
}

void silence_noise_tones_chords_and_unknown_music_are_refused(void**) {
    const auto index = catalog_of_twelve();
    assert_true(search(*index, std::vector<float>(40000)).reason == Reason::silence);
    assert_true(search(*index, test::cut(track_audio(1), 0, 0.9)).reason == Reason::too_short);
    assert_true(search(Index(), track_audio(1)).reason == Reason::catalog_empty);
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
        test::Random random(seed);
        const auto chord = test::mixed(test::tone(random.uniform(200, 3900), 10, 0.3),
                                       test::tone(random.uniform(200, 3900), 10, 0.3));
        for (const auto& clip : {test::tone(random.uniform(50, 3900), 10, 0.5), chord,
                                 test::noise(seed, 10, 0.1), test::music(seed + 1000, 10)}) {
            const SearchResult found = search(*index, clip);
            assert_true(found.matches.empty());
            assert_true(found.reason == Reason::no_candidates ||
                        found.reason == Reason::below_threshold);
        }
    }
}

// As if the catalog were a thousand times as large: the budget is a small part of all postings.
constexpr catalog::Budget scarce{.stretch = {100, 400}, .ratio = {30, 120}};

void a_scarce_budget_finds_clips_at_any_speed_and_is_kept(void**) {
    const auto index = catalog_of_twelve();
    int row = 1;
    for (const double speed : {1.0, 1.0, 0.98, 1.03}) {
        const auto clip = at_speed(test::cut(track_audio(row), 2.1 * row, 8), speed);
        const SearchResult all = search(*index, clip);
        const SearchResult few = search(*index, clip, {.budget = scarce});
        assert_int_equal(all.matches.size(), 1);
        assert_int_equal(few.matches.size(), 1);
        assert_int_equal(few.matches[0].row, row);
        assert_true(few.matches[0].alignment.evidence > 0.9 * all.matches[0].alignment.evidence);
        // Both depths of the plain clip, of the grid, and of the ratio that it found.
        assert_true(few.postings < 3 * scarce.stretch.most +
                                       2 * scarce.ratio.most * fingerprint::ratio_grid().size());
        assert_true(few.postings < all.postings / 3);
        ++row;
    }
    assert_true(search(*index, test::music(1001, 8), {.budget = scarce}).matches.empty());
}

void tracks_that_share_audio_are_all_told_on_a_scarce_budget(void**) {
    const Index::Addition again{50, packed_track(track_audio(5))};
    const auto index = catalog_of_twelve()->with({&again, 1}, {});
    const auto found = search(*index, test::cut(track_audio(5), 12, 8), {.budget = scarce});
    assert_int_equal(found.matches.size(), 2);
    assert_true(found.matches[0].row + found.matches[1].row == 55);
}

void a_few_votes_for_another_edition_do_not_end_the_search(void**) {
    auto louder = test::music(900, track_s);
    for (float& sample : louder) {
        sample *= 2;
    }
    const Index::Addition edition{60, packed_track(test::mixed(track_audio(5), louder))};
    const auto index = catalog_of_twelve()->with({&edition, 1}, {});
    for (const double at_s : {3.0, 12.0, 21.0, 30.0}) {
        const auto clip = test::mixed(test::cut(track_audio(5), at_s, 8), test::noise(1, 8, 0.05));
        const auto found = search(*index, clip, {.budget = scarce});
        assert_true(!found.matches.empty());
        assert_int_equal(found.matches[0].row, 5);
    }
}

void a_removed_track_is_gone_and_the_others_stay(void**) {
    const auto index = catalog_of_twelve();
    const Index::Row row = 5;
    const auto without = index->with({}, {&row, 1});
    const auto clip = test::cut(track_audio(5), 10, 5);
    assert_int_equal(search(*index, clip).matches.size(), 1);  // the former picture still has it
    assert_true(search(*without, clip).matches.empty());
    assert_int_equal(without->live_tracks(), track_count - 1);
    assert_true(without->live_hashes() < index->live_hashes());
    assert_int_equal(search(*without, test::cut(track_audio(6), 10, 5)).matches.size(), 1);
    const Index::Addition again{50, packed_track(track_audio(5))};
    const auto back = without->with({&again, 1}, {});
    const SearchResult found = search(*back, clip);
    assert_int_equal(found.matches.size(), 1);
    assert_int_equal(found.matches[0].row, 50);
}

void many_small_changes_and_one_large_one_search_alike(void**) {
    std::vector<Index::Addition> all;
    for (int row = 1; row <= track_count; ++row) {
        all.push_back({row, packed_track(track_audio(row))});
    }
    const auto at_once = Index().with(all, {});
    const auto one_by_one = catalog_of_twelve();
    assert_true(at_once->live_hashes() == one_by_one->live_hashes());
    for (int row = 1; row <= track_count; ++row) {
        const auto clip = test::cut(track_audio(row), 20, 4);
        const auto a = search(*at_once, clip);
        const auto b = search(*one_by_one, clip);
        assert_int_equal(a.matches.size(), 1);
        assert_int_equal(b.matches.size(), 1);
        assert_true(a.matches[0].row == b.matches[0].row &&
                    a.matches[0].alignment.evidence == b.matches[0].alignment.evidence &&
                    a.matches[0].aligned_hashes == b.matches[0].aligned_hashes);
    }
}

void multi_tells_every_play_and_limit_bounds_them(void**) {
    const auto index = catalog_of_twelve();
    auto mix = test::cut(track_audio(3), 4, 12);
    for (const auto& piece :
         {test::cut(track_audio(9), 20, 10), test::cut(track_audio(3), 25, 10)}) {
        mix.insert(mix.end(), piece.begin(), piece.end());
    }
    const auto plays = search(*index, mix, {.limit = 10, .multi = true}).matches;
    assert_int_equal(plays.size(), 3);
    int of_third = 0;
    for (const auto& play : plays) {
        assert_true(play.row == 3 || play.row == 9);
        of_third += play.row == 3;
    }
    assert_int_equal(of_third, 2);
    assert_int_equal(search(*index, mix, {.limit = 10}).matches.size(), 2);
    assert_int_equal(search(*index, mix, {.limit = 1, .multi = true}).matches.size(), 1);
}

void a_stricter_threshold_only_takes_matches_away(void**) {
    const auto index = catalog_of_twelve();
    const auto clip = test::cut(track_audio(2), 7, 2);
    const auto found = search(*index, clip, {.max_false_positive = 1e-3});
    assert_int_equal(found.matches.size(), 1);
    const double p = found.matches[0].false_positive_probability;
    assert_true(search(*index, clip, {.max_false_positive = p / 2}).reason ==
                Reason::below_threshold);
}

void a_clip_that_begins_before_the_track_has_a_negative_offset(void**) {
    auto clip = test::noise(1, 3, 0.001);
    const auto head = test::cut(track_audio(4), 0, 5);
    clip.insert(clip.end(), head.begin(), head.end());
    const auto found = search(*catalog_of_twelve(), clip).matches;
    assert_int_equal(found.size(), 1);
    assert_int_equal(found[0].row, 4);
    assert_true(std::abs(start_s(found[0]) + 3) < 0.05);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_noisy_clip_is_found_within_50_ms),
        cmocka_unit_test(a_clip_at_another_speed_is_found_with_its_ratio),
        cmocka_unit_test(multi_tells_plays_at_different_speeds),
        cmocka_unit_test(silence_noise_tones_chords_and_unknown_music_are_refused),
        cmocka_unit_test(a_scarce_budget_finds_clips_at_any_speed_and_is_kept),
        cmocka_unit_test(tracks_that_share_audio_are_all_told_on_a_scarce_budget),
        cmocka_unit_test(a_few_votes_for_another_edition_do_not_end_the_search),
        cmocka_unit_test(a_removed_track_is_gone_and_the_others_stay),
        cmocka_unit_test(many_small_changes_and_one_large_one_search_alike),
        cmocka_unit_test(multi_tells_every_play_and_limit_bounds_them),
        cmocka_unit_test(a_stricter_threshold_only_takes_matches_away),
        cmocka_unit_test(a_clip_that_begins_before_the_track_has_a_negative_offset),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
