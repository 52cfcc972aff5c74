// What a link asks for: each submission checked, then admitted, refused, begun or stopped.
//
// For: the one place where a peer's numbers become ours. A submission that no honest nginx worker
// writes is a lie and ends its link; what is merely too much, too late or not allowed is answered.
// Not for: how jobs move on (jobs.hpp). One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "broker/admission.hpp"
#include "broker/disk.hpp"
#include "broker/jobs.hpp"
#include "broker/link.hpp"
#include "broker/scheduler.hpp"
#include "broker/settings.hpp"

namespace sonogate::broker {

class Desk {
  public:
    static constexpr std::size_t most_tickets = 65536;

    struct Parts {
        Jobs& jobs;
        Scheduler& scheduler;
        Admission& admission;
        Metrics& metrics;
        Blame& blame;
        const Settings& settings;
        const Disk& disk;
    };

    Desk(const Parts& parts, Jobs::LinkOf link_of, std::function<std::string()> metrics_text)
        : parts_(parts), link_of_(std::move(link_of)), metrics_text_(std::move(metrics_text)) {}

    // Serves one submission. False: it is a lie, end the link.
    bool serve(Link& link, const shm::Submission& submission);

    // Uploads that waited for memory and may go on. After memory came back.
    void grant_waiting();

    // The link is closing: its tickets end, nobody is answered.
    void forget_link(Link& link);

    // From now on nothing new begins.
    void drain() noexcept { draining_ = true; }
    bool draining() const noexcept { return draining_; }

  private:
    bool admit(Link& link, const shm::Submission& submission);
    bool charge(Link& link, const shm::Submission& submission);
    bool give_back(Link& link, const shm::Submission& submission);
    bool submit(Link& link, const shm::Submission& submission);
    bool has_crashes_left(const shm::Submission& submission) const;
    bool take_slab(Link& link, const shm::Submission& submission, std::shared_ptr<Slab>& slab);
    Errc take_ticket(Link& link, const shm::Submission& submission);

    Errc refusal(const shm::Submission& submission, std::uint64_t bytes) const;
    void refuse(Link& link, const shm::Submission& submission, shm::CompletionKind kind,
                Failure failure);
    void send_grant(Link& link, const Admission::Grant& grant, Errc errc);

    Parts parts_;
    Jobs::LinkOf link_of_;
    std::function<std::string()> metrics_text_;
    bool draining_ = false;
};

}  // namespace sonogate::broker
