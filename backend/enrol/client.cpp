#include "enrol/client.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace sonogate::enrol {
namespace {

constexpr long connect_patience_s = 10;
constexpr long silence_patience_s = 330;  // beyond the default job_deadline
constexpr std::size_t most_answer_bytes = 1U << 20U;

struct Source {
    int file = -1;
    std::uint64_t at = 0;
    std::uint64_t end = 0;
};

std::size_t read_source(char* to, std::size_t size, std::size_t count, void* user) {
    auto& source = *static_cast<Source*>(user);
    const std::size_t room = std::min<std::uint64_t>(size * count, source.end - source.at);
    const ssize_t got = ::pread(source.file, to, room, static_cast<off_t>(source.at));
    if (got < 0 || (got == 0 && room > 0)) {
        return CURL_READFUNC_ABORT;  // it became shorter
    }
    source.at += static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
}

// curl begins again where a kept connection turned out to be closed.
int seek_source(void* user, curl_off_t offset, int origin) {
    if (origin != SEEK_SET) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    static_cast<Source*>(user)->at = static_cast<std::uint64_t>(offset);
    return CURL_SEEKFUNC_OK;
}

std::size_t take_body(char* from, std::size_t size, std::size_t count, void* user) {
    auto& body = *static_cast<std::string*>(user);
    if (body.size() + size * count > most_answer_bytes) {
        return 0;
    }
    body.append(from, size * count);
    return size * count;
}

template <typename Value>
void set(CURL* handle, CURLoption option, Value value) {
    if (curl_easy_setopt(handle, option, value) != CURLE_OK) {
        throw std::runtime_error("libcurl does not take an option");
    }
}

}  // namespace

Client::Client(std::string url, const std::string& key)
    : url_(std::move(url)), handle_(curl_easy_init()) {
    while (url_.ends_with('/')) {
        url_.pop_back();
    }
    std::vector<std::string> lines = {"Content-Type: application/octet-stream"};
    if (!key.empty()) {
        lines.push_back("Authorization: Bearer " + key);
    }
    for (const std::string& line : lines) {
        curl_slist* const longer = curl_slist_append(headers_.get(), line.c_str());
        if (longer == nullptr) {
            throw std::bad_alloc();
        }
        (void)headers_.release();
        headers_.reset(longer);
    }
    if (!handle_) {
        throw std::runtime_error("libcurl does not begin");
    }
}

Reply Client::run(const std::string& url) {
    CURL* const handle = handle_.get();
    Reply reply;
    std::array<char, CURL_ERROR_SIZE> error{};
    set(handle, CURLOPT_URL, url.c_str());
    set(handle, CURLOPT_HTTPHEADER, headers_.get());
    set(handle, CURLOPT_NOSIGNAL, 1L);
    set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    set(handle, CURLOPT_CONNECTTIMEOUT, connect_patience_s);
    set(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(handle, CURLOPT_LOW_SPEED_TIME, silence_patience_s);
    set(handle, CURLOPT_WRITEFUNCTION, &take_body);
    set(handle, CURLOPT_WRITEDATA, &reply.body);
    set(handle, CURLOPT_ERRORBUFFER, error.data());
    const CURLcode done = curl_easy_perform(handle);
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_off_t wait_s = 0;
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &wait_s);
    reply.retry_after_s = static_cast<std::uint32_t>(std::clamp<curl_off_t>(wait_s, 0, 86'400));
    // A refusal in the middle of an upload is an answer; the rest of the upload is not.
    if (done != CURLE_OK && reply.status < 400) {
        reply.status = 0;
        reply.error = error[0] != '\0' ? error.data() : curl_easy_strerror(done);
    }
    curl_easy_reset(handle);  // options point to what ends here; the connection stays
    return reply;
}

Reply Client::get(const std::string& path) {
    return run(url_ + path);
}

Reply Client::post(const std::string& path, const Query& query, int file, std::uint64_t bytes) {
    std::string url = url_ + path;
    char separator = '?';
    for (const auto& [name, value] : query) {
        const std::unique_ptr<char, decltype(&curl_free)> escaped(
            curl_easy_escape(handle_.get(), value.data(), static_cast<int>(value.size())),
            &curl_free);
        if (!escaped) {
            throw std::bad_alloc();
        }
        url.append(1, separator).append(name).append("=").append(escaped.get());
        separator = '&';
    }
    Source source{.file = file, .at = 0, .end = bytes};
    set(handle_.get(), CURLOPT_POST, 1L);
    set(handle_.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(bytes));
    set(handle_.get(), CURLOPT_READFUNCTION, &read_source);
    set(handle_.get(), CURLOPT_READDATA, &source);
    set(handle_.get(), CURLOPT_SEEKFUNCTION, &seek_source);
    set(handle_.get(), CURLOPT_SEEKDATA, &source);
    return run(url);
}

}  // namespace sonogate::enrol
