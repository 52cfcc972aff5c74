// Rates: the arithmetic against an exact model, the table under full sets and racing threads.
#include <atomic>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ngx_module/key_hash.hpp"
#include "ngx_module/rate_headers.hpp"
#include "ngx_module/rate_table.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate::ngx_module;
__extension__ using Exact = __int128;

// Zeroed words as nginx's shared memory has them.
struct Words {
    explicit Words(std::size_t sets) : memory(sets * RateTable::ways + 8) {
        void* at = memory.data();
        std::size_t space = memory.size() * sizeof(RateWord);
        first = static_cast<RateWord*>(std::align(64, sets * 64, at, space));
        table = RateTable({first, sets * RateTable::ways});
    }
    std::vector<RateWord> memory;
    RateWord* first = nullptr;
    RateTable table;
};

RateWindow window_of(std::string_view text, std::string_view burst = {}) {
    auto window = parse_rate_window(text);
    assert_true(window.has_value());
    assert_true(burst.empty() || set_rate_burst(*window, burst));
    return *window;
}

bool take(const RateTable& table, std::uint64_t key, const RateWindow& window, Ticks now,
          std::uint64_t amount = 1) {
    RateTable::Place place = table.find(key, now);
    return table.charge(place, key, now, window.cost_of(amount), window.capacity);
}

// GCRA without rounding: times are multiplied by the quota, so that every number is whole.
class Model {
  public:
    explicit Model(const RateWindow& window)
        : quota_(window.quota),
          cell_(Exact{window.period_s} * ticks_per_s),
          capacity_(cell_ * window.burst) {}

    bool take(Ticks now, std::uint64_t amount = 1) {
        const Exact exact_now = Exact{now} * quota_;
        const Exact after = std::max(full_at_, exact_now) + cell_ * amount;
        if (after > exact_now + capacity_) {
            return false;
        }
        full_at_ = after;
        return true;
    }

  private:
    Exact quota_;
    Exact cell_;
    Exact capacity_;
    Exact full_at_ = 0;
};

// Bursts, pauses, and a pace about that of the policy, so that the edges are met often.
Ticks random_gap(std::mt19937_64& random, const RateWindow& window) {
    const auto cell =
        static_cast<double>(window.period_s) * ticks_per_s / static_cast<double>(window.quota);
    switch (random() % 4) {
        case 0:
            return 0;
        case 1:
            return static_cast<Ticks>(random() % 3);
        case 2:
            return static_cast<Ticks>(std::exponential_distribution<double>(1 / cell)(random));
        default:
            return static_cast<Ticks>(cell) * static_cast<Ticks>(random() % 4);
    }
}

void policies_are_read_as_written(void**) {
    const RateWindow minute = window_of("10r/m");
    assert_int_equal(minute.period_s, 60);
    assert_int_equal(minute.quota, 10);
    assert_int_equal(minute.capacity, 60 * ticks_per_s);
    assert_int_equal(window_of("5r/10s").period_s, 10);
    assert_int_equal(window_of("200r/d").period_s, 86'400);
    assert_int_equal(window_of("600s/m").quota, 600'000);
    assert_true(window_of("600s/m").unit == RateUnit::audio_ms);
    assert_int_equal(window_of("100m/h").quota, 100 << 20);
    assert_int_equal(window_of("1b/s").quota, 1);
    for (const char* bad : {"", "10", "r/m", "10r", "10r/", "0r/m", "10r/w", "10r/2d", "10r/0s",
                            "10r/m ", "10rr/m", "-1r/m", "10x/m", "64001r/s", "10r/25h", "1e3r/m",
                            "99999999999999999999r/m", "9999999999999g/d"}) {
        assert_false(parse_rate_window(bad).has_value());
    }
}

void a_burst_is_at_most_the_quota_and_in_its_unit(void**) {
    assert_int_equal(window_of("10r/m", "3").capacity, 18 * ticks_per_s);
    assert_int_equal(window_of("100m/h", "10m").burst, 10 << 20);
    assert_int_equal(window_of("600s/m", "60").burst, 60'000);
    for (const char* bad : {"11", "0", "", "x", "3m", "3s", "-1"}) {
        RateWindow window = window_of("10r/m");
        assert_false(set_rate_burst(window, bad));
    }
}

void names_are_those_that_clients_read(void**) {
    for (const auto& [text, name] :
         {std::pair{"10r/m", "m"}, std::pair{"10r/60s", "m"}, std::pair{"50r/h", "h"},
          std::pair{"5r/10s", "10s"}, std::pair{"1r/s", "s"}, std::pair{"9r/24h", "d"},
          std::pair{"600s/m", "m-audio"}, std::pair{"1g/2h", "2h-bytes"}}) {
        char room[32];
        TextBuffer out(room);
        write_rate_name(window_of(text), out);
        assert_true(out.view() == name);
    }
}

void ten_come_at_once_and_then_one_each_six_seconds(void**) {
    Words words(64);
    const RateWindow window = window_of("10r/m");
    std::vector<Ticks> admitted;
    for (Ticks now = 1'000'000; now < 1'000'000 + 180 * ticks_per_s; now += 640) {
        if (take(words.table, 7, window, now)) {
            admitted.push_back(now - 1'000'000);
        }
    }
    for (std::size_t i = 0; i < admitted.size(); ++i) {
        const Ticks expected = i < 10 ? 0 : static_cast<Ticks>(i - 9) * 6 * ticks_per_s;
        assert_true(admitted[i] >= expected && admitted[i] < expected + 11 * 640);
    }
    std::size_t most = 0;
    for (std::size_t i = 0; i < admitted.size(); ++i) {
        std::size_t in_window = 0;
        while (i + in_window < admitted.size() &&
               admitted[i + in_window] < admitted[i] + 60 * ticks_per_s) {
            ++in_window;
        }
        most = std::max(most, in_window);
    }
    assert_int_equal(most, 19);
}

// Where a request is a whole number of ticks both decide alike, every time.
void whole_costs_decide_as_the_exact_model(void**) {
    for (const char* text : {"10r/m", "50r/h", "200r/d", "5r/10s", "1r/s", "1000r/s", "1r/d"}) {
        for (const char* burst : {"", "1"}) {
            const std::uint64_t seed = std::random_device{}();
            std::printf("%s burst=%s seed %llu\n", text, burst,
                        static_cast<unsigned long long>(seed));
            std::mt19937_64 random(seed);
            const RateWindow window = window_of(text, burst);
            Words words(64);
            Model model(window);
            Ticks now = static_cast<Ticks>(random() % (1ULL << 45U));  // also where 42 bits wrap
            for (int i = 0; i < 20'000; ++i) {
                now += random_gap(random, window);
                assert_int_equal(take(words.table, 42, window, now), model.take(now));
            }
        }
    }
}

// Where it is none, whatever is admitted conforms, and little that conforms is refused.
void rounded_costs_never_admit_more_than_the_exact_model(void**) {
    for (const char* text :
         {"7r/s", "37r/m", "300r/s", "977r/h", "333s/m", "123457b/m", "100m/h"}) {
        const std::uint64_t seed = std::random_device{}();
        std::printf("%s seed %llu\n", text, static_cast<unsigned long long>(seed));
        std::mt19937_64 random(seed);
        const RateWindow window = window_of(text);
        Words words(64);
        Model conforms(window);
        Model alone(window);
        const std::uint64_t most = window.unit == RateUnit::requests ? 1 : window.quota / 5;
        std::uint64_t admitted = 0;
        std::uint64_t admitted_alone = 0;
        Ticks now = 1;
        for (int i = 0; i < 20'000; ++i) {
            const std::uint64_t amount = 1 + random() % most;
            now += random_gap(random, window) * static_cast<Ticks>(amount);
            if (take(words.table, 42, window, now, amount)) {
                assert_true(conforms.take(now, amount));
                admitted += amount;
            }
            admitted_alone += alone.take(now, amount) ? amount : 0;
        }
        // A cost is rounded by less than a tick of at least 213 (300r/s): half a percent.
        assert_true(static_cast<double>(admitted) > 0.99 * static_cast<double>(admitted_alone));
    }
}

// Any span of time, whatever the arrivals: at most the burst and what the time brings.
void no_span_of_time_admits_more_than_the_policy(void**) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::mt19937_64 random(seed);
    const RateWindow window = window_of("10r/m", "4");
    Words words(64);
    std::deque<Ticks> recent;
    Ticks now = 0;
    for (int i = 0; i < 100'000; ++i) {
        now += random_gap(random, window);
        if (!take(words.table, 1, window, now)) {
            continue;
        }
        recent.push_back(now);
        while (recent.front() <= now - 60 * ticks_per_s) {
            recent.pop_front();
        }
        assert_true(recent.size() <= 4 + 9);
    }
}

// Keys of which none is over its limit may be refused in a table that is too small; none that is
// over its limit may pass.
void a_full_table_lets_nobody_off(void**) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::mt19937_64 random(seed);
    const RateWindow window = window_of("10r/m");
    Words words(4);
    std::map<std::uint64_t, Model> models;
    std::vector<std::uint64_t> keys(200);
    for (auto& key : keys) {
        key = random();
        models.emplace(key, window);
    }
    Ticks now = 1;
    std::size_t admitted = 0;
    for (int i = 0; i < 200'000; ++i) {
        now += static_cast<Ticks>(random() % 64'000);
        const std::uint64_t key = keys[random() % 8 == 0 ? random() % keys.size() : random() % 5];
        if (take(words.table, key, window, now)) {
            ++admitted;
            assert_true(models.at(key).take(now));
        }
    }
    assert_true(admitted > 1000);
}

void a_table_with_room_charges_no_stranger(void**) {
    std::mt19937_64 random(1);
    const RateWindow window = window_of("2r/h");
    Words words(16384);  // 10,000 keys: nine in one set of eight less than once in 2,000 runs
    std::size_t refused = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t key = random();
        refused += take(words.table, key, window, 5) && take(words.table, key, window, 5) ? 0U : 1U;
    }
    assert_int_equal(refused, 0);
}

void a_debt_is_paid_by_waiting(void**) {
    Words words(64);
    const RateWindow window = window_of("600s/m");
    RateTable::Place place = words.table.find(9, 100);
    assert_true(words.table.charge(place, 9, 100, window.cost_of(3'600'000), RateTable::no_limit));
    assert_int_equal(window.remaining(place.ahead), 0);
    assert_int_equal(whole_seconds(place.ahead), 360);
    assert_false(take(words.table, 9, window, 100 + 300 * ticks_per_s, 1000));
    assert_true(take(words.table, 9, window, 100 + 301 * ticks_per_s, 1000));
}

// Threads that race on one key of many admit together what one would have.
void racing_threads_never_admit_one_too_many(void**) {
    const RateWindow window = window_of("100r/d");
    for (int round = 0; round < 200; ++round) {
        Words words(1);  // one set: newcomers push each other out all the time
        std::atomic<int> admitted{0};
        std::atomic<bool> go{false};
        std::vector<std::thread> threads;
        for (std::uint64_t t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                std::mt19937_64 random(t + static_cast<std::uint64_t>(round) * 4);
                while (!go) {
                }
                for (int i = 0; i < 100; ++i) {
                    admitted += take(words.table, 77, window, 1000) ? 1 : 0;
                    (void)take(words.table, 100 + random() % 20, window, 1000);
                }
            });
        }
        go = true;
        for (auto& thread : threads) {
            thread.join();
        }
        assert_true(admitted <= 100);
        int places = 0;
        for (std::size_t way = 0; way < RateTable::ways; ++way) {
            places += words.first[way].load() >> 42U == 77 ? 1 : 0;
        }
        assert_true(places <= 1);
    }
}

void keys_of_any_length_are_told_apart(void**) {
    assert_true(make_key_secret());
    assert_int_equal(hash_of_key("a"), hash_of_key("a"));
    assert_int_not_equal(hash_of_key("a"), hash_of_key("b"));
    assert_int_not_equal(hash_of_key(""), hash_of_key(std::string_view("\0", 1)));
    const std::string long_key(70'000, 'x');
    assert_int_not_equal(hash_of_key(long_key), hash_of_key(long_key + "y"));
}

void headers_are_structured_fields(void**) {
    const RateWindow minute = window_of("10r/m");
    const RateWindow bytes = window_of("1m/d");
    const RateWindow audio = window_of("600s/m");
    const ToldRate rates[] = {{"m", &minute, 42 * ticks_per_s},
                              {"m-audio", &audio, 0},
                              {"d-bytes", &bytes, 86'400 * ticks_per_s}};
    char room[most_rates * rate_header_bytes];
    TextBuffer policies(room);
    write_rate_policies(rates, policies);
    assert_true(policies.view() ==
                "\"m\";q=10;w=60,\"m-audio\";q=600;w=60;qu=\"audio-seconds\","
                "\"d-bytes\";q=1048576;w=86400;qu=\"content-bytes\"");
    TextBuffer limits(room);
    write_rate_limits(rates, limits);
    assert_true(limits.view() == "\"m\";r=3;t=42,\"m-audio\";r=600;t=0,\"d-bytes\";r=0;t=86400");
    assert_true(&tightest_rate(rates) == &rates[0]);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(policies_are_read_as_written),
        cmocka_unit_test(a_burst_is_at_most_the_quota_and_in_its_unit),
        cmocka_unit_test(names_are_those_that_clients_read),
        cmocka_unit_test(ten_come_at_once_and_then_one_each_six_seconds),
        cmocka_unit_test(whole_costs_decide_as_the_exact_model),
        cmocka_unit_test(rounded_costs_never_admit_more_than_the_exact_model),
        cmocka_unit_test(no_span_of_time_admits_more_than_the_policy),
        cmocka_unit_test(a_full_table_lets_nobody_off),
        cmocka_unit_test(a_table_with_room_charges_no_stranger),
        cmocka_unit_test(a_debt_is_paid_by_waiting),
        cmocka_unit_test(racing_threads_never_admit_one_too_many),
        cmocka_unit_test(keys_of_any_length_are_told_apart),
        cmocka_unit_test(headers_are_structured_fields),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
