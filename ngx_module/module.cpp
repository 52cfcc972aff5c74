// The table of contents of the nginx module: what nginx sees of it, and where each part lives.
//
//   conf, pool_conf      directives, merged and checked at `nginx -t`
//   limits               length, formats and pace of an upload
//   route                method and path -> endpoint
//   request              one request, from the gate to its log line; refusals
//   rate                 how often one may ask; rate_conf: its directives and shared tables
//   concurrency          how many jobs of one caller at once; the broker counts
//   priority             whose turn it is: who asks, and how urgently; the broker's order
//   rate_window, rate_table, rate_headers   the arithmetic, the words, what clients are told
//   caller_key, key_hash who asks
//   gate                 PREACCESS and content: checks, ticket, body, job
//   hosts, cors          for whom it is meant, and which pages may read the answer
//   keys                 who asks, and what they may do; ACCESS
//   upload               the body into a slab; multipart, content_type, query, filename help
//   body_limit           … and no more of it than the location takes
//   slab                 the memory that bodies are received into
//   link, link_connect   the socket and the rings to the daemon; pending: jobs without an answer
//   trace                the traceparent of a request
//   result_cache         answers that are there already; content_hash, cache_control
//   reply                a job's result, sent from where the backend wrote it
//   headers              those of a request found, those of an answer added
//   security_headers     what browsers shall not do with an answer
//   filter, problem      headers on every answer, problem+json in place of nginx's pages
//   refusal_log          one line for a refusal, one for all that repeat it
//   status               /health, /ready
//   variables            $sonogate_…
//   abi                  does this nginx have the structures we were compiled with?
#include "ngx_module/conf.hpp"

#include "ngx_module/abi.hpp"
#include "ngx_module/body_limit.hpp"
#include "ngx_module/filter.hpp"
#include "ngx_module/link.hpp"
#include "ngx_module/refusal_log.hpp"
#include "ngx_module/request.hpp"
#include "ngx_module/variables.hpp"

#include <fcntl.h>

namespace sonogate::ngx_module {

namespace {

template <typename Do>
void for_each_pool(ngx_cycle_t* cycle, Do&& act) noexcept {
    auto* main = static_cast<MainConf*>(
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sonogate_module));
    if (main == nullptr) {
        return;  // no http block
    }
    auto** pools = static_cast<Pool**>(main->pools.elts);
    for (ngx_uint_t i = 0; i < main->pools.nelts; ++i) {
        act(*pools[i]);
    }
}

ngx_int_t add_phase(ngx_conf_t* cf, ngx_http_phases phase, ngx_http_handler_pt handler) noexcept {
    auto* core = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    auto* place = static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[phase].handlers));
    if (place == nullptr) {
        return NGX_ERROR;
    }
    *place = handler;
    return NGX_OK;
}

// The gate is not in ACCESS: there `satisfy any` would turn its consent into a grant. Keys are.
ngx_int_t install_phases(ngx_conf_t* cf) {
    if (add_phase(cf, NGX_HTTP_PREACCESS_PHASE, gate_handler) != NGX_OK ||
        add_phase(cf, NGX_HTTP_ACCESS_PHASE, access_handler) != NGX_OK) {
        return NGX_ERROR;
    }
    return add_phase(cf, NGX_HTTP_LOG_PHASE, log_handler);
}

void close_socket(void* data) {
    auto* pool = static_cast<Pool*>(data);
    if (pool->socket_fd >= 0) {
        ::close(pool->socket_fd);
    }
}

// In the master, with its rights: workers connect through this where the folder is closed to them.
void open_socket(ngx_cycle_t* cycle, Pool& pool) noexcept {
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cleanup == nullptr) {
        return;
    }
    pool.socket_fd =
        ::open(reinterpret_cast<const char*>(pool.socket.data), O_PATH | O_CLOEXEC | O_NOFOLLOW);
    cleanup->handler = close_socket;
    cleanup->data = &pool;
}

ngx_int_t init_module(ngx_cycle_t* cycle) {
    if (!has_our_structures(cycle->log)) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "sonogate: this module was compiled for another build of nginx %s: "
                      "compile it against the headers of the package that is installed",
                      NGINX_VERSION);
        return NGX_ERROR;
    }
    for_each_pool(cycle, [cycle](Pool& pool) { open_socket(cycle, pool); });
    return NGX_OK;
}

ngx_int_t init_process(ngx_cycle_t* cycle) {
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE) {
        return NGX_OK;  // the cache manager and loader serve nobody
    }
    for_each_pool(cycle, [](Pool& pool) { (void)link_of(pool); });
    return NGX_OK;
}

void exit_process(ngx_cycle_t* cycle) {
    for_each_pool(cycle, [](Pool& pool) {
        if (pool.link != nullptr) {
            pool.link->close();
        }
    });
    flush_refusal_log();
}

ngx_http_module_t gate_context = {
    add_variables, install_phases, create_main_conf, nullptr,
    nullptr,       nullptr,        create_loc_conf,  merge_loc_conf,
};

ngx_int_t install_all_filters(ngx_conf_t* cf) {
    install_body_limit();
    return install_filters(cf);
}

ngx_http_module_t filter_context = {
    nullptr, install_all_filters, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
};

}  // namespace

ngx_int_t log_handler(ngx_http_request_t* r) noexcept {
    Pool* pool = loc_conf_of(r)->pool;
    if (pool == nullptr || r != r->main) {
        return NGX_OK;
    }
    const Request* request = Request::find(r);
    const ngx_uint_t status = r->err_status != 0 ? r->err_status : r->headers_out.status;
    const Route route = request != nullptr ? request->route : route_of_request(r);
    link_of(*pool).count(route.counted, static_cast<std::uint16_t>(status));
    return NGX_OK;
}

}  // namespace sonogate::ngx_module

extern "C" {

ngx_module_t ngx_http_sonogate_module = {
    NGX_MODULE_V1,
    &sonogate::ngx_module::gate_context,
    sonogate::ngx_module::commands,
    NGX_HTTP_MODULE,
    nullptr,
    sonogate::ngx_module::init_module,
    sonogate::ngx_module::init_process,
    nullptr,
    nullptr,
    sonogate::ngx_module::exit_process,
    nullptr,
    NGX_MODULE_V1_PADDING,
};

ngx_module_t ngx_http_sonogate_filter_module = {
    NGX_MODULE_V1, &sonogate::ngx_module::filter_context,
    nullptr,       NGX_HTTP_MODULE,
    nullptr,       nullptr,
    nullptr,       nullptr,
    nullptr,       nullptr,
    nullptr,       NGX_MODULE_V1_PADDING,
};
}
