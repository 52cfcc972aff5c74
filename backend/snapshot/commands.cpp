// An export is SQLite's VACUUM INTO: it reads one snapshot of the write-ahead log, so that neither
// the writer nor the searches wait, and leaves out the pages of removed tracks. (The online backup
// API copies page by page and begins again whenever somebody writes.) What was written is then read
// again to its end and sealed with its digest, before it gets its name.
#include "snapshot/commands.hpp"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/unique_fd.hpp"
#include "catalog/sqlite.hpp"
#include "snapshot/inspect.hpp"

namespace sonogate::snapshot {

using catalog::Sqlite;

namespace {

int fail(std::string_view what, std::string_view why) {
    fmt::print(stderr, "sonogated catalog: {}: {}\n", what, why);
    return 1;
}

int fail(std::string_view what, const Findings& findings) {
    for (const std::string& fault : findings.faults) {
        fail(what, fault);
    }
    if (findings.fault_count > findings.faults.size()) {
        fail(what, fmt::format("and {} more", findings.fault_count - findings.faults.size()));
    }
    return 1;
}

// The catalog's file, as the daemon would find it.
std::optional<std::string> path_of(const Place& place) {
    constexpr std::string_view scheme = "sqlite:";
    if (!place.catalog.starts_with(scheme) || place.catalog.size() == scheme.size()) {
        return std::nullopt;
    }
    return (std::filesystem::path(place.state) / place.catalog.substr(scheme.size())).string();
}

bool exists(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0;
}

// On the disk, not only on its way there: the file, and the name of it in its folder.
bool sync(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return fd && ::fsync(fd.get()) == 0;
}

std::string folder_of(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path();
    return parent.empty() ? "." : parent.string();
}

// A file in the making, removed unless it gets its name. Locked, so that a second one that makes
// the same file does not take it for what an earlier one left behind.
class Draft {
  public:
    explicit Draft(const std::string& target)
        : target_(target),
          path_(target + ".partial"),
          lock_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR)) {
        if (lock_ &&
            (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0 || ::ftruncate(lock_.get(), 0) != 0)) {
            lock_.reset();
        }
    }
    ~Draft() {
        if (lock_) {
            ::unlink(path_.c_str());
            ::unlink((path_ + "-journal").c_str());
        }
    }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;

    // False: it cannot be made; errno says why.
    explicit operator bool() const noexcept { return static_cast<bool>(lock_); }
    const std::string& path() const noexcept { return path_; }

    // Never over a file that came meanwhile. The lock is of the file, not of its name.
    bool publish() const {
        return sync(path_) && ::link(path_.c_str(), target_.c_str()) == 0 &&
               sync(folder_of(target_));
    }

  private:
    std::string target_;
    std::string path_;
    UniqueFd lock_;
};

// All of `from` as a new file, without a write-ahead log beside it.
Result<void> copy(Sqlite& from, const std::string& to) {
    auto vacuum = from.prepare("VACUUM INTO ?1");
    if (!vacuum) {
        return vacuum.failure();
    }
    vacuum->bind(1, std::string_view(to));
    const auto done = vacuum->step();
    return done ? Result<void>{} : done.failure();
}

std::string summary(const Findings& findings) {
    return fmt::format("{} tracks, {} hashes, version {}", findings.tracks, findings.hashes,
                       findings.version);
}

// Whoever runs this, the files belong to the one whose folder it is: the daemon must open them. He
// could put a link in a file's place, which is not followed.
bool give_to_owner_of(const std::string& folder, const std::string& path) {
    struct stat status {};
    return ::stat(folder.c_str(), &status) == 0 &&
           (::geteuid() != 0 || ::lchown(path.c_str(), status.st_uid, status.st_gid) == 0);
}

}  // namespace

int export_catalog(const Place& place, const std::string& file) {
    const auto path = path_of(place);
    if (!path) {
        return fail(place.catalog, "is no sqlite:PATH");
    }
    if (exists(file)) {
        return fail(file, "is there already");
    }
    auto source = Sqlite::open(*path, Sqlite::Mode::read_only);
    if (!source) {
        return fail(*path, "cannot be opened");
    }
    const Draft draft(file);
    if (!draft) {
        return fail(draft.path(), std::strerror(errno));
    }
    if (!copy(*source, draft.path())) {
        return fail(*path, fmt::format("cannot be copied: {}", source->message()));
    }
    auto made = Sqlite::open(draft.path(), Sqlite::Mode::read_write);
    if (!made || !made->run("PRAGMA journal_mode=DELETE")) {
        return fail(draft.path(), "cannot be opened");
    }
    const Findings findings = inspect(*made);
    if (!findings.sound()) {
        return fail(*path, findings);
    }
    if (!write_seal(*made, findings)) {
        return fail(draft.path(), made->message());
    }
    made = Errc::internal;  // closed: all of it is in the file
    if (!draft.publish()) {
        return fail(file, std::strerror(errno));
    }
    fmt::print("{}: {}, sha256 of the tracks {}\n", file, summary(findings), findings.digest);
    return 0;
}

int import_catalog(const Place& place, const std::string& file) {
    const auto path = path_of(place);
    if (!path) {
        return fail(place.catalog, "is no sqlite:PATH");
    }
    // The lock that a daemon takes: none begins while we are at work.
    const std::string owner_path = *path + "-owner";
    const UniqueFd owner(::open(owner_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!owner || !give_to_owner_of(folder_of(*path), owner_path)) {
        return fail(owner_path, std::strerror(errno));
    }
    if (::flock(owner.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(*path, "is being served: stop the daemon first");
    }
    if (exists(*path)) {
        return fail(*path, "is there already: move it away first");
    }
    auto source = Sqlite::open(file, Sqlite::Mode::read_only);
    if (!source) {
        return fail(file, "cannot be opened");
    }
    Findings findings = inspect(*source);
    if (findings.sound()) {  // also that it was exported, and is no copy of a catalog in use
        compare_with_seal(*source, findings);
    }
    if (!findings.sound()) {
        return fail(file, findings);
    }
    const Draft draft(*path);
    if (!draft) {
        return fail(draft.path(), std::strerror(errno));
    }
    if (!copy(*source, draft.path())) {
        return fail(file, fmt::format("cannot be copied: {}", source->message()));
    }
    auto made = Sqlite::open(draft.path(), Sqlite::Mode::read_write);
    // Another store from now on: an index that was made from the exported one is not for it.
    const auto schema = made ? made->number("PRAGMA user_version") : made.failure();
    if (!schema || !made->run("DROP TABLE snapshot") ||
        (*schema >= 2 && !made->run("UPDATE identity SET id=randomblob(16)"))) {
        return fail(draft.path(), "cannot be written");
    }
    made = Errc::internal;
    if (!give_to_owner_of(folder_of(*path), draft.path()) || !draft.publish()) {
        return fail(*path, std::strerror(errno));
    }
    fmt::print("{}: {}\n", *path, summary(findings));
    return 0;
}

int verify_catalog(const std::string& file) {
    auto database = Sqlite::open(file, Sqlite::Mode::read_only);
    if (!database) {
        return fail(file, "cannot be opened");
    }
    Findings findings = inspect(*database);
    const bool sealed = findings.sound() && has_seal(*database);
    if (sealed) {
        compare_with_seal(*database, findings);
    }
    if (!findings.sound()) {
        return fail(file, findings);
    }
    fmt::print("{}: {}, sha256 of the tracks {}{}\n", file, summary(findings), findings.digest,
               sealed ? ", as exported" : "");
    return 0;
}

}  // namespace sonogate::snapshot
