// What the allocator of this process holds, where it is jemalloc.
//
// For: the memory figures of each process role. Not for: limits (RLIMIT_DATA is one), nor for
// shared memory.
#pragma once

#include <cstddef>
#include <cstdint>

// jemalloc's control call (jemalloc(3), MALLCTL NAMESPACE). Weak: sanitizers bring their own
// allocator, and then it is not linked.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old_value,
                                             std::size_t* old_bytes, void* new_value,
                                             std::size_t new_bytes) noexcept;

namespace sonogate {

struct HeapFigures {
    std::uint64_t allocated_bytes = 0;  // stats.allocated: what the program asked for
    std::uint64_t resident_bytes = 0;   // stats.resident: what of it is in memory, caches included
};

// Zeros without jemalloc. Takes some 10 µs: at most once a second.
inline HeapFigures heap_figures() noexcept {
    HeapFigures out;
    if (mallctl == nullptr) {
        return out;
    }
    std::uint64_t epoch = 1;  // writing it refreshes the figures
    std::size_t epoch_bytes = sizeof(epoch);
    std::size_t allocated = 0;
    std::size_t resident = 0;
    std::size_t bytes = sizeof(std::size_t);
    if (mallctl("epoch", &epoch, &epoch_bytes, &epoch, sizeof(epoch)) == 0 &&
        mallctl("stats.allocated", &allocated, &bytes, nullptr, 0) == 0 &&
        mallctl("stats.resident", &resident, &bytes, nullptr, 0) == 0) {
        out = {allocated, resident};
    }
    return out;
}

}  // namespace sonogate
