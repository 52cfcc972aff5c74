// What the broker tells: to every nginx worker in its LinkDown, to Prometheus in a snapshot.
#include <algorithm>
#include <optional>

#include "base/clock.hpp"
#include "base/heap.hpp"
#include "broker/broker.hpp"
#include "log/log.hpp"

namespace sonogate::broker {

namespace {

constexpr std::uint64_t look_at_disk_each_ns = 5'000'000'000;
constexpr unsigned catalog_version_bits = 44;  // of a stamp; more changes than a catalog sees

void store(shm::Counter& counter, std::uint64_t value) noexcept {
    // relaxed: figures to show; none of them orders anything.
    counter.store(value, std::memory_order_relaxed);
}

void store(shm::Index& word, std::uint32_t value) noexcept {
    word.store(value, std::memory_order_relaxed);
}

const Child* librarian_of(const Pool& pool) {
    for (const auto& child : pool.children()) {
        if (child->lane == Lane::librarian && child->channel.connected()) {
            return child.get();
        }
    }
    return nullptr;
}

std::uint64_t load(const shm::Counter& counter) noexcept {
    return counter.load(std::memory_order_relaxed);
}

}  // namespace

shm::PartState Broker::daemon_state() const {
    return desk_.draining() ? shm::PartState::draining : shm::PartState::ready;
}

void Broker::publish() {
    const std::uint64_t now = now_ns();
    if (now >= next_disk_ns_) {
        disk_free_bytes_ = disk_.free_bytes().value_or(disk_free_bytes_);
        next_disk_ns_ = now + look_at_disk_each_ns;
    }
    const auto librarian = static_cast<std::uint32_t>(pool_.librarian_state());
    const auto catalog = static_cast<std::uint32_t>(pool_.catalog_state());
    const auto daemon = static_cast<std::uint32_t>(daemon_state());
    for (const auto& [epoch, link] : open_links_) {
        auto& down = link->down();
        store(down.heartbeat_ns, now);
        store(down.queue_depth, scheduler_.depth());
        for (std::size_t lane = 0; lane < lane_count; ++lane) {
            store(down.expected_wait_us[lane],
                  scheduler_.expected_wait_us(static_cast<Lane>(lane)));
        }
        store(down.disk_free_bytes, disk_free_bytes_);
        store(down.workers_ready, pool_.workers_ready());
        store(down.workers_wanted, pool_.workers_wanted());
        store(down.librarian, librarian);
        store(down.catalog, catalog);
        store(down.daemon, daemon);
    }
    publish_catalog();
}

void Broker::publish_catalog() {
    const Child* const librarian = librarian_of(pool_);
    if (librarian != nullptr) {
        const std::uint64_t version = load(librarian->channel.published().catalog_version);
        const std::uint64_t tracks = load(librarian->channel.published().catalog_tracks);
        if (pool_.catalog_state() == shm::PartState::ready) {
            // Never back: one that has just started may not have told its version yet.
            catalog_stamp_ =
                std::max(catalog_stamp_, (catalog_life_ << catalog_version_bits) + version);
        }
        for (const auto& [epoch, link] : open_links_) {
            store(link->down().catalog_version, version);
            store(link->down().catalog_tracks, tracks);
        }
    }
    // While no librarian is there, nobody is told that the catalog has changed.
    for (const auto& [epoch, link] : open_links_) {
        store(link->down().catalog_stamp, catalog_stamp_);
    }
}

Snapshot Broker::snapshot() const {
    Snapshot out;
    out.requests = closed_.requests;
    out.cache_lookups = closed_.cache_lookups;
    out.cache_hits = closed_.cache_hits + cache_.found();
    for (const auto& [epoch, link] : open_links_) {
        for (std::size_t e = 0; e < out.requests.size(); ++e) {
            for (std::size_t s = 0; s < out.requests[e].size(); ++s) {
                out.requests[e][s] += load(link->up().requests[e][s]);
            }
        }
        out.upload_slab_bytes += load(link->up().upload_slab_bytes);
        out.result_bytes_in_use += load(link->up().result_bytes_in_use);
        out.result_slots_leased += link->results().leased();
        out.cache_lookups += load(link->up().cache_lookups);
        out.cache_hits += load(link->up().cache_hits);
    }
    for (std::size_t lane = 0; lane < lane_count; ++lane) {
        const auto which = static_cast<Lane>(lane);
        out.queues[lane] = {scheduler_.depth(which), scheduler_.identities(which),
                            scheduler_.expected_wait_us(which)};
    }
    out.workers_ready = pool_.workers_ready();
    out.workers_wanted = pool_.workers_wanted();
    out.child_deaths = pool_.deaths();
    const std::uint64_t now = now_ns();
    out.blamed_deaths = blame_.convictions();
    out.quarantined = blame_.quarantine().held(now);
    out.spent_identities = blame_.budget().spent(now);
    out.links = open_links_.size();
    out.upload_used_bytes = admission_.used_bytes();
    out.upload_limit_bytes = admission_.limit_bytes();
    out.uploads_waiting = admission_.waiting();
    out.cache_used_bytes = cache_.used_bytes();
    out.cache_limit_bytes = cache_.limit_bytes();
    out.cache_results = cache_.results();
    out.cache_stored = cache_.stored();
    out.cache_evicted = cache_.evicted();
    out.shared = jobs_.shared();
    out.tickets = admission_.tickets();
    out.callers = admission_.callers().callers();
    out.caller_tickets = admission_.callers().tickets();
    out.disk_free_bytes = disk_free_bytes_;
    out.dropped_log_lines = log::dropped_lines();
    out.librarian = static_cast<std::uint32_t>(pool_.librarian_state());
    out.catalog = static_cast<std::uint32_t>(pool_.catalog_state());
    out.daemon = static_cast<std::uint32_t>(daemon_state());
    out.recycled = pool_.recycled();
    out.filter_kills = pool_.filter_kills();
    out.refused_calls = pool_.refused_calls();
    out.broker_sandbox = options_.sandbox;
    std::optional<std::uint32_t> worker_sandbox;
    const HeapFigures heap = heap_figures();
    out.processes.push_back({"broker", heap.allocated_bytes, heap.resident_bytes});
    for (const auto& child : pool_.children()) {
        if (!child->channel.connected()) {
            continue;
        }
        const shm::ChannelOut& told = child->channel.published();
        out.processes.push_back(
            {Pool::name_of(*child), load(told.allocated_bytes), load(told.resident_bytes)});
        out.workers_busy += child->lane != Lane::librarian && !child->jobs.empty() ? 1U : 0U;
        if (child->lane != Lane::librarian) {
            worker_sandbox = worker_sandbox.value_or(~0U) & child->channel.sandbox();
        } else {
            out.librarian_sandbox = child->channel.sandbox();
            out.catalog_version = load(told.catalog_version);
            out.catalog_tracks = load(told.catalog_tracks);
            out.catalog_hashes = load(told.catalog_hashes);
            out.clips = load(told.queries);
            out.clips_matched = load(told.queries_matched);
        }
    }
    out.worker_sandbox = worker_sandbox.value_or(0);
    return out;
}

}  // namespace sonogate::broker
