// How a child of the zygote gives up what its role does not need, once and for ever.
//
// For: the zygote, which prepares it, and its children, who enter it before they hear of a job. Not
// for: what a filter holds (filter.hpp). What the kernel refuses is left out and told: the bits
// of layers.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "sandbox/filter.hpp"

namespace sonogate::sandbox {

// What a worker may have; 0 = unbounded.
struct WorkerBounds {
    std::uint64_t job_memory_bytes = 0;  // allocated, beyond what it starts with
    std::uint64_t result_bytes = 0;      // of one file that it writes
    std::uint64_t upload_bytes = 0;      // mapped
};

// Of a process, as the kernel's limits count it; zeros where it is not told.
struct Size {
    std::uint64_t address_bytes = 0;
    std::uint64_t data_bytes = 0;  // private and writable

    static Size of_this_process();
};

class Confinement {
  public:
    // In the zygote: empties the environment, leaves for a folder without a name (tried in
    // `state_folder` first), compiles the filters, and loads the zygote's own.
    explicit Confinement(const std::string& state_folder);

    // In a worker, once: `layers` is what fork_apart() said, `channel` the two descriptors it
    // keeps, a socket and a segment. Returns what it is confined by.
    std::uint32_t enter_as_worker(std::uint32_t layers, std::array<int, 2> channel,
                                  const WorkerBounds& bounds) const noexcept;

    // In the librarian, once.
    std::uint32_t enter_as_librarian() const noexcept;

  private:
    std::optional<Filter> worker_;
    std::optional<Filter> librarian_;
    Size start_;  // of every child
    bool nameless_folder_ = false;
};

// In the broker, once it listens. Returns what it is confined by.
std::uint32_t enter_as_broker() noexcept;

}  // namespace sonogate::sandbox
