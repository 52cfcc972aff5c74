#include "broker/settings.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
namespace fs = std::filesystem;

namespace {

std::string folder;

int make_folder(void**) {
    std::string pattern = (fs::temp_directory_path() / "sonogate-settings-XXXXXX").string();
    folder = fs::canonical(::mkdtemp(pattern.data())).string();
    return 0;
}
int remove_folder(void**) {
    fs::remove_all(folder);
    return 0;
}

Result<broker::Settings> read(std::string_view catalog) {
    shm::PoolSettings said;
    said.stamp = 1;
    said.catalog_bytes =
        static_cast<std::uint16_t>(catalog.copy(said.catalog.data(), said.catalog.size()));
    return broker::read_settings(said, folder);
}

void a_catalog_lies_in_the_state_folder(void**) {
    assert_string_equal(read("sqlite:catalog.db")->store.c_str(),
                        ("sqlite:" + folder + "/catalog.db").c_str());
    assert_string_equal(read("sqlite:" + folder + "/a.db")->store.c_str(),
                        ("sqlite:" + folder + "/a.db").c_str());
    assert_true(read("")->store.empty());
}

void a_path_that_leaves_the_folder_is_refused(void**) {
    fs::create_directory_symlink("/", folder + "/way-out");
    fs::create_symlink("/etc/passwd", folder + "/link.db");
    fs::create_symlink(folder + "/nothing", folder + "/dangling.db");
    fs::create_directory(folder + "/sub");
    for (const std::string& path :
         {std::string("../x.db"), std::string("/etc/passwd"), std::string("a/../../x.db"),
          folder + "/../x.db", std::string("way-out/etc/passwd"), std::string("link.db"),
          std::string("dangling.db"), std::string("."), folder, folder + "-sibling/x.db",
          std::string("sub")}) {
        const auto settings = read("sqlite:" + path);
        assert_false(static_cast<bool>(settings));
        assert_int_equal(static_cast<int>(settings.failure().code),
                         static_cast<int>(Errc::forbidden));
    }
}

void what_is_no_catalog_of_ours_is_refused(void**) {
    for (const std::string& text :
         {std::string("postgres:x"), std::string("catalog.db"), std::string("sqlite:"),
          std::string("sqlite:a\0b", 10), std::string("sqlite:a\nb")}) {
        const auto settings = read(text);
        assert_false(static_cast<bool>(settings));
        assert_int_equal(static_cast<int>(settings.failure().code),
                         static_cast<int>(Errc::invalid_parameter));
    }
    shm::PoolSettings said;
    said.catalog_bytes = 2000;  // beyond the array
    assert_false(static_cast<bool>(broker::read_settings(said, folder)));
}

void numbers_out_of_reason_are_refused(void**) {
    shm::PoolSettings said;
    assert_true(static_cast<bool>(broker::read_settings(said, folder)));
    const auto refuses = [&](auto change) {
        shm::PoolSettings changed = said;
        change(changed);
        assert_false(static_cast<bool>(broker::read_settings(changed, folder)));
    };
    refuses([](auto& s) { s.workers = broker::max_workers + 1; });
    refuses([](auto& s) { s.queue_jobs = 0; });
    refuses([](auto& s) { s.job_deadline_ms = 0; });
    refuses([](auto& s) { s.upload_memory_bytes = 0; });
    refuses([](auto& s) { s.upload_memory_bytes = UINT64_MAX; });
}

void no_number_of_workers_means_one_a_core(void**) {
    shm::PoolSettings said;
    said.workers = 0;
    assert_true(broker::read_settings(said, folder)->workers >= 1);
    said.workers = 3;
    assert_int_equal(broker::read_settings(said, folder)->workers, 3);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_catalog_lies_in_the_state_folder),
        cmocka_unit_test(a_path_that_leaves_the_folder_is_refused),
        cmocka_unit_test(what_is_no_catalog_of_ours_is_refused),
        cmocka_unit_test(numbers_out_of_reason_are_refused),
        cmocka_unit_test(no_number_of_workers_means_one_a_core),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
