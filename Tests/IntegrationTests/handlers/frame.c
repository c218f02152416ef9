// The frame around the one function that each integration test writes.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "swiftlet_handler.h"

/*EXTRA*/

static inline swiftlet_bytes text(const char *words) { return (swiftlet_bytes){words, strlen(words)}; }

/// Sends the request's body back.
__attribute__((unused)) static int32_t echo(const swiftlet_invocation_v1 *call, const swiftlet_host_v1 *host) {
    static char buffer[32768];
    int32_t status = host->write(call->body);
    for (size_t got = call->body_complete ? 0 : 1; status == SWIFTLET_OK && got > 0;) {
        status = host->read_body(buffer, sizeof buffer, &got);
        if (status == SWIFTLET_OK && got > 0) status = host->write((swiftlet_bytes){buffer, got});
    }
    return status;
}

static int32_t init(const swiftlet_host_v1 *host, swiftlet_bytes config, void **state) {
    (void)config, (void)state;
#ifdef FAILING_INIT
    host->fail(text("init has failed"));
    return SWIFTLET_FAILED;
#else
    (void)host;
    return SWIFTLET_OK;
#endif
}

static int32_t invoke(void *state, const swiftlet_invocation_v1 *call, const swiftlet_host_v1 *host) {
    (void)state, (void)call, (void)host;
    /*BODY*/
}

const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_handler_v1 handler = {.size = sizeof handler, .version = 1, .init = init, .invoke = invoke};
    static const swiftlet_plugin plugin = {
        .size = sizeof plugin, .abi = SWIFTLET_ABI_VERSION, .kind = SWIFTLET_KIND_HANDLER, .name = "test", .version = "1",
        .table = &handler};
    return host_abi >= 1 ? &plugin : NULL;
}
