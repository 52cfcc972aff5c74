#include "ngx_module/abi.hpp"

namespace sonogate::ngx_module {

// Lets nginx set one bit of a scratch connection, and looks whether it is the bit we call by that
// name, and no other.
bool has_our_structures(ngx_log_t* log) noexcept {
    auto* cycle = const_cast<ngx_cycle_t*>(ngx_cycle);
    if (cycle->reusable_connections_queue.next == nullptr) {
        // Before the first configuration was read nginx has no queue yet.
        ngx_queue_init(&cycle->reusable_connections_queue);
    }
    ngx_connection_t scratch{};
    scratch.log = log;
    ngx_reusable_connection(&scratch, 1);
    const bool set = scratch.reusable == 1 && scratch.idle == 0 && scratch.close == 0 &&
                     scratch.shared == 0 && scratch.destroyed == 0;
    ngx_reusable_connection(&scratch, 0);
    return set && scratch.reusable == 0;
}

}  // namespace sonogate::ngx_module
