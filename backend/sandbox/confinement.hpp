// How a child of the zygote gives up what its role does not need, once and for ever.
//
// For: the zygote, which prepares it, and its children, who enter it before they hear of a job. Not
// for: what a filter holds (filter.hpp). What the kernel refuses is left out and told: the bits
// of layers.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sandbox/filter.hpp"

namespace sonogate::sandbox {

class Confinement {
  public:
    // In the zygote: empties the environment, leaves for a folder without a name (tried in
    // `state_folder` first), compiles the filters, and loads the zygote's own.
    explicit Confinement(const std::string& state_folder);

    // In a worker, once: `layers` is what fork_apart() said, `channel` the one descriptor it keeps.
    // It may then allocate `job_memory_bytes` beyond what it has. Returns what it is confined by.
    std::uint32_t enter_as_worker(std::uint32_t layers, int channel,
                                  std::uint64_t job_memory_bytes) const noexcept;

    // In the librarian, once.
    std::uint32_t enter_as_librarian() const noexcept;

  private:
    std::optional<Filter> worker_;
    std::optional<Filter> librarian_;
    std::uint64_t data_bytes_ = 0;  // what every child has from the start, as RLIMIT_DATA counts
    bool nameless_folder_ = false;
};

// In the broker, once it listens. Returns what it is confined by.
std::uint32_t enter_as_broker() noexcept;

}  // namespace sonogate::sandbox
