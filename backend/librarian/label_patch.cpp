#include "librarian/label_patch.hpp"

#include <bitset>
#include <nlohmann/json.hpp>

namespace sonogate::librarian {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t max_body_bytes = 256U << 10U;  // labels, every character escaped
constexpr int max_depth = static_cast<int>(catalog::max_metadata_depth) + 2;

// A parsed body, and the first of our parameters that its object names twice.
// NOLINTNEXTLINE(bugprone-exception-escape): in theory, of nlohmann's move
struct Parsed {
    Json body;
    Parameter repeated = Parameter::none;
};

Parsed parse(Bytes text) {
    Parsed out;
    bool too_deep = false;
    std::bitset<parameter_count> seen;
    const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
        too_deep = too_deep || depth > max_depth;
        if (event == Json::parse_event_t::key && depth == 1) {
            const Parameter parameter = parameter_of(value.get_ref<const std::string&>());
            const auto i = static_cast<std::size_t>(parameter);
            if (parameter != Parameter::none && seen.test(i)) {
                out.repeated = parameter;
            }
            seen.set(i);
        }
        return !too_deep;
    };
    out.body = Json::parse(as_text(text), watch, false);
    if (too_deep) {
        out.body = Json::value_t::discarded;
    }
    return out;
}

// The text that make_label takes, or nothing where the type is wrong.
std::optional<std::string> label_text(Parameter parameter, const Json& value) {
    const bool metadata = parameter == Parameter::metadata;
    if (value.is_null()) {
        return metadata ? "{}" : "";
    }
    if (metadata && value.is_object()) {
        return value.dump();
    }
    if (!value.is_string()) {
        return std::nullopt;
    }
    return value.get<std::string>();
}

Result<void> set(catalog::LabelChanges& changes, Parameter parameter, std::string_view text) {
    auto label = catalog::make_label(parameter, text);
    if (!label) {
        return label.failure();
    }
    *changes.of(parameter) = *std::move(label);
    return {};
}

Result<void> read_body(Bytes text, std::string_view id, catalog::LabelChanges& changes) {
    const Parsed parsed = text.size() > max_body_bytes ? Parsed{} : parse(text);
    if (!parsed.body.is_object()) {
        return Errc::malformed_json;
    }
    if (parsed.repeated != Parameter::none) {
        return invalid(parsed.repeated);
    }
    if (const auto own = parsed.body.find("track_id");
        own != parsed.body.end() &&
        (!own->is_string() || own->get_ref<const std::string&>() != id)) {
        return invalid(Parameter::track_id);
    }
    for (const Parameter parameter : catalog::label_parameters) {
        const auto member = parsed.body.find(std::string(name_of(parameter)));
        if (member == parsed.body.end() || changes.of(parameter)->has_value()) {
            continue;
        }
        const auto label = label_text(parameter, *member);
        if (!label) {
            return invalid(parameter);
        }
        if (auto done = set(changes, parameter, *label); !done) {
            return done;
        }
    }
    return {};
}

}  // namespace

Result<catalog::LabelChanges> read_label_patch(Bytes params, Bytes body, std::string_view id) {
    const auto packed = shm::Params::parse(params);
    if (!packed) {
        return packed.failure();
    }
    catalog::LabelChanges changes;
    bool any = false;
    for (const Parameter parameter : catalog::label_parameters) {
        if (const auto text = packed->get(parameter)) {
            any = true;
            if (auto done = set(changes, parameter, *text); !done) {
                return done.failure();
            }
        }
    }
    if (body.empty() && any) {
        return changes;
    }
    if (auto read = read_body(body, id, changes); !read) {
        return read.failure();
    }
    return changes;
}

}  // namespace sonogate::librarian
