#include "enrol/files.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string_view>

namespace sonogate::enrol {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 28> suffixes = {
    ".3gp", ".aac",  ".aif", ".aifc", ".aiff", ".alac", ".amr",  ".au",  ".caf", ".flac",
    ".m4a", ".m4b",  ".mka", ".mkv",  ".mov",  ".mp2",  ".mp3",  ".mp4", ".oga", ".ogg",
    ".ogv", ".opus", ".snd", ".w64",  ".wav",  ".weba", ".webm", ".wma"};

bool is_named_as_audio(const fs::path& path) {
    std::string suffix = path.extension().string();
    std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::binary_search(suffixes.begin(), suffixes.end(), std::string_view(suffix));
}

void walk(const fs::path& folder, Files& out) {
    std::error_code error;
    fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied,
                                        error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
        std::error_code unknown;
        if (!at->is_regular_file(unknown)) {
            continue;
        }
        if (is_named_as_audio(at->path())) {
            out.paths.push_back(at->path().string());
        } else {
            ++out.left_out;
        }
    }
    if (error) {
        out.failures.push_back(folder.string() + ": " + error.message());
    }
}

void read_list(std::istream& list, Files& out) {
    for (std::string line; std::getline(list, line);) {
        if (line.ends_with('\r')) {
            line.pop_back();
        }
        if (!line.empty()) {
            out.paths.push_back(line);
        }
    }
}

}  // namespace

Files find_files(const std::vector<std::string>& sources) {
    Files out;
    for (const std::string& source : sources) {
        std::error_code error;
        if (source == "-") {
            read_list(std::cin, out);
        } else if (fs::is_directory(source, error)) {
            walk(source, out);
        } else if (is_named_as_audio(source)) {
            out.paths.push_back(source);
        } else if (std::ifstream list(source); list) {
            read_list(list, out);
        } else {
            out.failures.push_back(source + ": cannot be read");
        }
    }
    std::sort(out.paths.begin(), out.paths.end());
    out.paths.erase(std::unique(out.paths.begin(), out.paths.end()), out.paths.end());
    return out;
}

}  // namespace sonogate::enrol
