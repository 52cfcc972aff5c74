// The index's files: which there are, what is written next, what may go.
//
// For: the librarian, one thread at a time. Not for: what is in a file (segment_file.hpp), nor for
// swapping pictures.
// A file is called segment-FIRST-LAST.sgix after the flushes that it holds. One that is written
// stands there whole; where a merged one and those that it was merged from are both there, since
// somebody died in between, the wider one counts. All of it may be deleted at any time while no
// librarian runs: the store has everything.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "catalog/index.hpp"
#include "catalog/segment_file.hpp"

namespace sonogate::catalog {

class IndexFolder {
  public:
    explicit IndexFolder(std::string path) : path_(std::move(path)) {}

    // All files that can be used, as one picture; the others are deleted. `log` gets a line for
    // each of those.
    std::shared_ptr<const Index> load(const StoreState& store,
                                      const std::function<bool(Index::Row)>& is_live,
                                      const std::function<void(const std::string&)>& log);

    struct Name {
        std::uint64_t first = 0;  // flushes, counted from 1
        std::uint64_t last = 0;
    };
    // A file that was written, and how a picture takes it in.
    struct Written {
        std::function<std::shared_ptr<const Index>(const Index& newest)> apply;
        std::vector<Name> names;            // of the parts, once it was applied
        std::vector<std::string> obsolete;  // files that are in it
    };
    // Writes what is most needed for `index`, whose parts must be those of the last one applied:
    // a file of what is unsaved where that has at least `unsaved_hashes`, else the last two files
    // as one where the last has grown to a quarter of the one before. nullopt: there is nothing to
    // do.
    Result<std::optional<Written>> write_next(const std::shared_ptr<const Index>& index,
                                              const StoreState& store,
                                              std::uint64_t unsaved_hashes);
    // After `written` was applied: forgets what is in it. Mapped files stay until nobody uses them.
    void applied(const Written& written);

  private:
    static std::optional<Name> parse(const std::string& file);
    std::vector<Name> names_there() const;
    std::string path_of(const Name& name) const;
    static void remove(const std::vector<std::string>& paths);
    Result<std::shared_ptr<const SegmentFile>> write(const Name& name, const StoreState& store,
                                                     const SegmentSource& source) const;

    std::string path_;
    std::vector<Name> names_;  // of the parts of the last picture, in order
};

}  // namespace sonogate::catalog
