#include "base/unique_fd.hpp"

#include <fcntl.h>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::UniqueFd;

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

int open_null() {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

void the_descriptor_closes_with_its_owner(void**) {
    const int raw = open_null();
    {
        const UniqueFd fd(raw);
        assert_true(static_cast<bool>(fd));
        assert_true(is_open(raw));
    }
    assert_false(is_open(raw));
}

void a_move_leaves_one_owner(void**) {
    const int raw = open_null();
    UniqueFd first(raw);
    UniqueFd second(std::move(first));
    assert_int_equal(first.get(), -1);  // NOLINT(bugprone-use-after-move): that is the question
    UniqueFd third(open_null());
    const int replaced = third.get();
    third = std::move(second);
    assert_false(is_open(replaced));
    assert_int_equal(third.get(), raw);
    assert_true(is_open(raw));
}

void a_move_onto_itself_keeps_it_open(void**) {
    const int raw = open_null();
    UniqueFd fd(raw);
    UniqueFd& same = fd;
    fd = std::move(same);
    assert_int_equal(fd.get(), raw);
    assert_true(is_open(raw));
}

void release_gives_up_without_closing(void**) {
    const int raw = open_null();
    {
        UniqueFd fd(raw);
        assert_int_equal(fd.release(), raw);
        assert_false(static_cast<bool>(fd));
    }
    assert_true(is_open(raw));
    ::close(raw);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_descriptor_closes_with_its_owner),
        cmocka_unit_test(a_move_leaves_one_owner),
        cmocka_unit_test(a_move_onto_itself_keeps_it_open),
        cmocka_unit_test(release_gives_up_without_closing),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
