#include "audio/mpeg_tags.hpp"

#include <string>

#include "tests/audio/sound_file.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using namespace std::string_literals;

namespace {

constexpr int rate_hz = 44100;

std::string mp3_file() {
    const auto file = test::sound_file(SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, rate_hz, 1,
                                       test::tone(440.0, rate_hz, rate_hz, 0.5));
    return std::string(as_text(file));
}

std::size_t begins(const std::string& file) {
    return audio::after_id3_tags(as_bytes_of(file));
}

std::size_t ends(const std::string& file) {
    return audio::before_end_tags(as_bytes_of(file));
}

void id3_tags_in_front_are_passed_over(void**) {
    const std::string tag = "ID3\x04\0\0\0\0\x01\x02"s + std::string(130, 'x');
    const std::string with_footer = "ID3\x04\0\x10\0\0\0\x04xxxx3DI\x04\0\x10\0\0\0\x04"s;
    assert_int_equal(begins(""), 0);
    assert_int_equal(begins("ID3"), 0);
    assert_int_equal(begins("no tag at all"), 0);
    assert_int_equal(begins(tag + "audio"), tag.size());
    assert_int_equal(begins(tag + with_footer + tag + "audio"), 2 * tag.size() + 24);
    assert_int_equal(begins("ID3\x04\0\0\x7f\x7f\x7f\x7f"s), 10 + (1U << 28U) - 1);
    assert_int_equal(begins("ID3\x04\0\0\x80\0\0\0"s), 0);
    assert_int_equal(begins("ID3\xff\0\0\0\0\0\0"s), 0);
}

std::string ape_tag(std::string_view body, bool header) {
    const auto size = static_cast<char>(body.size() + 32);
    const std::string flags = header ? "\0\0\0\x80"s : "\0\0\0\0"s;
    const std::string end =
        "APETAGEX\xd0\x07\0\0"s + size + "\0\0\0\1\0\0\0"s + flags + std::string(8, '\0');
    return (header ? end : "") + std::string(body) + end;
}

void tags_at_the_end_are_passed_over_in_any_order(void**) {
    const std::string id3v1 = "TAG" + std::string(125, '\0');
    const std::string lyrics = "LYRICSBEGINla la la000019LYRICS200";
    const std::string tags[] = {id3v1, lyrics, ape_tag("cover", true), ape_tag("gain", false)};
    assert_int_equal(ends(""), 0);
    assert_int_equal(ends("audio"), 5);
    for (const std::string& one : tags) {
        assert_int_equal(ends("audio" + one), 5);
        assert_int_equal(ends(one), 0);
        for (const std::string& other : tags) {
            assert_int_equal(ends("audio" + one + other), 5);
        }
    }
    // Sizes that lie: as if there were no tag.
    const std::string long_ape = ape_tag("cover", true).substr(40);
    assert_int_equal(ends(long_ape), long_ape.size());
    assert_int_equal(ends("999999LYRICS200"), 15);
    assert_true(ends("xxxxxxLYRICS200") <= 15);
}

void the_tag_in_the_first_frame_tells_how_much_there_is_to_hear(void**) {
    std::string file = mp3_file();
    assert_int_equal(*audio::promised_samples(as_bytes_of(file)), rate_hz);
    const std::size_t tag = file.find("LAME", 40);  // of the encoder, behind Xing's fields
    std::string no_encoder = file;
    no_encoder.replace(tag, 4, "XXXX");
    const auto all = audio::promised_samples(as_bytes_of(no_encoder));
    assert_int_equal(*all % 1152, 0);
    assert_true(*all > rate_hz);
    const std::size_t xing = std::min(file.find("Xing"), file.find("Info"));
    std::string vbri = file;
    vbri.replace(xing, 4, "XXXX");
    assert_false(audio::promised_samples(as_bytes_of(vbri)).has_value());
    vbri.replace(36, 18, "VBRI\0\1\0\0\0\0\0\0\0\0\0\0\1\2"s);
    assert_int_equal(*audio::promised_samples(as_bytes_of(vbri)), 258 * 1152);
    for (std::size_t size = 0; size < 200; ++size) {  // ASan watches
        audio::promised_samples(as_bytes_of(std::string_view(file).substr(0, size)));
    }
}

void a_tag_or_zeros_between_frames_are_no_damage(void**) {
    for (const std::string& harmless :
         {""s, "\0\0\0"s, "TAGtitle"s, "ID3\x03"s, "APETAGEX"s, "LYRICSBEGIN"s}) {
        assert_true(audio::is_tag_or_padding(as_bytes_of(harmless)));
    }
    for (const std::string& damage : {"x"s, "\0\0x"s, "TA"s}) {
        assert_false(audio::is_tag_or_padding(as_bytes_of(damage)));
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(id3_tags_in_front_are_passed_over),
        cmocka_unit_test(tags_at_the_end_are_passed_over_in_any_order),
        cmocka_unit_test(the_tag_in_the_first_frame_tells_how_much_there_is_to_hear),
        cmocka_unit_test(a_tag_or_zeros_between_frames_are_no_damage),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
