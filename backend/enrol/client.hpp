// The service's HTTP API, as far as an enrolment needs it: libcurl behind two calls.
//
// For: enrol/run.cpp; one client a thread, its connection is kept. Not for: what an answer means.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sonogate::enrol {

struct Reply {
    long status = 0;  // 0: there was no answer; `error` says why
    std::string body;
    std::string error;
    std::uint32_t retry_after_s = 0;  // 0: it does not say
};

class Client {
  public:
    // `url` is where the API begins, e.g. "http://localhost:8080". `key` may be empty.
    // Throws std::runtime_error where libcurl does not begin.
    Client(std::string url, const std::string& key);

    Reply get(const std::string& path);

    using Query = std::vector<std::pair<std::string_view, std::string>>;
    // Sends `bytes` bytes of a file from its beginning.
    Reply post(const std::string& path, const Query& query, int file, std::uint64_t bytes);

  private:
    struct FreeHandle {
        void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
    };
    struct FreeList {
        void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
    };
    Reply run(const std::string& url);

    std::string url_;
    std::unique_ptr<curl_slist, FreeList> headers_;
    std::unique_ptr<CURL, FreeHandle> handle_;
};

}  // namespace sonogate::enrol
