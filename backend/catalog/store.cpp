#include "catalog/store.hpp"

#include "catalog/sqlite_store.hpp"

namespace sonogate::catalog {

Result<std::unique_ptr<Store>> open_store(const std::string& name, std::string* why) {
    constexpr std::string_view sqlite_scheme = "sqlite:";
    std::string reason;
    auto opened = name.starts_with(sqlite_scheme)
                      ? open_sqlite_store(name.substr(sqlite_scheme.size()), reason)
                      : Result<std::unique_ptr<Store>>(Errc::internal);
    if (!opened && why != nullptr) {
        *why = reason.empty() ? "no such kind of store, or no access to it" : reason;
    }
    return opened;
}

}  // namespace sonogate::catalog
