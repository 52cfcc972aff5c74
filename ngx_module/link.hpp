// The nginx end of a link: one socket, two rings, the jobs on them; it comes back by itself.
//
// For: one nginx worker and one pool. It connects when it is made and whenever the daemon went
// away, sends again what was not answered (a body stays here until its answer came), and tells a
// job's owner what became of it. Not for: HTTP. One thread, nginx's event loop.
#pragma once

#include "ngx_module/conf.hpp"
#include "ngx_module/content_hash.hpp"
#include "ngx_module/pending.hpp"
#include "ngx_module/slab.hpp"
#include "shm/cache.hpp"
#include "shm/doorbell.hpp"
#include "shm/message.hpp"
#include "shm/ring.hpp"
#include "shm/segment.hpp"

#include <deque>
#include <optional>

namespace sonogate::ngx_module {

// What one connection shares with the broker. A reply that is being sent keeps it alive.
struct LinkMemory {
    shm::OwnedSegment up_segment;
    shm::Mapping down_segment;
    shm::Mapping results;
    std::uint64_t epoch = 0;
    shm::Mapping cache_segment;  // of no size where there is no result cache
    shm::CacheReader cache;
    ContentHash::Key cache_hash_key{};

    shm::LinkUp& up() const noexcept { return *up_segment.as<shm::LinkUp>(); }
    const shm::LinkDown& down() const noexcept {
        return *reinterpret_cast<const shm::LinkDown*>(down_segment.data());
    }
};

class Link {
  public:
    Link(Pool& pool, ngx_log_t* log) noexcept;
    ~Link();
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    Slabs& slabs() noexcept { return slabs_; }

    // A new job of `owner`; it ends with on_reply(), on_failure() or abandon().
    Job& begin(JobOwner& owner) noexcept { return pending_.add(owner); }

    // A slab for the job in place of the one it has; the caller has moved the bytes.
    void replace_slab(Job& job, Slab* slab) noexcept;

    // Asks for a ticket. Errors: backend_unavailable where the link has been down for a while; the
    // job is as it was.
    Result<void> admit(Job& job, std::uint64_t need_bytes) noexcept;

    // Asks for the ticket to hold `sum_bytes`; nothing happens where a charge is not answered yet.
    void charge(Job& job, std::uint64_t sum_bytes) noexcept;

    // Sends the job; ids, slab and flags of the ticket are filled in here. Errors: as admit().
    Result<void> submit(Job& job, const shm::Submission& submission) noexcept;

    // The owner is gone. The slab stays the broker's until its completion.
    void abandon(Job& job) noexcept;

    // Gives back what a reply borrowed.
    void release(Reply& reply) noexcept;

    // Counts a request in the shared counters.
    void count(shm::CountedEndpoint endpoint, std::uint16_t status) noexcept;

    // The broker gave no sign of life for three seconds: whoever comes now is refused at once, and
    // whoever is there keeps its deadline.
    bool is_hung() const noexcept;

    // What the broker publishes; null while there is no link.
    const shm::LinkDown* published() const noexcept;

    // The connection's result cache with its hash key; null while there is none.
    const LinkMemory* cache() const noexcept;
    void count_lookup() noexcept;
    void count_hit(std::uint32_t entry) noexcept;

    // nginx is about to exit.
    void close() noexcept;

  private:
    static constexpr std::uint64_t patience_ms = 2'000;  // of a new job without a link
    enum class State : std::uint8_t { down, greeting, up };
    using Counts = std::uint64_t[shm::counted_endpoint_count][shm::counted_statuses.size()];

    // link_connect.cpp
    void connect() noexcept;
    int open_socket() noexcept;
    bool send_hello() noexcept;
    bool watch(int fd) noexcept;
    void retry_later(const char* why, int error) noexcept;
    bool take_welcome(shm::Message& message) noexcept;
    bool take_cache(const shm::Welcome& welcome, int fd) noexcept;
    void come_up() noexcept;
    void go_down(const char* why) noexcept;
    void on_timer() noexcept;
    void on_readable() noexcept;
    void schedule(ngx_msec_t ms) noexcept;
    static void readable(ngx_event_t* event) noexcept;
    static void timer(ngx_event_t* event) noexcept;

    // link_receive.cpp
    void handle(shm::Message& message) noexcept;
    void drain() noexcept;
    bool complete(const shm::Completion& completion) noexcept;
    bool finish(Job& job, const shm::Completion& completion) noexcept;
    bool claim(const shm::Completion& completion, Reply& reply) noexcept;
    void fail(Job& job, const shm::Completion& completion) noexcept;
    void hold(Job& job) noexcept;
    static void forget_broker(Job& job) noexcept;
    void expire_waiting() noexcept;
    void forget_sent() noexcept;

    // link.cpp
    void send_job(Job& job) noexcept;
    void send(const shm::Submission& entry) noexcept;
    bool push(const shm::Submission& entry) noexcept;
    void flush() noexcept;
    static void ring(ngx_event_t* event) noexcept;
    bool announce(Slab& slab) noexcept;
    void flush_dropped_slabs() noexcept;
    void publish_memory() noexcept;
    void drop_slab(Job& job) noexcept;
    void tell_dropped(std::uint32_t slab) noexcept;
    void on_trim() noexcept;
    static void trim(ngx_event_t* event) noexcept;
    Result<void> check_usable() noexcept;
    bool somebody_waits() const noexcept;
    shm::JobId id_of(const Job& job) const noexcept;

    Pool& pool_;
    ngx_log_t* log_;
    State state_ = State::down;
    ngx_connection_t* connection_ = nullptr;
    std::shared_ptr<LinkMemory> memory_;
    std::optional<shm::Producer<shm::Submission, shm::link_ring_entries>> submissions_;
    std::optional<shm::Consumer<shm::Completion, shm::link_ring_entries>> completions_;
    std::optional<shm::Sleeper> sleeper_;
    std::optional<shm::Bell> bell_;
    std::deque<shm::Submission> outgoing_;                          // what the ring had no room for
    std::vector<std::uint32_t> announced_;                          // slabs that the broker knows
    std::vector<std::uint32_t> dropped_slabs_;                      // not told yet
    std::vector<std::pair<std::uint32_t, UniqueFd>> result_files_;  // arrived, not named yet
    Pending pending_;
    Slabs slabs_;
    ngx_event_t timer_{};
    ngx_event_t trim_timer_{};
    ngx_event_t bell_event_{};
    std::uint64_t down_since_ms_;
    ngx_msec_t back_off_ms_ = 0;
    std::uint64_t greeting_since_ms_ = 0;
    bool complained_ = false;    // of the present outage
    bool told_hung_ = false;     // of the present silence
    bool holds_ = false;         // some job is held, perhaps
    Counts counts_before_ = {};  // counted while there was no link
};

// The link of a pool in this worker process, made at first need.
Link& link_of(Pool& pool) noexcept;

}  // namespace sonogate::ngx_module
