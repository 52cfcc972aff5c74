#include "ngx_module/content_hash.hpp"

namespace sonogate::ngx_module {

#if defined(__x86_64__)
extern const HashFunctions hash_with_avx2;
#endif

const HashFunctions& ContentHash::functions() noexcept {
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
    if (has_avx2) {
        return hash_with_avx2;
    }
#endif
    return hash_for_any_processor;
}

}  // namespace sonogate::ngx_module
