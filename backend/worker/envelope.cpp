#include "worker/envelope.hpp"

#include <openssl/evp.h>
#include <simdjson.h>

#include <algorithm>
#include <bitset>
#include <cstring>
#include <nlohmann/json.hpp>

namespace sonogate::worker {

namespace {

// What parsing costs at most a byte of JSON: the copy, simdjson's index (4) and string buffer
// (5/3), the audio (3/4).
constexpr std::uint64_t parse_bytes_a_byte = 8;

// No parameter is longer, escapes included. A tree of more could outgrow the process: "[]," takes
// twenty times its text.
constexpr std::size_t max_value_bytes = 256U << 10U;

using simdjson::ondemand::json_type;
using simdjson::ondemand::object;
using simdjson::ondemand::value;

struct FreeEncode {
    void operator()(EVP_ENCODE_CTX* context) const noexcept { EVP_ENCODE_CTX_free(context); }
};

// Strict but for line breaks. EVP takes '-' for the end of the data, so that is looked for first.
std::optional<std::vector<std::byte>> base64_decoded(std::string_view text) {
    if (text.find('-') != std::string_view::npos) {
        return std::nullopt;
    }
    const std::unique_ptr<EVP_ENCODE_CTX, FreeEncode> context(EVP_ENCODE_CTX_new());
    if (!context) {
        throw std::bad_alloc();
    }
    EVP_DecodeInit(context.get());
    constexpr std::size_t chunk_bytes = 1U << 20U;
    std::vector<std::byte> out(text.size() / 4 * 3 + 64);
    std::size_t made_bytes = 0;
    for (std::size_t at = 0; at < text.size(); at += chunk_bytes) {
        const std::string_view piece = text.substr(at, chunk_bytes);
        int made = 0;
        if (EVP_DecodeUpdate(context.get(),
                             reinterpret_cast<unsigned char*>(out.data() + made_bytes), &made,
                             reinterpret_cast<const unsigned char*>(piece.data()),
                             static_cast<int>(piece.size())) < 0) {
            return std::nullopt;
        }
        made_bytes += static_cast<std::size_t>(made);
    }
    int made = 0;
    if (EVP_DecodeFinal(context.get(), reinterpret_cast<unsigned char*>(out.data() + made_bytes),
                        &made) < 0) {
        return std::nullopt;
    }
    out.resize(made_bytes + static_cast<std::size_t>(made));
    return out;
}

// One JSON body on its way into an envelope.
class JsonBody {
  public:
    explicit JsonBody(Envelope& out) noexcept : out_(out) {}

    Result<void> read(Bytes body) {
        // A private copy: simdjson relies on bytes that do not change, and on padding.
        const simdjson::padded_string text(as_text(body));
        simdjson::ondemand::parser parser;
        simdjson::ondemand::document document;
        object members;
        if (parser.iterate(text).get(document) || document.get_object().get(members)) {
            return Errc::malformed_json;
        }
        for (auto member : members) {
            std::string_view name;
            value content;
            if (member.unescaped_key().get(name) || member.value().get(content)) {
                return Errc::malformed_json;
            }
            if (auto taken = take(parameter_of(name), content); !taken) {
                return taken;
            }
        }
        const bool ended = document.current_location().error() == simdjson::OUT_OF_BOUNDS;
        return ended ? Result<void>{} : Errc::malformed_json;
    }

  private:
    Result<void> take(Parameter parameter, value& content) {
        if (parameter != Parameter::none) {
            const auto i = static_cast<std::size_t>(parameter);
            if (seen_.test(i)) {
                return invalid(parameter);
            }
            seen_.set(i);
        }
        if (parameter == Parameter::audio || parameter == Parameter::fingerprint) {
            return take_bytes(parameter, content);
        }
        return take_value(parameter, content);
    }

    Result<void> take_bytes(Parameter parameter, value& content) {
        json_type type{};
        if (content.type().get(type)) {
            return Errc::malformed_json;
        }
        if (type == json_type::null) {
            bool null = false;
            return !content.is_null().get(null) && null ? Result<void>{} : Errc::malformed_json;
        }
        if (type != json_type::string) {
            return invalid(parameter);
        }
        std::string_view text;
        if (content.get_string().get(text)) {
            return Errc::malformed_json;
        }
        auto decoded = base64_decoded(text);
        if (!decoded) {
            return invalid(parameter);
        }
        if (parameter == Parameter::audio) {
            out_.owned_audio = std::move(*decoded);
            out_.audio = out_.owned_audio;
        } else {
            out_.fingerprint = std::move(decoded);
        }
        return {};
    }

    // simdjson passes over what nobody looks at without checking it, so the (short) rest goes
    // through a whole parser.
    Result<void> take_value(Parameter parameter, value& content) {
        std::string_view raw;
        if (simdjson::to_json_string(content).get(raw)) {
            return Errc::malformed_json;
        }
        if (!nlohmann::json::accept(raw)) {
            return Errc::malformed_json;
        }
        if (parameter == Parameter::none) {
            return {};
        }
        if (raw.size() > max_value_bytes) {
            return invalid(parameter);
        }
        const auto parsed = nlohmann::json::parse(raw);
        if (parsed.is_null()) {
            return {};
        }
        if (parameter == Parameter::upload_id) {
            return invalid(parameter);
        }
        const bool structured = parsed.is_object() && parameter == Parameter::metadata;
        if (!structured && !parsed.is_primitive()) {
            return invalid(parameter);
        }
        out_.owned_texts.push_front(parsed.is_string() ? parsed.get<std::string>() : trimmed(raw));
        out_.params.add_later(parameter, out_.owned_texts.front());
        return {};
    }

    static std::string trimmed(std::string_view raw) {
        constexpr std::string_view blanks = " \t\r\n";
        const std::size_t last = raw.find_last_not_of(blanks);
        return std::string(raw.substr(0, last + 1));
    }

    Envelope& out_;
    std::bitset<parameter_count> seen_;
};

}  // namespace

Result<Envelope> open_envelope(const Request& request) {
    Envelope out;
    const auto params = shm::Params::parse(request.params);
    if (!params) {
        return params.failure();
    }
    out.params = *params;
    if (request.job.body == shm::BodyKind::raw) {
        out.audio = request.body;
    } else if (request.job.body == shm::BodyKind::json) {
        const std::uint64_t limit = request.job.job_memory_bytes;
        const std::uint64_t needed = request.body.size() * parse_bytes_a_byte;
        if (limit > 0 && needed > limit) {
            return Failure{.code = Errc::job_too_large, .limit = limit, .value = needed};
        }
        if (auto read = JsonBody(out).read(request.body); !read) {
            return read.failure();
        }
    }
    if (out.params.get(Parameter::upload_id)) {
        return invalid(Parameter::upload_id);
    }
    return out;
}

}  // namespace sonogate::worker
