#include "catalog/index_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "catalog/search.hpp"
#include "fingerprint/landmarks.hpp"
#include "fingerprint/packing.hpp"
#include "tests/fingerprint/synthetic.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

namespace fs = std::filesystem;

using namespace sonogate;
using catalog::Index;
using catalog::IndexFolder;
using catalog::StoreState;
using fingerprint::Density;
using Picture = std::shared_ptr<const Index>;

constexpr double track_s = 10;
constexpr StoreState store{.identity = {1, 2, 3}, .version = 40};

class Folder {
  public:
    Folder() {
        char name[] = "/tmp/sonogate-index-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    ~Folder() { fs::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path() const { return path_ + "/index"; }
    std::set<std::string> files() const {
        std::set<std::string> out;
        for (const auto& entry : fs::directory_iterator(path())) {
            out.insert(entry.path().filename().string());
        }
        return out;
    }

  private:
    std::string path_;
};

std::vector<float> audio(int row) {
    return test::music(static_cast<std::uint32_t>(700 + row), track_s);
}

Index::Packed packed_track(int row) {
    static std::map<int, Index::Packed> made;
    Index::Packed& packed = made[row];
    if (!packed) {
        packed = std::make_shared<const std::vector<std::byte>>(
            fingerprint::pack(test::fingerprint_of(audio(row), Density::track)));
    }
    return packed;
}

Picture with_rows(const Picture& index, int first, int last) {
    std::vector<Index::Addition> additions;
    for (int row = first; row <= last; ++row) {
        additions.push_back({row, packed_track(row)});
    }
    return index->with(additions, {});
}

// One file, and the picture that has it.
Picture write_one(IndexFolder& folder, const Picture& index, std::uint64_t unsaved = 1) {
    auto written = folder.write_next(index, store, unsaved);
    assert_true(written && *written);
    Picture next = (*written)->apply(*index);
    folder.applied(**written);
    return next;
}

Picture load(IndexFolder& folder, const std::set<Index::Row>& live, int* gone = nullptr,
             const StoreState& state = store) {
    return folder.load(
        state, [&](Index::Row row) { return live.contains(row); },
        [&](const std::string&) {
            if (gone != nullptr) {
                ++*gone;
            }
        });
}

std::set<Index::Row> rows(int first, int last) {
    std::set<Index::Row> out;
    for (int row = first; row <= last; ++row) {
        out.insert(row);
    }
    return out;
}

Index::Row found_row(const Index& index, int row) {
    catalog::Searcher searcher;
    const auto clip = test::cut(audio(row), 3, 5);
    const auto found = searcher.search(index, test::fingerprint_of(clip, Density::clip), {});
    return found.matches.empty() ? 0 : found.matches.front().row;
}

// All postings as (row, column, key): the same however the index keeps them.
std::set<std::tuple<Index::Row, std::uint32_t, std::uint32_t>> postings(const Index& index) {
    std::set<std::tuple<Index::Row, std::uint32_t, std::uint32_t>> out;
    for (std::uint32_t key = 0; key < 1U << fingerprint::key_bits; ++key) {
        index.find(key, [&](std::span<const std::uint32_t> places) {
            assert_true(std::is_sorted(places.begin(), places.end()));
            for (const std::uint32_t place : places) {
                const Index::Track& track = index.tracks()[index.track_at(place)];
                if (track.packed) {
                    out.insert({track.row, place - track.first_place, key});
                }
            }
        });
    }
    return out;
}

void saved_joined_and_loaded_it_holds_what_it_held_in_memory(void**) {
    const Folder folder;
    IndexFolder files(folder.path());
    const Picture memory = with_rows(with_rows(std::make_shared<const Index>(), 1, 3), 4, 6);
    const auto expected = postings(*memory);
    assert_true(expected.size() > 1000);

    Picture index = write_one(files, with_rows(std::make_shared<const Index>(), 1, 3));
    assert_int_equal(index->unsaved_hashes(), 0);
    index = write_one(files, with_rows(index, 4, 6));
    assert_int_equal(index->parts().size(), 2);
    assert_true(postings(*index) == expected);
    index = write_one(files, index, 1U << 30U);  // nothing to flush: the two become one
    assert_int_equal(index->parts().size(), 1);
    assert_true(postings(*index) == expected);
    assert_true(folder.files() == std::set<std::string>{"segment-1-2.sgix"});
    const auto nothing = files.write_next(index, store, 1);
    assert_true(nothing && !*nothing);

    IndexFolder again(folder.path());
    const Picture loaded = load(again, rows(1, 6));
    assert_true(postings(*loaded) == expected);
    assert_int_equal(loaded->live_tracks(), 6);
    assert_int_equal(loaded->live_hashes(), memory->live_hashes());
    assert_int_equal(loaded->live_columns(), memory->live_columns());
    assert_true(loaded->bytes() < memory->bytes() / 4);
    assert_int_equal(found_row(*loaded, 2), 2);
    assert_int_equal(found_row(*loaded, 5), 5);
    // It goes on: what comes next is behind what was loaded.
    index = write_one(again, with_rows(loaded, 7, 8));
    assert_int_equal(found_row(*index, 8), 8);
    assert_int_equal(found_row(*index, 1), 1);
}

void what_comes_while_a_file_is_written_stays_in_memory(void**) {
    const Folder folder;
    IndexFolder files(folder.path());
    const Picture before = with_rows(std::make_shared<const Index>(), 1, 2);
    auto written = files.write_next(before, store, 1);
    assert_true(written && *written);
    const Index::Row gone = 1;
    const Picture meanwhile = with_rows(before, 3, 3)->with({}, {&gone, 1});
    const Picture after = (*written)->apply(*meanwhile);
    files.applied(**written);
    assert_int_equal(after->live_tracks(), 2);
    assert_true(after->unsaved_hashes() > 0);
    assert_true(postings(*after) == postings(*meanwhile));
    assert_int_equal(found_row(*after, 1), 0);
    assert_int_equal(found_row(*after, 2), 2);
    assert_int_equal(found_row(*after, 3), 3);
}

void removed_tracks_are_gone_at_once_and_from_the_next_file(void**) {
    const Folder folder;
    IndexFolder files(folder.path());
    Picture index = write_one(files, with_rows(std::make_shared<const Index>(), 1, 3));
    index = write_one(files, with_rows(index, 4, 5));
    const std::vector<Index::Row> gone = {2, 5};
    index = index->with({}, gone);
    assert_int_equal(found_row(*index, 2), 0);
    const auto expected = postings(*index);
    index = write_one(files, index, 1U << 30U);
    assert_int_equal(index->parts().front().file->tracks().size(), 3);
    assert_true(postings(*index) == expected);
    IndexFolder again(folder.path());
    const Picture loaded = load(again, {1, 4});  // 3 went while nobody ran
    assert_int_equal(loaded->live_tracks(), 2);
    assert_int_equal(found_row(*loaded, 3), 0);
    assert_int_equal(found_row(*loaded, 4), 4);
}

void a_file_that_cannot_be_trusted_goes(void**) {
    const Folder folder;
    const std::string path = folder.path() + "/segment-1-1.sgix";
    {
        IndexFolder files(folder.path());
        (void)write_one(files, with_rows(std::make_shared<const Index>(), 1, 2));
    }
    const std::string copy = folder.path() + "/../copy";
    fs::copy_file(path, copy);
    const auto size = fs::file_size(path);
    const auto is_refused = [&](const StoreState& state = store) {
        int gone = 0;
        IndexFolder files(folder.path());
        const Picture index = load(files, rows(1, 2), &gone, state);
        const bool refused = index->tracks().empty() && gone == 1 && !fs::exists(path);
        fs::copy_file(copy, path, fs::copy_options::overwrite_existing);
        return refused;
    };
    assert_false(is_refused());
    assert_true(is_refused({.identity = {9}, .version = 40}));
    assert_true(
        is_refused({.identity = store.identity, .version = 39}));  // an older store came back
    assert_false(is_refused({.identity = store.identity, .version = 41}));
    for (std::uintmax_t at = 0; at < size; at += at < 128 ? 8 : size / 11) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<std::streamoff>(at));
        const int byte = file.get();
        file.seekp(static_cast<std::streamoff>(at));
        file.put(static_cast<char>(byte ^ 0x10));
        file.close();
        assert_true(is_refused());
    }
    for (const std::uintmax_t left : {std::uintmax_t{0}, std::uintmax_t{127}, size / 2, size - 1}) {
        fs::resize_file(path, left);
        assert_true(is_refused());
    }
}

void what_a_death_leaves_behind_is_cleared(void**) {
    const Folder folder;
    IndexFolder files(folder.path());
    Picture index = write_one(files, with_rows(std::make_shared<const Index>(), 1, 2));
    index = write_one(files, with_rows(index, 3, 3));
    const std::string path = folder.path() + "/";
    fs::copy_file(path + "segment-1-1.sgix", path + "../one");
    fs::copy_file(path + "segment-2-2.sgix", path + "../two");
    index = write_one(files, index, 1U << 30U);
    fs::rename(path + "../one", path + "segment-1-1.sgix");
    fs::rename(path + "../two", path + "segment-2-2.sgix");
    std::ofstream(path + "segment-3-3.sgix.partial") << "half";
    int gone = 0;
    IndexFolder again(folder.path());
    const Picture loaded = load(again, rows(1, 3), &gone);
    assert_int_equal(gone, 2);
    assert_int_equal(loaded->live_tracks(), 3);
    assert_true(folder.files() == std::set<std::string>{"segment-1-2.sgix"});
}

void a_folder_that_cannot_be_written_is_told(void**) {
    const Folder folder;
    IndexFolder files(folder.path() + "/no/such/place");
    const auto written =
        files.write_next(with_rows(std::make_shared<const Index>(), 1, 1), store, 1);
    assert_true(!written && written.failure().error == ENOENT);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(saved_joined_and_loaded_it_holds_what_it_held_in_memory),
        cmocka_unit_test(what_comes_while_a_file_is_written_stays_in_memory),
        cmocka_unit_test(removed_tracks_are_gone_at_once_and_from_the_next_file),
        cmocka_unit_test(a_file_that_cannot_be_trusted_goes),
        cmocka_unit_test(what_a_death_leaves_behind_is_cleared),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
