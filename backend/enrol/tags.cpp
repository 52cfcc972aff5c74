#include "enrol/tags.hpp"

extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/log.h>
}

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>

#include "catalog/utf8.hpp"

namespace sonogate::enrol {
namespace {

struct Close {
    void operator()(AVFormatContext* context) const noexcept { avformat_close_input(&context); }
};
using Container = std::unique_ptr<AVFormatContext, Close>;

Container open(const std::string& path) {
    av_log_set_level(AV_LOG_QUIET);
    AVFormatContext* context = nullptr;
    // "file:", so that no name is taken for another protocol.
    if (avformat_open_input(&context, ("file:" + path).c_str(), nullptr, nullptr) != 0) {
        return nullptr;
    }
    return Container(context);
}

// The first of these names that the container has, or else one of its streams (Ogg).
const char* find(const AVFormatContext& container, std::initializer_list<const char*> names) {
    for (const char* const name : names) {
        const AVDictionaryEntry* found = av_dict_get(container.metadata, name, nullptr, 0);
        for (unsigned i = 0; found == nullptr && i < container.nb_streams; ++i) {
            found = av_dict_get(container.streams[i]->metadata, name, nullptr, 0);
        }
        if (found != nullptr && *found->value != '\0') {
            return found->value;
        }
    }
    return nullptr;
}

// As the catalog takes it, cut where it is too long; nullopt where nothing is left.
std::optional<std::string> label(Parameter parameter, std::string text) {
    const auto characters = catalog::utf8_characters(text);
    if (!characters) {
        return std::nullopt;
    }
    for (std::size_t over = *characters; over > catalog::max_text_characters && !text.empty();) {
        over -= (static_cast<unsigned char>(text.back()) & 0xc0U) != 0x80U ? 1 : 0;
        text.pop_back();
    }
    auto made = catalog::make_label(parameter, text);
    return made ? std::optional(*std::move(made)) : std::nullopt;
}

}  // namespace

catalog::Labels read_tags(const std::string& path) {
    catalog::Labels out;
    if (const Container container = open(path)) {
        const auto read = [&](Parameter parameter, std::initializer_list<const char*> names) {
            const char* const text = find(*container, names);
            return text == nullptr ? std::string() : label(parameter, text).value_or("");
        };
        out.title = read(Parameter::title, {"title"});
        out.artist = read(Parameter::artist, {"artist", "album_artist"});
        out.album = read(Parameter::album, {"album"});
        out.isrc = read(Parameter::isrc, {"ISRC", "TSRC"});
    }
    if (out.title.empty()) {
        out.title =
            label(Parameter::title, std::filesystem::path(path).stem().string()).value_or("");
    }
    return out;
}

}  // namespace sonogate::enrol
