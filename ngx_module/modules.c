/*
 * What nginx looks up in a module file: names and order. `./configure --add-dynamic-module` makes
 * this table itself from ngx_module/config; a CMake build has it from here. Keep the two alike.
 *
 * The gate stands before realip in nginx's list, and phase handlers run from the list's end to its
 * beginning: it sees the address that realip found. The filter stands right before headers_filter:
 * it runs after it and sees what add_header set.
 */
#include <ngx_config.h>
#include <ngx_core.h>

extern ngx_module_t ngx_http_sonogate_module;
extern ngx_module_t ngx_http_sonogate_filter_module;

ngx_module_t *ngx_modules[] = {
    &ngx_http_sonogate_module,
    &ngx_http_sonogate_filter_module,
    NULL
};

char *ngx_module_names[] = {
    "ngx_http_sonogate_module",
    "ngx_http_sonogate_filter_module",
    NULL
};

char *ngx_module_order[] = {
    "ngx_http_sonogate_module",
    "ngx_http_realip_module",
    "ngx_http_sonogate_filter_module",
    "ngx_http_headers_filter_module",
    NULL
};
