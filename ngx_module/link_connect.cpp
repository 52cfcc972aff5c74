// How a link comes up, goes down and comes back.

#include "ngx_module/link.hpp"

#include "base/clock.hpp"

#include <sys/un.h>

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr ngx_msec_t first_back_off_ms = 50;
constexpr ngx_msec_t longest_back_off_ms = 1'000;
constexpr ngx_msec_t back_off_with_jobs_ms = 100;
constexpr std::uint64_t greeting_timeout_ms = 5'000;
constexpr std::uint64_t warm_bytes_max = 256ULL << 20U;

// Free slabs may hold a quarter of what all uploads may, so that two workers leave half of it.
std::uint64_t warm_bytes_of(const Pool& pool) noexcept {
    return std::min(warm_bytes_max, pool.settings.upload_memory_bytes / 4);
}

int connect_to(int fd, std::string_view path) noexcept {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    return ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
}

void delete_link(void* data) noexcept {
    auto* pool = static_cast<Pool*>(data);
    delete pool->link;
    pool->link = nullptr;
}

}  // namespace

Link& link_of(Pool& pool) noexcept {
    if (pool.link == nullptr) {
        auto* cycle = const_cast<ngx_cycle_t*>(ngx_cycle);
        pool.link = new Link(pool, cycle->log);
        if (ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cycle->pool, 0);
            cleanup != nullptr) {
            cleanup->handler = delete_link;
            cleanup->data = &pool;
        }
    }
    return *pool.link;
}

Link::Link(Pool& pool, ngx_log_t* log) noexcept
    : pool_(pool), log_(log), slabs_(warm_bytes_of(pool)), down_since_ms_(now_ms()) {
    timer_.handler = timer;
    timer_.data = this;
    timer_.log = log;
    timer_.cancelable = 1;
    trim_timer_.handler = trim;
    trim_timer_.data = this;
    trim_timer_.log = log;
    trim_timer_.cancelable = 1;
    bell_event_.handler = ring;
    bell_event_.data = this;
    bell_event_.log = log;
    connect();
}

Link::~Link() {
    close();
}

void Link::close() noexcept {
    if (timer_.timer_set) {
        ngx_del_timer(&timer_);
    }
    if (trim_timer_.timer_set) {
        ngx_del_timer(&trim_timer_);
    }
    if (bell_event_.posted) {
        ngx_delete_posted_event(&bell_event_);
    }
    if (connection_ != nullptr) {
        ngx_close_connection(connection_);
        connection_ = nullptr;
    }
    state_ = State::down;
}

void Link::schedule(ngx_msec_t ms) noexcept {
    if (ngx_exiting && !somebody_waits() && outgoing_.empty()) {
        return;
    }
    if (!timer_.timer_set ||
        static_cast<ngx_msec_int_t>(timer_.timer.key - (timer_now() + ms)) > 0) {
        if (timer_.timer_set) {
            ngx_del_timer(&timer_);
        }
        ngx_add_timer(&timer_, ms);
    }
}

// A connected socket, or -errno.
int Link::open_socket() noexcept {
    UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) {
        return -errno;
    }
    int error = connect_to(fd.get(), view(pool_.socket));
    if (error == EACCES && pool_.socket_fd >= 0) {
        u_char path[sizeof("/proc/self/fd/") + NGX_INT_T_LEN];
        const u_char* end = ngx_snprintf(path, sizeof(path), "/proc/self/fd/%d", pool_.socket_fd);
        error = connect_to(
            fd.get(), {reinterpret_cast<const char*>(path), static_cast<std::size_t>(end - path)});
    }
    return error == 0 ? fd.release() : -error;
}

void Link::connect() noexcept {
    const int fd = open_socket();
    if (fd < 0) {
        retry_later("cannot connect", -fd);
        return;
    }
    if (!watch(fd)) {
        ::close(fd);
        retry_later("no free connection", 0);
        return;
    }
    if (!send_hello()) {
        retry_later("cannot greet", 0);
        return;
    }
    state_ = State::greeting;
    greeting_since_ms_ = now_ms();
    schedule(back_off_with_jobs_ms);
}

bool Link::watch(int fd) noexcept {
    ngx_connection_t* connection = ngx_get_connection(fd, log_);
    if (connection == nullptr) {
        return false;
    }
    connection->data = this;
    // Ours alone: without `channel` every exit of the worker would log an alert about it.
    connection->read->channel = 1;
    connection->write->channel = 1;
    connection->read->log = log_;
    connection->write->log = log_;
    connection->read->handler = readable;
    // Level-triggered: one recv() a wake-up, none to find the socket empty.
    if (ngx_add_event(connection->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_free_connection(connection);
        return false;
    }
    connection_ = connection;
    return true;
}

bool Link::send_hello() noexcept {
    auto memory = std::make_shared<LinkMemory>();
    auto segment = shm::OwnedSegment::create("sonogate-link-up", sizeof(shm::LinkUp));
    if (!segment) {
        return false;
    }
    memory->up_segment = std::move(*segment);
    auto& header = memory->up().header;
    header.magic = shm::magic;
    header.version = shm::layout_version;
    header.segment_bytes = sizeof(shm::LinkUp);
    shm::Hello hello;
    hello.settings = pool_.settings;
    const int fd = memory->up_segment.fd();
    if (!shm::send_message(connection_->fd, hello, std::span(&fd, 1))) {
        return false;
    }
    memory->up_segment.close_fd();
    memory_ = std::move(memory);
    return true;
}

void Link::retry_later(const char* why, int error) noexcept {
    if (connection_ != nullptr) {
        ngx_close_connection(connection_);
        connection_ = nullptr;
    }
    memory_.reset();
    state_ = State::down;
    if (!complained_) {
        complained_ = true;
        ngx_log_error(NGX_LOG_WARN, log_, error,
                      "sonogate: pool \"%V\": %s at \"%V\", trying again", &pool_.name, why,
                      &pool_.socket);
    }
    back_off_ms_ =
        back_off_ms_ == 0 ? first_back_off_ms : std::min(back_off_ms_ * 2, longest_back_off_ms);
    schedule(somebody_waits() ? std::min(back_off_ms_, back_off_with_jobs_ms) : back_off_ms_);
}

bool Link::take_welcome(shm::Message& message) noexcept {
    const auto refused = message.as<shm::Welcome>(0);
    if (refused && refused->kind == shm::MessageKind::welcome && refused->errc != 0) {
        ngx_log_error(NGX_LOG_ERR, log_, 0,
                      "sonogate: pool \"%V\": the backend refused the link (%ui)", &pool_.name,
                      static_cast<ngx_uint_t>(refused->errc));
        return false;
    }
    const auto welcome = message.as<shm::Welcome>(message.fd_count);
    if (!welcome || welcome->kind != shm::MessageKind::welcome ||
        welcome->magic_number != shm::magic || welcome->version != shm::layout_version ||
        welcome->errc != 0 || welcome->epoch == 0 ||
        message.fd_count != (welcome->cache_bytes != 0 ? 3U : 2U)) {
        return false;
    }
    auto down = shm::map_peer_segment(message.fds[0].get(), sizeof(shm::LinkDown));
    auto results = shm::map_peer_segment(message.fds[1].get(), shm::result_segment_bytes);
    if (!down || !results) {
        return false;
    }
    memory_->down_segment = std::move(*down);
    memory_->results = std::move(*results);
    memory_->epoch = welcome->epoch;
    if (welcome->cache_bytes != 0 && !take_cache(*welcome, message.fds[2].get())) {
        return false;
    }
    const shm::SegmentHeader header = memory_->down().header;
    return header.magic == shm::magic && header.version == shm::layout_version;
}

// The size alone says how it is divided; no number in the segment does.
bool Link::take_cache(const shm::Welcome& welcome, int fd) noexcept {
    const auto shape = shm::CacheShape::of(welcome.cache_bytes);
    auto segment = shm::map_peer_segment(fd, welcome.cache_bytes);
    if (shape.entries == 0 || shape.bytes() > welcome.cache_bytes || !segment) {
        return false;
    }
    memory_->cache_segment = std::move(*segment);
    memory_->cache = shm::CacheReader(memory_->cache_segment.data(), shape);
    memory_->cache_hash_key = welcome.cache_hash_key;
    return true;
}

void Link::come_up() noexcept {
    shm::LinkUp& up = memory_->up();
    const shm::LinkDown& down = memory_->down();
    submissions_.emplace(up.submissions, up.submission_tail, down.submission_head);
    completions_.emplace(down.completions, down.completion_tail, up.completion_head);
    sleeper_.emplace(up.armed);
    bell_.emplace(down.armed, connection_->fd);
    for (std::size_t row = 0; row < shm::counted_endpoint_count; ++row) {
        for (std::size_t column = 0; column < shm::counted_statuses.size(); ++column) {
            up.requests[row][column].store(counts_before_[row][column], std::memory_order_relaxed);
            counts_before_[row][column] = 0;
        }
    }
    state_ = State::up;
    back_off_ms_ = 0;
    complained_ = false;
    ngx_log_error(NGX_LOG_NOTICE, log_, 0, "sonogate: pool \"%V\": linked to \"%V\"", &pool_.name,
                  &pool_.socket);
    publish_memory();
    for (std::uint32_t slot = 0; slot < pending_.slots(); ++slot) {
        Job* job = pending_.at(slot);
        if (job != nullptr && job->state != JobState::idle && !job->sent) {
            send_job(*job);
        }
    }
    drain();
}

void Link::go_down(const char* why) noexcept {
    if (state_ == State::up) {
        ngx_log_error(NGX_LOG_WARN, log_, 0, "sonogate: pool \"%V\": %s", &pool_.name, why);
        down_since_ms_ = now_ms();
        complained_ = true;
        back_off_ms_ = 0;
        forget_sent();
    }
    state_ = State::down;
    outgoing_.clear();
    dropped_slabs_.clear();
    announced_.clear();
    result_files_.clear();
    submissions_.reset();
    completions_.reset();
    sleeper_.reset();
    bell_.reset();
    retry_later(why, 0);
}

void Link::on_timer() noexcept {
    if (state_ == State::down) {
        connect();
    } else if (state_ == State::greeting && now_ms() - greeting_since_ms_ > greeting_timeout_ms) {
        go_down("the backend does not answer the greeting");
    }
    if (state_ == State::up) {
        if (submissions_->is_lied_to()) {
            go_down("the backend's ring index is out of bounds");
            return;
        }
        if (!outgoing_.empty() || !dropped_slabs_.empty()) {
            flush();
        }
        if (holds_) {
            expire_waiting();
        }
        return;
    }
    expire_waiting();
    if (state_ == State::greeting) {
        schedule(back_off_with_jobs_ms);
    }
}

void Link::on_readable() noexcept {
    shm::Message message;
    switch (shm::receive_message(connection_->fd, message, false)) {
        case shm::Received::nothing:
            return;
        case shm::Received::closed:
            if (state_ == State::up) {
                drain();  // what it answered before it went
                if (state_ != State::up) {
                    return;
                }
            }
            go_down("the backend is gone");
            return;
        case shm::Received::lie:
            go_down("the backend sent a message that is none of ours");
            return;
        case shm::Received::message:
            break;
    }
    if (state_ == State::greeting) {
        if (!take_welcome(message)) {
            retry_later("no welcome", 0);
            return;
        }
        come_up();
        return;
    }
    handle(message);
    if (state_ == State::up) {
        drain();
    }
}

void Link::readable(ngx_event_t* event) noexcept {
    auto* connection = static_cast<ngx_connection_t*>(event->data);
    static_cast<Link*>(connection->data)->on_readable();
}

void Link::timer(ngx_event_t* event) noexcept {
    static_cast<Link*>(event->data)->on_timer();
}

}  // namespace sonogate::ngx_module
