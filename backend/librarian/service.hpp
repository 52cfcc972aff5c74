// The catalog as a service: one writer thread with group commit, N search threads.
//
// For: librarian/run.cpp, which moves jobs between shared memory and here. Not for: audio, HTTP,
// processes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "shm/channel_layout.hpp"

namespace sonogate::librarian {

// A catalog job. `record` is what a worker made (identify, track_create: a packed catalog::Record)
// or the JSON body of a PATCH; `params` is packed (shm/params.hpp). Owned: the service works on it
// after submit() returned.
struct Request {
    shm::Job job;
    std::vector<std::byte> params;
    std::vector<std::byte> record;
};

struct Answer {
    std::uint16_t status = 200;
    std::string body;        // JSON as api.md has it, without request_id, timing_ms, cache
    std::uint64_t etag = 0;  // GET: changes when the body would
    std::uint32_t search_us = 0;
    shm::Text track_id;  // track_create: for Location
};

struct Stats {
    std::uint64_t version = 0;  // grows with every change of the catalog
    std::uint64_t tracks = 0;
    std::uint64_t hashes = 0;
    std::uint64_t queries = 0;
    std::uint64_t queries_matched = 0;
};

using Done = std::function<void(std::uint64_t number, Result<Answer> answer)>;

class Service {
  public:
    struct Config {
        std::string store;  // "sqlite:/absolute/path"
        unsigned search_threads = 1;
        // Of what is in memory only, before it is written to the index's folder: 20 MB.
        std::uint64_t most_unsaved_hashes = 4'000'000;
        // After a file of the index could not be written; twice as long after each time, 5 minutes
        // at the most.
        std::uint64_t first_pause_ms = 1'000;
        std::function<void(std::uint64_t tracks)> progress = {};  // while it opens
        // Whether nobody waits for a job any more: asked before each piece of a monitor job, from
        // any thread. Such a job is answered `cancelled`.
        std::function<bool(std::uint64_t number)> is_cancelled = {};
    };

    // Opens the store, migrates it, maps the index's files, and makes again what they lack: all of
    // it where there are none, a minute for some ten thousand tracks. The caller says `starting`
    // meanwhile. Errors: internal (the log line says why), insufficient_storage.
    static Result<std::unique_ptr<Service>> open(const Config& config);

    virtual ~Service() = default;

    // Thread: any one. `done` is called once for each job, from a thread of the service, also on
    // stop(). A track's catalog version is in stats() before its `done` is called.
    virtual void submit(Request request, Done done) = 0;

    virtual Stats stats() const = 0;

    // Finishes the changes that were submitted and the searches that have begun, commits, closes
    // the store. Questions that wait are answered `draining`, and so is a monitor job after its
    // piece: who is stopped has nobody left to answer.
    virtual void stop() = 0;
};

}  // namespace sonogate::librarian
