// What the tests of backends share: how a check fails, and the ears that a plugin is given.
#ifndef SWIFTLET_BACKEND_TESTS_CHECK_H
#define SWIFTLET_BACKEND_TESTS_CHECK_H

#include <stdio.h>

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

#endif
