#include "catalog/index_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <filesystem>

#include "base/unique_fd.hpp"

namespace sonogate::catalog {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t join_ratio = 4;

}  // namespace

std::optional<IndexFolder::Name> IndexFolder::parse(const std::string& file) {
    Name name;
    int read = 0;
    if (std::sscanf(file.c_str(), "segment-%" SCNu64 "-%" SCNu64 ".sgix%n", &name.first, &name.last,
                    &read) != 2 ||
        static_cast<std::size_t>(read) != file.size() || name.first > name.last) {
        return std::nullopt;
    }
    return name;
}

std::string IndexFolder::path_of(const Name& name) const {
    return path_ + "/segment-" + std::to_string(name.first) + "-" + std::to_string(name.last) +
           ".sgix";
}

// By their first flush, the wider one first; drafts that nobody finished are deleted.
std::vector<IndexFolder::Name> IndexFolder::names_there() const {
    std::vector<Name> out;
    std::error_code error;
    for (fs::directory_iterator at(path_, error); !error && at != fs::directory_iterator();
         at.increment(error)) {
        const std::string file = at->path().filename().string();
        if (const auto name = parse(file)) {
            out.push_back(*name);
        } else if (file.ends_with(".partial")) {
            remove({at->path().string()});
        }
    }
    std::sort(out.begin(), out.end(), [](const Name& a, const Name& b) {
        return a.first != b.first ? a.first < b.first : a.last > b.last;
    });
    return out;
}

std::shared_ptr<const Index> IndexFolder::load(const StoreState& store,
                                               const std::function<bool(Index::Row)>& is_live,
                                               const std::function<void(const std::string&)>& log) {
    auto index = std::make_shared<const Index>();
    names_.clear();
    for (const Name& name : names_there()) {
        const std::string path = path_of(name);
        const bool is_covered = !names_.empty() && name.first <= names_.back().last;
        const auto file = is_covered ? Result<std::shared_ptr<const SegmentFile>>(Errc::internal)
                                     : SegmentFile::open(path, store);
        if (!file || (*file)->tracks().empty()) {
            log(path +
                (is_covered ? " was merged into another one"
                            : " is damaged, empty, or of another store or version") +
                " and goes");
            remove({path});
            continue;
        }
        try {
            index = index->with_file(*file, is_live);
        } catch (const std::exception& error) {
            log(path + " cannot be used and goes: " + error.what());
            remove({path});
            continue;
        }
        names_.push_back(name);
    }
    return index;
}

Result<std::shared_ptr<const SegmentFile>> IndexFolder::write(const Name& name,
                                                              const StoreState& store,
                                                              const SegmentSource& source) const {
    if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) {
        return system_failure(errno);
    }
    const std::string path = path_of(name);
    if (auto written = write_segment_file(path, store, source); !written) {
        return written.failure();
    }
    const UniqueFd folder(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    (void)::fsync(folder.get());  // else it is written again
    auto file = SegmentFile::open(path, store);
    if (!file) {
        remove({path});
    }
    return file;
}

Result<std::optional<IndexFolder::Written>> IndexFolder::write_next(
    const std::shared_ptr<const Index>& index, const StoreState& store,
    std::uint64_t unsaved_hashes) {
    Written out;
    if (index->unsaved_hashes() >= unsaved_hashes) {
        const std::uint64_t number = names_.empty() ? 1 : names_.back().last + 1;
        const SegmentSource source = index->unsaved();
        if (source.tracks.empty()) {
            return std::optional<Written>();
        }
        const auto file = write({number, number}, store, source);
        if (!file) {
            return file.failure();
        }
        out.names = names_;
        out.names.push_back({number, number});
        out.apply = [file = *file, end_track = static_cast<std::uint32_t>(index->tracks().size())](
                        const Index& newest) { return newest.saved(file, end_track); };
        return std::optional(std::move(out));
    }
    const auto& parts = index->parts();
    if (parts.size() < 2 ||
        parts.back().file->bytes() * join_ratio < parts[parts.size() - 2].file->bytes()) {
        return std::optional<Written>();
    }
    const Name older = names_[names_.size() - 2];
    const Name newer = names_.back();
    const auto file = write({older.first, newer.last}, store, index->last_two());
    if (!file) {
        return file.failure();
    }
    out.names.assign(names_.begin(), names_.end() - 2);
    out.names.push_back({older.first, newer.last});
    out.apply = [file = *file](const Index& newest) { return newest.joined(file); };
    out.obsolete = {path_of(older), path_of(newer)};
    return std::optional(std::move(out));
}

void IndexFolder::applied(const Written& written) {
    names_ = written.names;
    remove(written.obsolete);
}

void IndexFolder::remove(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
        ::unlink(path.c_str());
    }
}

}  // namespace sonogate::catalog
