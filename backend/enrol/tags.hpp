// What an audio file says about itself: ID3, Vorbis comments, MP4 atoms, whatever libavformat
// reads.
//
// For: enrol/run.cpp, on the operator's own files. Not for: uploads, of which no tag is believed.
#pragma once

#include <string>

#include "catalog/track.hpp"

namespace sonogate::enrol {

// title, artist, album and isrc as far as the file has them in a form that the catalog takes;
// texts that are too long are cut. Without a title the file's name is the title.
catalog::Labels read_tags(const std::string& path);

}  // namespace sonogate::enrol
