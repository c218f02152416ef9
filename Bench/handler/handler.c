// Answers with six bytes and nothing else: what is measured is the path, not the handler.
#include "swiftlet_handler.h"

static int32_t invoke(void *state, const swiftlet_invocation_v1 *invocation, const swiftlet_host_v1 *host) {
    (void)state, (void)invocation;
    const swiftlet_header type = {{"content-type", 12}, {"text/plain", 10}};
    const int32_t status = host->respond(200, &type, 1);
    return status == SWIFTLET_OK ? host->write((swiftlet_bytes){"hello\n", 6}) : status;
}

const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_handler_v1 handler = {.size = sizeof handler, .version = 1, .invoke = invoke};
    static const swiftlet_plugin plugin = {
        .size = sizeof plugin, .abi = SWIFTLET_ABI_VERSION, .kind = SWIFTLET_KIND_HANDLER,
        .name = "bench-c", .version = "1.0.0", .table = &handler,
    };
    return host_abi >= SWIFTLET_ABI_VERSION ? &plugin : NULL;
}
