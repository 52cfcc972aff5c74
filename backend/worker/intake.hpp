// One job's audio as a stream: opened, bounded, cut to the selection, sanitised, mixed.
//
// For: every operation that reads audio. Not for: resampling (audio/resampler.hpp) or levels.
// Memory: one block, whatever the file's length.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "audio/decoder.hpp"
#include "base/bytes.hpp"
#include "base/result.hpp"
#include "shm/layout.hpp"
#include "worker/operations_table.hpp"
#include "worker/parameters.hpp"

namespace sonogate::worker {

struct IntakeOptions {
    Selection selection;
    shm::AudioLimits limits;               // of the whole file, not of the selection
    std::function<bool()> stop_requested;  // may be empty
    std::function<bool(shm::AudioFormat, std::uint64_t)> expect;  // Request's; may be empty
};

class Intake {
  public:
    // `file` is borrowed. `facts` is filled as soon as something is known and must outlive the
    // intake. Errors: unsupported_format for one that the limits leave out, whose decoder is not
    // even opened; those of audio::open_decoder; job_too_large for more channels than the limits
    // let in; audio_too_long (limit and value in ms) where the header shows it; cancelled where
    // options.expect says so.
    static Result<Intake> open(Bytes file, const IntakeOptions& options, shm::AudioFacts& facts);

    struct Block {
        std::size_t frames = 0;              // 0 = the end
        std::span<const float> interleaved;  // frames × channels, below 2^40
        std::span<const float> mono;         // frames: the mix, or the channel that was asked for
    };

    // The next block of the selection; valid until the next call. Errors: undecodable or too_short
    // where the file, or the selection, has no frame at all (told by the first call);
    // audio_too_long; at the end, too_short (limit and value in ms) where the file is shorter than
    // the limits ask for; cancelled.
    Result<Block> next();

    const audio::StreamInfo& info() const noexcept { return decoder_->info(); }
    std::uint64_t selected_frames() const noexcept {
        return selected_frames_;
    }  // handed out so far
    std::uint64_t decoded_frames() const noexcept {
        return decoded_frames_;
    }  // skipped ones included
    std::uint64_t nonfinite_samples() const noexcept {
        return nonfinite_samples_;
    }  // NaN, infinite, ≥ 2^40: taken as 0
    std::uint64_t decode_us() const noexcept { return decode_ns_ / 1000U; }  // spent in the decoder

    // Where the header tells the length: about how many frames next() will hand out.
    std::optional<std::uint64_t> expected_frames() const noexcept;

    // 64 lower-case hex digits: SHA-256 of the file's bytes. Computed once. Errors: cancelled.
    Result<std::string> sha256();

    // The `audio` object of api.md. `frames` and `duration_s` are of the whole file; `truncated`
    // (only when true) of what was decoded; `nonfinite_samples` where there were any; `selection`
    // where only a part was used. Call at the end.
    Result<nlohmann::ordered_json> audio_json();

  private:
    Intake(Bytes file, IntakeOptions options, std::unique_ptr<audio::Decoder> decoder,
           shm::AudioFacts& facts);
    Result<std::size_t> read_block(std::size_t frames);
    Result<void> skip_to_start();
    Result<void> check_header();
    Result<void> check_length(std::uint64_t frames) const;
    Result<void> check_minimum();
    std::uint64_t max_ms() const noexcept;
    void mix(std::size_t frames);
    std::uint64_t file_frames() const noexcept;

    Bytes file_;
    IntakeOptions options_;
    std::unique_ptr<audio::Decoder> decoder_;
    shm::AudioFacts* facts_;
    std::uint64_t start_frame_ = 0;
    std::uint64_t end_frame_;  // exclusive
    std::size_t block_frames_;
    std::vector<float> interleaved_;
    std::vector<float> mono_;
    std::string sha256_;
    std::uint64_t selected_frames_ = 0;
    std::uint64_t decoded_frames_ = 0;
    std::uint64_t nonfinite_samples_ = 0;
    std::uint64_t decode_ns_ = 0;
    bool ended_ = false;  // the decoder said so
    bool started_ = false;
};

// An operation's audio: the part that its parameters select, under the job's limits. Errors: those
// of selection_of() and Intake::open().
Result<Intake> open_intake(const Input& input);

}  // namespace sonogate::worker
