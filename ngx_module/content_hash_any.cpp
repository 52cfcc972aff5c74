#define HASH_FUNCTIONS hash_for_any_processor
#include "ngx_module/content_hash_target.inc"
