#include "bench/posting_lists.hpp"

#include <algorithm>

#include "fingerprint/landmarks.hpp"

namespace sonogate::bench {

std::vector<std::uint32_t> list_lengths(std::span<const fingerprint::Fingerprint> tracks) {
    std::vector<std::uint32_t> of_key(std::size_t{1} << fingerprint::key_bits);
    for (const auto& track : tracks) {
        for (const auto& landmark : fingerprint::track_landmarks(track.peaks)) {
            ++of_key[landmark.key];
        }
    }
    std::vector<std::uint32_t> out;
    for (const std::uint32_t length : of_key) {
        out.insert(out.end(), length, length);
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::uint32_t quantile(std::span<const std::uint32_t> ascending, double share) {
    return ascending[static_cast<std::size_t>(share * static_cast<double>(ascending.size() - 1))];
}

double hashes_per_s(std::span<const fingerprint::Fingerprint> tracks) {
    double hashes = 0;
    double seconds = 0;
    for (const auto& track : tracks) {
        hashes += static_cast<double>(fingerprint::track_landmarks(track.peaks).size());
        seconds += track.duration_ms / 1000.0;
    }
    return hashes / seconds;
}

}  // namespace sonogate::bench
