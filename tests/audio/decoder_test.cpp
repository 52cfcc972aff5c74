#include "audio/decoder.hpp"

#include <filesystem>
#include <fstream>
#include <random>

#include "audio/mpeg_frame.hpp"
#include "tests/audio/sound_file.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using audio::AudioFormat;
using test::sound_file;
using test::tone;

namespace {

struct Kind {
    const char* name;
    AudioFormat format;
    int sndfile_format;
    const char* codec;
    bool lossless;
};

constexpr Kind kinds[] = {
    {"wav", AudioFormat::wav, SF_FORMAT_WAV | SF_FORMAT_PCM_16, "pcm-s16", true},
    {"wav u8", AudioFormat::wav, SF_FORMAT_WAV | SF_FORMAT_PCM_U8, "pcm-u8", false},
    {"wav float", AudioFormat::wav, SF_FORMAT_WAV | SF_FORMAT_FLOAT, "pcm-f32", true},
    {"wav adpcm", AudioFormat::wav, SF_FORMAT_WAV | SF_FORMAT_IMA_ADPCM, "ima-adpcm", false},
    {"wavex", AudioFormat::wav, SF_FORMAT_WAVEX | SF_FORMAT_PCM_24, "pcm-s24", true},
    {"aiff", AudioFormat::aiff, SF_FORMAT_AIFF | SF_FORMAT_PCM_16, "pcm-s16", true},
    {"caf", AudioFormat::caf, SF_FORMAT_CAF | SF_FORMAT_PCM_24, "pcm-s24", true},
    {"caf alac", AudioFormat::caf, SF_FORMAT_CAF | SF_FORMAT_ALAC_16, "alac", true},
    {"au", AudioFormat::au, SF_FORMAT_AU | SF_FORMAT_ULAW, "ulaw", false},
    {"w64", AudioFormat::w64, SF_FORMAT_W64 | SF_FORMAT_PCM_16, "pcm-s16", true},
    {"rf64", AudioFormat::rf64, SF_FORMAT_RF64 | SF_FORMAT_PCM_16, "pcm-s16", true},
    {"flac", AudioFormat::flac, SF_FORMAT_FLAC | SF_FORMAT_PCM_16, "flac", true},
    {"vorbis", AudioFormat::ogg_vorbis, SF_FORMAT_OGG | SF_FORMAT_VORBIS, "vorbis", false},
    {"opus", AudioFormat::ogg_opus, SF_FORMAT_OGG | SF_FORMAT_OPUS, "opus", false},
    {"mp3", AudioFormat::mp3, SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, "mpeg-layer-3", false},
};

constexpr int rate_hz = 48000;
constexpr std::size_t second = 48000;

std::vector<std::byte> file_of(const Kind& kind) {
    return sound_file(kind.sndfile_format, rate_hz, 1, tone(440.0, rate_hz, second, 0.5));
}

struct Decoded {
    Errc code = Errc::ok;
    std::vector<float> samples;
    bool truncated = false;
};

Decoded decode(Bytes file, std::size_t chunk_frames = 4096) {
    auto decoder = audio::open_decoder(file);
    if (!decoder) {
        return {decoder.failure().code, {}, false};
    }
    Decoded out;
    std::vector<float> block(chunk_frames * (*decoder)->info().channels);
    for (;;) {
        const auto got = (*decoder)->read(block);
        if (!got) {
            out.code = got.failure().code;
            break;
        }
        if (*got == 0) {
            break;
        }
        const auto used = static_cast<std::ptrdiff_t>(*got * (*decoder)->info().channels);
        out.samples.insert(out.samples.end(), block.begin(), block.begin() + used);
    }
    out.truncated = (*decoder)->truncated();
    return out;
}

void every_format_is_told_by_its_bytes_and_decodes(void**) {
    const std::vector<float> original = tone(440.0, rate_hz, second, 0.5);
    for (const Kind& kind : kinds) {
        const auto file = file_of(kind);
        print_message("%s\n", kind.name);
        assert_true(!file.empty());
        assert_int_equal(audio::sniff(file).format, kind.format);
        auto decoder = audio::open_decoder(file);
        assert_true(static_cast<bool>(decoder));
        assert_string_equal(std::string((*decoder)->info().codec).c_str(), kind.codec);
        assert_int_equal((*decoder)->info().sample_rate_hz, rate_hz);
        const Decoded decoded = decode(file);
        assert_int_equal(decoded.code, Errc::ok);
        assert_false(decoded.truncated);
        if (kind.lossless) {
            assert_int_equal(decoded.samples.size(), second);
            for (std::size_t i = 0; i < second; ++i) {
                // half a 16-bit step, and what clipping at 32767 adds
                assert_true(std::abs(decoded.samples[i] - original[i]) < 1.0F / 32768.0F);
            }
        } else {
            // codecs add delay and padding: at most two MPEG frames and a codec block
            assert_true(decoded.samples.size() >= second);
            assert_true(decoded.samples.size() <= second + 4096);
        }
    }
}

void a_cut_file_gives_what_is_there_and_says_so(void**) {
    std::mt19937 random(5);
    std::vector<float> noise(4 *
                             second);  // loud enough that headers are a small part of every format
    for (float& sample : noise) {
        sample = std::uniform_real_distribution<float>(-0.5F, 0.5F)(random);
    }
    for (const Kind& kind : kinds) {
        auto file = sound_file(kind.sndfile_format, rate_hz, 1, noise);
        print_message("%s of %zu bytes\n", kind.name, file.size());
        file.resize(file.size() * 6 / 10);
        const Decoded decoded = decode(file);
        if (kind.sndfile_format == (SF_FORMAT_CAF | SF_FORMAT_ALAC_16)) {
            assert_true(decoded.code != Errc::ok ||
                        decoded.truncated);  // its packet table stands at the end
            continue;
        }
        assert_int_equal(decoded.code, Errc::ok);
        assert_true(decoded.truncated);
        assert_true(decoded.samples.size() > second);
        assert_true(decoded.samples.size() < 4 * second);
    }
}

void chunk_sizes_do_not_change_what_decodes(void**) {
    for (const Kind& kind : kinds) {
        const auto file = file_of(kind);
        const Decoded whole = decode(file, 1U << 17U);
        for (const std::size_t chunk :
             {std::size_t{1}, std::size_t{7}, std::size_t{1000}, std::size_t{4096}}) {
            print_message("%s by %zu\n", kind.name, chunk);
            assert_true(decode(file, chunk).samples == whole.samples);
        }
    }
}

void put_u32(std::vector<std::byte>& file, std::size_t at, std::uint32_t value) {
    std::memcpy(file.data() + at, &value, sizeof(value));
}

void a_wav_that_claims_four_gigabytes_gives_what_is_there(void**) {
    const auto whole =
        sound_file(SF_FORMAT_WAV | SF_FORMAT_PCM_16, rate_hz, 1, tone(440.0, rate_hz, second, 0.5));
    for (const std::uint32_t claim :
         {0xFFFFFFFFU, 0xFFFFFFF0U, 0xFFFFFFFEU, 0x80000000U, 0x7FFFF000U}) {
        auto file = whole;
        put_u32(file, 4, claim);
        put_u32(file, 40, claim);
        const Decoded decoded = decode(file);
        print_message("claim %x: %zu samples\n", claim, decoded.samples.size());
        assert_int_equal(decoded.code, Errc::ok);
        assert_int_equal(decoded.samples.size(), second);
        // 0xFFFFFFFF is what a program writes that does not know the length.
        assert_int_equal(decoded.truncated, claim != 0xFFFFFFFFU);
    }
}

void a_wav_of_unknown_length_zero_decodes(void**) {
    auto file =
        sound_file(SF_FORMAT_WAV | SF_FORMAT_PCM_16, rate_hz, 1, tone(440.0, rate_hz, second, 0.5));
    put_u32(file, 4, 0);
    put_u32(file, 40, 0);
    const Decoded decoded = decode(file);
    assert_int_equal(decoded.code, Errc::ok);
    assert_int_equal(decoded.samples.size(), second);
    assert_false(decoded.truncated);
}

// The value in each format that says "to the end of the file", as a program writes it to a pipe.
void sizes_that_mean_to_the_end_of_the_file_promise_nothing(void**) {
    struct OpenEnded {
        int sndfile_format;
        std::string_view data_id;
        std::size_t size_at;  // behind the id
        std::size_t size_bytes;
        unsigned char last_byte;
    };
    constexpr OpenEnded open_ended[] = {{SF_FORMAT_WAV, "data", 4, 4, 0xFF},
                                        {SF_FORMAT_CAF, "data", 4, 8, 0xFF},
                                        {SF_FORMAT_AIFF, "SSND", 4, 4, 0xFF},
                                        {SF_FORMAT_W64, "data", 16, 8, 0x7F}};
    for (const OpenEnded& form : open_ended) {
        auto file = sound_file(form.sndfile_format | SF_FORMAT_PCM_16, rate_hz, 1,
                               tone(440.0, rate_hz, second, 0.5));
        const std::size_t at = as_text(file).find(form.data_id) + form.size_at;
        std::memset(file.data() + at, 0xFF, form.size_bytes);
        file[at + form.size_bytes - 1] = std::byte{form.last_byte};
        const Decoded decoded = decode(file);
        print_message("%x: %zu samples\n", form.sndfile_format, decoded.samples.size());
        assert_int_equal(decoded.code, Errc::ok);
        assert_int_equal(decoded.samples.size(), second);
        assert_false(decoded.truncated);
    }
}

std::vector<std::byte> without_first_frame(const std::vector<std::byte>& mp3) {
    const auto tag = audio::mpeg_frame_at(mp3, 0);
    return {mp3.begin() + static_cast<std::ptrdiff_t>(tag->bytes), mp3.end()};
}

void an_mp3_is_as_long_as_its_tag_says_or_as_its_frames_are(void**) {
    const auto tagged = file_of(kinds[14]);
    auto decoder = audio::open_decoder(tagged);
    assert_int_equal(*(*decoder)->info().frames, second);
    assert_int_equal(decode(tagged).samples.size(), second);
    const auto plain = without_first_frame(tagged);
    decoder = audio::open_decoder(plain);
    assert_false((*decoder)->info().frames.has_value());
    const Decoded decoded = decode(plain);
    assert_int_equal(decoded.samples.size() % 1152, 0);
    assert_true(decoded.samples.size() >= second + 529);
    assert_false(decoded.truncated);
}

// Damage may look like a frame of another rate or of more channels, which would be the end.
void a_damaged_mp3_is_heard_to_its_end(void**) {
    constexpr unsigned seed = 11;
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    const auto whole = without_first_frame(file_of(kinds[14]));
    const std::size_t frames = decode(whole).samples.size();
    constexpr std::size_t spared = 1000;  // the first frames tell what the others are like
    for (int turn = 0; turn < 100; ++turn) {
        auto file = whole;
        for (int hit = 0; hit < 5; ++hit) {
            file[spared + random() % (file.size() - spared)] = static_cast<std::byte>(random());
        }
        const std::size_t hole_bytes = 1 + random() % 500;
        const std::size_t at = spared + random() % (file.size() - spared - hole_bytes);
        const auto hole = file.begin() + static_cast<std::ptrdiff_t>(at);
        file.erase(hole, hole + static_cast<std::ptrdiff_t>(hole_bytes));
        const Decoded decoded = decode(file);
        assert_int_equal(decoded.code, Errc::ok);
        // Each hit costs two frames at most, the hole three and as many as it is long.
        assert_in_range(decoded.samples.size(), frames - 15 * 1152, frames);
    }
}

void an_mp3_that_changes_its_rate_ends_there_and_says_so(void**) {
    auto file = without_first_frame(file_of(kinds[14]));
    const std::size_t frames = decode(file).samples.size();
    const auto other = sound_file(SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 32000, 1,
                                  tone(440.0, 32000, 32000, 0.5));
    file.insert(file.end(), other.begin(), other.end());
    const Decoded decoded = decode(file);
    assert_int_equal(decoded.samples.size(), frames);
    assert_true(decoded.truncated);
}

void no_bytes_text_and_noise_are_refused(void**) {
    assert_int_equal(decode({}).code, Errc::missing_audio);
    assert_int_equal(decode(as_bytes_of("hello, this is no sound at all")).code,
                     Errc::unsupported_format);
    assert_int_equal(decode(as_bytes_of("\x89PNG\r\n\x1a\n")).code, Errc::unsupported_format);
    assert_int_equal(decode(as_bytes_of("RIFF\x10\0\0\0AVI LIST")).code, Errc::unsupported_format);
    constexpr unsigned seed = 20261123;
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    std::vector<std::byte> noise(100000);
    for (int i = 0; i < 300; ++i) {
        for (std::byte& byte : noise) {
            byte = static_cast<std::byte>(random());
        }
        assert_int_equal(decode(noise).code, Errc::unsupported_format);
    }
}

void headers_without_audio_are_undecodable_and_empty_files_too_short(void**) {
    const std::vector<float> none;
    assert_int_equal(decode(sound_file(SF_FORMAT_WAV | SF_FORMAT_PCM_16, rate_hz, 1, none)).code,
                     Errc::too_short);
    assert_int_equal(decode(sound_file(SF_FORMAT_AIFF | SF_FORMAT_PCM_16, rate_hz, 2, none)).code,
                     Errc::too_short);
    for (const Kind& kind : kinds) {
        auto file = file_of(kind);
        for (const std::size_t size : {std::size_t{16}, std::size_t{20}, std::size_t{24}}) {
            auto cut = file;
            cut.resize(std::min(cut.size(), size));
            print_message("%s cut to %zu\n", kind.name, size);
            const Errc code = decode(cut).code;
            assert_true(code == Errc::undecodable || code == Errc::unsupported_format);
        }
    }
}

void tags_before_mp3_do_not_hide_it(void**) {
    const auto mp3 = file_of(kinds[14]);
    std::vector<std::byte> tagged(10 + 300);
    std::memcpy(tagged.data(), "ID3\x04\0\0\0\0\x02\x2c", 10);  // 2 × 128 + 44 = 300 bytes
    const std::vector<std::byte> tag = tagged;
    tagged.insert(tagged.end(), tag.begin(), tag.end());
    tagged.insert(tagged.end(), mp3.begin(), mp3.end());
    assert_int_equal(audio::sniff(tagged).format, AudioFormat::mp3);
    assert_true(decode(tagged).samples == decode(mp3).samples);
}

void many_channels_and_odd_rates_decode(void**) {
    for (const int channels : {2, 8, 255}) {
        const std::vector<float> samples(static_cast<std::size_t>(channels) * 100, 0.25F);
        const Decoded decoded =
            decode(sound_file(SF_FORMAT_WAV | SF_FORMAT_PCM_16, rate_hz, channels, samples));
        assert_int_equal(decoded.code, Errc::ok);
        assert_int_equal(decoded.samples.size(), samples.size());
    }
    for (const int rate : {1, 10'000'000}) {
        const auto file =
            sound_file(SF_FORMAT_WAV | SF_FORMAT_PCM_16, rate, 1, std::vector<float>(100, 0.25F));
        assert_int_equal(decode(file).samples.size(), 100);
    }
    auto no_rate =
        sound_file(SF_FORMAT_WAV | SF_FORMAT_PCM_16, rate_hz, 1, std::vector<float>(100, 0.25F));
    put_u32(no_rate, 24, 0);
    assert_int_equal(decode(no_rate).code, Errc::undecodable);
}

// Whatever comes out, nothing is read outside the file (ASan watches) and the decoder ends.
void damage_and_decode(const std::vector<std::byte>& original, int turns, std::mt19937& random) {
    for (int turn = 0; turn < turns; ++turn) {
        auto file = original;
        const std::size_t reach =
            turn % 2 == 0 ? std::min<std::size_t>(file.size(), 200) : file.size();
        for (unsigned hit = 0; hit < 1U + random() % 8U; ++hit) {
            file[random() % reach] = static_cast<std::byte>(random());
        }
        if (turn % 3 == 0) {
            file.resize(random() % file.size());
        }
        try {
            const Decoded decoded = decode(file);
            assert_true(decoded.code == Errc::ok || decoded.code == Errc::undecodable ||
                        decoded.code == Errc::unsupported_format ||
                        decoded.code == Errc::too_short || decoded.code == Errc::missing_audio);
            assert_true(decoded.code != Errc::ok || !decoded.samples.empty());
        } catch (const std::bad_alloc&) {
            // a header that asks for more memory than there is: job-too-large
        }
    }
}

void damaged_files_end_in_an_answer(void**) {
    constexpr unsigned seed = 7;
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    for (const Kind& kind : kinds) {
        damage_and_decode(
            sound_file(kind.sndfile_format, rate_hz, 1, tone(440.0, rate_hz, second / 10, 0.5)), 60,
            random);
    }
    // Those that libsndfile cannot write: the seeds of the fuzzer.
    int seeds = 0;
    for (const auto& entry : std::filesystem::directory_iterator(DECODER_CORPUS)) {
        std::ifstream in(entry.path(), std::ios::binary);
        const std::string content(std::istreambuf_iterator<char>(in), {});
        const Bytes bytes = as_bytes_of(content);
        print_message("%s\n", entry.path().filename().c_str());
        damage_and_decode({bytes.begin(), bytes.end()}, 60, random);
        ++seeds;
    }
    assert_true(seeds > 10);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_told_by_its_bytes_and_decodes),
        cmocka_unit_test(a_cut_file_gives_what_is_there_and_says_so),
        cmocka_unit_test(chunk_sizes_do_not_change_what_decodes),
        cmocka_unit_test(a_wav_that_claims_four_gigabytes_gives_what_is_there),
        cmocka_unit_test(a_wav_of_unknown_length_zero_decodes),
        cmocka_unit_test(sizes_that_mean_to_the_end_of_the_file_promise_nothing),
        cmocka_unit_test(an_mp3_is_as_long_as_its_tag_says_or_as_its_frames_are),
        cmocka_unit_test(a_damaged_mp3_is_heard_to_its_end),
        cmocka_unit_test(an_mp3_that_changes_its_rate_ends_there_and_says_so),
        cmocka_unit_test(no_bytes_text_and_noise_are_refused),
        cmocka_unit_test(headers_without_audio_are_undecodable_and_empty_files_too_short),
        cmocka_unit_test(tags_before_mp3_do_not_hide_it),
        cmocka_unit_test(many_channels_and_odd_rates_decode),
        cmocka_unit_test(damaged_files_end_in_an_answer),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
