// How much room the disk of the catalog has.
//
// For: refusing what would be stored before it is received, and telling operators. Not for:
// promises; others write to the same disk, and the store's own 507 stays the last word. One thread.
#pragma once

#include <sys/statvfs.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sonogate::broker {

class Disk {
  public:
    explicit Disk(std::string folder) : folder_(std::move(folder)) {}

    // `store` as in Settings: its own folder may be another disk's.
    void follow(std::string_view store) {
        const auto path = store.substr(std::min(store.find('/'), store.size()));
        if (!path.empty()) {
            folder_ = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
        }
    }

    // Free for us; nothing where the kernel does not tell. A system call.
    std::optional<std::uint64_t> free_bytes() const {
        struct statvfs disk {};
        if (::statvfs(folder_.c_str(), &disk) != 0) {
            return std::nullopt;
        }
        return std::uint64_t{disk.f_bavail} * disk.f_frsize;
    }

    // An upload is stored as what was made of it, beside an index of that: twice its size is
    // plenty.
    bool has_room_for(std::uint64_t upload_bytes, std::uint64_t reserve_bytes) const {
        const auto free = free_bytes();
        return !free || (*free >= reserve_bytes && (*free - reserve_bytes) / 2 >= upload_bytes);
    }

  private:
    std::string folder_;
};

}  // namespace sonogate::broker
