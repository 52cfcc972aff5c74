// A worker that was taken over by a file, and lies to the broker: its segment, result files, ring
// entries. Whatever is accepted lies inside what the broker may read.
#include "lying_peer.hpp"
#include "shm/channel.hpp"

namespace {

using namespace sonogate;

constexpr std::uint64_t most_jobs = 4;

enum class Step : std::uint8_t { packet, write, hello, done, tail, receive, take, submit, count_ };

class Trial {
  public:
    Trial() : peer_(sizeof(shm::ChannelOut)) {
        shm::write_header(out().header, sizeof(shm::ChannelOut), 0);
        auto opened = shm::BrokerChannel::open(peer_.take_near_end());
        fuzzing::demand(static_cast<bool>(opened));
        channel_.emplace(std::move(*opened));
    }

    // False: the channel ended.
    bool step(fuzzing::Script& script) {
        switch (
            static_cast<Step>(script.take<std::uint8_t>() % static_cast<unsigned>(Step::count_))) {
            case Step::packet:
                peer_.send(script);
                return true;
            case Step::write:
                peer_.write(script);
                return true;
            case Step::hello:
                peer_.send_message(shm::ChannelHello{.segment_bytes = sizeof(shm::ChannelOut)});
                return true;
            case Step::done:
                out().done[script.take<std::uint8_t>() % shm::channel_ring_entries] =
                    script.take<shm::JobDone>();
                return true;
            case Step::tail:
                out().done_tail.fetch_add(script.take<std::uint8_t>());
                return true;
            case Step::receive:
                return receive();
            case Step::take:
                return !channel_->connected() || take();
            case Step::submit:
                submit();
                return true;
            case Step::count_:
                break;
        }
        return false;
    }

  private:
    shm::ChannelOut& out() { return *peer_.segment().as<shm::ChannelOut>(); }

    bool receive() {
        const auto received = channel_->receive();
        return received != shm::Received::lie && received != shm::Received::closed;
    }

    void submit() {
        if (channel_->connected() && channel_->in_flight() < most_jobs) {
            const std::array<std::byte, 64> body{};
            shm::Job job;
            job.number = ++number_;
            (void)channel_->submit(job, {}, body);
            channel_->ring();
        }
    }

    bool take() {
        shm::ChannelAnswer answer;
        for (std::uint32_t taken = 0;; ++taken) {
            fuzzing::demand(taken <= shm::channel_ring_entries);
            const auto result = channel_->peek(answer);
            if (result != shm::RingResult::ok) {
                return result == shm::RingResult::none;
            }
            // The bytes are the broker's to copy, each of them.
            std::uint8_t sum = 0;
            for (const std::byte byte : answer.bytes) {
                sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(byte));
            }
            asm volatile("" : : "r"(sum));
            channel_->release(answer.entry.number);
        }
    }

    fuzzing::LyingPeer peer_;
    std::optional<shm::BrokerChannel> channel_;
    std::uint64_t number_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzzing::play<Trial>(data, size);
}
