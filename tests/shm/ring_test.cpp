#include "shm/ring.hpp"

#include <random>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::shm::Consumer;
using sonogate::shm::Index;
using sonogate::shm::Producer;
using sonogate::shm::RingResult;

struct Entry {
    std::uint64_t number = 0;
    std::uint64_t again = 0;
};

constexpr std::uint32_t entries = 8;

// The bytes that two segments would hold.
struct Shared {
    Entry slots[entries];
    Index tail{0};
    Index head{0};
};

using TestProducer = Producer<Entry, entries>;
using TestConsumer = Consumer<Entry, entries>;

void an_empty_ring_gives_nothing(void**) {
    Shared shared;
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    Entry out;
    assert_true(consumer.empty());
    assert_int_equal(consumer.pop(out), RingResult::none);
    assert_int_equal(shared.head.load(), 0);
}

void a_full_ring_takes_no_more_and_overwrites_nothing(void**) {
    Shared shared;
    TestProducer producer(shared.slots, shared.tail, shared.head);
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    for (std::uint64_t i = 0; i < entries; ++i) {
        assert_int_equal(producer.room(), entries - i);
        assert_int_equal(producer.push({i, i}), RingResult::ok);
    }
    assert_int_equal(producer.room(), 0);
    assert_int_equal(producer.push({99, 99}), RingResult::none);
    Entry out;
    for (std::uint64_t i = 0; i < entries; ++i) {
        assert_int_equal(consumer.pop(out), RingResult::ok);
        assert_int_equal(out.number, i);
    }
    assert_int_equal(consumer.pop(out), RingResult::none);
}

void entries_come_in_order_however_pushes_and_pops_mix(void**) {
    const unsigned seed = std::random_device{}();
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    Shared shared;
    TestProducer producer(shared.slots, shared.tail, shared.head);
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    std::uint64_t pushed = 0;
    std::uint64_t popped = 0;
    while (popped < 100'000) {
        for (auto n = random() % (entries + 2); n > 0; --n) {
            const bool fits = pushed - popped < entries;
            const auto result = producer.push({pushed, ~pushed});
            assert_int_equal(result, fits ? RingResult::ok : RingResult::none);
            pushed += fits ? 1 : 0;
        }
        for (auto n = random() % (entries + 2); n > 0; --n) {
            Entry out;
            const auto result = consumer.pop(out);
            assert_int_equal(result, popped < pushed ? RingResult::ok : RingResult::none);
            if (result == RingResult::ok) {
                assert_true(out.number == popped && out.again == ~popped);
                ++popped;
            }
        }
    }
}

void an_entry_stays_the_consumers_until_it_is_released(void**) {
    Shared shared;
    TestProducer producer(shared.slots, shared.tail, shared.head);
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    for (std::uint64_t i = 0; i < entries; ++i) {
        assert_int_equal(producer.next_position(), i);
        (void)producer.push({i, i});
    }
    Entry out;
    std::uint32_t position = 99;
    assert_int_equal(consumer.peek(out, position), RingResult::ok);
    assert_int_equal(position, 0);
    assert_int_equal(producer.push({8, 8}), RingResult::none);
    assert_int_equal(consumer.peek(out, position), RingResult::ok);  // the same one again
    assert_int_equal(out.number, 0);
    consumer.release();
    assert_int_equal(producer.push({8, 8}), RingResult::ok);
    assert_int_equal(consumer.peek(out, position), RingResult::ok);
    assert_int_equal(position, 1);
}

void the_copy_does_not_change_with_the_shared_entry(void**) {
    Shared shared;
    TestProducer producer(shared.slots, shared.tail, shared.head);
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    (void)producer.push({5, 5});
    Entry out;
    assert_int_equal(consumer.pop(out), RingResult::ok);
    shared.slots[0] = {6, 6};
    assert_int_equal(out.number, 5);
}

void an_entry_written_but_not_published_is_not_there(void**) {
    Shared shared;
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    shared.slots[0] = {1, 0};  // a producer killed between the copy and the store of the tail
    Entry out;
    assert_true(consumer.empty());
    assert_int_equal(consumer.pop(out), RingResult::none);
}

void a_tail_further_ahead_than_the_ring_is_long_is_a_lie(void**) {
    for (const std::uint32_t tail : {entries + 1, 2 * entries, 1U << 31U, 0xffffffffU}) {
        Shared shared;
        TestConsumer consumer(shared.slots, shared.tail, shared.head);
        shared.tail = tail;
        Entry out;
        assert_int_equal(consumer.pop(out), RingResult::lie);
        assert_int_equal(shared.head.load(), 0);
    }
}

void a_tail_that_goes_back_is_a_lie(void**) {
    Shared shared;
    TestProducer producer(shared.slots, shared.tail, shared.head);
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    (void)producer.push({1, 1});
    Entry out;
    assert_int_equal(consumer.pop(out), RingResult::ok);
    shared.tail = 0;
    assert_int_equal(consumer.pop(out), RingResult::lie);
}

void a_head_past_the_tail_is_a_lie(void**) {
    for (const std::uint32_t head : {1U, entries, 0x80000000U, 0xfffffff0U}) {
        Shared shared;
        TestProducer producer(shared.slots, shared.tail, shared.head);
        shared.head = head;
        assert_int_equal(producer.room(), 0);
        assert_int_equal(producer.push({1, 1}), RingResult::lie);
        assert_int_equal(shared.tail.load(), 0);
    }
}

void what_stands_in_our_own_segment_is_never_believed(void**) {
    Shared shared;
    TestProducer producer(shared.slots, shared.tail, shared.head);
    TestConsumer consumer(shared.slots, shared.tail, shared.head);
    (void)producer.push({1, 1});
    shared.head = 0xdead;  // not the consumer's doing: it keeps its own count
    Entry out;
    assert_int_equal(consumer.pop(out), RingResult::ok);
    assert_int_equal(shared.head.load(), 1);
}

void the_indices_wrap_without_a_seam(void**) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
    skip();  // 2^32 pushes take minutes instead of seconds there
#endif
    struct Nothing {};
    constexpr std::uint32_t size = 2048;
    static Nothing slots[size];
    Index tail{0};
    Index head{0};
    Producer<Nothing, size> producer(slots, tail, head);
    Consumer<Nothing, size> consumer(slots, tail, head);
    Nothing out;
    std::uint64_t wrong = 0;
    for (std::uint64_t i = 0; i < (1ULL << 32U) + 10 * size; i += size) {
        for (std::uint32_t n = 0; n < size; ++n) {
            wrong += producer.push({}) == RingResult::ok ? 0 : 1;
        }
        wrong += producer.push({}) == RingResult::none ? 0 : 1;
        for (std::uint32_t n = 0; n < size; ++n) {
            wrong += consumer.pop(out) == RingResult::ok ? 0 : 1;
        }
        wrong += consumer.empty() ? 0 : 1;
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(tail.load(), 10 * size);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_ring_gives_nothing),
        cmocka_unit_test(a_full_ring_takes_no_more_and_overwrites_nothing),
        cmocka_unit_test(entries_come_in_order_however_pushes_and_pops_mix),
        cmocka_unit_test(an_entry_stays_the_consumers_until_it_is_released),
        cmocka_unit_test(the_copy_does_not_change_with_the_shared_entry),
        cmocka_unit_test(an_entry_written_but_not_published_is_not_there),
        cmocka_unit_test(a_tail_further_ahead_than_the_ring_is_long_is_a_lie),
        cmocka_unit_test(a_tail_that_goes_back_is_a_lie),
        cmocka_unit_test(a_head_past_the_tail_is_a_lie),
        cmocka_unit_test(what_stands_in_our_own_segment_is_never_believed),
        cmocka_unit_test(the_indices_wrap_without_a_seam),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
