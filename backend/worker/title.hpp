// The title of a process, as ps and top show it.
//
// For: telling the roles of one binary apart. Not for: state that changes often.
#pragma once

#include <string_view>

namespace sonogate::worker {

// Keeps where the kernel looks for the command line. Once, in main, after the options were read:
// set_title() overwrites argv.
void remember_arguments(int argc, char** argv) noexcept;

// "broker" → "sonogated: broker", cut where the original command line was shorter.
void set_title(std::string_view role) noexcept;

}  // namespace sonogate::worker
