#include "broker/metrics.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "sandbox/layers.hpp"
#include "shm/channel_layout.hpp"

namespace sonogate::broker {

namespace {

constexpr std::array<std::string_view, shm::endpoint_count> endpoint_names = {
    "other",     "analyze",     "identify",     "fingerprint", "track_create", "track_list",
    "track_get", "track_patch", "track_delete", "metrics",     "monitor"};

constexpr std::array<std::string_view, shm::counted_endpoint_count> counted_endpoint_names = {
    "other", "analyze", "identify", "fingerprint", "tracks",
    "track", "metrics", "health",   "ready",       "monitor"};

constexpr std::array<std::string_view, static_cast<std::size_t>(StageName::count_)> stage_names = {
    "receive", "queue", "decode", "compute", "search"};

constexpr std::array<std::string_view, lane_count> queue_names = {"short", "long", "librarian"};

constexpr std::array<std::string_view, static_cast<std::size_t>(shm::PartState::count_)>
    state_names = {"down", "starting", "ready", "draining"};

// One exposition, family by family.
class Exposition {
  public:
    void family(std::string_view name, std::string_view type, std::string_view help) {
        fmt::format_to(std::back_inserter(out_), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help,
                       type);
        name_ = name;
    }
    template <typename Number>
    void sample(std::string_view suffix, std::string_view labels, Number value) {
        fmt::format_to(std::back_inserter(out_), "{}{}{}{}{} {}\n", name_, suffix,
                       labels.empty() ? "" : "{", labels, labels.empty() ? "" : "}", value);
    }
    template <typename Number>
    void single(std::string_view name, std::string_view type, std::string_view help, Number value) {
        family(name, type, help);
        sample("", "", value);
    }
    std::string take() { return std::move(out_); }

  private:
    std::string out_;
    std::string_view name_;
};

void write_requests(Exposition& out, const RequestCounts& requests) {
    out.family("sonogate_requests_total", "counter",
               "Requests that nginx answered, by endpoint and status.");
    for (std::size_t e = 0; e < requests.size(); ++e) {
        for (std::size_t s = 0; s < requests[e].size(); ++s) {
            if (requests[e][s] == 0) {
                continue;
            }
            const std::uint16_t status = shm::counted_statuses[s];
            out.sample("",
                       fmt::format("endpoint=\"{}\",status=\"{}\"", counted_endpoint_names[e],
                                   status == 0 ? "other" : std::to_string(status)),
                       requests[e][s]);
        }
    }
}

// `labels` of each sample beside `le`; may be empty.
template <const auto& Bounds>
void write_histogram(Exposition& out, const std::string& labels,
                     const Histogram<Bounds>& histogram) {
    const std::string before = labels.empty() ? "" : labels + ",";
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < Bounds.size(); ++i) {
        below += histogram.counts()[i];
        out.sample("_bucket", fmt::format("{}le=\"{}\"", before, Bounds[i]), below);
    }
    below += histogram.counts().back();
    out.sample("_bucket", before + "le=\"+Inf\"", below);
    out.sample("_sum", labels, histogram.sum());
    out.sample("_count", labels, below);
}

void write_pool(Exposition& out, const Snapshot& now) {
    const auto queue = [](std::size_t i) { return fmt::format("queue=\"{}\"", queue_names[i]); };
    std::uint64_t depth = 0;
    out.family("sonogate_queue_jobs", "gauge", "Jobs that wait, by whom they wait for.");
    for (std::size_t i = 0; i < lane_count; ++i) {
        out.sample("", queue(i), now.queues[i].jobs);
        depth += now.queues[i].jobs;
    }
    out.single("sonogate_queue_depth", "gauge", "Jobs that wait, in all queues.", depth);
    out.family("sonogate_queue_identities", "gauge", "Those who have jobs that wait.");
    for (std::size_t i = 0; i < lane_count; ++i) {
        out.sample("", queue(i), now.queues[i].identities);
    }
    out.family("sonogate_expected_wait_seconds", "gauge",
               "What the last one of a queue will wait.");
    for (std::size_t i = 0; i < lane_count; ++i) {
        out.sample("", queue(i), static_cast<double>(now.queues[i].wait_us) * 1e-6);
    }
    out.family("sonogate_workers", "gauge", "Worker processes, by state.");
    out.sample("", "state=\"ready\"", now.workers_ready);
    out.sample("", "state=\"busy\"", now.workers_busy);
    out.sample("", "state=\"wanted\"", now.workers_wanted);
    out.single("sonogate_worker_deaths_total", "counter",
               "Workers and librarians that ended when nobody asked them to.", now.child_deaths);
    out.single("sonogate_workers_recycled_total", "counter",
               "Workers that made way for a new one after worker_jobs.", now.recycled);
    out.single("sonogate_links", "gauge", "nginx workers that are connected.", now.links);
    out.family("sonogate_part_state", "gauge", "1 for the state that a part of the daemon is in.");
    for (std::size_t i = 0; i < state_names.size(); ++i) {
        out.sample("", fmt::format("part=\"librarian\",state=\"{}\"", state_names[i]),
                   now.librarian == i ? 1 : 0);
        out.sample("", fmt::format("part=\"catalog\",state=\"{}\"", state_names[i]),
                   now.catalog == i ? 1 : 0);
        out.sample("", fmt::format("part=\"daemon\",state=\"{}\"", state_names[i]),
                   now.daemon == i ? 1 : 0);
    }
}

void write_crashes(Exposition& out, const Snapshot& now, std::uint64_t refusals) {
    out.single("sonogate_blamed_deaths_total", "counter",
               "Deaths of workers that counted against a content and an identity.",
               now.blamed_deaths);
    out.single("sonogate_quarantined_contents", "gauge",
               "Contents that killed two workers and are refused for now.", now.quarantined);
    out.single("sonogate_crash_budget_spent_identities", "gauge",
               "Identities that crashed too many workers and are refused for now.",
               now.spent_identities);
    out.single("sonogate_crash_budget_refusals_total", "counter",
               "Uploads and jobs refused to them.", refusals);
}

void write_sandbox(Exposition& out, const Snapshot& now) {
    out.family("sonogate_sandbox_layer", "gauge",
               "1 for what the processes of that role are confined by, every one of them.");
    struct Role {
        std::string_view process;
        std::uint32_t wanted, has;
    };
    for (const Role& role : {Role{"worker", sandbox::worker_layers, now.worker_sandbox},
                             Role{"librarian", sandbox::filter_layers, now.librarian_sandbox},
                             Role{"broker", sandbox::filter_layers, now.broker_sandbox}}) {
        for (std::size_t i = 0; i < sandbox::layer_names.size(); ++i) {
            if ((role.wanted >> i & 1U) != 0) {
                out.sample("",
                           fmt::format("process=\"{}\",layer=\"{}\"", role.process,
                                       sandbox::layer_names[i]),
                           role.has >> i & 1U);
            }
        }
    }
    out.family("sonogate_sandbox_violations_total", "counter",
               "System calls that a child's filter did not let through, by what became of it.");
    out.sample("", "outcome=\"killed\"", now.filter_kills);
    out.sample("", "outcome=\"refused\"", now.refused_calls);
}

void write_memory(Exposition& out, const Snapshot& now) {
    out.family("sonogate_shared_memory_bytes", "gauge", "Memory of shared segments, by kind.");
    out.sample("", "kind=\"upload_slabs\"", now.upload_slab_bytes);
    out.sample("", "kind=\"results_in_use\"", now.result_bytes_in_use);
    out.sample(
        "", "kind=\"links\"",
        now.links * (sizeof(shm::LinkUp) + sizeof(shm::LinkDown) + shm::result_segment_bytes));
    out.sample("", "kind=\"channels\"",
               now.processes.size() * (sizeof(shm::ChannelIn) + sizeof(shm::ChannelOut)));
    out.single("sonogate_result_slots_in_use", "gauge", "Result slots that nginx sends from.",
               now.result_slots_leased);
    out.family("sonogate_upload_memory_bytes", "gauge", "Upload memory, leased and at most.");
    out.sample("", "state=\"used\"", now.upload_used_bytes);
    out.sample("", "state=\"limit\"", now.upload_limit_bytes);
    out.single("sonogate_uploads_waiting", "gauge", "Uploads that pause for upload memory.",
               now.uploads_waiting);
    out.single("sonogate_tickets", "gauge", "Uploads and jobs that hold a ticket.", now.tickets);
    out.single("sonogate_concurrency_tickets", "gauge", "Those that sonogate_concurrency counts.",
               now.caller_tickets);
    out.single("sonogate_concurrency_callers", "gauge", "Callers that hold them.", now.callers);
    out.family("sonogate_jemalloc_bytes", "gauge", "Heap of each process, as jemalloc counts it.");
    for (const auto& process : now.processes) {
        out.sample("", fmt::format("process=\"{}\",kind=\"allocated\"", process.name),
                   process.allocated_bytes);
        out.sample("", fmt::format("process=\"{}\",kind=\"resident\"", process.name),
                   process.resident_bytes);
    }
    out.single("sonogate_disk_free_bytes", "gauge", "Free in the state folder.",
               now.disk_free_bytes);
}

void write_cache(Exposition& out, const Snapshot& now) {
    out.single("sonogate_result_cache_lookups_total", "counter",
               "Uploads that were looked up in the result cache.", now.cache_lookups);
    out.single("sonogate_result_cache_hits_total", "counter",
               "Uploads that the result cache answered.", now.cache_hits);
    out.single("sonogate_result_cache_hit_ratio", "gauge", "Hits by lookups since the start.",
               now.cache_lookups == 0
                   ? 0.0
                   : static_cast<double>(now.cache_hits) / static_cast<double>(now.cache_lookups));
    out.single("sonogate_shared_jobs_total", "counter",
               "Uploads answered by a job that worked on the same already.", now.shared);
    out.family("sonogate_result_cache_bytes", "gauge", "Memory of the result cache.");
    out.sample("", "state=\"used\"", now.cache_used_bytes);
    out.sample("", "state=\"limit\"", now.cache_limit_bytes);
    out.single("sonogate_result_cache_results", "gauge",
               "Results in it, those past their time included.", now.cache_results);
    out.single("sonogate_result_cache_stored_total", "counter", "Results put into it.",
               now.cache_stored);
    out.single("sonogate_result_cache_evicted_total", "counter",
               "Results that made room for others before their time.", now.cache_evicted);
}

void write_catalog(Exposition& out, const Snapshot& now) {
    out.single("sonogate_catalog_tracks", "gauge", "Tracks in the catalog.", now.catalog_tracks);
    out.single("sonogate_catalog_hashes", "gauge", "Landmark hashes in the search index.",
               now.catalog_hashes);
    out.single("sonogate_catalog_version", "gauge", "Grows with every change of the catalog.",
               now.catalog_version);
    out.single("sonogate_identify_clips_total", "counter",
               "Clips and recordings searched since the librarian started.", now.clips);
    out.single("sonogate_identify_matched_total", "counter", "Clips of those that matched a track.",
               now.clips_matched);
}

}  // namespace

std::string Metrics::text(const Snapshot& now) const {
    Exposition out;
    write_requests(out, now.requests);
    out.family("sonogate_jobs_total", "counter", "Jobs that ended, by endpoint and outcome.");
    for (std::size_t e = 0; e < jobs_.size(); ++e) {
        for (std::size_t o = 0; o < jobs_[e].size(); ++o) {
            if (jobs_[e][o] != 0) {
                out.sample("",
                           fmt::format("endpoint=\"{}\",outcome=\"{}\"", endpoint_names[e],
                                       problem_of(static_cast<Errc>(o)).type),
                           jobs_[e][o]);
            }
        }
    }
    out.family("sonogate_stage_seconds", "histogram", "Time of a job in each stage.");
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        write_histogram(out, fmt::format("stage=\"{}\"", stage_names[i]), stages_[i]);
    }
    out.family("sonogate_job_cpu_seconds", "histogram", "Processor time of a job in its worker.");
    write_histogram(out, "", job_cpu_);
    out.family("sonogate_job_memory_bytes", "histogram",
               "What a job allocated in its worker, at most, beyond what was there before.");
    write_histogram(out, "", job_memory_);
    write_pool(out, now);
    out.single("sonogate_retries_total", "counter", "Jobs given to another worker or librarian.",
               retries_);
    out.single("sonogate_silent_children_total", "counter",
               "Processes that were killed because they showed no sign of life.", silent_);
    write_crashes(out, now, crash_refusals_);
    out.single("sonogate_moved_jobs_total", "counter",
               "Jobs that a worker for short ones gave to one for long ones.", moved_);
    out.single("sonogate_refused_links_total", "counter", "Connections that were turned away.",
               refused_links_);
    write_sandbox(out, now);
    write_memory(out, now);
    write_cache(out, now);
    write_catalog(out, now);
    out.single("sonogate_log_lines_dropped_total", "counter",
               "Lines that the broker did not write, since whoever reads its log did not.",
               now.dropped_log_lines);
    out.family("sonogate_build_info", "gauge", "Always 1.");
    out.sample("", "version=\"" SONOGATE_VERSION "\"", 1);
    return out.take();
}

}  // namespace sonogate::broker
