// What both ends check before they trust a segment's size: magic, layout version, sizes, seals.
//
// For: the first packets of a link and of a channel. Not for: who may connect (broker/link.cpp asks
// the kernel), nor for what the settings mean (broker/settings.hpp).
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "shm/layout.hpp"
#include "shm/segment.hpp"

namespace sonogate::shm {

// The first packet each side of a channel sends, with one descriptor: its own segment.
struct ChannelHello {
    MessageKind kind = MessageKind::hello;
    std::uint32_t version = layout_version;
    std::uint64_t magic_number = magic;
    std::uint64_t segment_bytes = 0;
    std::uint32_t sandbox = 0;  // child: what it is confined by, bits of sandbox/layers.hpp
    std::uint32_t reserved = 0;
};

// Fills the header of a segment that this process writes; before its descriptor is sent.
void write_header(SegmentHeader& header, std::uint64_t segment_bytes, std::uint64_t epoch) noexcept;

// A peer's segment of exactly sizeof(T) bytes that begins with a SegmentHeader, verified and mapped
// read-only. Errors: malformed_request (seals, size, header), internal with errno.
Result<Mapping> map_peer_headed(int fd, std::uint64_t segment_bytes) noexcept;

// A Hello that speaks our layout, byte for byte. Errors: malformed_request; `limit` is what we have
// and `value` what the peer said.
Result<void> check_hello(const Hello& hello) noexcept;

// A Welcome that speaks our layout. Errors: malformed_request as above; otherwise the broker's own
// refusal.
Result<void> check_welcome(const Welcome& welcome) noexcept;

// A ChannelHello of our layout and that size. Errors: malformed_request.
Result<void> check_channel_hello(const ChannelHello& hello, std::uint64_t segment_bytes) noexcept;

}  // namespace sonogate::shm
