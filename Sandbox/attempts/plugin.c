// A handler plugin that does forbidden things: the one named by the configuration or the path, or all harmless ones.
#include <stdio.h>
#include <string.h>

#include "attempts.h"
#include "swiftlet_handler.h"

static char report[16384];
static size_t report_size;

static void note(const char *name, int error) {
    int wrote = snprintf(report + report_size, sizeof report - report_size, "%s %d\n", name, error);
    if (wrote > 0) report_size += (size_t)wrote;
}

/// Every attempt that the kernel answers; those that end the process are asked for one by one. With a layer switched
/// off, only what others hold: the rest works then, and may end this process.
static void try_all(int constructor, const char *off) {
    for (size_t i = 0; i < ATTEMPT_COUNT; i++)
        if (ATTEMPTS[i].outcome == REFUSED && !(constructor && ATTEMPTS[i].allowed_in_constructor) &&
            attempt_is_held_without(&ATTEMPTS[i], off))
            note(ATTEMPTS[i].name, ATTEMPTS[i].act());
}

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void construct(void) {
    try_all(1, NULL);
}
#endif
#ifdef ONE_IN_CONSTRUCTOR
__attribute__((constructor)) static void construct_one(void) {
    for (size_t i = 0; i < ATTEMPT_COUNT; i++)
        if (strcmp(ATTEMPTS[i].name, ONE_IN_CONSTRUCTOR) == 0) note(ATTEMPTS[i].name, ATTEMPTS[i].act());
}
#endif

static int32_t invoke(void *state, const swiftlet_invocation_v1 *v, const swiftlet_host_v1 *host) {
    (void)state;
    const char *name = (const char *)v->path.data + 1;
    size_t size = v->path.size - 1;
    for (size_t i = 0; i < ATTEMPT_COUNT; i++)
        if (strlen(ATTEMPTS[i].name) == size && memcmp(name, ATTEMPTS[i].name, size) == 0)
            note(ATTEMPTS[i].name, ATTEMPTS[i].act());
    char off[32] = "";
    if (size == 3 && memcmp(name, "all", 3) == 0) try_all(0, NULL);
    if (size > 8 && size < sizeof off && memcmp(name, "without/", 8) == 0) try_all(0, memcpy(off, name + 8, size - 8));
    int32_t status = host->write((swiftlet_bytes){.data = report, .size = report_size});
    report_size = 0;
    return status;
}

SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_handler_v1 TABLE = {.size = sizeof TABLE, .version = 1, .invoke = invoke};
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = 1, .kind = SWIFTLET_KIND_HANDLER, .name = "attempts", .version = "1", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
