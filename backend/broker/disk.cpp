#include "broker/disk.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace sonogate::broker {

struct Disk::Exchange {
    std::mutex mutex;
    std::condition_variable asked;
    std::condition_variable answered;
    std::string folder;
    std::uint64_t questions = 0;
    std::uint64_t answers = 0;  // behind `questions` while the thread is at it
    bool ended = false;
    std::optional<std::uint64_t> free_bytes;
};

std::optional<std::uint64_t> Disk::free_in(const std::string& folder) {
    struct statvfs disk {};
    if (::statvfs(folder.c_str(), &disk) != 0) {
        return std::nullopt;
    }
    return std::uint64_t{disk.f_bavail} * disk.f_frsize;
}

Disk::Disk(std::string folder, Ask ask, std::uint64_t patience_ms)
    : folder_(std::move(folder)),
      patience_ms_(patience_ms),
      exchange_(std::make_shared<Exchange>()) {
    std::thread([exchange = exchange_, ask = std::move(ask)] { answer(exchange, ask); }).detach();
}

Disk::~Disk() {
    const std::lock_guard lock(exchange_->mutex);
    exchange_->ended = true;
    exchange_->asked.notify_all();
}

void Disk::answer(const std::shared_ptr<Exchange>& exchange, const Ask& ask) {
    std::unique_lock lock(exchange->mutex);
    for (;;) {
        exchange->asked.wait(
            lock, [&] { return exchange->ended || exchange->answers != exchange->questions; });
        if (exchange->ended) {
            return;
        }
        const std::string folder = exchange->folder;
        lock.unlock();
        const auto free = ask(folder);
        lock.lock();
        if (free) {
            exchange->free_bytes = free;
        }
        ++exchange->answers;
        exchange->answered.notify_all();
    }
}

void Disk::follow(std::string_view store) {
    const auto path = store.substr(std::min(store.find('/'), store.size()));
    if (!path.empty()) {
        folder_ = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    }
}

std::optional<std::uint64_t> Disk::free_bytes() const {
    std::unique_lock lock(exchange_->mutex);
    if (exchange_->answers == exchange_->questions) {
        exchange_->folder = folder_;
        ++exchange_->questions;
        exchange_->asked.notify_one();
        exchange_->answered.wait_for(lock, std::chrono::milliseconds(patience_ms_),
                                     [&] { return exchange_->answers == exchange_->questions; });
    }
    return exchange_->free_bytes;
}

}  // namespace sonogate::broker
