// What the tests of backends share: how a check fails, the ears that a plugin is given, and one sequence fed through its table.
#ifndef SWIFTLET_BACKEND_TESTS_CHECK_H
#define SWIFTLET_BACKEND_TESTS_CHECK_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swiftlet_backend.h"

static char words[2048]; ///< with which the plugin failed last
static int failures;

#define CHECK(condition, name) \
    do { \
        if (!(condition)) { \
            failures++; \
            printf("FAIL %s: %s: %s\n", name, #condition, words); \
        } \
    } while (0)

static void hear(int32_t level, swiftlet_bytes text) {
    (void)level;
    (void)text;
}

static void fail(swiftlet_bytes text) {
    snprintf(words, sizeof words, "%.*s", (int)text.size, (const char *)text.data);
}

static const swiftlet_backend_v1 *table;
static void *model;
static swiftlet_step_output out; ///< of the last `feed`

/// Ends the program when the arguments are not PLUGIN MODEL, or PLUGIN cannot be loaded.
static inline void load_plugin(int count, char **arguments) {
    void *library = count == 3 ? dlopen(arguments[1], RTLD_NOW) : NULL;
    if (library == NULL) {
        fprintf(stderr, "usage: %s PLUGIN MODEL: %s\n", arguments[0], count == 3 ? dlerror() : "two arguments");
        exit(2);
    }
    swiftlet_plugin_entry_fn entry;
    *(void **)&entry = dlsym(library, SWIFTLET_PLUGIN_ENTRY_NAME);
    table = entry(SWIFTLET_ABI_VERSION)->table;
}

/// What most tests open a model with.
static inline swiftlet_open_v1 opening(const char *path, const char *config) {
    return (swiftlet_open_v1){.size = sizeof(swiftlet_open_v1), .version = 1, .model_path = {.data = path, .size = strlen(path)},
                              .config = {.data = config, .size = strlen(config)}, .context_tokens = 1024, .max_sequences = 4,
                              .max_step_tokens = 512, .threads = 1, .log = hear, .fail = fail};
}

static inline int32_t feed(uint32_t id, uint32_t position, const int32_t *tokens, uint32_t count) {
    swiftlet_step_item item = {.sequence = id, .position = position, .tokens = tokens, .count = count, .sample = 1};
    int32_t status = table->step(model, &item, 1, &out);
    return status == SWIFTLET_OK ? out.status : status;
}

#endif
