// Rates of one request: looked at once, charged once, told on its answer.
//
// For: the gate (may it come in?), the upload and the answer (what did it cost?), the filter and
// the variables. A request is charged where it enters the first location that has rates, and
// never again: internal redirects, error pages and subrequests find that it was. Not for: the
// arithmetic (rate_window.hpp) nor where times are kept (rate_table.hpp).
#pragma once

#include <span>

#include "ngx_module/rate_conf.hpp"
#include "ngx_module/rate_headers.hpp"

namespace sonogate::ngx_module {

class Request;

enum class RateStatus : std::uint8_t { none, passed, rejected, rejected_dry_run };

// Empty, passed, rejected, rejected_dry_run.
std::string_view name_of(RateStatus status) noexcept;

class RequestRates {
  public:
    struct Applied {
        const RateRule* rule = nullptr;
        std::uint64_t key = 0;  // the zone's, then its window's
        RateTable::Place place;
        Ticks now = 0;  // of the place
    };

    enum class Verdict : std::uint8_t { pass, refused, failed };
    // Looks and charges. `refused`: refusal() says by what. `failed`: a key or a policy cannot be
    // read.
    Verdict check(Request& request) noexcept;

    bool decided() const noexcept { return decided_; }
    RateStatus status() const noexcept { return status_; }
    const RateRule& refusal() const noexcept { return *refused_by_->rule; }
    // Until a request like that would pass.
    std::uint32_t retry_after_s() const noexcept { return retry_after_s_; }

    // The body is let in: charged for the length that it declares, or false where another request
    // has taken the room since check().
    bool charge_body(const Request& request) noexcept;
    // The body has so many bytes by now: what was not charged before is. False: they are too many.
    bool debit_bytes(const Request& request, std::uint64_t received_bytes) noexcept;
    // A job found out how long its audio is. Not for what the cache answered: nothing was decoded.
    void debit_audio(std::uint64_t duration_ms) noexcept;

    // The location's RateLimit-Policy; empty where it has to be written for the request.
    const ngx_str_t& policies() const noexcept { return policies_; }
    // What clients are told, as it is now; without dry runs. Gives how many.
    std::size_t told(std::span<ToldRate, most_rates> out) const noexcept;

  private:
    bool apply(Request& request, const RateRule& rule) noexcept;
    bool apply_policy(Request& request, const RateRule& rule) noexcept;
    bool add(Request& request, const RateRule& rule) noexcept;
    bool collect(Request& request) noexcept;
    bool look(const Request& request) noexcept;
    bool charge(const Request& request) noexcept;
    bool refuse(const Request& request, Applied& by, Ticks cost) noexcept;
    enum class Bytes : std::uint8_t { declared, arrived };
    bool charge_bytes(const Request& request, std::uint64_t amount, Bytes state) noexcept;
    std::span<Applied> applied() const noexcept { return {applied_, count_}; }

    ngx_str_t policies_{};
    Applied* applied_ = nullptr;
    std::size_t count_ = 0;
    const Applied* refused_by_ = nullptr;
    std::uint64_t charged_bytes_ = 0;
    std::uint32_t retry_after_s_ = 0;
    RateStatus status_ = RateStatus::none;
    bool decided_ = false;
};

}  // namespace sonogate::ngx_module
