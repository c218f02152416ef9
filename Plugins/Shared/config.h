// Reads a backend's `config` object: whole numbers and booleans by name, anything unknown refused.
#ifndef SWIFTLET_PLUGIN_CONFIG_H
#define SWIFTLET_PLUGIN_CONFIG_H

#include "swiftlet_abi.h"

/// One setting a backend knows; a JSON `true` reads as 1.
typedef struct config_key {
    const char *name;
    int64_t least;
    int64_t most;
    int64_t *value; ///< keeps its default when the config does not name it
} config_key;

/// Reads `json` into `keys`. On failure writes the words for it into `error` and returns SWIFTLET_INVALID.
int32_t config_read(swiftlet_bytes json, const config_key *keys, size_t key_count, char *error, size_t error_size);

#endif
