#include "catalog/store.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "catalog/cursor.hpp"
#include "catalog/schema.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using catalog::JobKey;
using catalog::Store;
using catalog::Track;

// A folder that goes with the test.
class Folder {
  public:
    Folder() {
        char name[] = "/tmp/sonogate-store-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string file() const { return path_ + "/catalog.db"; }
    std::string store() const { return "sqlite:" + file(); }

  private:
    std::string path_;
};

Track track(const std::string& id, const std::string& title = "", const std::string& artist = "") {
    Track out;
    out.id = id;
    out.labels.title = title;
    out.labels.artist = artist;
    out.labels.metadata = R"({"a":1})";
    out.duration_ms = 1234;
    out.sha256 = std::string(64, 'a');
    out.hashes = 99;
    out.created_at_ms = 1'700'000'000'123;
    out.job_key[3] = 7;
    out.fingerprint = {std::byte{1}, std::byte{2}};
    return out;
}

std::unique_ptr<Store> open(const Folder& folder) {
    auto store = catalog::open_store(folder.store(), nullptr);
    assert_true(static_cast<bool>(store));
    return std::move(*store);
}

std::int64_t insert(Store& store, const Track& t) {
    assert_true(static_cast<bool>(store.writer().begin()));
    const auto row = store.writer().insert(t);
    assert_true(row && store.writer().commit());
    return *row;
}

void run_sql(const std::string& file, const char* sql) {
    sqlite3* handle = nullptr;
    assert_int_equal(sqlite3_open(file.c_str(), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(handle);
}

void a_track_comes_back_as_it_was_stored_and_after_reopening(void**) {
    const Folder folder;
    const Track stored = track("one", "Tïtle", "Ärtist");
    std::int64_t row = 0;
    {
        const auto store = open(folder);
        row = insert(*store, stored);
        assert_true(row > 0);
    }
    const auto store = open(folder);
    auto reader = store->open_reader();
    assert_true(static_cast<bool>(reader));
    for (const auto& found : {(*reader)->find("one"), (*reader)->find_row(row)}) {
        assert_true(found && *found);
        assert_true((*found)->id == "one" && (*found)->labels == stored.labels);
        assert_true((*found)->duration_ms == 1234 && (*found)->hashes == 99);
        assert_true((*found)->sha256 == stored.sha256 && (*found)->job_key == stored.job_key);
        assert_true((*found)->created_at_ms == stored.created_at_ms);
    }
    int seen = 0;
    const auto rows = store->rows();
    assert_true(rows && *rows == std::vector<std::int64_t>{row});
    auto read = store->for_each_fingerprint(
        *rows, [&](std::int64_t r, std::string_view id, std::vector<std::byte> packed) {
            ++seen;
            assert_true(r == row && id == "one" && packed == stored.fingerprint);
        });
    assert_true(static_cast<bool>(read));
    assert_int_equal(seen, 1);
}

void what_is_rolled_back_never_was(void**) {
    const Folder folder;
    const auto store = open(folder);
    catalog::Writer& writer = store->writer();
    const auto before = writer.version();
    assert_true(writer.begin() && writer.insert(track("gone")));
    assert_true(writer.find("gone") && *writer.find("gone"));  // the writer sees its own change
    writer.rollback();
    assert_true(writer.find("gone") && !*writer.find("gone"));
    assert_true(*writer.version() == *before);
    insert(*store, track("kept"));
    assert_true(*writer.version() > *before);
}

void a_second_track_of_one_id_is_the_stores_failure(void**) {
    const Folder folder;
    const auto store = open(folder);
    insert(*store, track("same"));
    assert_true(static_cast<bool>(store->writer().begin()));
    const auto twice = store->writer().insert(track("same"));
    assert_true(!twice && twice.failure().code == Errc::internal);
    store->writer().rollback();
}

void rows_are_never_used_again_and_removals_are_remembered(void**) {
    const Folder folder;
    const auto store = open(folder);
    catalog::Writer& writer = store->writer();
    insert(*store, track("a"));
    const auto second = insert(*store, track("b"));
    Track gone = track("b");
    gone.row = second;
    JobKey key{};
    key[0] = 1;
    assert_true(writer.begin() && writer.remove(gone, key, 1'000'000) && writer.commit());
    assert_true(*writer.was_removed_by("b", key));
    assert_false(*writer.was_removed_by("b", JobKey{}));
    assert_false(*writer.was_removed_by("a", key));
    const auto third = insert(*store, track("b"));
    assert_true(third > second);
    // Eight days later the next removal forgets the first.
    gone.row = third;
    JobKey other{};
    other[0] = 2;
    assert_true(writer.begin() && writer.remove(gone, other, 1'000'000 + 8LL * 86'400'000) &&
                writer.commit());
    assert_false(*writer.was_removed_by("b", key));
    assert_true(*writer.was_removed_by("b", other));
}

void listing_pages_by_row_and_searches_whatever_the_case(void**) {
    const Folder folder;
    const auto store = open(folder);
    for (int i = 0; i < 25; ++i) {
        insert(*store, track("t" + std::to_string(i), i % 5 == 0 ? "Ödland 100%" : "Nothing"));
    }
    auto reader = store->open_reader();
    std::int64_t after = 0;
    std::vector<std::string> ids;
    int pages = 0;
    for (bool more = true; more; ++pages) {
        const auto page = (*reader)->list(after, 10, "");
        assert_true(static_cast<bool>(page));
        for (const Track& t : page->tracks) {
            ids.push_back(t.id);
        }
        after = page->tracks.back().row;
        more = page->more;
    }
    assert_int_equal(pages, 3);
    assert_int_equal(ids.size(), 25);
    assert_true(ids.front() == "t0" && ids.back() == "t24");
    for (const char* q : {"ödl", "ÖDLAND", "100%", "d 1"}) {
        assert_int_equal((*reader)->list(0, 100, q)->tracks.size(), 5);
    }
    for (const char* q : {"%", "_"}) {  // no wildcards
        assert_int_equal((*reader)->list(0, 100, q)->tracks.size(), q[0] == '%' ? 5 : 0);
    }
    assert_int_equal((*reader)->list(0, 100, "' OR 1=1 --")->tracks.size(), 0);
    assert_false((*reader)->list(0, 25, "")->more);
}

void a_newer_schema_and_foreign_files_are_refused_and_left_alone(void**) {
    const Folder folder;
    { insert(*open(folder), track("one")); }
    run_sql(folder.file(),
            ("PRAGMA user_version=" + std::to_string(catalog::schema_version + 1)).c_str());
    std::string why;
    assert_false(static_cast<bool>(catalog::open_store(folder.store(), &why)));
    assert_true(why.find("newer") != std::string::npos);
    run_sql(folder.file(),
            ("PRAGMA user_version=" + std::to_string(catalog::schema_version)).c_str());
    assert_true(static_cast<bool>(catalog::open_store(folder.store(), &why)));

    const Folder foreign;
    run_sql(foreign.file(), "CREATE TABLE theirs (x)");
    assert_false(static_cast<bool>(catalog::open_store(foreign.store(), &why)));
    assert_true(why.find("another program") != std::string::npos);

    const Folder rubbish;
    std::ofstream(rubbish.file()) << std::string(5000, 'x');
    assert_false(static_cast<bool>(catalog::open_store(rubbish.store(), &why)));
    assert_false(static_cast<bool>(catalog::open_store("sqlite:/no/such/folder/x.db", &why)));
    assert_false(static_cast<bool>(catalog::open_store("oracle:x", &why)));
}

void the_store_writes_ahead_and_syncs_every_commit(void**) {
    const Folder folder;
    const auto store = open(folder);
    insert(*store, track("one"));
    assert_true(std::filesystem::exists(folder.file() + "-wal"));
    sqlite3* handle = nullptr;
    assert_int_equal(sqlite3_open(folder.file().c_str(), &handle), SQLITE_OK);
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(handle, "PRAGMA journal_mode", -1, &statement, nullptr);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)), "wal");
    sqlite3_finalize(statement);
    sqlite3_close(handle);
}

void cursors_survive_the_round_trip_and_nothing_else(void**) {
    for (const std::int64_t row : {std::int64_t{0}, std::int64_t{1}, INT64_MAX}) {
        const auto read = catalog::read_cursor(catalog::make_cursor(row));
        assert_true(read && *read == row);
    }
    const std::string good = catalog::make_cursor(77);
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = bad[i] == '0' ? '1' : '0';
        assert_false(static_cast<bool>(catalog::read_cursor(bad)));
    }
    for (const std::string& bad : {std::string(), std::string("x"), good + "0", good.substr(1),
                                   std::string(24, '-'), std::string(24, '\0')}) {
        const auto read = catalog::read_cursor(bad);
        assert_true(!read && read.failure().parameter == Parameter::cursor);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_track_comes_back_as_it_was_stored_and_after_reopening),
        cmocka_unit_test(what_is_rolled_back_never_was),
        cmocka_unit_test(a_second_track_of_one_id_is_the_stores_failure),
        cmocka_unit_test(rows_are_never_used_again_and_removals_are_remembered),
        cmocka_unit_test(listing_pages_by_row_and_searches_whatever_the_case),
        cmocka_unit_test(a_newer_schema_and_foreign_files_are_refused_and_left_alone),
        cmocka_unit_test(the_store_writes_ahead_and_syncs_every_commit),
        cmocka_unit_test(cursors_survive_the_round_trip_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
