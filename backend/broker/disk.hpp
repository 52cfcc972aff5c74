// How much room the disk of the catalog has.
//
// For: refusing what would be stored before it is received, and telling operators. Not for:
// promises; others write to the same disk, and the store's own 507 stays the last word. One thread,
// beside the one that it starts.
//
// A network file system that hangs keeps whoever asks it, for as long as it likes: so a thread
// asks, and we wait for it a little, which a healthy disk never needs. While it is kept, the last
// figure counts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sonogate::broker {

class Disk {
  public:
    // Free for us in that folder; nothing where the kernel does not tell. May take for ever.
    using Ask = std::function<std::optional<std::uint64_t>(const std::string& folder)>;
    static std::optional<std::uint64_t> free_in(const std::string& folder);

    explicit Disk(std::string folder, Ask ask = free_in, std::uint64_t patience_ms = 10);
    ~Disk();  // whoever hangs there is left to the end of the process
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

    // `store` as in Settings: its own folder may be another disk's.
    void follow(std::string_view store);

    // What is free now, or was when it could last be asked; nothing where nobody knows. Waits for
    // `patience_ms` at most, and not at all behind an earlier question.
    std::optional<std::uint64_t> free_bytes() const;

    // An upload is stored as what was made of it, beside an index of that: twice its size is
    // plenty.
    bool has_room_for(std::uint64_t upload_bytes, std::uint64_t reserve_bytes) const {
        const auto free = free_bytes();
        return !free || (*free >= reserve_bytes && (*free - reserve_bytes) / 2 >= upload_bytes);
    }

  private:
    struct Exchange;  // of questions and answers; outlives us where the thread does
    static void answer(const std::shared_ptr<Exchange>& exchange, const Ask& ask);

    std::string folder_;
    std::uint64_t patience_ms_;
    std::shared_ptr<Exchange> exchange_;
};

}  // namespace sonogate::broker
