// One job, from its submission to its answer, and those who wait for it.
//
// For: jobs.cpp, which moves it on. Not for: admission before the upload is complete.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "broker/content.hpp"
#include "broker/scheduler.hpp"
#include "broker/slabs.hpp"
#include "shm/layout.hpp"

namespace sonogate::broker {

// Who waits for a job's answer: a place in the table of an nginx worker. Several where identical
// uploads are in flight (waiters.cpp).
struct Waiter {
    shm::Submission asked;
    std::shared_ptr<Slab> slab;  // null where there is no input
    std::uint64_t submitted_ns = 0;
    std::uint64_t deadline_ns = 0;  // after that nobody waits in this place
};

struct Job {
    std::uint64_t number = 0;
    std::vector<Waiter> waiters;  // none: it works on for nobody, until its child says so

    // The input: the first waiter's. The others' are the same, and take its place when it leaves.
    shm::Submission submission;
    std::shared_ptr<Slab> slab;

    Lane lane = Lane::short_jobs;  // where it waits or runs
    std::uint64_t child = 0;       // birth of who has it, 0 = it waits
    unsigned crashes = 0;  // workers that may have died of it, or librarians that died with it
    unsigned deaths = 0;   // all children that died with it, those that never began it too
    std::uint64_t cleared_stamp = 0;      // of the quarantine that did not hold it
    std::optional<ContentReader> reader;  // while it is looked for there
    Turn turn;

    std::uint64_t queued_ns = 0;    // since when it waits in this lane
    std::uint64_t deadline_ns = 0;  // as its child was told: the latest of the waiters of then
    std::uint64_t unwanted_ns = 0;  // when the worker was told to stop, 0 = it was not

    shm::StageTimes times;
    shm::AudioFacts audio;
    std::vector<std::byte> record;  // what a worker made for the librarian
};

// Which way a job goes.
constexpr bool needs_worker(shm::Endpoint endpoint) noexcept {
    return endpoint == shm::Endpoint::analyze || endpoint == shm::Endpoint::identify ||
           endpoint == shm::Endpoint::fingerprint || endpoint == shm::Endpoint::monitor ||
           endpoint == shm::Endpoint::track_create;
}
constexpr bool needs_librarian(shm::Endpoint endpoint) noexcept {
    return endpoint == shm::Endpoint::identify || endpoint == shm::Endpoint::monitor ||
           endpoint == shm::Endpoint::track_create || endpoint == shm::Endpoint::track_list ||
           endpoint == shm::Endpoint::track_get || endpoint == shm::Endpoint::track_patch ||
           endpoint == shm::Endpoint::track_delete;
}
constexpr bool writes_catalog(shm::Endpoint endpoint) noexcept {
    return endpoint == shm::Endpoint::track_create || endpoint == shm::Endpoint::track_patch ||
           endpoint == shm::Endpoint::track_delete;
}

// What makes the catalog larger.
constexpr bool needs_disk(shm::Endpoint endpoint) noexcept {
    return endpoint == shm::Endpoint::track_create || endpoint == shm::Endpoint::track_patch;
}

}  // namespace sonogate::broker
