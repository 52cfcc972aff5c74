#include "shm/params.hpp"

#include <random>
#include <string>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::Bytes;
using sonogate::Errc;
using sonogate::Parameter;
using sonogate::shm::Params;
using sonogate::shm::ParamsWriter;

using Memory = std::array<std::byte, 256>;

Bytes written(const Memory& memory, const ParamsWriter& writer) {
    return Bytes(memory).first(writer.size());
}

void what_is_packed_is_unpacked(void**) {
    Memory memory;
    ParamsWriter writer(memory);
    assert_true(static_cast<bool>(writer.add(Parameter::hop, "256")));
    assert_true(static_cast<bool>(writer.add(Parameter::title, "")));
    assert_true(static_cast<bool>(writer.add(Parameter::artist, std::string_view("a\0b", 3))));
    const auto params = Params::parse(written(memory, writer));
    assert_true(static_cast<bool>(params));
    assert_true(params->get(Parameter::hop) == "256");
    assert_true(params->get(Parameter::title) == "");
    assert_true(params->get(Parameter::artist) == std::string_view("a\0b", 3));
    assert_false(params->get(Parameter::album).has_value());
}

void no_parameters_are_no_bytes(void**) {
    const ParamsWriter writer;
    assert_int_equal(writer.size(), 0);
    assert_true(static_cast<bool>(Params::parse({})));
}

void a_repeat_in_one_source_is_refused_by_name(void**) {
    Memory memory;
    ParamsWriter writer(memory);
    assert_true(static_cast<bool>(writer.add(Parameter::hop, "256")));
    const auto again = writer.add(Parameter::hop, "256");
    assert_false(static_cast<bool>(again));
    assert_int_equal(again.failure().code, Errc::invalid_parameter);
    assert_int_equal(again.failure().parameter, Parameter::hop);
}

void the_first_source_wins_and_the_second_may_still_not_repeat(void**) {
    Memory memory;
    ParamsWriter writer(memory);
    assert_true(static_cast<bool>(writer.add(Parameter::hop, "256")));
    writer.next_source();
    assert_true(static_cast<bool>(writer.add(Parameter::hop, "512")));
    assert_true(static_cast<bool>(writer.add(Parameter::peaks, "3")));
    assert_false(static_cast<bool>(writer.add(Parameter::hop, "1024")));
    auto params = Params::parse(written(memory, writer));
    assert_true(params->get(Parameter::hop) == "256");
    params->add_later(Parameter::hop, "2048");
    params->add_later(Parameter::window, "hann");
    assert_true(params->get(Parameter::hop) == "256");
    assert_true(params->get(Parameter::window) == "hann");
}

void short_memory_is_refused_and_keeps_what_was_there(void**) {
    std::array<std::byte, 20> memory;
    ParamsWriter writer(memory);
    assert_true(static_cast<bool>(writer.add(Parameter::hop, "256")));
    const auto more = writer.add(Parameter::title, "two bytes too long");
    assert_false(static_cast<bool>(more));
    assert_int_equal(more.failure().code, Errc::malformed_request);
    assert_true(static_cast<bool>(writer.add(Parameter::q, "")));  // 8 + 3 + 8 bytes just fit
    assert_false(static_cast<bool>(writer.add(Parameter::isrc, "")));
    const auto params = Params::parse(Bytes(memory).first(writer.size()));
    assert_true(params->get(Parameter::hop) == "256");
    assert_false(params->get(Parameter::title).has_value());
}

void a_cut_form_is_refused_at_every_length(void**) {
    Memory memory;
    ParamsWriter writer(memory);
    (void)writer.add(Parameter::hop, "256");
    (void)writer.add(Parameter::title, "a title");
    const std::size_t whole = writer.size();
    for (std::size_t size = 1; size < whole; ++size) {
        // A copy of just that size, so that the sanitizers see a byte read too many.
        const std::vector<std::byte> cut(memory.begin(), memory.begin() + static_cast<long>(size));
        if (size == ParamsWriter::header_bytes + 3) {
            continue;  // cut between the two entries is a whole form of one
        }
        assert_false(static_cast<bool>(Params::parse(cut)));
    }
}

void a_lying_form_is_refused(void**) {
    struct Lie {
        std::uint16_t parameter;
        std::uint32_t bytes;
    };
    const auto count = static_cast<std::uint16_t>(sonogate::parameter_count);
    for (const Lie lie : {Lie{0, 0}, Lie{count, 0}, Lie{65535, 0}, Lie{1, 1}, Lie{1, 0xffffffff}}) {
        const ParamsWriter::Header header{lie.parameter, 0, lie.bytes};
        const auto params = Params::parse(std::as_bytes(std::span(&header, 1)));
        assert_false(static_cast<bool>(params));
        assert_int_equal(params.failure().code, Errc::malformed_request);
    }
    const ParamsWriter::Header twice[2] = {{1, 0, 0}, {1, 0, 0}};
    assert_false(static_cast<bool>(Params::parse(std::as_bytes(std::span(twice)))));
}

void random_bytes_never_lead_outside(void**) {
    const unsigned seed = std::random_device{}();
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::byte> noise(random() % 48);
        for (auto& byte : noise) {
            byte = static_cast<std::byte>(random() % 3 == 0 ? random() % 256 : random() % 4);
        }
        const auto params = Params::parse(noise);
        if (!params) {
            continue;
        }
        for (std::size_t i = 1; i < sonogate::parameter_count; ++i) {
            const auto value = params->get(static_cast<Parameter>(i));
            if (value && !value->empty()) {
                const auto* first = reinterpret_cast<const std::byte*>(value->data());
                assert_true(first >= noise.data());
                assert_true(first + value->size() <= noise.data() + noise.size());
            }
        }
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_is_unpacked),
        cmocka_unit_test(no_parameters_are_no_bytes),
        cmocka_unit_test(a_repeat_in_one_source_is_refused_by_name),
        cmocka_unit_test(the_first_source_wins_and_the_second_may_still_not_repeat),
        cmocka_unit_test(short_memory_is_refused_and_keeps_what_was_there),
        cmocka_unit_test(a_cut_form_is_refused_at_every_length),
        cmocka_unit_test(a_lying_form_is_refused),
        cmocka_unit_test(random_bytes_never_lead_outside),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
