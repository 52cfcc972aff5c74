// UTF-8: counting and folding, as far as the catalog needs it.
//
// For: labels and the listing's search. Not for: normal forms or collation.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sonogate::catalog {

// Code points, or nothing where the text is not UTF-8 (RFC 3629: no overlong forms, surrogates).
std::optional<std::size_t> utf8_characters(std::string_view text) noexcept;

// Lower case, character by character (so ß stays ß), by the C library's Unicode tables. `text` is
// UTF-8.
std::string utf8_folded(std::string_view text);

}  // namespace sonogate::catalog
