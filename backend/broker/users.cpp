#include "broker/users.hpp"

#include <pwd.h>

namespace sonogate::broker {

Result<std::vector<std::uint32_t>> user_ids(const std::vector<std::string>& names) {
    std::vector<std::uint32_t> out;
    for (const auto& name : names) {
        const passwd* const user = ::getpwnam(name.c_str());  // one thread, at start
        if (user == nullptr) {
            return Errc::not_found;
        }
        out.push_back(user->pw_uid);
    }
    return out;
}

}  // namespace sonogate::broker
