#include "catalog/record.hpp"

#include <limits>
#include <random>

#include "catalog/utf8.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using catalog::make_label;
using catalog::Record;

Record example() {
    Record record;
    record.audio = R"({"format":"wav","duration_s":5.0})";
    record.sha256 = std::string(64, '0');
    record.track_id = "a.b_c:d-9";
    record.duration_ms = 5000;
    record.labels.title = "Title";
    record.labels.metadata = "{}";
    record.limit = 7;
    record.multi = true;
    record.max_false_positive = 0.25;
    record.fingerprint = {std::byte{1}, std::byte{2}, std::byte{3}};
    return record;
}

bool unpacks(const Record& record) {
    return static_cast<bool>(catalog::unpack_record(as_bytes_of(catalog::pack(record))));
}

void a_record_comes_out_as_it_went_in(void**) {
    const Record in = example();
    const auto out = catalog::unpack_record(as_bytes_of(catalog::pack(in)));
    assert_true(static_cast<bool>(out));
    assert_true(out->audio == in.audio && out->sha256 == in.sha256 && out->multi);
    assert_true(out->track_id == in.track_id && out->duration_ms == 5000 && out->limit == 7);
    assert_true(out->max_false_positive == 0.25 && out->fingerprint == in.fingerprint);
    assert_true(out->labels.title == "Title" && !out->labels.artist);
    assert_true(out->labels.metadata == "{}");
}

void a_worker_that_lies_is_refused(void**) {
    const auto refused = [](auto change) {
        Record record = example();
        change(record);
        return !unpacks(record);
    };
    assert_true(refused([](Record& r) { r.audio = "[]"; }));
    assert_true(refused([](Record& r) { r.audio = "{"; }));
    assert_true(refused([](Record& r) { r.audio = "{\"x\":\"" + std::string(5000, 'x') + "\"}"; }));
    assert_true(refused([](Record& r) { r.sha256 = "00"; }));
    assert_true(refused([](Record& r) { r.sha256[5] = 'G'; }));
    assert_true(refused([](Record& r) { r.track_id = "a b"; }));
    assert_true(refused([](Record& r) { r.limit = 0; }));
    assert_true(refused([](Record& r) { r.limit = 51; }));
    assert_true(refused([](Record& r) { r.max_false_positive = -0.1; }));
    assert_true(refused(
        [](Record& r) { r.max_false_positive = std::numeric_limits<double>::quiet_NaN(); }));
    assert_true(refused([](Record& r) { r.labels.title = "\xff"; }));
    assert_true(refused([](Record& r) { r.labels.metadata = "[]"; }));
}

void truncated_and_damaged_records_never_read_past_their_end(void**) {
    const std::string packed = catalog::pack(example());
    for (std::size_t size = 0; size < packed.size(); ++size) {
        const std::string cut = packed.substr(0, size);  // its own allocation: ASan sees overreads
        assert_false(static_cast<bool>(catalog::unpack_record(as_bytes_of(cut))));
    }
    constexpr std::uint32_t seed = 5;
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    int refused = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::string lie = packed;
        lie[random() % lie.size()] = static_cast<char>(random());
        lie[random() % lie.size()] = static_cast<char>(random());
        refused += catalog::unpack_record(as_bytes_of(lie)) ? 0 : 1;
    }
    assert_true(refused > 1000);
}

void labels_are_checked(void**) {
    const auto good = [](Parameter p, std::string_view v) {
        return static_cast<bool>(make_label(p, v));
    };
    std::string umlauts;
    for (int i = 0; i < 512; ++i) {
        umlauts += "ü";
    }
    assert_true(good(Parameter::title, umlauts));  // characters count, not bytes
    assert_false(good(Parameter::title, umlauts + "u"));
    assert_true(good(Parameter::artist, ""));
    assert_false(good(Parameter::album, std::string_view("a\0b", 3)));
    for (const char* bad :
         {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "a\xff"}) {
        assert_false(good(Parameter::title, bad));
    }
    assert_true(good(Parameter::isrc, "US-S1Z-99-00001"));
    assert_false(good(Parameter::isrc, "US S1Z"));
    assert_false(good(Parameter::isrc, std::string(33, 'A')));
    assert_true(*make_label(Parameter::metadata, " { \"b\" : 1, \"a\": [ ] } ") ==
                R"({"b":1,"a":[]})");
    for (const char* bad :
         {"", "[]", "1", "null", "{", "{\"a\":}", "{\"a\":1e999}", "{\"a\":\"\xff\"}"}) {
        assert_false(good(Parameter::metadata, bad));
    }
    const std::string room(catalog::max_metadata_bytes - 8, 'x');
    assert_true(good(Parameter::metadata, "{\"a\":\"" + room + "\"}"));
    assert_false(good(Parameter::metadata, "{\"a\":\"x" + room + "\"}"));
    assert_false(good(Parameter::metadata,
                      "{\"a\":" + std::string(8000, '[') + std::string(8000, ']') + "}"));
}

void track_ids_are_of_the_contracts_alphabet(void**) {
    assert_true(catalog::is_track_id("A-Za-z0-9._:-"));
    assert_true(catalog::is_track_id(std::string(128, 'x')));
    for (const std::string& bad : {std::string(), std::string(129, 'x'), std::string("a/b"),
                                   std::string("a b"), std::string("ü"), std::string(1, '\0')}) {
        assert_false(catalog::is_track_id(bad));
    }
}

void folding_makes_cases_equal(void**) {
    assert_true(catalog::utf8_folded("ÄÖÜ ÉΣЖ abc XYZ") == catalog::utf8_folded("äöü éσж ABC xyz"));
    assert_true(catalog::utf8_folded("straße") == "straße");
    assert_true(*catalog::utf8_characters("aü€😀") == 4);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_out_as_it_went_in),
        cmocka_unit_test(a_worker_that_lies_is_refused),
        cmocka_unit_test(truncated_and_damaged_records_never_read_past_their_end),
        cmocka_unit_test(labels_are_checked),
        cmocka_unit_test(track_ids_are_of_the_contracts_alphabet),
        cmocka_unit_test(folding_makes_cases_equal),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
