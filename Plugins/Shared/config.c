// A reader for one flat JSON object; the host has parsed the manifest before, so refusals here are for typing errors.
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    const char *at;
    const char *end;
} reader;

static void skip_space(reader *r) {
    while (r->at < r->end && memchr(" \t\r\n", *r->at, 4) != NULL) r->at++;
}

static bool take(reader *r, char wanted) {
    skip_space(r);
    if (r->at == r->end || *r->at != wanted) return false;
    r->at++;
    return true;
}

/// A name without escapes; no key of ours needs one.
static bool take_name(reader *r, swiftlet_bytes *name) {
    if (!take(r, '"')) return false;
    const char *start = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\') r->at++;
    *name = (swiftlet_bytes){start, (size_t)(r->at - start)};
    return take(r, '"');
}

static bool take_word(reader *r, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0) return false;
    r->at += size;
    return true;
}

static bool take_number(reader *r, int64_t *value) {
    skip_space(r);
    if (take_word(r, "true")) return *value = 1, true;
    if (take_word(r, "false")) return *value = 0, true;
    bool negative = take(r, '-');
    const char *start = r->at;
    int64_t sum = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, *r->at - '0', &sum)) return false;
        r->at++;
    }
    // "1.5" and "1e3" are numbers, but not whole ones: refuse instead of reading the 1.
    if (r->at == start || (r->at < r->end && memchr(".eE", *r->at, 3) != NULL)) return false;
    *value = negative ? -sum : sum;
    return true;
}

static const config_key *find(swiftlet_bytes name, const config_key *keys, size_t key_count) {
    for (size_t i = 0; i < key_count; i++) {
        if (strlen(keys[i].name) == name.size && memcmp(keys[i].name, name.data, name.size) == 0) return &keys[i];
    }
    return NULL;
}

static int32_t refuse_unknown(swiftlet_bytes name, const config_key *keys, size_t key_count, char *error, size_t size) {
    int used = snprintf(error, size, "config: unknown key \"%.*s\"; known:", (int)(name.size < 64 ? name.size : 64),
        (const char *)name.data);
    for (size_t i = 0; i < key_count && used > 0 && (size_t)used < size; i++) {
        used += snprintf(error + used, size - (size_t)used, " %s", keys[i].name);
    }
    return SWIFTLET_INVALID;
}

static int32_t read_pair(reader *r, const config_key *keys, size_t key_count, char *error, size_t size) {
    swiftlet_bytes name;
    if (!take_name(r, &name) || !take(r, ':')) {
        snprintf(error, size, "config: not a JSON object of names and values; write {\"name\": 1}");
        return SWIFTLET_INVALID;
    }
    const config_key *key = find(name, keys, key_count);
    if (key == NULL) return refuse_unknown(name, keys, key_count, error, size);
    int64_t value = 0;
    if (!take_number(r, &value) || value < key->least || value > key->most) {
        snprintf(error, size, "config: \"%s\" must be a whole number from %lld to %lld", key->name,
            (long long)key->least, (long long)key->most);
        return SWIFTLET_INVALID;
    }
    *key->value = value;
    return SWIFTLET_OK;
}

int32_t config_read(swiftlet_bytes json, const config_key *keys, size_t key_count, char *error, size_t error_size) {
    reader r = {json.data, (const char *)json.data + json.size};
    skip_space(&r);
    if (r.at == r.end) return SWIFTLET_OK;
    bool more = take(&r, '{');
    if (more && take(&r, '}')) return SWIFTLET_OK;
    while (more) {
        int32_t status = read_pair(&r, keys, key_count, error, error_size);
        if (status != SWIFTLET_OK) return status;
        more = take(&r, ',');
    }
    if (take(&r, '}')) return SWIFTLET_OK;
    snprintf(error, error_size, "config: not a JSON object; write {\"name\": 1}");
    return SWIFTLET_INVALID;
}
