// The note nearest to a frequency: equal temperament, A4 = 440 Hz (ISO 16), octaves numbered as in
// scientific pitch.
//
// For: `note` and `cents` of a peak. Not for: telling which notes sound.
#pragma once

#include <optional>
#include <string>

namespace sonogate::worker {

struct Note {
    std::string name;  // "A4", "C#5"
    double cents;      // −50 to 50, how far the frequency lies above it
};

// nullopt where the frequency is not above 0.
std::optional<Note> nearest_note(double frequency_hz);

}  // namespace sonogate::worker
