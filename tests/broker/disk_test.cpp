#include "broker/disk.hpp"

#include <atomic>
#include <future>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using broker::Disk;

namespace {

constexpr std::uint64_t mib = 1U << 20U;
constexpr std::uint64_t patience_ms = 60'000;  // of a test on a machine that is busy

void twice_the_upload_beside_the_reserve_is_room(void**) {
    std::string asked;
    Disk disk(
        "/state",
        [&](const std::string& folder) {
            asked = folder;
            return std::optional(100 * mib);
        },
        patience_ms);
    assert_true(disk.has_room_for(10 * mib, 80 * mib));
    assert_false(disk.has_room_for(10 * mib + 1, 80 * mib));
    assert_false(disk.has_room_for(0, 101 * mib));
    assert_string_equal(asked.c_str(), "/state");
    disk.follow("sqlite:/other/disk/catalog.db");
    assert_true(disk.has_room_for(mib, 0));
    assert_string_equal(asked.c_str(), "/other/disk");
}

void what_nobody_tells_refuses_nobody(void**) {
    Disk disk(
        "/state", [](const std::string&) { return std::optional<std::uint64_t>(); }, patience_ms);
    assert_false(disk.free_bytes().has_value());
    assert_true(disk.has_room_for(UINT64_MAX / 4, UINT64_MAX / 4));
    assert_true(Disk("/", Disk::free_in, patience_ms).free_bytes().has_value());
    assert_false(Disk("/there/is/no", Disk::free_in, patience_ms).free_bytes().has_value());
}

// As statvfs() on a network file system whose server is gone.
void a_disk_that_hangs_is_waited_for_once_and_the_last_figure_counts(void**) {
    std::promise<void> wakes;
    const std::shared_future<void> woken(wakes.get_future());
    std::atomic<unsigned> questions = 0;
    auto disk = std::make_unique<Disk>("/state", [&questions, woken](const std::string&) {
        if (++questions == 2) {
            woken.wait();
        }
        return std::optional(questions * mib);
    });
    while (!disk->free_bytes()) {
    }
    for (int i = 0; i < 10'000; ++i) {  // 100 s, if it were waited for each time
        assert_int_equal(*disk->free_bytes(), mib);
    }
    assert_int_equal(questions, 2);
    wakes.set_value();
    while (*disk->free_bytes() == mib) {
    }
    disk.reset();
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(twice_the_upload_beside_the_reserve_is_room),
        cmocka_unit_test(what_nobody_tells_refuses_nobody),
        cmocka_unit_test(a_disk_that_hangs_is_waited_for_once_and_the_last_figure_counts),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
