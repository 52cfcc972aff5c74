// A channel: the broker's way to one child (a worker or the librarian) and back.
//
// For: moving jobs and answers through two segments with one writer each, and large ones as
// descriptors beside. Not for: which child gets what (broker/), nor for what a job does.
//
//   broker                                      child
//   ChannelIn: jobs, their input (arena)  ───▶  maps it read-only
//   maps it read-only  ◀───  ChannelOut: answers, one result slot a ring position
//
// One thread each. The child may be taken over by what it decodes: BrokerChannel checks everything
// it says, and `lie` is the caller's reason to end the child.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "shm/arena.hpp"
#include "shm/channel_layout.hpp"
#include "shm/doorbell.hpp"
#include "shm/handshake.hpp"
#include "shm/message.hpp"
#include "shm/ring.hpp"
#include "shm/segment.hpp"

namespace sonogate::shm {

// An answer, checked: the entry is a copy. `bytes` lies in the child's slot and is valid until
// release(); the child can change it, so it is copied once and never parsed. `file` is a finished,
// sealed memfd of entry.result_bytes.
struct ChannelAnswer {
    JobDone entry;
    Bytes bytes;
    UniqueFd file;
};

class BrokerChannel {
  public:
    // Makes ChannelIn and sends it; the child's segment comes with receive(). Errors: internal with
    // errno.
    static Result<BrokerChannel> open(UniqueFd socket) noexcept;

    int socket() const noexcept { return socket_.get(); }
    bool connected() const noexcept { return static_cast<bool>(out_); }
    std::size_t in_flight() const noexcept { return in_flight_count_; }
    // What the child said, before it saw a job, that it is confined by.
    std::uint32_t sandbox() const noexcept { return sandbox_; }

    // Takes one packet from the socket: the child's segment, a result file, a bell. `nothing` where
    // none waits.
    Received receive() noexcept;

    // Copies params and body into the arena and pushes the job; its params_* and body_* are set
    // here. Errors: overloaded where ring or arena are full now, job_too_large where the arena
    // could never hold it.
    Result<void> submit(const Job& wanted, Bytes params, Bytes body) noexcept;

    // Sends the descriptor of a large upload, then the job. The caller set params_* and body_*:
    // offsets into the file, checked against its size. Errors: overloaded where the ring or the
    // socket is full now, internal with errno where the child is gone.
    Result<void> submit_file(const Job& wanted, int fd, std::uint64_t segment_bytes) noexcept;

    // What the child is to log from now on.
    void set_log_level(LogLevel level) noexcept;

    // Asks the child to stop working on that job; its answer still comes.
    void cancel(std::uint64_t number) noexcept;

    // The oldest answer. `none`: nothing there. `lie`: end the child.
    RingResult peek(ChannelAnswer& out) noexcept;
    // After peek(): frees the answer's slot and the job's input.
    void release(std::uint64_t number) noexcept;

    // Rings the child where it sleeps, for what was submitted since the last call.
    void ring() noexcept {
        if (unrung_) {
            unrung_ = false;
            bell_->ring_if_due();
        }
    }

    // Before sleeping: arm(), then look at has_answers() once more.
    void arm() noexcept { sleeper_->arm(); }
    void disarm() noexcept { sleeper_->disarm(); }
    bool has_answers() const noexcept { return consumer_ && !consumer_->empty(); }

    // Jobs handed over that the child never took: it cannot have died of them. By its own word, so
    // not to be counted on for ever.
    std::size_t untaken() noexcept {
        return connected() ? channel_ring_entries - producer_->room() : in_flight_count_;
    }

    // The child's counters; only where connected().
    const ChannelOut& published() const noexcept {
        return *reinterpret_cast<const ChannelOut*>(out_.data());
    }

  private:
    struct InFlight {
        std::uint64_t number = 0;
        std::optional<std::uint64_t> arena_offset;
    };
    struct ReceivedFile {
        std::uint32_t token = 0;
        std::uint64_t bytes = 0;
        UniqueFd fd;
    };

    explicit BrokerChannel(UniqueFd socket) noexcept : socket_(std::move(socket)) {}
    bool take_hello(Message& message) noexcept;
    bool take_result_file(Message& message) noexcept;
    bool known(std::uint64_t number) const noexcept;
    bool find_file(ChannelAnswer& out) noexcept;
    void remember(std::uint64_t number, std::optional<std::uint64_t> arena_offset) noexcept;

    UniqueFd socket_;
    std::uint32_t sandbox_ = 0;
    OwnedSegment in_;
    Mapping out_;
    Arena arena_{channel_arena_bytes};
    std::optional<Producer<Job, channel_ring_entries>> producer_;
    std::optional<Consumer<JobDone, channel_ring_entries>> consumer_;
    std::optional<Sleeper> sleeper_;
    std::optional<Bell> bell_;
    bool unrung_ = false;
    std::array<InFlight, channel_ring_entries> in_flight_{};
    std::size_t in_flight_count_ = 0;
    std::array<ReceivedFile, channel_ring_entries> files_{};
    std::size_t file_count_ = 0;
};

// A job with its input; the spans are valid until complete() of its number.
struct ReceivedJob {
    Job job;
    Bytes params;
    Bytes body;
    Mapping file;  // what the spans lie in, where the input came as a descriptor
};

class ChildChannel {
  public:
    // make() and meet().
    static Result<ChildChannel> open(UniqueFd socket, std::uint32_t sandbox = 0) noexcept;

    // Makes ChannelOut, for a child that will not be allowed to map anything writable and shared
    // once it is confined. Errors: internal with errno.
    static Result<ChildChannel> make(UniqueFd socket) noexcept;

    // Sends ChannelOut and waits for the broker's segment. Errors: backend_unavailable where the
    // broker is gone, malformed_request where it sent nonsense, internal with errno. `sandbox` is
    // told to the broker.
    Result<void> meet(std::uint32_t sandbox) noexcept;

    int socket() const noexcept { return socket_.get(); }
    // Until meet(): what a child that closes everything else must keep.
    std::array<int, 2> descriptors() const noexcept { return {socket_.get(), out_.fd()}; }

    // Sleeps until there is a job. False: the broker is gone, exit.
    bool next(ReceivedJob& out) noexcept;

    // The parts of next() for a child that waits for more than one thing: take() does not block;
    // before sleeping on socket(): arm(), take() once more; when it is readable: receive().
    bool take(ReceivedJob& out) noexcept;
    void arm() noexcept { sleeper_->arm(); }
    void disarm() noexcept { sleeper_->disarm(); }
    Received receive(bool wait) noexcept;

    // Answers a job. Results beyond a slot travel as a sealed memfd. answer.number, and with a
    // success its status, are the caller's; place and sizes are set here. Errors: internal with
    // errno, backend_unavailable where the broker is gone: exit.
    Result<void> complete(const JobDone& answer, Bytes result) noexcept;

    // Answers a job that failed, with its number and what else of `done` holds. Errors: as above.
    Result<void> fail(JobDone done, const Failure& failure) noexcept;

    // True where nobody waits for that job's answer any more: cancelled, past its deadline, or the
    // broker is gone (looked at every 20 ms). Cheap.
    bool stop_requested(const Job& job) noexcept;

    // True where the broker has cancelled that job, and no other one since. Thread: any one.
    bool is_cancelled(std::uint64_t number) const noexcept;

    // What the broker wants logged.
    LogLevel log_level() const noexcept;

    // This child's counters, for it alone to write.
    ChannelOut& published() noexcept { return *out_.as<ChannelOut>(); }

    // Wakes the broker to look at published().
    void announce() noexcept;

  private:
    struct WaitingFile {
        std::uint64_t number = 0;
        std::uint64_t bytes = 0;
        UniqueFd fd;
    };

    explicit ChildChannel(UniqueFd socket) noexcept : socket_(std::move(socket)) {}
    Result<void> wait_for_broker() noexcept;
    bool bind_input(ReceivedJob& out) noexcept;
    bool take_file(ReceivedJob& out) noexcept;
    Result<void> send_result_file(const JobDone& done, Bytes result) noexcept;

    const ChannelIn& in() const noexcept { return *reinterpret_cast<const ChannelIn*>(in_.data()); }

    UniqueFd socket_;
    OwnedSegment out_;
    Mapping in_;
    std::optional<Consumer<Job, channel_ring_entries>> consumer_;
    std::optional<Producer<JobDone, channel_ring_entries>> producer_;
    std::optional<Sleeper> sleeper_;
    std::optional<Bell> bell_;
    std::array<WaitingFile, channel_ring_entries> files_{};
    std::size_t file_count_ = 0;
    std::uint32_t next_token_ = 1;
    std::uint64_t looked_ns_ = 0;
    bool broken_ = false;
};

}  // namespace sonogate::shm
