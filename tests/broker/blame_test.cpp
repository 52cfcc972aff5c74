#include "broker/blame.hpp"

#include <signal.h>

#include <cstring>
#include <string>

#include "base/clock.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using broker::Blame;
using broker::Content;
using broker::ContentReader;
using broker::CrashBudget;
using broker::Quarantine;

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr int killed = SIGKILL;
constexpr int crashed = SIGSEGV;
constexpr int forbidden_call = SIGSYS;
constexpr int failed = 1 << 8;  // exit status 1, as waitpid(2) has it

// A cold slab with that upload, as nginx announces it.
std::shared_ptr<broker::Slab> slab_of(std::string_view upload) {
    auto segment = shm::OwnedSegment::create("test-slab", shm::slab_audio_offset + upload.size());
    assert_true(static_cast<bool>(segment));
    std::memcpy(segment->data() + shm::slab_audio_offset, upload.data(), upload.size());
    auto slab = std::make_shared<broker::Slab>();
    slab->bytes = segment->size();
    slab->fd = UniqueFd(::dup(segment->fd()));
    return slab;
}

shm::Submission job_of(std::string_view upload) {
    shm::Submission out;
    out.audio_bytes = upload.size();
    return out;
}

struct Upload {
    explicit Upload(std::string_view bytes) : slab(slab_of(bytes)), job(job_of(bytes)) {}
    std::optional<Content> content(const Quarantine& quarantine) const {
        auto reader = quarantine.reader(job, slab);
        while (!reader.step()) {
        }
        return reader.content();
    }
    bool held(const Quarantine& quarantine, std::uint64_t at_ns = now_ns()) const {
        return quarantine.holds_any_of(job.audio_bytes, at_ns) &&
               quarantine.holds(content(quarantine), at_ns);
    }
    std::shared_ptr<broker::Slab> slab;
    shm::Submission job;
};

Blame made() {
    Blame out;
    out.quarantine().set_time(60 * second_ns);
    out.budget().set(3, 60 * second_ns);
    return out;
}

void content_that_killed_two_is_held_for_its_time(void**) {
    Quarantine quarantine;
    quarantine.set_time(10 * second_ns);
    const Upload bad("RIFF bad");
    const Upload same_size("RIFF dab");
    const Upload other("RIFF something else");
    const std::uint64_t now = now_ns();
    const auto content = bad.content(quarantine);
    assert_true(content.has_value());
    quarantine.note_deaths(*content, 1, now);
    assert_false(bad.held(quarantine, now));
    assert_int_equal(quarantine.stamp(), 0);
    quarantine.note_deaths(*content, 1, now + second_ns);
    assert_true(bad.held(quarantine, now + 2 * second_ns));
    assert_false(same_size.held(quarantine, now + 2 * second_ns));
    assert_false(other.held(quarantine, now + 2 * second_ns));
    assert_int_equal(quarantine.held(now + 2 * second_ns), 1);
    assert_false(bad.held(quarantine, now + 11 * second_ns));
    assert_int_equal(quarantine.held(now + 11 * second_ns), 0);
    // Two deaths that lie far apart are no pattern.
    quarantine.note_deaths(*content, 1, now + 20 * second_ns);
    assert_false(bad.held(quarantine, now + 20 * second_ns));
}

void a_quarantine_that_is_off_holds_nothing(void**) {
    Quarantine quarantine;
    const Upload bad("RIFF bad");
    quarantine.note_deaths(*bad.content(quarantine), 2, now_ns());
    assert_false(bad.held(quarantine));
}

void a_job_without_an_upload_has_no_content(void**) {
    auto reader = Quarantine().reader({}, nullptr);
    assert_true(reader.step());
    assert_false(reader.content().has_value());
}

void the_quarantine_is_bounded_and_forgets_the_oldest(void**) {
    Quarantine quarantine;
    quarantine.set_time(60 * second_ns);
    for (std::uint64_t i = 0; i < 3 * Quarantine::most_contents; ++i) {
        quarantine.note_deaths({i + 1, i}, 2, second_ns + i);
    }
    assert_int_equal(quarantine.held(2 * second_ns), Quarantine::most_contents);
}

void only_faults_count_against_the_first_job(void**) {
    const Upload bad("RIFF bad");
    for (const auto& [status, counts] :
         {std::pair(crashed, true), std::pair(forbidden_call, true), std::pair(failed, true),
          std::pair(killed, false), std::pair(0, false)}) {
        Blame blame = made();
        const Blame::Suspect suspect = blame.suspect_of(bad.job, bad.slab);
        // The status comes after the channel's end, or before it.
        blame.suspect(1, suspect, std::nullopt);
        assert_int_equal(blame.convictions(), 0);
        blame.settle(1, status);
        blame.suspect(2, suspect, status);
        blame.settle(2, crashed);  // once
        assert_int_equal(blame.convictions(), counts ? 2 : 0);
        assert_int_equal(bad.held(blame.quarantine()), counts);
    }
}

void the_second_worker_of_a_job_settles_it(void**) {
    const Upload bad("RIFF bad");
    Blame blame = made();
    blame.convict(blame.suspect_of(bad.job, bad.slab), Quarantine::deaths_to_hold);
    assert_true(bad.held(blame.quarantine()));
}

// A byte of the last piece is told apart too: who could leave one out would have another's file put
// away in place of his own.
void a_large_upload_is_read_piece_by_piece_to_its_end(void**) {
    std::string bytes(Blame::small_bytes + 2 * ContentReader::piece_bytes + 12'345, 'x');
    const Upload bad(bytes);
    bytes.back() = 'y';
    const Upload innocent(bytes);
    Blame blame = made();
    const Blame::Suspect suspect = blame.suspect_of(bad.job, bad.slab);
    blame.convict(suspect, 1);
    blame.convict(suspect, 1);
    for (auto pieces = bad.job.audio_bytes / ContentReader::piece_bytes + 1; pieces != 0;
         --pieces) {
        assert_true(blame.reads());
        assert_int_equal(blame.quarantine().held(now_ns()), 0);
        assert_true(blame.work());
    }
    assert_false(blame.reads() || blame.work());
    assert_int_equal(bad.slab.use_count(), 1);  // the verdict alone is kept
    assert_true(bad.held(blame.quarantine()));
    assert_false(innocent.held(blame.quarantine()));
    assert_int_equal(blame.convictions(), 2);
}

void more_large_uploads_than_are_read_at_a_time_count_against_their_senders(void**) {
    const Upload bad(std::string(Blame::small_bytes + 1, 'x'));
    Blame blame = made();
    for (std::size_t i = 0; i < Blame::most_readings; ++i) {
        assert_true(blame.suspect_of(bad.job, bad.slab).content != nullptr);
    }
    const Blame::Suspect beyond = blame.suspect_of(bad.job, bad.slab);
    assert_true(beyond.content == nullptr);
    blame.convict(beyond, Quarantine::deaths_to_hold);
    while (blame.work()) {
    }
    assert_int_equal(blame.convictions(), 1);
    assert_int_equal(blame.quarantine().held(now_ns()), 0);
    assert_true(blame.suspect_of(bad.job, bad.slab).content != nullptr);
}

void an_identity_runs_out_of_crashes_and_gets_them_back(void**) {
    CrashBudget budget;
    budget.set(3, 30 * second_ns);
    const std::uint64_t now = 1000 * second_ns;
    for (int i = 0; i < 3; ++i) {
        assert_int_equal(budget.wait_ns(7, now), 0);
        budget.note_crash(7, now);
    }
    assert_int_equal(budget.wait_ns(7, now), 10 * second_ns);
    assert_int_equal(budget.wait_ns(8, now), 0);
    assert_int_equal(budget.spent(now), 1);
    assert_int_equal(budget.wait_ns(7, now + 10 * second_ns), 0);
    budget.note_crash(7, now + 10 * second_ns);
    assert_int_equal(budget.wait_ns(7, now + 10 * second_ns), 10 * second_ns);
    // However many there were, it is forgiven after the whole time.
    for (int i = 0; i < 100; ++i) {
        budget.note_crash(7, now);
    }
    assert_int_equal(budget.wait_ns(7, now + 30 * second_ns), 0);
    assert_int_equal(budget.spent(now + 60 * second_ns), 0);
    budget.note_crash(0, now);
    assert_int_equal(budget.wait_ns(0, now), 0);
}

void the_budget_is_bounded(void**) {
    CrashBudget budget;
    budget.set(1, 60 * second_ns);
    for (std::uint64_t i = 1; i <= 2 * CrashBudget::most_identities; ++i) {
        budget.note_crash(i, second_ns + i);
    }
    assert_int_equal(budget.spent(2 * second_ns), CrashBudget::most_identities);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(content_that_killed_two_is_held_for_its_time),
        cmocka_unit_test(a_quarantine_that_is_off_holds_nothing),
        cmocka_unit_test(a_job_without_an_upload_has_no_content),
        cmocka_unit_test(the_quarantine_is_bounded_and_forgets_the_oldest),
        cmocka_unit_test(only_faults_count_against_the_first_job),
        cmocka_unit_test(the_second_worker_of_a_job_settles_it),
        cmocka_unit_test(a_large_upload_is_read_piece_by_piece_to_its_end),
        cmocka_unit_test(more_large_uploads_than_are_read_at_a_time_count_against_their_senders),
        cmocka_unit_test(an_identity_runs_out_of_crashes_and_gets_them_back),
        cmocka_unit_test(the_budget_is_bounded),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
