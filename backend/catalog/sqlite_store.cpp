#include "catalog/sqlite_store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "catalog/schema.hpp"
#include "catalog/sqlite.hpp"
#include "catalog/utf8.hpp"

namespace sonogate::catalog {
namespace {

constexpr std::uint64_t owner_wait_ms = 20'000;
constexpr long owner_poll_ns = 20'000'000;
constexpr std::int64_t remember_removed_ms = 7LL * 24 * 3600 * 1000;

constexpr std::string_view columns =
    "row,id,title,artist,album,isrc,metadata,duration_ms,sha256,hashes,created_at_ms,job_key";

Track track_of(const SqliteStatement& s) {
    Track out{.row = s.integer(0),
              .id = std::string(s.text(1)),
              .labels = {.title = std::string(s.text(2)),
                         .artist = std::string(s.text(3)),
                         .album = std::string(s.text(4)),
                         .isrc = std::string(s.text(5)),
                         .metadata = std::string(s.text(6))},
              .duration_ms = static_cast<std::uint64_t>(s.integer(7)),
              .sha256 = std::string(s.text(8)),
              .hashes = static_cast<std::uint64_t>(s.integer(9)),
              .created_at_ms = s.integer(10),
              .job_key = no_job_key,
              .fingerprint = {}};
    const Bytes key = s.blob(11);
    if (key.size() == out.job_key.size()) {
        std::memcpy(out.job_key.data(), key.data(), key.size());
    }
    return out;
}

std::string searched_text(const Labels& labels) {
    return utf8_folded(labels.title + '\n' + labels.artist + '\n' + labels.album + '\n' +
                       labels.isrc);
}

Bytes bytes_of(const JobKey& key) noexcept {
    return std::as_bytes(std::span(key));
}

// A connection and its statements, prepared when first used.
class Session {
  public:
    explicit Session(Sqlite database) : database_(std::move(database)) {}

    // `sql` is a literal: it is the key.
    Result<SqliteStatement*> statement(const char* sql) {
        auto found = statements_.find(sql);
        if (found == statements_.end()) {
            auto prepared = database_.prepare(sql);
            if (!prepared) {
                return prepared.failure();
            }
            found = statements_.emplace(sql, std::move(*prepared)).first;
        }
        return &found->second;
    }

    // Runs a statement that gives no rows.
    template <typename... Values>
    Result<void> change(const char* sql, const Values&... values) {
        auto s = statement(sql);
        if (!s) {
            return s.failure();
        }
        const SqliteUse use(**s);
        int index = 0;
        ((*s)->bind(++index, values), ...);
        const auto row = (*s)->step();
        return row ? Result<void>{} : row.failure();
    }

    template <typename Value>
    Result<std::optional<Track>> find(const char* sql, const Value& value) {
        auto s = statement(sql);
        if (!s) {
            return s.failure();
        }
        const SqliteUse use(**s);
        (*s)->bind(1, value);
        const auto row = (*s)->step();
        if (!row) {
            return row.failure();
        }
        return *row ? std::optional(track_of(**s)) : std::nullopt;
    }

    Result<std::optional<Track>> find_id(std::string_view id) {
        static const std::string sql =
            "SELECT " + std::string(columns) + " FROM tracks WHERE id=?1";
        return find(sql.c_str(), id);
    }

    Sqlite& database() noexcept { return database_; }

  private:
    Sqlite database_;
    std::map<std::string, SqliteStatement, std::less<>> statements_;
};

class SqliteReader final : public Reader {
  public:
    explicit SqliteReader(Sqlite database) : session_(std::move(database)) {}

    Result<std::optional<Track>> find(std::string_view id) override { return session_.find_id(id); }

    Result<std::optional<Track>> find_row(std::int64_t row) override {
        static const std::string sql =
            "SELECT " + std::string(columns) + " FROM tracks WHERE row=?1";
        return session_.find(sql.c_str(), row);
    }

    Result<Listing> list(std::int64_t after_row, std::size_t limit, std::string_view q) override {
        static const std::string sql =
            "SELECT " + std::string(columns) +
            " FROM tracks WHERE row>?1 AND (?2='' OR instr(searched,?2)>0) ORDER BY row LIMIT ?3";
        auto s = session_.statement(sql.c_str());
        if (!s) {
            return s.failure();
        }
        const SqliteUse use(**s);
        const std::string folded = utf8_folded(q);
        (*s)->bind(1, after_row);
        (*s)->bind(2, std::string_view(folded));
        (*s)->bind(3, static_cast<std::int64_t>(limit) + 1);
        Listing out;
        for (;;) {
            const auto row = (*s)->step();
            if (!row) {
                return row.failure();
            }
            if (!*row) {
                return out;
            }
            if (out.tracks.size() == limit) {
                out.more = true;
                return out;
            }
            out.tracks.push_back(track_of(**s));
        }
    }

  private:
    Session session_;
};

class SqliteWriter final : public Writer {
  public:
    explicit SqliteWriter(Session& session) : session_(session) {}

    Result<void> begin() override { return session_.database().run("BEGIN IMMEDIATE"); }
    Result<void> commit() override { return session_.database().run("COMMIT"); }
    void rollback() noexcept override {
        if (session_.database().in_transaction()) {  // SQLite rolls back by itself on some errors
            (void)session_.database().run("ROLLBACK");
        }
    }

    Result<std::optional<Track>> find(std::string_view id) override { return session_.find_id(id); }

    Result<std::int64_t> insert(const Track& t) override {
        if (auto counted = count_change(); !counted) {
            return counted.failure();
        }
        const std::string searched = searched_text(t.labels);
        auto done = session_.change(
            "INSERT INTO tracks (id,title,artist,album,isrc,metadata,searched,duration_ms,sha256,"
            "hashes,created_at_ms,changed,job_key,fingerprint) VALUES "
            "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,(SELECT changed FROM version),?12,?13)",
            std::string_view(t.id), std::string_view(t.labels.title),
            std::string_view(t.labels.artist), std::string_view(t.labels.album),
            std::string_view(t.labels.isrc), std::string_view(t.labels.metadata),
            std::string_view(searched), static_cast<std::int64_t>(t.duration_ms),
            std::string_view(t.sha256), static_cast<std::int64_t>(t.hashes), t.created_at_ms,
            bytes_of(t.job_key), Bytes(t.fingerprint));
        if (!done) {
            return done.failure();
        }
        return session_.database().last_row();
    }

    Result<void> relabel(std::int64_t row, const Labels& labels) override {
        if (auto counted = count_change(); !counted) {
            return counted;
        }
        const std::string searched = searched_text(labels);
        return session_.change(
            "UPDATE tracks SET title=?2,artist=?3,album=?4,isrc=?5,metadata=?6,searched=?7,"
            "changed=(SELECT changed FROM version) WHERE row=?1",
            row, std::string_view(labels.title), std::string_view(labels.artist),
            std::string_view(labels.album), std::string_view(labels.isrc),
            std::string_view(labels.metadata), std::string_view(searched));
    }

    Result<void> remove(const Track& track, const JobKey& job_key, std::int64_t now_ms) override {
        if (auto counted = count_change(); !counted) {
            return counted;
        }
        if (auto done = session_.change("DELETE FROM tracks WHERE row=?1", track.row); !done) {
            return done;
        }
        if (auto done = session_.change("DELETE FROM removed WHERE removed_at_ms<?1",
                                        now_ms - remember_removed_ms);
            !done) {
            return done;
        }
        return session_.change(
            "INSERT INTO removed (changed,row,id,job_key,removed_at_ms) VALUES "
            "((SELECT changed FROM version),?1,?2,?3,?4)",
            track.row, std::string_view(track.id), bytes_of(job_key), now_ms);
    }

    Result<bool> was_removed_by(std::string_view id, const JobKey& job_key) override {
        auto s = session_.statement("SELECT 1 FROM removed WHERE id=?1 AND job_key=?2 LIMIT 1");
        if (!s) {
            return s.failure();
        }
        const SqliteUse use(**s);
        (*s)->bind(1, id);
        (*s)->bind(2, bytes_of(job_key));
        return (*s)->step();
    }

    Result<std::uint64_t> version() override {
        const auto number = session_.database().number("SELECT changed FROM version");
        if (!number) {
            return number.failure();
        }
        return static_cast<std::uint64_t>(*number);
    }

  private:
    Result<void> count_change() { return session_.change("UPDATE version SET changed=changed+1"); }

    Session& session_;
};

class SqliteStore final : public Store {
  public:
    SqliteStore(std::string path, UniqueFd owner, Sqlite database)
        : path_(std::move(path)), owner_(std::move(owner)), session_(std::move(database)) {}

    Result<std::unique_ptr<Reader>> open_reader() override {
        auto database = Sqlite::open(path_, Sqlite::Mode::read_only);
        if (!database) {
            return database.failure();
        }
        return std::unique_ptr<Reader>(std::make_unique<SqliteReader>(std::move(*database)));
    }

    Writer& writer() override { return writer_; }

    Result<std::vector<std::int64_t>> rows() override {
        // From the index on `changed`: a thousandth of the table's pages.
        auto s = session_.statement("SELECT row FROM tracks INDEXED BY tracks_changed");
        if (!s) {
            return s.failure();
        }
        const SqliteUse use(**s);
        std::vector<std::int64_t> out;
        for (;;) {
            const auto row = (*s)->step();
            if (!row) {
                return row.failure();
            }
            if (!*row) {
                std::sort(out.begin(), out.end());
                return out;
            }
            out.push_back((*s)->integer(0));
        }
    }

    Result<void> for_each_fingerprint(std::span<const std::int64_t> rows,
                                      const Visit& visit) override {
        auto s = session_.statement("SELECT id,fingerprint FROM tracks WHERE row=?1");
        if (!s) {
            return s.failure();
        }
        for (const std::int64_t row : rows) {
            const SqliteUse use(**s);
            (*s)->bind(1, row);
            const auto there = (*s)->step();
            if (!there) {
                return there.failure();
            }
            if (*there) {
                const Bytes packed = (*s)->blob(1);
                visit(row, (*s)->text(0), {packed.begin(), packed.end()});
            }
        }
        return {};
    }

    Result<StoreState> state() override {
        auto s = session_.statement("SELECT id,(SELECT changed FROM version) FROM identity");
        if (!s) {
            return s.failure();
        }
        const SqliteUse use(**s);
        const auto row = (*s)->step();
        if (!row) {
            return row.failure();
        }
        StoreState out;
        const Bytes id = *row ? (*s)->blob(0) : Bytes{};
        if (id.size() != out.identity.size()) {
            return Errc::internal;
        }
        std::memcpy(out.identity.data(), id.data(), id.size());
        out.version = static_cast<std::uint64_t>((*s)->integer(1));
        return out;
    }

    std::string index_folder() const override { return path_ + "-index"; }

  private:
    std::string path_;
    UniqueFd owner_;
    Session session_;
    SqliteWriter writer_{session_};
};

// Two librarians with one file would each search an index that misses what the other wrote. A
// former one that finishes its last commits is waited for.
Result<UniqueFd> become_owner(const std::string& path, std::string& why) {
    UniqueFd fd(::open((path + "-owner").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) {
        why = "cannot create " + path + "-owner";
        return Failure{.code = errno == ENOSPC ? Errc::insufficient_storage : Errc::internal,
                       .error = errno};
    }
    const std::uint64_t give_up_ms = now_ms() + owner_wait_ms;
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return system_failure(errno);
        }
        if (now_ms() > give_up_ms) {
            why = "another process has the catalog open";
            return system_failure(EWOULDBLOCK);
        }
        const timespec pause{.tv_sec = 0, .tv_nsec = owner_poll_ns};
        ::nanosleep(&pause, nullptr);
    }
    return fd;
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path, std::string& why) {
    auto owner = become_owner(path, why);
    if (!owner) {
        return owner.failure();
    }
    auto database = Sqlite::open(path, Sqlite::Mode::read_write);
    if (!database) {
        why = "cannot open " + path;
        return database.failure();
    }
    if (auto set = database->run("PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"); !set) {
        why = std::string("the file is not a usable SQLite database: ") + database->message();
        return set.failure();
    }
    if (auto migrated = migrate(*database, why); !migrated) {
        return migrated.failure();
    }
    return std::unique_ptr<Store>(
        std::make_unique<SqliteStore>(path, std::move(*owner), std::move(*database)));
}

}  // namespace sonogate::catalog
