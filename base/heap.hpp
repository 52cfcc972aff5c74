// What the allocator of this process holds, where it is jemalloc.
//
// For: the memory figures of each process role, and what is kept of it. Not for: limits
// (RLIMIT_DATA is one), nor for shared memory.
#pragma once

#include <sys/mman.h>

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

// What this thread allocated and did not free, libraries included; it may free what others
// allocated, and then counts as none. 0 without jemalloc. Two loads.
inline std::uint64_t thread_heap_bytes() noexcept {
    if (mallctl == nullptr) {
        return 0;
    }
    static thread_local const std::uint64_t* allocated = nullptr;
    static thread_local const std::uint64_t* freed = nullptr;
    std::size_t bytes = sizeof(allocated);
    if (freed == nullptr &&
        (mallctl("thread.allocatedp", static_cast<void*>(&allocated), &bytes, nullptr, 0) != 0 ||
         mallctl("thread.deallocatedp", static_cast<void*>(&freed), &bytes, nullptr, 0) != 0)) {
        return 0;
    }
    return *allocated > *freed ? *allocated - *freed : 0;
}

// The most by which thread_heap_bytes() grew since the last reset, as jemalloc's caches show it: a
// little less than the truth.
inline void reset_thread_heap_peak() noexcept {
    if (mallctl != nullptr) {
        (void)mallctl("thread.peak.reset", nullptr, nullptr, nullptr, 0);
    }
}

inline std::uint64_t thread_heap_peak_bytes() noexcept {
    std::uint64_t peak = 0;
    std::size_t bytes = sizeof(peak);
    if (mallctl == nullptr || mallctl("thread.peak.read", &peak, &bytes, nullptr, 0) != 0) {
        return 0;
    }
    return peak;
}

// Unused pages of all arenas go back to the kernel now. By themselves they would as time passes,
// but a process that sleeps has no clock.
inline void give_pages_back() noexcept {
    if (mallctl != nullptr) {
        (void)mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
        (void)mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);  // MALLCTL_ARENAS_ALL
    }
}

// Whether the kernel would give as much in one piece now, RLIMIT_DATA included. For libraries that
// end the process where it says no. Two system calls.
inline bool could_allocate(std::size_t bytes) noexcept {
    void* const room = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return room != MAP_FAILED && ::munmap(room, bytes) == 0;
}

}  // namespace sonogate
