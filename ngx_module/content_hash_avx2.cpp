// Compiled with -mavx2; content_hash.cpp asks the processor before it calls.
#if defined(__AVX2__)
#define HASH_FUNCTIONS hash_with_avx2
#include "ngx_module/content_hash_target.inc"
#endif
