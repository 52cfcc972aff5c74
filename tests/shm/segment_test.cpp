#include "shm/segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::Errc;
using sonogate::UniqueFd;
using sonogate::shm::finished_seals;
using sonogate::shm::live_seals;
using sonogate::shm::make_result_file;
using sonogate::shm::map_peer_segment;
using sonogate::shm::Mapping;
using sonogate::shm::OwnedSegment;
using sonogate::shm::verify_segment;

constexpr std::size_t size = 3 * 4096;

OwnedSegment make_segment() {
    auto made = OwnedSegment::create("sonogate-test", size);
    assert_true(static_cast<bool>(made));
    return std::move(*made);
}

UniqueFd reopen(int fd, int flags) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}

void what_the_owner_writes_the_peer_reads(void**) {
    const OwnedSegment owned = make_segment();
    const auto peer = map_peer_segment(owned.fd(), size);
    assert_true(static_cast<bool>(peer));
    assert_int_equal(peer->size(), size);
    std::memset(owned.data(), 0x5a, size);
    assert_memory_equal(peer->data(), owned.data(), size);
}

void nobody_gets_a_second_way_to_write(void**) {
    const OwnedSegment owned = make_segment();
    assert_ptr_equal(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, owned.fd(), 0),
                     MAP_FAILED);
    assert_int_equal(::pwrite(owned.fd(), "x", 1, 0), -1);
    assert_int_equal(::ftruncate(owned.fd(), 0), -1);
    assert_int_equal(::ftruncate(owned.fd(), 2 * size), -1);
    const UniqueFd again = reopen(owned.fd(), O_RDWR);
    if (again) {
        assert_int_equal(::pwrite(again.get(), "x", 1, 0), -1);
        assert_ptr_equal(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0),
                         MAP_FAILED);
    }
    const auto peer = map_peer_segment(owned.fd(), size);
    assert_int_equal(::mprotect(peer->data(), size, PROT_READ | PROT_WRITE), -1);
}

void a_seal_can_not_be_added_later(void**) {
    const OwnedSegment owned = make_segment();
    assert_int_equal(::fcntl(owned.fd(), F_ADD_SEALS, F_SEAL_WRITE), -1);
}

void a_forked_child_has_no_writable_mapping(void**) {
    const OwnedSegment owned = make_segment();
    owned.data()[0] = std::byte{1};
    const pid_t child = ::fork();
    if (child == 0) {
        // mincore() on memory that is not mapped says ENOMEM.
        unsigned char pages[3];
        ::_exit(::mincore(owned.data(), size, pages) == -1 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(::waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

void the_bytes_outlive_the_writer_for_whom_has_them_mapped(void**) {
    UniqueFd fd;
    Mapping peer;
    {
        const OwnedSegment owned = make_segment();
        std::memcpy(owned.data(), "still here", 11);
        auto mapped = map_peer_segment(owned.fd(), size);
        assert_true(static_cast<bool>(mapped));
        peer = std::move(*mapped);
    }
    assert_string_equal(reinterpret_cast<const char*>(peer.data()), "still here");
}

void assert_refused(int fd, std::uint64_t bytes, int seals) {
    const auto verdict = verify_segment(fd, bytes, seals);
    assert_false(static_cast<bool>(verdict));
    assert_int_equal(verdict.failure().code, Errc::malformed_request);
}

void a_segment_of_another_size_is_refused(void**) {
    const OwnedSegment owned = make_segment();
    assert_true(static_cast<bool>(verify_segment(owned.fd(), size, live_seals)));
    for (const std::uint64_t lie :
         {std::uint64_t{0}, std::uint64_t{size - 1}, std::uint64_t{size + 1}, ~std::uint64_t{0}}) {
        assert_refused(owned.fd(), lie, live_seals);
    }
}

void a_memfd_without_all_seals_is_refused(void**) {
    const int each[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL};
    for (const int missing : each) {
        const UniqueFd fd(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        assert_int_equal(::ftruncate(fd.get(), size), 0);
        assert_refused(fd.get(), size, live_seals);
        assert_int_equal(::fcntl(fd.get(), F_ADD_SEALS, live_seals & ~missing), 0);
        assert_refused(fd.get(), size, live_seals);
    }
}

void what_is_no_memfd_is_refused(void**) {
    assert_refused(-1, size, live_seals);
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    assert_refused(null.get(), size, live_seals);
    char path[] = "/tmp/sonogate-segment-XXXXXX";
    const UniqueFd file(::mkstemp(path));
    ::unlink(path);
    assert_int_equal(::ftruncate(file.get(), size), 0);
    assert_refused(file.get(), size, live_seals);
    int ends[2];
    assert_int_equal(::pipe(ends), 0);
    const UniqueFd in(ends[0]);
    const UniqueFd out(ends[1]);
    assert_refused(in.get(), size, live_seals);
}

void a_result_is_whole_and_can_not_change(void**) {
    std::string content(3'000'001, 'r');
    content.back() = '!';
    const auto file = make_result_file(sonogate::as_bytes_of(content));
    assert_true(static_cast<bool>(file));
    assert_true(static_cast<bool>(verify_segment(file->get(), content.size(), finished_seals)));
    assert_int_equal(::pwrite(file->get(), "x", 1, 0), -1);
    std::string back(content.size(), '\0');
    assert_int_equal(::pread(file->get(), back.data(), back.size(), 0), back.size());
    assert_true(back == content);
}

void a_live_segment_is_not_taken_for_a_finished_result(void**) {
    const OwnedSegment owned = make_segment();
    assert_refused(owned.fd(), size, finished_seals);
}

void a_size_that_no_machine_has_fails_with_a_reason(void**) {
    const auto made = OwnedSegment::create("huge", std::size_t{1} << 62U);
    assert_false(static_cast<bool>(made));
    assert_int_equal(made.failure().code, Errc::internal);
    assert_int_not_equal(made.failure().error, 0);
    assert_false(static_cast<bool>(OwnedSegment::create("nothing", 0)));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_the_owner_writes_the_peer_reads),
        cmocka_unit_test(nobody_gets_a_second_way_to_write),
        cmocka_unit_test(a_seal_can_not_be_added_later),
        cmocka_unit_test(a_forked_child_has_no_writable_mapping),
        cmocka_unit_test(the_bytes_outlive_the_writer_for_whom_has_them_mapped),
        cmocka_unit_test(a_segment_of_another_size_is_refused),
        cmocka_unit_test(a_memfd_without_all_seals_is_refused),
        cmocka_unit_test(what_is_no_memfd_is_refused),
        cmocka_unit_test(a_result_is_whole_and_can_not_change),
        cmocka_unit_test(a_live_segment_is_not_taken_for_a_finished_result),
        cmocka_unit_test(a_size_that_no_machine_has_fails_with_a_reason),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
