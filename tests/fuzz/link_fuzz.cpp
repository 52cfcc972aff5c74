// An nginx worker that lies to the broker: handshake, slabs, ring entries. The link ends, and that
// is all that happens.
#include "broker/link.hpp"
#include "broker/result_cache.hpp"
#include "broker/settings.hpp"
#include "lying_peer.hpp"

namespace {

using namespace sonogate;

enum class Step : std::uint8_t { packet, write, hello, slab, tail, receive, take, answer, count_ };

class Trial {
  public:
    Trial() : peer_(sizeof(shm::LinkUp)), link_(1, peer_.take_near_end(), 0) {
        shm::write_header(up().header, sizeof(shm::LinkUp), 0);
    }

    // False: the link ended.
    bool step(fuzzing::Script& script) {
        switch (
            static_cast<Step>(script.take<std::uint8_t>() % static_cast<unsigned>(Step::count_))) {
            case Step::packet:
                peer_.send(script);
                return true;
            case Step::write:
                peer_.write(script);
                return true;
            case Step::hello: {
                shm::Hello hello;  // a good one, but for some bytes of the settings
                const std::size_t at = script.take<std::uint16_t>() % sizeof(hello.settings);
                const auto bytes = script.bytes(script.take<std::uint8_t>() % 65);
                std::memcpy(reinterpret_cast<std::byte*>(&hello.settings) + at, bytes.data(),
                            std::min(bytes.size(), sizeof(hello.settings) - at));
                peer_.send_message(hello);
                return true;
            }
            case Step::slab: {
                const shm::SlabAdd add{.slab = script.take<std::uint8_t>(),
                                       .segment_bytes = sizeof(shm::LinkUp),
                                       .warm = script.take<std::uint8_t>() & 1U};
                peer_.send_message(add);
                return true;
            }
            case Step::tail:
                up().submission_tail.fetch_add(script.take<std::uint8_t>());
                return true;
            case Step::receive:
                return receive();
            case Step::take:
                return !link_.is_open() || take();
            case Step::answer:
                return !link_.is_open() || answer(script);
            case Step::count_:
                break;
        }
        return false;
    }

  private:
    shm::LinkUp& up() { return *peer_.segment().as<shm::LinkUp>(); }

    bool receive() {
        shm::Hello hello;
        UniqueFd link_up;
        switch (link_.receive(hello, link_up)) {
            case broker::Link::Event::lie:
            case broker::Link::Event::closed:
                return false;
            case broker::Link::Event::hello:
                if (!shm::check_hello(hello)) {
                    link_.refuse(Errc::malformed_request);
                    return false;
                }
                if (const auto settings = broker::read_settings(hello.settings, "/nowhere")) {
                    fuzzing::demand(settings->workers >= 1 &&
                                    settings->workers <= broker::max_workers);
                }
                return static_cast<bool>(link_.welcome(std::move(link_up), 7, cache_));
            case broker::Link::Event::nothing:
            case broker::Link::Event::taken:
                break;
        }
        return true;
    }

    bool take() {
        shm::Submission submission;
        for (std::uint32_t taken = 0;; ++taken) {
            fuzzing::demand(taken <= shm::link_ring_entries);
            switch (link_.next(submission)) {
                case shm::RingResult::lie:
                    return false;
                case shm::RingResult::none:
                    link_.take_hits(cache_);
                    return true;
                case shm::RingResult::ok:
                    break;
            }
            (void)link_.slab(submission.slab);
            if (submission.op == shm::Op::release_result &&
                !link_.release_result(submission.result_slot, submission.result_generation)) {
                return false;
            }
        }
    }

    bool answer(fuzzing::Script& script) {
        shm::Completion completion;
        completion.kind = shm::CompletionKind::done;
        completion.status = 200;
        const auto text = script.bytes(script.take<std::uint8_t>());
        link_.answer(completion, std::as_bytes(text));
        (void)link_.flush();
        link_.ring();
        return true;
    }

    broker::ResultCache cache_;
    fuzzing::LyingPeer peer_;
    broker::Link link_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzzing::play<Trial>(data, size);
}
