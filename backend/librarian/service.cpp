// The catalog service: who runs what.
//
// One writer thread takes whatever waits, makes one transaction of it, and answers after the
// commit. N search threads answer questions, each with its own reader and buffers, from the newest
// picture of the index. The short questions (get, list) go before the long ones (identify). A
// monitor job is a row of searches, each as long as an identify: after each it goes to the end of
// the queue, so that an hour of radio delays a clip by one search and not by an hour. A keeper
// thread writes the index's files from pictures that do not change, and swaps them in between two
// commits; searches never wait for either.
#include "librarian/service.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <iterator>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/clock.hpp"
#include "catalog/index_folder.hpp"
#include "catalog/store.hpp"
#include "fingerprint/packing.hpp"
#include "librarian/changes.hpp"
#include "librarian/picture.hpp"
#include "librarian/questions.hpp"
#include "log/log.hpp"

namespace sonogate::librarian {
namespace {

constexpr std::size_t changes_per_commit = 128;
constexpr std::size_t tracks_per_rebuild_step = 512;
constexpr unsigned most_doublings = 16;
constexpr std::uint64_t longest_pause_ms = 300'000;

struct Pending {
    Request request;
    Done done;
    std::unique_ptr<Monitoring> monitoring = {};  // of a monitor job that has begun
};

bool is_search(shm::Endpoint endpoint) noexcept {
    return endpoint == shm::Endpoint::identify || endpoint == shm::Endpoint::monitor;
}

bool is_change(shm::Endpoint endpoint) noexcept {
    return endpoint == shm::Endpoint::track_create || endpoint == shm::Endpoint::track_patch ||
           endpoint == shm::Endpoint::track_delete;
}

class CatalogService final : public Service {
  public:
    CatalogService(std::unique_ptr<catalog::Store> store, const Config& config)
        : store_(std::move(store)),
          folder_(store_->index_folder()),
          progress_(config.progress),
          is_cancelled_(config.is_cancelled),
          most_unsaved_hashes_(std::max<std::uint64_t>(1, config.most_unsaved_hashes)),
          first_pause_ms_(config.first_pause_ms) {}
    ~CatalogService() override { CatalogService::stop(); }

    Result<void> start(unsigned search_threads);
    void submit(Request request, Done done) override;
    Stats stats() const override;
    void stop() override;

  private:
    Result<void> open_index();
    Result<void> add_missing(std::span<const std::int64_t> rows);
    bool save_next();
    bool save_failed(const std::string& why);
    void keep_files();
    void write();
    void search(Questions& questions);
    std::optional<Result<Answer>> answer(Questions& questions, Pending& pending) noexcept;
    void put_back(Pending pending);
    std::vector<Result<Answer>> change(const std::vector<Request>& requests) noexcept;
    std::vector<Pending> take_changes();
    bool take_question(Pending& out);

    std::unique_ptr<catalog::Store> store_;
    Gallery gallery_;
    std::mutex publishing_;  // held from reading the newest picture to publishing the next one
    catalog::IndexFolder folder_;
    std::array<std::uint8_t, 16> identity_{};  // the store's
    const std::function<void(std::uint64_t)> progress_;
    const std::function<bool(std::uint64_t)> is_cancelled_;
    const std::uint64_t most_unsaved_hashes_;
    const std::uint64_t first_pause_ms_;
    // The keeper's, once it runs: files that could not be written in a row, and until when none is
    // tried.
    unsigned unwritten_ = 0;
    std::uint64_t paused_until_ms_ = 0;
    Changes changes_{store_->writer(), gallery_};
    std::atomic<std::uint64_t> queries_ = 0;
    std::atomic<std::uint64_t> queries_matched_ = 0;

    std::mutex mutex_;  // the queues and stopping_
    std::condition_variable change_waits_;
    std::condition_variable question_waits_;
    std::condition_variable files_wait_;
    std::deque<Pending> pending_changes_;
    std::deque<Pending> short_questions_;
    std::deque<Pending> long_questions_;
    bool stopping_ = false;

    std::vector<std::thread> threads_;
};

Result<void> CatalogService::start(unsigned search_threads) {
    if (auto opened = open_index(); !opened) {
        return opened;
    }
    threads_.emplace_back([this] { write(); });
    threads_.emplace_back([this] { keep_files(); });
    for (unsigned i = 0; i < std::max(1U, search_threads); ++i) {
        auto reader = store_->open_reader();
        if (!reader) {
            return reader.failure();
        }
        auto questions = std::make_shared<Questions>(std::move(*reader), gallery_);
        threads_.emplace_back([this, questions] { search(*questions); });
    }
    return {};
}

// What the files have and the store does not is removed; what the store has and the files do not is
// made from its fingerprints.
Result<void> CatalogService::open_index() {
    const auto state = store_->state();
    const auto rows = store_->rows();
    if (!state || !rows) {
        return (!state ? state.failure() : rows.failure());
    }
    Picture picture;
    picture.version = state->version;
    identity_ = state->identity;
    picture.index = folder_.load(
        *state,
        [&](std::int64_t row) { return std::binary_search(rows->begin(), rows->end(), row); },
        [](const std::string& line) { spdlog::warn("librarian: index: {}", line); });
    std::unordered_set<std::int64_t> indexed;
    for (const auto& track : picture.index->tracks()) {
        indexed.insert(track.row);
    }
    std::vector<std::int64_t> missing;
    std::copy_if(rows->begin(), rows->end(), std::back_inserter(missing),
                 [&](std::int64_t row) { return !indexed.contains(row); });
    spdlog::info("librarian: {} tracks, {} of them in {} index files", rows->size(),
                 picture.index->live_tracks(), picture.index->parts().size());
    gallery_.publish(std::move(picture));
    return add_missing(missing);
}

// A row whose fingerprint is damaged stays in the store and out of the index.
Result<void> CatalogService::add_missing(std::span<const std::int64_t> rows) {
    std::vector<catalog::Index::Addition> step;
    const auto add_step = [&] {
        Picture picture = gallery_.newest();
        picture.index = picture.index->with(step, {});
        step.clear();
        if (progress_) {
            progress_(picture.index->live_tracks());
        }
        gallery_.publish(std::move(picture));
        while (save_next()) {
        }
    };
    auto read = store_->for_each_fingerprint(rows, [&](std::int64_t row, std::string_view id,
                                                       std::vector<std::byte> packed) {
        if (!fingerprint::unpack(packed)) {
            spdlog::error("librarian: track {} has a damaged fingerprint and is not searched", id);
            return;
        }
        step.push_back({row, std::make_shared<const std::vector<std::byte>>(std::move(packed))});
        if (step.size() == tracks_per_rebuild_step) {
            add_step();
        }
    });
    if (read) {
        add_step();
    }
    return read;
}

// Writes one file, and lets it stand for what it was made of; false where there was nothing to
// write, or no use in trying. Where it cannot be written the index stays as it is, in memory too.
bool CatalogService::save_next() {
    if (now_ms() < paused_until_ms_) {
        return false;
    }
    const Picture picture = gallery_.newest();
    try {
        auto written =
            folder_.write_next(picture.index, {identity_, picture.version}, most_unsaved_hashes_);
        if (!written) {
            return save_failed("errno " + std::to_string(written.failure().error));
        }
        if (*written) {
            {
                const std::lock_guard lock(publishing_);
                Picture next = gallery_.newest();
                next.index = (*written)->apply(*next.index);
                gallery_.publish(std::move(next));
            }
            folder_.applied(**written);
        }
        if (std::exchange(unwritten_, 0) != 0) {
            spdlog::info("librarian: index files are written again");
        }
        return written->has_value();
    } catch (const std::exception& error) {
        return save_failed(error.what());
    }
}

// A full disk stays full for a while, and a draft of a large file is much to write for nothing.
bool CatalogService::save_failed(const std::string& why) {
    if (unwritten_ == 0) {
        spdlog::warn(
            "librarian: an index file is not written, {}; what it would hold stays in "
            "memory, and it is tried again",
            why);
    }
    paused_until_ms_ = now_ms() + std::min(first_pause_ms_ << std::min(unwritten_, most_doublings),
                                           longest_pause_ms);
    ++unwritten_;
    return false;
}

void CatalogService::keep_files() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        const bool more = save_next();
        lock.lock();
        if (more || stopping_) {
            continue;
        }
        if (unwritten_ == 0) {
            files_wait_.wait(lock);
        } else {
            files_wait_.wait_for(lock, std::chrono::milliseconds(first_pause_ms_));
        }
    }
}

void CatalogService::submit(Request request, Done done) {
    {
        const std::lock_guard lock(mutex_);
        if (!stopping_) {
            const shm::Endpoint endpoint = request.job.endpoint;
            auto& queue = is_change(endpoint)   ? pending_changes_
                          : is_search(endpoint) ? long_questions_
                                                : short_questions_;
            queue.push_back({std::move(request), std::move(done)});
            (is_change(endpoint) ? change_waits_ : question_waits_).notify_one();
            return;
        }
    }
    done(request.job.number, Errc::draining);
}

Stats CatalogService::stats() const {
    const Picture picture = gallery_.newest();
    return {.version = picture.version,
            .tracks = picture.index->live_tracks(),
            .hashes = picture.index->live_hashes(),
            .queries = queries_.load(std::memory_order_relaxed),
            .queries_matched = queries_matched_.load(std::memory_order_relaxed)};
}

void CatalogService::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    change_waits_.notify_all();
    question_waits_.notify_all();
    files_wait_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
    threads_.clear();
    for (auto* const queue : {&short_questions_, &long_questions_}) {
        for (Pending& pending : std::exchange(*queue, {})) {
            pending.done(pending.request.job.number, Errc::draining);
        }
    }
}

void CatalogService::write() {
    for (;;) {
        std::vector<Pending> batch = take_changes();
        if (batch.empty()) {
            return;
        }
        std::vector<Request> requests;
        requests.reserve(batch.size());
        for (Pending& pending : batch) {
            requests.push_back(std::move(pending.request));
        }
        std::vector<Result<Answer>> answers = change(requests);
        files_wait_.notify_one();
        for (std::size_t i = 0; i < batch.size(); ++i) {
            batch[i].done(requests[i].job.number, std::move(answers[i]));
        }
    }
}

std::vector<Result<Answer>> CatalogService::change(const std::vector<Request>& requests) noexcept {
    const std::lock_guard lock(publishing_);
    try {
        return changes_.apply(requests);
    } catch (const std::exception& error) {
        store_->writer().rollback();
        for (const Request& request : requests) {
            log::about(request.job.request_id, spdlog::level::err, "change failed: {}",
                       error.what());
        }
        return {requests.size(), Result<Answer>(Errc::internal)};
    }
}

void CatalogService::search(Questions& questions) {
    Pending pending;
    while (take_question(pending)) {
        if (auto answered = answer(questions, pending)) {
            pending.done(pending.request.job.number, std::move(*answered));
            pending = {};
        } else {
            put_back(std::exchange(pending, {}));
        }
    }
}

void CatalogService::put_back(Pending pending) {
    const std::lock_guard lock(mutex_);
    long_questions_.push_back(std::move(pending));
    question_waits_.notify_one();
}

// nullopt: a monitor job that has more to search.
std::optional<Result<Answer>> CatalogService::answer(Questions& questions,
                                                     Pending& pending) noexcept {
    const Request& request = pending.request;
    if (request.job.endpoint == shm::Endpoint::monitor && is_cancelled_ &&
        is_cancelled_(request.job.number)) {
        return Errc::cancelled;
    }
    bool matched = false;
    std::optional<Result<Answer>> out(Errc::internal);
    try {
        out = request.job.endpoint == shm::Endpoint::monitor
                  ? questions.go_on(request, pending.monitoring, matched)
                  : questions.answer(request, matched);
    } catch (const std::bad_alloc&) {
        out = Errc::job_too_large;
    } catch (const std::exception& error) {
        log::about(request.job.request_id, spdlog::level::err, "question failed: {}", error.what());
    }
    if (is_search(request.job.endpoint) && out && *out) {
        queries_.fetch_add(1, std::memory_order_relaxed);
        queries_matched_.fetch_add(matched ? 1 : 0, std::memory_order_relaxed);
    }
    return out;
}

// All that waits, up to one commit's worth; empty when it is time to stop and nothing waits.
std::vector<Pending> CatalogService::take_changes() {
    std::unique_lock lock(mutex_);
    change_waits_.wait(lock, [this] { return stopping_ || !pending_changes_.empty(); });
    std::vector<Pending> out;
    while (!pending_changes_.empty() && out.size() < changes_per_commit) {
        out.push_back(std::move(pending_changes_.front()));
        pending_changes_.pop_front();
    }
    return out;
}

// False when it is time to stop.
bool CatalogService::take_question(Pending& out) {
    std::unique_lock lock(mutex_);
    question_waits_.wait(lock, [this] {
        return stopping_ || !short_questions_.empty() || !long_questions_.empty();
    });
    if (stopping_) {
        return false;
    }
    auto& queue = short_questions_.empty() ? long_questions_ : short_questions_;
    out = std::move(queue.front());
    queue.pop_front();
    return true;
}

}  // namespace

Result<std::unique_ptr<Service>> Service::open(const Config& config) {
    std::string why;
    auto store = catalog::open_store(config.store, &why);
    if (!store) {
        spdlog::error("librarian: {}, errno {}", why, store.failure().error);
        return store.failure();
    }
    auto service = std::make_unique<CatalogService>(std::move(*store), config);
    if (auto started = service->start(config.search_threads); !started) {
        spdlog::error("librarian: the store cannot be read, errno {}", started.failure().error);
        return started.failure();
    }
    return std::unique_ptr<Service>(std::move(service));
}

}  // namespace sonogate::librarian
