// `sonogated enrol`: many files into a catalog that is being served, over its HTTP API.
//
// For: operators with a music library. A client like any other: it works with any node, through its
// keys and limits, and needs no access to the state folder.
// Resumable: a track's id is the SHA-256 of its file, so whoever runs it again, after whatever
// interruption, sends what is missing and nothing else.
#pragma once

#include <string>
#include <vector>

namespace sonogate::enrol {

struct Options {
    std::vector<std::string> sources;  // folders, audio files, lists of files; "-" reads a list
    std::string url = "http://localhost:8080";
    std::string key_file;  // holds a key with the role `catalog`; else SONOGATE_KEY may hold it
    unsigned at_once = 0;  // files in flight; 0: one a core
};

// The exit status: 0, 1 where files failed (each with its reason on standard output), 2 where the
// service refuses us or nothing could begin. Progress and a summary go to standard error.
int enrol(const Options& options);

}  // namespace sonogate::enrol
