// Holds docs/protocol.md and the compiler together: every structure that crosses shared memory,
// field by field.
//
// With the argument --print it writes the tables as they should stand.
// cmocka's fail() is a macro, so it comes after the streams, which have a function of that name.
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "shm/cache.hpp"
#include "shm/channel_layout.hpp"
#include "shm/handshake.hpp"

namespace {

using namespace sonogate::shm;  // NOLINT(google-build-using-namespace): its names are the subject

struct Field {
    const char* name;
    std::size_t offset;
    std::size_t bytes;
};

struct Structure {
    std::string name;
    std::size_t bytes;
    std::vector<Field> fields;
};

// offsetof of a type with atomics in it is conditionally supported; GCC and Clang support it.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
#define SONOGATE_FIELD(type, member)                          \
    Field {                                                   \
#member, offsetof(type, member), sizeof(type::member) \
    }

template <typename T>
void add(std::vector<Structure>& out, const char* name, std::initializer_list<Field> fields) {
    out.push_back({name, sizeof(T), fields});
}

std::vector<Structure> compiled() {
    std::vector<Structure> out;
    add<SegmentHeader>(out, "SegmentHeader",
                       {
                           SONOGATE_FIELD(SegmentHeader, magic),
                           SONOGATE_FIELD(SegmentHeader, version),
                           SONOGATE_FIELD(SegmentHeader, segment_bytes),
                           SONOGATE_FIELD(SegmentHeader, epoch),
                       });
    add<JobId>(out, "JobId",
               {
                   SONOGATE_FIELD(JobId, epoch),
                   SONOGATE_FIELD(JobId, slot),
                   SONOGATE_FIELD(JobId, generation),
               });
    add<Text>(out, "Text",
              {
                  SONOGATE_FIELD(Text, size),
                  SONOGATE_FIELD(Text, data),
              });
    add<FailureFacts>(out, "FailureFacts",
                      {
                          SONOGATE_FIELD(FailureFacts, errc),
                          SONOGATE_FIELD(FailureFacts, parameter),
                          SONOGATE_FIELD(FailureFacts, retry_after_s),
                          SONOGATE_FIELD(FailureFacts, limit),
                          SONOGATE_FIELD(FailureFacts, value),
                      });
    add<StageTimes>(out, "StageTimes",
                    {
                        SONOGATE_FIELD(StageTimes, queue_us),
                        SONOGATE_FIELD(StageTimes, decode_us),
                        SONOGATE_FIELD(StageTimes, compute_us),
                        SONOGATE_FIELD(StageTimes, search_us),
                    });
    add<AudioLimits>(out, "AudioLimits",
                     {
                         SONOGATE_FIELD(AudioLimits, max_audio_ms),
                         SONOGATE_FIELD(AudioLimits, min_audio_ms),
                         SONOGATE_FIELD(AudioLimits, max_decoded_bytes),
                         SONOGATE_FIELD(AudioLimits, formats),
                         SONOGATE_FIELD(AudioLimits, max_channels),
                         SONOGATE_FIELD(AudioLimits, reserved),
                     });
    add<AudioFacts>(out, "AudioFacts",
                    {
                        SONOGATE_FIELD(AudioFacts, format),
                        SONOGATE_FIELD(AudioFacts, channels),
                        SONOGATE_FIELD(AudioFacts, sample_rate_hz),
                        SONOGATE_FIELD(AudioFacts, duration_ms),
                    });
    add<LinkUp>(out, "LinkUp",
                {
                    SONOGATE_FIELD(LinkUp, header),
                    SONOGATE_FIELD(LinkUp, submission_tail),
                    SONOGATE_FIELD(LinkUp, completion_head),
                    SONOGATE_FIELD(LinkUp, armed),
                    SONOGATE_FIELD(LinkUp, upload_slab_bytes),
                    SONOGATE_FIELD(LinkUp, result_bytes_in_use),
                    SONOGATE_FIELD(LinkUp, cache_lookups),
                    SONOGATE_FIELD(LinkUp, cache_hits),
                    SONOGATE_FIELD(LinkUp, hit_entries),
                    SONOGATE_FIELD(LinkUp, requests),
                    SONOGATE_FIELD(LinkUp, submissions),
                });
    add<Submission>(out, "Submission",
                    {
                        SONOGATE_FIELD(Submission, op),
                        SONOGATE_FIELD(Submission, endpoint),
                        SONOGATE_FIELD(Submission, body),
                        SONOGATE_FIELD(Submission, flags),
                        SONOGATE_FIELD(Submission, slab),
                        SONOGATE_FIELD(Submission, slab_generation),
                        SONOGATE_FIELD(Submission, job),
                        SONOGATE_FIELD(Submission, params_bytes),
                        SONOGATE_FIELD(Submission, result_slot),
                        SONOGATE_FIELD(Submission, result_generation),
                        SONOGATE_FIELD(Submission, receive_us),
                        SONOGATE_FIELD(Submission, audio_bytes),
                        SONOGATE_FIELD(Submission, need_bytes),
                        SONOGATE_FIELD(Submission, charged_bytes),
                        SONOGATE_FIELD(Submission, limits),
                        SONOGATE_FIELD(Submission, job_key),
                        SONOGATE_FIELD(Submission, request_id),
                        SONOGATE_FIELD(Submission, track_id),
                        SONOGATE_FIELD(Submission, track_id_made),
                        SONOGATE_FIELD(Submission, priority),
                        SONOGATE_FIELD(Submission, most_at_once),
                        SONOGATE_FIELD(Submission, cache_key),
                        SONOGATE_FIELD(Submission, caller),
                        SONOGATE_FIELD(Submission, identity),
                        SONOGATE_FIELD(Submission, trace_id),
                    });
    add<LinkDown>(out, "LinkDown",
                  {
                      SONOGATE_FIELD(LinkDown, header),
                      SONOGATE_FIELD(LinkDown, completion_tail),
                      SONOGATE_FIELD(LinkDown, submission_head),
                      SONOGATE_FIELD(LinkDown, armed),
                      SONOGATE_FIELD(LinkDown, heartbeat_ns),
                      SONOGATE_FIELD(LinkDown, queue_depth),
                      SONOGATE_FIELD(LinkDown, expected_wait_us),
                      SONOGATE_FIELD(LinkDown, catalog_version),
                      SONOGATE_FIELD(LinkDown, catalog_tracks),
                      SONOGATE_FIELD(LinkDown, disk_free_bytes),
                      SONOGATE_FIELD(LinkDown, catalog_stamp),
                      SONOGATE_FIELD(LinkDown, workers_ready),
                      SONOGATE_FIELD(LinkDown, workers_wanted),
                      SONOGATE_FIELD(LinkDown, librarian),
                      SONOGATE_FIELD(LinkDown, catalog),
                      SONOGATE_FIELD(LinkDown, daemon),
                      SONOGATE_FIELD(LinkDown, completions),
                  });
    add<Completion>(out, "Completion",
                    {
                        SONOGATE_FIELD(Completion, kind),
                        SONOGATE_FIELD(Completion, status),
                        SONOGATE_FIELD(Completion, place),
                        SONOGATE_FIELD(Completion, text_plain),
                        SONOGATE_FIELD(Completion, result_slot),
                        SONOGATE_FIELD(Completion, result_generation),
                        SONOGATE_FIELD(Completion, job),
                        SONOGATE_FIELD(Completion, result_bytes),
                        SONOGATE_FIELD(Completion, granted_bytes),
                        SONOGATE_FIELD(Completion, etag),
                        SONOGATE_FIELD(Completion, failure),
                        SONOGATE_FIELD(Completion, times),
                        SONOGATE_FIELD(Completion, audio),
                        SONOGATE_FIELD(Completion, track_id),
                        SONOGATE_FIELD(Completion, cached),
                        SONOGATE_FIELD(Completion, again),
                        SONOGATE_FIELD(Completion, reserved),
                    });
    add<CacheEntry>(out, "CacheEntry",
                    {
                        SONOGATE_FIELD(CacheEntry, sequence),
                        SONOGATE_FIELD(CacheEntry, result_bytes),
                        SONOGATE_FIELD(CacheEntry, key),
                        SONOGATE_FIELD(CacheEntry, expires_ns),
                        SONOGATE_FIELD(CacheEntry, first_block),
                        SONOGATE_FIELD(CacheEntry, reserved),
                        SONOGATE_FIELD(CacheEntry, audio),
                    });
    add<CacheBlock>(out, "CacheBlock",
                    {
                        SONOGATE_FIELD(CacheBlock, next),
                        SONOGATE_FIELD(CacheBlock, words),
                    });
    add<Hello>(out, "Hello",
               {
                   SONOGATE_FIELD(Hello, kind),
                   SONOGATE_FIELD(Hello, version),
                   SONOGATE_FIELD(Hello, magic_number),
                   SONOGATE_FIELD(Hello, link_up_bytes),
                   SONOGATE_FIELD(Hello, link_down_bytes),
                   SONOGATE_FIELD(Hello, submission_bytes),
                   SONOGATE_FIELD(Hello, completion_bytes),
                   SONOGATE_FIELD(Hello, settings),
               });
    add<PoolSettings>(out, "PoolSettings",
                      {
                          SONOGATE_FIELD(PoolSettings, stamp),
                          SONOGATE_FIELD(PoolSettings, workers),
                          SONOGATE_FIELD(PoolSettings, queue_jobs),
                          SONOGATE_FIELD(PoolSettings, queue_timeout_ms),
                          SONOGATE_FIELD(PoolSettings, job_deadline_ms),
                          SONOGATE_FIELD(PoolSettings, job_memory_bytes),
                          SONOGATE_FIELD(PoolSettings, upload_memory_bytes),
                          SONOGATE_FIELD(PoolSettings, result_cache_bytes),
                          SONOGATE_FIELD(PoolSettings, job_result_bytes),
                          SONOGATE_FIELD(PoolSettings, disk_reserve_bytes),
                          SONOGATE_FIELD(PoolSettings, result_cache_ttl_ms),
                          SONOGATE_FIELD(PoolSettings, drain_timeout_ms),
                          SONOGATE_FIELD(PoolSettings, quarantine_ms),
                          SONOGATE_FIELD(PoolSettings, crash_budget),
                          SONOGATE_FIELD(PoolSettings, crash_budget_ms),
                          SONOGATE_FIELD(PoolSettings, job_cpu_ms),
                          SONOGATE_FIELD(PoolSettings, worker_jobs),
                          SONOGATE_FIELD(PoolSettings, log_level),
                          SONOGATE_FIELD(PoolSettings, catalog_bytes),
                          SONOGATE_FIELD(PoolSettings, catalog),
                      });
    add<Welcome>(out, "Welcome",
                 {
                     SONOGATE_FIELD(Welcome, kind),
                     SONOGATE_FIELD(Welcome, version),
                     SONOGATE_FIELD(Welcome, magic_number),
                     SONOGATE_FIELD(Welcome, epoch),
                     SONOGATE_FIELD(Welcome, errc),
                     SONOGATE_FIELD(Welcome, reserved),
                     SONOGATE_FIELD(Welcome, cache_bytes),
                     SONOGATE_FIELD(Welcome, cache_hash_key),
                 });
    add<SlabAdd>(out, "SlabAdd",
                 {
                     SONOGATE_FIELD(SlabAdd, kind),
                     SONOGATE_FIELD(SlabAdd, slab),
                     SONOGATE_FIELD(SlabAdd, segment_bytes),
                     SONOGATE_FIELD(SlabAdd, warm),
                     SONOGATE_FIELD(SlabAdd, reserved),
                 });
    add<SlabDrop>(out, "SlabDrop",
                  {
                      SONOGATE_FIELD(SlabDrop, kind),
                      SONOGATE_FIELD(SlabDrop, slab),
                  });
    add<ResultFile>(out, "ResultFile",
                    {
                        SONOGATE_FIELD(ResultFile, kind),
                        SONOGATE_FIELD(ResultFile, token),
                        SONOGATE_FIELD(ResultFile, result_bytes),
                    });
    add<ChannelHello>(out, "ChannelHello",
                      {
                          SONOGATE_FIELD(ChannelHello, kind),
                          SONOGATE_FIELD(ChannelHello, version),
                          SONOGATE_FIELD(ChannelHello, magic_number),
                          SONOGATE_FIELD(ChannelHello, segment_bytes),
                          SONOGATE_FIELD(ChannelHello, sandbox),
                          SONOGATE_FIELD(ChannelHello, reserved),
                      });
    add<ChannelIn>(out, "ChannelIn",
                   {
                       SONOGATE_FIELD(ChannelIn, header),
                       SONOGATE_FIELD(ChannelIn, job_tail),
                       SONOGATE_FIELD(ChannelIn, done_head),
                       SONOGATE_FIELD(ChannelIn, armed),
                       SONOGATE_FIELD(ChannelIn, cancelled_number),
                       SONOGATE_FIELD(ChannelIn, log_level),
                       SONOGATE_FIELD(ChannelIn, jobs),
                       SONOGATE_FIELD(ChannelIn, arena),
                   });
    add<ShortJob>(out, "ShortJob",
                  {
                      SONOGATE_FIELD(ShortJob, cpu_us),
                      SONOGATE_FIELD(ShortJob, most_ksamples),
                  });
    add<Job>(out, "Job",
             {
                 SONOGATE_FIELD(Job, number),
                 SONOGATE_FIELD(Job, endpoint),
                 SONOGATE_FIELD(Job, body),
                 SONOGATE_FIELD(Job, flags),
                 SONOGATE_FIELD(Job, params_offset),
                 SONOGATE_FIELD(Job, body_offset),
                 SONOGATE_FIELD(Job, body_bytes),
                 SONOGATE_FIELD(Job, params_bytes),
                 SONOGATE_FIELD(Job, cpu_ms),
                 SONOGATE_FIELD(Job, limits),
                 SONOGATE_FIELD(Job, job_memory_bytes),
                 SONOGATE_FIELD(Job, result_bytes),
                 SONOGATE_FIELD(Job, deadline_ns),
                 SONOGATE_FIELD(Job, short_job),
                 SONOGATE_FIELD(Job, job_key),
                 SONOGATE_FIELD(Job, request_id),
                 SONOGATE_FIELD(Job, track_id),
                 SONOGATE_FIELD(Job, reserved),
             });
    add<ChannelOut>(out, "ChannelOut",
                    {
                        SONOGATE_FIELD(ChannelOut, header),
                        SONOGATE_FIELD(ChannelOut, done_tail),
                        SONOGATE_FIELD(ChannelOut, job_head),
                        SONOGATE_FIELD(ChannelOut, armed),
                        SONOGATE_FIELD(ChannelOut, progress_ns),
                        SONOGATE_FIELD(ChannelOut, allocated_bytes),
                        SONOGATE_FIELD(ChannelOut, resident_bytes),
                        SONOGATE_FIELD(ChannelOut, catalog_version),
                        SONOGATE_FIELD(ChannelOut, catalog_tracks),
                        SONOGATE_FIELD(ChannelOut, catalog_hashes),
                        SONOGATE_FIELD(ChannelOut, catalog_state),
                        SONOGATE_FIELD(ChannelOut, queries),
                        SONOGATE_FIELD(ChannelOut, queries_matched),
                        SONOGATE_FIELD(ChannelOut, refused_calls),
                        SONOGATE_FIELD(ChannelOut, refused_call),
                        SONOGATE_FIELD(ChannelOut, done),
                        SONOGATE_FIELD(ChannelOut, results),
                    });
    add<JobDone>(out, "JobDone",
                 {
                     SONOGATE_FIELD(JobDone, number),
                     SONOGATE_FIELD(JobDone, status),
                     SONOGATE_FIELD(JobDone, place),
                     SONOGATE_FIELD(JobDone, token),
                     SONOGATE_FIELD(JobDone, result_bytes),
                     SONOGATE_FIELD(JobDone, etag),
                     SONOGATE_FIELD(JobDone, failure),
                     SONOGATE_FIELD(JobDone, times),
                     SONOGATE_FIELD(JobDone, audio),
                     SONOGATE_FIELD(JobDone, decoded_frames),
                     SONOGATE_FIELD(JobDone, cpu_us),
                     SONOGATE_FIELD(JobDone, heap_before_bytes),
                     SONOGATE_FIELD(JobDone, heap_peak_bytes),
                     SONOGATE_FIELD(JobDone, heap_after_bytes),
                     SONOGATE_FIELD(JobDone, track_id),
                     SONOGATE_FIELD(JobDone, is_long),
                     SONOGATE_FIELD(JobDone, reserved),
                 });
    add<InputFile>(out, "InputFile",
                   {
                       SONOGATE_FIELD(InputFile, number),
                       SONOGATE_FIELD(InputFile, segment_bytes),
                   });
    return out;
}

std::string row(const Field& field) {
    return std::to_string(field.offset) + " " + std::to_string(field.bytes) + " " + field.name;
}

// The tables of the document: "### Name: BYTES bytes", then lines that begin with two numbers and a
// name.
std::map<std::string, std::vector<std::string>> documented() {
    const auto path = std::filesystem::path(__FILE__).parent_path() / "../../docs/protocol.md";
    std::ifstream in(path);
    assert_true(in.good());
    std::map<std::string, std::vector<std::string>> out;
    std::string structure;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string first;
        std::string second;
        std::string third;
        words >> first >> second >> third;
        if (first == "###") {
            structure = second.substr(0, second.find(':'));
            out[structure].push_back(third);
        } else if (!structure.empty() && !third.empty() &&
                   (first + second).find_first_not_of("0123456789") == std::string::npos) {
            out[structure].push_back(first + " " + second + " " + third);
        }
    }
    return out;
}

void every_structure_stands_in_the_protocol_document_as_compiled(void** /*state*/) {
    const auto found = documented();
    const auto structures = compiled();
    assert_int_equal(found.size(), structures.size());
    for (const Structure& structure : structures) {
        const auto entry = found.find(structure.name);
        if (entry == found.end()) {
            fail_msg("docs/protocol.md has no %s", structure.name.c_str());
        }
        std::vector<std::string> expected{std::to_string(structure.bytes)};
        for (const Field& field : structure.fields) {
            expected.push_back(row(field));
        }
        for (std::size_t i = 0; i < expected.size() && i < entry->second.size(); ++i) {
            if (expected[i] != entry->second[i]) {
                fail_msg("%s: compiled \"%s\", documented \"%s\"", structure.name.c_str(),
                         expected[i].c_str(), entry->second[i].c_str());
            }
        }
        assert_int_equal(entry->second.size(), expected.size());
    }
}

// A field that the list above forgot would leave a hole larger than alignment explains.
void the_fields_listed_here_fill_their_structures(void** /*state*/) {
    for (const Structure& structure : compiled()) {
        std::size_t end = 0;
        for (const Field& field : structure.fields) {
            const std::size_t hole = field.offset - end;
            const bool aligned = field.offset % cache_line_bytes == 0;
            if (hole >= (aligned ? (field.offset % 4096 == 0 ? 4096 : cache_line_bytes) : 8)) {
                fail_msg("%s: a hole of %zu bytes before %s", structure.name.c_str(), hole,
                         field.name);
            }
            end = field.offset + field.bytes;
        }
        assert_true(structure.bytes - end < cache_line_bytes);
    }
}

void print_tables() {
    for (const Structure& structure : compiled()) {
        std::printf("### %s: %zu bytes\n\n```\n  offset     bytes  field\n", structure.name.c_str(),
                    structure.bytes);
        for (const Field& field : structure.fields) {
            std::printf("%8zu  %8zu  %s\n", field.offset, field.bytes, field.name);
        }
        std::printf("```\n\n");
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "--print") == 0) {
        print_tables();
        return 0;
    }
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_structure_stands_in_the_protocol_document_as_compiled),
        cmocka_unit_test(the_fields_listed_here_fill_their_structures),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
