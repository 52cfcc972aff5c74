// A file's name as a client sent it, made fit to be logged and echoed.
//
// For: $sonogate_filename. Not for: opening anything; no name that a client sent is ever a path
// here. Knows nothing of nginx.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace sonogate::ngx_module {

class Filename {
  public:
    static constexpr std::size_t max_bytes = 255;

    // Keeps what follows the last slash or backslash, cut to max_bytes at a character's end. What
    // is not UTF-8, controls (C0, C1, DEL), marks that turn the writing direction or end a line,
    // and " < > become _. "", "." and ".." are no names.
    void set(std::string_view sent) noexcept;

    std::string_view view() const noexcept { return {text_.data(), size_}; }

  private:
    std::array<char, max_bytes> text_{};
    std::size_t size_ = 0;
};

}  // namespace sonogate::ngx_module
