#include "snapshot/inspect.hpp"

#include <span>
#include <string_view>
#include <utility>

#include "catalog/index.hpp"
#include "catalog/schema.hpp"
#include "catalog/track.hpp"
#include "digest/sha256.hpp"
#include "fingerprint/packing.hpp"

namespace sonogate::snapshot {

using catalog::Sqlite;
using catalog::SqliteStatement;

namespace {

constexpr std::size_t told_faults = 20;

// Values, each with its length before it.
class ValueDigest {
  public:
    void add(Bytes bytes) {
        const std::uint64_t size = bytes.size();
        sha256_.add(std::as_bytes(std::span(&size, 1)));
        sha256_.add(bytes);
    }
    void add(std::string_view text) { add(as_bytes_of(text)); }
    void add(std::int64_t number) { add(std::as_bytes(std::span(&number, 1))); }
    std::string finish() { return sha256_.finish(); }

  private:
    digest::Sha256 sha256_;
};

// Why a row is not one that the service wrote; nullptr: it is. Columns as in inspect_tracks().
const char* fault_of(const SqliteStatement& row) {
    if (!catalog::is_track_id(row.text(1))) {
        return "has an id that no track can have";
    }
    for (std::size_t i = 0; i < catalog::label_parameters.size(); ++i) {
        const std::string_view text = row.text(static_cast<int>(2 + i));
        const auto label = catalog::make_label(catalog::label_parameters[i], text);
        if (!label || *label != text) {
            return "has a text that no client can set";
        }
    }
    const std::string_view sha256 = row.text(8);
    if (sha256.size() != 64 ||
        sha256.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
        return "has no SHA-256 of its audio";
    }
    const auto packed = fingerprint::unpack(row.blob(11));
    if (!packed || packed->density != fingerprint::Density::track) {
        return "has a damaged fingerprint";
    }
    if (catalog::count_hashes(*packed) != static_cast<std::uint64_t>(row.integer(9))) {
        return "has another number of hashes than its fingerprint gives";
    }
    return nullptr;
}

Result<void> inspect_tracks(Sqlite& database, Findings& out) {
    auto rows = database.prepare(
        "SELECT row,id,title,artist,album,isrc,metadata,duration_ms,sha256,hashes,created_at_ms,"
        "fingerprint FROM tracks ORDER BY row");
    if (!rows) {
        return rows.failure();
    }
    ValueDigest digest;
    for (;;) {
        const auto there = rows->step();
        if (!there) {
            return there.failure();
        }
        if (!*there) {
            break;
        }
        ++out.tracks;
        out.hashes += static_cast<std::uint64_t>(rows->integer(9));
        if (const char* const fault = fault_of(*rows)) {
            out.add("track " + std::string(rows->text(1)) + " " + fault);
        }
        for (const int number : {0, 7, 9, 10}) {
            digest.add(rows->integer(number));
        }
        for (const int text : {1, 2, 3, 4, 5, 6, 8}) {
            digest.add(rows->text(text));
        }
        digest.add(rows->blob(11));
    }
    out.digest = digest.finish();
    return {};
}

Result<void> inspect_structure(Sqlite& database, Findings& out) {
    auto check = database.prepare("PRAGMA integrity_check(10)");
    if (!check) {
        return check.failure();
    }
    for (;;) {
        const auto there = check->step();
        if (!there) {
            return there.failure();
        }
        if (!*there) {
            return {};
        }
        if (check->text(0) != "ok") {
            out.add("SQLite: " + std::string(check->text(0)));
        }
    }
}

Result<void> inspect_version(Sqlite& database, Findings& out) {
    const auto version = database.number("SELECT changed FROM version");
    const auto last = database.number(
        "SELECT max((SELECT coalesce(max(changed),0) FROM tracks),"
        "(SELECT coalesce(max(changed),0) FROM removed))");
    if (!version || !last) {
        return (!version ? version : last).failure();
    }
    out.version = static_cast<std::uint64_t>(*version);
    if (*last > *version) {
        out.add("the catalog's version is older than its last change");
    }
    return {};
}

// False: not a catalog that this program reads; nothing else need be looked at.
bool is_catalog(Sqlite& database, Findings& out) {
    const auto owner = database.number("PRAGMA application_id");
    const auto schema = database.number("PRAGMA user_version");
    if (!owner || !schema) {
        out.add(std::string("not a readable SQLite database: ") + database.message());
    } else if (*owner != catalog::application_id) {
        out.add("not a catalog of sonogate");
    } else if (*schema < 1 || *schema > catalog::schema_version) {
        out.add("a catalog of schema version " + std::to_string(*schema) + "; this program reads " +
                std::to_string(catalog::schema_version));
    }
    return out.sound();
}

}  // namespace

void Findings::add(std::string fault) {
    ++fault_count;
    if (faults.size() < told_faults) {
        faults.push_back(std::move(fault));
    }
}

Findings inspect(Sqlite& database) {
    Findings out;
    if (!is_catalog(database, out)) {
        return out;
    }
    // One transaction: all is seen as it is now, whatever is enrolled meanwhile.
    auto step = database.run("BEGIN");
    step = step ? inspect_structure(database, out) : step;
    step = step ? inspect_tracks(database, out) : step;
    step = step ? inspect_version(database, out) : step;
    if (!step) {
        out.add(std::string("not readable to its end: ") + database.message());
    }
    (void)database.run("ROLLBACK");
    return out;
}

bool has_seal(Sqlite& database) {
    const auto found = database.number("SELECT count(*) FROM sqlite_schema WHERE name='snapshot'");
    return found && *found == 1;
}

Result<void> write_seal(Sqlite& database, const Findings& findings) {
    if (auto made = database.run("CREATE TABLE snapshot (tracks INTEGER NOT NULL,"
                                 "version INTEGER NOT NULL, digest TEXT NOT NULL) STRICT");
        !made) {
        return made;
    }
    auto insert = database.prepare("INSERT INTO snapshot VALUES (?1,?2,?3)");
    if (!insert) {
        return insert.failure();
    }
    insert->bind(1, static_cast<std::int64_t>(findings.tracks));
    insert->bind(2, static_cast<std::int64_t>(findings.version));
    insert->bind(3, std::string_view(findings.digest));
    const auto done = insert->step();
    return done ? Result<void>{} : done.failure();
}

void compare_with_seal(Sqlite& database, Findings& findings) {
    auto seal = database.prepare("SELECT tracks,version,digest FROM snapshot");
    const auto there = seal ? seal->step() : Result<bool>(seal.failure());
    if (!there || !*there) {
        findings.add("its seal cannot be read");
    } else if (static_cast<std::uint64_t>(seal->integer(0)) != findings.tracks ||
               static_cast<std::uint64_t>(seal->integer(1)) != findings.version ||
               seal->text(2) != findings.digest) {
        findings.add("it holds other tracks than were exported");
    }
}

}  // namespace sonogate::snapshot
