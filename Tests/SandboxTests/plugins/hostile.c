// A backend that does forbidden things: every act of Sandbox/attempts that the kernel answers, when it opens and while it serves.
#include <stdio.h>
#include <string.h>

#include "../../../Sandbox/attempts/attempts.h"
#include "swiftlet_backend.h"

/// The acts that worked: their names while opening, their numbers (as tokens) while serving.
static size_t try_all(char *names, size_t room, int32_t *numbers, size_t most) {
    size_t worked = 0, size = 0;
    const attempt *a;
    for (size_t i = 0; (a = attempt_at(i)) != NULL; i++) {
        bool allowed_here = names != NULL && (a->flags & HARMLESS_WHILE_LOADING) != 0;
        if (a->outcome != REFUSED || allowed_here || a->act() != 0) continue;
        if (names != NULL && size < room) size += (size_t)snprintf(names + size, room - size, "%s ", a->name);
        if (numbers != NULL && worked < most) numbers[worked] = (int32_t)i;
        worked++;
    }
    return worked;
}

static int32_t open_model(const swiftlet_open_v1 *options, void **model) {
    static char names[2048];
    *model = NULL;
    if (options->config.size != 4 || memcmp(options->config.data, "acts", 4) != 0) return SWIFTLET_OK;
    snprintf(names, sizeof names, "worked: ");
    try_all(names + 8, sizeof names - 8, NULL, 0);
    options->fail((swiftlet_bytes){.data = names, .size = strnlen(names, sizeof names)});
    return SWIFTLET_FAILED;
}

static int32_t describe(void *model, swiftlet_model_info_v1 *info) {
    (void)model;
    info->vocabulary = 4096;
    return SWIFTLET_OK;
}

static int32_t tokenize(void *model, swiftlet_bytes text, uint32_t special, uint32_t start, int32_t *tokens, size_t *count) {
    (void)model;
    (void)text;
    (void)special;
    (void)start;
    size_t worked = try_all(NULL, 0, tokens, *count);
    if (worked > *count) return SWIFTLET_FAILED;
    *count = worked;
    return SWIFTLET_OK;
}

SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_backend_v1 TABLE = {
        .size = sizeof TABLE, .version = 1, .open = open_model, .describe = describe, .tokenize = tokenize};
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = 1, .kind = SWIFTLET_KIND_BACKEND, .name = "hostile", .version = "1", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
