#include "ngx_module/keys.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/unique_fd.hpp"
#include "ngx_module/headers.hpp"
#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

constexpr off_t max_file_bytes = 16 << 20;

char* const conf_error = static_cast<char*>(NGX_CONF_ERROR);

// ---- the file

// Its text, in the configuration's pool: names stay there.
bool read_file(ngx_conf_t* cf, const ngx_str_t& path, std::string_view& out) noexcept {
    // A FIFO would keep `nginx -t` waiting for who writes into it.
    const UniqueFd file(
        ::open(reinterpret_cast<const char*>(path.data), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat about {};
    if (!file || ::fstat(file.get(), &about) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "sonogate_keys cannot open \"%V\"", &path);
        return false;
    }
    if (!S_ISREG(about.st_mode) || about.st_size > max_file_bytes) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "sonogate_keys: \"%V\" is %s", &path,
                           S_ISREG(about.st_mode) ? "larger than 16 MiB" : "no regular file");
        return false;
    }
    const auto size = static_cast<std::size_t>(about.st_size);
    auto* text = static_cast<char*>(ngx_pnalloc(cf->pool, size + 1));
    if (text == nullptr) {
        return false;
    }
    const ssize_t n = ::read(file.get(), text, size);
    if (n < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "sonogate_keys cannot read \"%V\"", &path);
        return false;
    }
    out = {text, static_cast<std::size_t>(n)};
    return true;
}

std::uint64_t head_of(const KeyDigest& digest) noexcept {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < sizeof(out); ++i) {
        out = out << 8U | digest[i];
    }
    return out;
}

// Null, or what is wrong with the line.
const char* add_key(std::string_view line, KeyTable& table) noexcept {
    KeyLine read;
    const char* why = nullptr;
    switch (read_key_line(line, read, why)) {
        case KeyLineKind::bad:
            return why;
        case KeyLineKind::blank:
            return nullptr;
        case KeyLineKind::key:
            break;
    }
    table.keys[table.count++] = {.digest = read.digest,
                                 .name = borrowed(read.name),
                                 .rate_class = borrowed(read.rate_class),
                                 .roles = read.roles};
    return nullptr;
}

KeyTable* load(ngx_conf_t* cf, const ngx_str_t& path) noexcept {
    std::string_view rest;
    auto* table = static_cast<KeyTable*>(ngx_pcalloc(cf->pool, sizeof(KeyTable)));
    if (table == nullptr || !read_file(cf, path, rest)) {
        return nullptr;
    }
    const auto lines =
        static_cast<std::size_t>(std::count(rest.begin(), rest.end(), '\n')) + std::size_t{1};
    table->keys = static_cast<Key*>(ngx_pcalloc(cf->pool, lines * sizeof(Key)));
    if (table->keys == nullptr) {
        return nullptr;
    }
    for (ngx_uint_t number = 1; !rest.empty(); ++number) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (const char* why = add_key(line, *table); why != nullptr) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "sonogate_keys: a key %s in %V:%ui", why,
                               &path, number);
            return nullptr;
        }
    }
    Key* const end = table->keys + table->count;
    std::sort(table->keys, end, [](const Key& a, const Key& b) { return a.digest < b.digest; });
    const Key* twice = std::adjacent_find(table->keys, end, [](const Key& a, const Key& b) {
        return head_of(a.digest) == head_of(b.digest);  // find_key() looks at one of a kind
    });
    if (twice != end) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "sonogate_keys: %V and %V are the same key in %V",
                           &twice->name, &twice[1].name, &path);
        return nullptr;
    }
    return table;
}

// ---- a request's key

// Looked up once in the master, before the workers are forked from it.
const EVP_MD* sha256_method() noexcept {
    static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return method;
}

// As many steps for every key, and no branch on what is compared: time tells nothing of the digests
// that are there.
const Key* find_key(const KeyTable& table, const KeyDigest& digest) noexcept {
    if (table.count == 0) {
        return nullptr;
    }
    const std::uint64_t head = head_of(digest);
    const Key* at = table.keys;
    for (std::size_t left = table.count; left > 1;) {
        const std::size_t half = left / 2;
        at += head_of(at[half].digest) <= head ? half : 0;
        left -= half;
    }
    return CRYPTO_memcmp(at->digest.data(), digest.data(), digest.size()) == 0 ? at : nullptr;
}

// `Authorization: Bearer KEY`, or `X-Api-Key: KEY` where Authorization is somebody else's
// (auth_basic). Empty: none was sent.
std::string_view sent_key(ngx_http_request_t* r) noexcept {
    constexpr std::string_view scheme = "bearer ";
    const ngx_table_elt_t* header = r->headers_in.authorization;
    if (header != nullptr && header->value.len > scheme.size() &&
        ngx_strncasecmp(header->value.data, chars(scheme.data()), scheme.size()) == 0) {
        std::string_view key = view(header->value).substr(scheme.size());
        key.remove_prefix(std::min(key.find_first_not_of(' '), key.size()));
        return key;
    }
    return request_header(r, "x-api-key");
}

bool satisfy_any(ngx_http_request_t* r) noexcept {
    const auto* core = static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    return core->satisfy == NGX_HTTP_SATISFY_ANY;
}

Errc judge(Request& request) noexcept {
    const LocConf& conf = *loc_conf_of(request.r);
    const Route& route = request.route;
    if (conf.keys == nullptr || route.roles == 0) {
        return Errc::ok;
    }
    const Key* key = request.caller(*conf.keys).key;
    if (key == nullptr) {
        return Errc::unauthenticated;
    }
    const bool any_key = route.catalog == CatalogUse::write && conf.catalog_open == 1;
    return any_key || (key->roles & route.roles) != 0 ? Errc::ok : Errc::forbidden;
}

}  // namespace

char* set_keys(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.keys != NGX_CONF_UNSET_PTR) {
        return const_cast<char*>("is duplicate");
    }
    ngx_str_t path = static_cast<ngx_str_t*>(cf->args->elts)[1];
    if (view(path) == "off") {
        loc.keys = nullptr;
        return NGX_CONF_OK;
    }
    loc.keys_where = place_in_conf(cf);
    if (sha256_method() == nullptr) {
        return const_cast<char*>("needs OpenSSL's SHA-256, which is not there");
    }
    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return conf_error;
    }
    loc.keys = load(cf, path);
    return loc.keys == nullptr ? conf_error : NGX_CONF_OK;
}

void warn_of_idle_keys(ngx_conf_t* cf, const LocConf& loc) noexcept {
    const auto* core = static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    const bool is_location = core->name.data != nullptr;  // a server has no name
    if (is_location && loc.keys_where.data != nullptr && loc.pool_name.data == nullptr) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"sonogate_keys\" keeps nobody out of location \"%V\", which has no "
                      "sonogate_pass of its own, in %V",
                      &core->name, &loc.keys_where);
    }
}

Caller caller_of(ngx_http_request_t* r, const KeyTable& table) noexcept {
    Caller out{.table = &table};
    const std::string_view key = sent_key(r);
    KeyDigest digest{};
    out.sent = !key.empty();
    if (out.sent &&
        EVP_Digest(key.data(), key.size(), digest.data(), nullptr, sha256_method(), nullptr) == 1) {
        out.key = find_key(table, digest);
    }
    return out;
}

const Key* key_of(ngx_http_request_t* r) noexcept {
    const LocConf& conf = *loc_conf_of(r);
    Request* request = conf.pool != nullptr ? Request::of(r) : Request::find(r);
    if (request == nullptr) {
        return conf.keys != nullptr ? caller_of(r, *conf.keys).key : nullptr;
    }
    return request->key();
}

Errc check_key(Request& request) noexcept {
    ngx_http_request_t* r = request.r;
    const LocConf& conf = *loc_conf_of(r);
    const bool only_a_key_may =
        request.route.catalog == CatalogUse::write && conf.catalog_open == 0;
    // A subrequest is its main request's, as nginx's own ACCESS phase has it.
    const bool others_may = satisfy_any(r) || r != r->main;
    return others_may && !only_a_key_may ? Errc::ok : judge(request);
}

ngx_int_t access_handler(ngx_http_request_t* r) noexcept {
    const LocConf& conf = *loc_conf_of(r);
    if (conf.pool == nullptr || conf.keys == nullptr) {
        return NGX_DECLINED;
    }
    Request* request = Request::of(r);
    if (request == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    switch (judge(*request)) {
        case Errc::ok:
            return NGX_OK;
        case Errc::unauthenticated:
            return NGX_HTTP_UNAUTHORIZED;
        default:
            return NGX_HTTP_FORBIDDEN;
    }
}

std::string_view challenge_of(Request& request) noexcept {
    const KeyTable* table = loc_conf_of(request.r)->keys;
    if (table == nullptr && request.known_caller().table == nullptr) {
        return {};
    }
    const Caller& caller = table != nullptr ? request.caller(*table) : request.known_caller();
    return caller.sent ? "Bearer realm=\"sonogate\", error=\"invalid_token\""
                       : "Bearer realm=\"sonogate\"";
}

}  // namespace sonogate::ngx_module
