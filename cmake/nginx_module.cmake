# The nginx module, against the headers of Debian's nginx-dev: the nginx that runs is patched, and only these headers
# know it. The package has no objs/, so its source folder is copied into the build folder and configured there, once.

set(SONOGATE_NGINX_SOURCE /usr/share/nginx/src CACHE PATH "nginx's source folder, with conf_flags beside it")
if(NOT EXISTS ${SONOGATE_NGINX_SOURCE}/conf_flags)
    message(STATUS "nginx-dev is not installed: no nginx module")
    return()
endif()

set(nginx_copy ${CMAKE_BINARY_DIR}/nginx)
if(NOT EXISTS ${nginx_copy}/objs/ngx_auto_headers.h OR ${SONOGATE_NGINX_SOURCE}/conf_flags IS_NEWER_THAN
   ${nginx_copy}/objs/ngx_auto_headers.h)
    message(STATUS "Configuring nginx's headers")
    file(REMOVE_RECURSE ${nginx_copy})
    file(COPY ${SONOGATE_NGINX_SOURCE}/ DESTINATION ${nginx_copy})
    execute_process(
        COMMAND bash -c ". ./conf_flags && ./configure \"\${NGX_CONF_FLAGS[@]}\""
        WORKING_DIRECTORY ${nginx_copy}
        RESULT_VARIABLE configured
        OUTPUT_VARIABLE said
        ERROR_VARIABLE said)
    if(NOT configured EQUAL 0)
        file(REMOVE_RECURSE ${nginx_copy}/objs)
        message(FATAL_ERROR "nginx's configure failed:\n${said}")
    endif()
endif()

add_library(nginx_headers INTERFACE)
target_include_directories(nginx_headers SYSTEM INTERFACE
    ${nginx_copy}/objs ${nginx_copy}/src/core ${nginx_copy}/src/event ${nginx_copy}/src/event/modules
    ${nginx_copy}/src/os/unix ${nginx_copy}/src/http ${nginx_copy}/src/http/modules ${nginx_copy}/src/http/v2)

# What knows nothing of nginx, so that tests can link it.
add_library(ngx_parts STATIC
    ngx_module/cache_control.cpp ngx_module/content_hash.cpp ngx_module/content_hash_any.cpp
    ngx_module/content_hash_avx2.cpp ngx_module/content_type.cpp ngx_module/filename.cpp ngx_module/key_hash.cpp ngx_module/multipart.cpp
    ngx_module/origin.cpp ngx_module/problem.cpp ngx_module/query.cpp ngx_module/random.cpp ngx_module/rate_headers.cpp
    ngx_module/rate_table.cpp ngx_module/rate_window.cpp ngx_module/route.cpp ngx_module/slab.cpp ngx_module/trace.cpp)
# HighwayHash's headers look at one integer as another, which at -O2 gives other digests than the library's.
set_source_files_properties(ngx_module/content_hash_any.cpp ngx_module/content_hash_avx2.cpp PROPERTIES
    COMPILE_OPTIONS -fno-strict-aliasing)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64")
    set_property(SOURCE ngx_module/content_hash_avx2.cpp APPEND PROPERTY COMPILE_OPTIONS -mavx2)
endif()
target_link_libraries(ngx_parts PUBLIC shm PRIVATE highwayhash sonogate_flags)
target_compile_options(ngx_parts PRIVATE -fno-exceptions -fno-rtti -fvisibility=hidden)

add_library(ngx_http_sonogate_module MODULE
    ngx_module/abi.cpp ngx_module/body_limit.cpp ngx_module/caller_key.cpp ngx_module/concurrency.cpp ngx_module/conf.cpp ngx_module/cors.cpp ngx_module/filter.cpp
    ngx_module/gate.cpp ngx_module/headers.cpp ngx_module/hosts.cpp ngx_module/keys.cpp ngx_module/limits.cpp ngx_module/link.cpp
    ngx_module/link_connect.cpp ngx_module/link_receive.cpp ngx_module/module.cpp ngx_module/modules.c
    ngx_module/pool_conf.cpp ngx_module/priority.cpp ngx_module/rate.cpp ngx_module/rate_conf.cpp ngx_module/refusal_log.cpp ngx_module/reply.cpp
    ngx_module/request.cpp ngx_module/result_cache.cpp ngx_module/security_headers.cpp ngx_module/status.cpp
    ngx_module/upload.cpp ngx_module/variables.cpp)
target_link_libraries(ngx_http_sonogate_module PRIVATE ngx_parts shm nginx_headers OpenSSL::Crypto sonogate_flags)
target_compile_options(ngx_http_sonogate_module PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti
    -fvisibility=hidden>)
set_target_properties(ngx_http_sonogate_module PROPERTIES
    PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/modules)
