#include "worker/note.hpp"

#include <array>
#include <cmath>
#include <string_view>

namespace sonogate::worker {

std::optional<Note> nearest_note(double frequency_hz) {
    constexpr std::array<std::string_view, 12> names = {"C",  "C#", "D",  "D#", "E",  "F",
                                                        "F#", "G",  "G#", "A",  "A#", "B"};
    constexpr double a4_key = 69.0;  // as MIDI numbers keys: C-1 is 0
    if (!(frequency_hz > 0.0)) {
        return std::nullopt;
    }
    const double position = a4_key + 12.0 * std::log2(frequency_hz / 440.0);
    const double key = std::round(position);
    const double octave = std::floor(key / 12.0);
    const auto name = static_cast<std::size_t>(key - 12.0 * octave);
    return Note{std::string(names[name]) + std::to_string(static_cast<int>(octave) - 1),
                100.0 * (position - key)};
}

}  // namespace sonogate::worker
