#include "base/bytes.hpp"

#include <limits>
#include <random>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::as_bytes_of;
using sonogate::as_text;
using sonogate::ByteReader;
using sonogate::Bytes;
using sonogate::ByteWriter;

void what_is_written_is_read_back(void**) {
    ByteWriter writer;
    writer.write(std::uint8_t{1});
    writer.write(std::uint64_t{0x0102030405060708});
    writer.write(-2.5);
    writer.append(as_bytes_of("tail"));
    const auto bytes = writer.take();
    assert_int_equal(bytes.size(), 1 + 8 + 8 + 4);
    assert_int_equal(static_cast<int>(bytes[1]), 8);  // little-endian
    ByteReader reader(bytes);
    assert_int_equal(reader.read<std::uint8_t>(), 1);
    assert_true(reader.read<std::uint64_t>() == 0x0102030405060708);
    assert_true(reader.read<double>() == -2.5);
    assert_int_equal(reader.left(), 4);
    assert_true(as_text(reader.take(4)) == "tail");
    assert_int_equal(reader.left(), 0);
    assert_true(reader.ok());
}

void a_read_past_the_end_gives_zeros_for_ever(void**) {
    const std::string text(7, '\xff');
    ByteReader reader(as_bytes_of(text));
    assert_int_equal(reader.read<std::uint32_t>(), 0xffffffff);
    assert_int_equal(reader.read<std::uint32_t>(), 0);
    assert_false(reader.ok());
    assert_int_equal(reader.read<std::uint8_t>(), 0);  // three bytes are left, but not to be had
    assert_int_equal(reader.left(), 0);
    assert_true(reader.take(0).empty());
    assert_false(reader.ok());
}

void no_size_however_large_reaches_past_the_end(void**) {
    const std::string text(16, 'x');
    for (const std::size_t size :
         {std::size_t{17}, std::size_t{1} << 63U, std::numeric_limits<std::size_t>::max()}) {
        ByteReader reader(as_bytes_of(text));
        (void)reader.take(3);
        assert_true(reader.take(size).empty());
        assert_false(reader.ok());
    }
}

void an_empty_span_is_not_an_error_until_it_is_read(void**) {
    ByteReader reader{Bytes{}};
    assert_true(reader.ok());
    assert_true(reader.take(0).empty());
    assert_true(reader.ok());
    assert_int_equal(reader.read<std::uint8_t>(), 0);
    assert_false(reader.ok());
}

void random_reads_never_leave_the_span(void**) {
    const unsigned seed = std::random_device{}();
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 2000; ++round) {
        // A vector of exactly that size, so that the sanitizers see the first byte too many.
        const std::vector<std::byte> memory(random() % 40);
        ByteReader reader(memory);
        std::size_t sum = 0;
        while (reader.ok()) {
            const std::size_t before = reader.left();
            const Bytes got = reader.take(random() % 12);
            if (reader.ok()) {
                sum += got.size();
                assert_int_equal(reader.left(), before - got.size());
            } else {
                assert_true(got.empty());
            }
            for (const std::byte b : got) {
                assert_int_equal(static_cast<int>(b), 0);
            }
            if (reader.left() == 0) {
                break;
            }
        }
        assert_true(sum <= memory.size());
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_read_past_the_end_gives_zeros_for_ever),
        cmocka_unit_test(no_size_however_large_reaches_past_the_end),
        cmocka_unit_test(an_empty_span_is_not_an_error_until_it_is_read),
        cmocka_unit_test(random_reads_never_leave_the_span),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
