// What is to be enrolled: the audio files below folders, and those that a list names.
//
// For: enrol/run.cpp. Not for: whether a file is audio; the service finds out.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace sonogate::enrol {

struct Files {
    std::vector<std::string> paths;     // in the order of their names
    std::vector<std::string> failures;  // "path: why" of what could not be read
    std::size_t left_out = 0;           // in folders: files whose names are not those of audio
};

// Each source is a folder (all below it, links to folders not followed), an audio file, or a list
// of files, one a line; "-" is a list on standard input.
Files find_files(const std::vector<std::string>& sources);

}  // namespace sonogate::enrol
