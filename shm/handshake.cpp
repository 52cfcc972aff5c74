#include "shm/handshake.hpp"

#include <cstring>

namespace sonogate::shm {

namespace {

Result<void> equal(std::uint64_t wanted, std::uint64_t found) noexcept {
    if (wanted != found) {
        return Failure{.code = Errc::malformed_request, .limit = wanted, .value = found};
    }
    return {};
}

}  // namespace

void write_header(SegmentHeader& header, std::uint64_t segment_bytes,
                  std::uint64_t epoch) noexcept {
    header.magic = magic;
    header.version = layout_version;
    header.segment_bytes = static_cast<std::uint32_t>(segment_bytes);
    header.epoch = epoch;
}

Result<Mapping> map_peer_headed(int fd, std::uint64_t segment_bytes) noexcept {
    auto mapping = map_peer_segment(fd, segment_bytes);
    if (!mapping) {
        return mapping.failure();
    }
    SegmentHeader header;
    std::memcpy(&header, mapping->data(), sizeof(header));
    if (header.magic != magic || header.version != layout_version ||
        header.segment_bytes != segment_bytes) {
        return Errc::malformed_request;
    }
    return mapping;
}

Result<void> check_hello(const Hello& hello) noexcept {
    for (const auto& result :
         {equal(magic, hello.magic_number), equal(layout_version, hello.version),
          equal(sizeof(LinkUp), hello.link_up_bytes),
          equal(sizeof(LinkDown), hello.link_down_bytes),
          equal(sizeof(Submission), hello.submission_bytes),
          equal(sizeof(Completion), hello.completion_bytes)}) {
        if (!result) {
            return result.failure();
        }
    }
    return {};
}

Result<void> check_welcome(const Welcome& welcome) noexcept {
    for (const auto& result :
         {equal(magic, welcome.magic_number), equal(layout_version, welcome.version)}) {
        if (!result) {
            return result.failure();
        }
    }
    if (welcome.errc != 0) {
        return welcome.errc < errc_count ? static_cast<Errc>(welcome.errc) : Errc::internal;
    }
    return {};
}

Result<void> check_channel_hello(const ChannelHello& hello, std::uint64_t segment_bytes) noexcept {
    for (const auto& result :
         {equal(magic, hello.magic_number), equal(layout_version, hello.version),
          equal(segment_bytes, hello.segment_bytes)}) {
        if (!result) {
            return result.failure();
        }
    }
    return {};
}

}  // namespace sonogate::shm
