// The smallest C handler: greets whoever the query names, with nothing but the ABI header.
#include <stdio.h>
#include <string.h>

#include "swiftlet_handler.h"

static swiftlet_bytes text(const char *words) { return (swiftlet_bytes){words, strlen(words)}; }

/// What follows "name=" up to "&", as it came; "world" without it.
static swiftlet_bytes name_in(swiftlet_bytes query) {
    if (query.size == 0) return text("world");
    const char *at = query.data, *end = at + query.size;
    while (at < end) {
        const char *amp = memchr(at, '&', (size_t)(end - at));
        const char *stop = amp ? amp : end;
        if (stop - at > 5 && memcmp(at, "name=", 5) == 0) return (swiftlet_bytes){at + 5, (size_t)(stop - at - 5)};
        at = stop + 1;
    }
    return text("world");
}

static int32_t invoke(void *state, const swiftlet_invocation_v1 *invocation, const swiftlet_host_v1 *host) {
    (void)state;
    const swiftlet_bytes name = name_in(invocation->query);
    const swiftlet_header type = {text("content-type"), text("text/plain; charset=utf-8")};
    char answer[256];
    const int shown = name.size > 200 ? 200 : (int)name.size;
    const int size = snprintf(answer, sizeof answer, "hello %.*s\n", shown, (const char *)name.data);

    host->log(SWIFTLET_LOG_INFO, text("greeting"));
    const int32_t status = host->respond(200, &type, 1);
    return status == SWIFTLET_OK ? host->write((swiftlet_bytes){answer, (size_t)size}) : status;
}

const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_handler_v1 handler = {.size = sizeof handler, .version = 1, .invoke = invoke};
    static const swiftlet_plugin plugin = {
        .size = sizeof plugin, .abi = SWIFTLET_ABI_VERSION, .kind = SWIFTLET_KIND_HANDLER,
        .name = "hello-c", .version = "1.0.0", .table = &handler,
    };
    return host_abi >= SWIFTLET_ABI_VERSION ? &plugin : NULL;
}
