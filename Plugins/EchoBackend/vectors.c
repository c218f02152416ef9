// Embeddings that are near for texts that share words, and tensors handed back as they came.
#include "echo.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// FNV-1a over up to three tokens.
static uint32_t hash(const int32_t *tokens, size_t count) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < count; i++) h = (h ^ (uint32_t)tokens[i]) * 16777619u;
    return h ^ (h >> 15);
}

int32_t echo_embed(void *model, const int32_t *tokens, size_t count, float *vector) {
    const echo_model *m = model;
    if (count == 0) return echo_refuse(m, SWIFTLET_INVALID, "embed: no tokens");
    if (count > m->context_tokens) return echo_refuse(m, SWIFTLET_LIMIT, "embed: more tokens than the context holds");
    double sums[EMBEDDING_SIZE] = {0};
    sums[0] = 0.5; // so that no text comes out as the zero vector
    for (size_t i = 0; i < count; i++) {
        uint32_t h = hash(tokens + i, count - i < 3 ? count - i : 3);
        sums[h % EMBEDDING_SIZE] += (h >> 16) & 1 ? 1 : -1;
    }
    double length = 0;
    for (int i = 0; i < EMBEDDING_SIZE; i++) length += sums[i] * sums[i];
    for (int i = 0; i < EMBEDDING_SIZE; i++) vector[i] = (float)(sums[i] / sqrt(length));
    return SWIFTLET_OK;
}

static size_t padded(size_t size) { return (size + 15) & ~(size_t)15; }

static size_t bytes_of(const swiftlet_tensor *t) {
    return padded(t->name.size) + padded(t->rank * sizeof(int64_t)) + padded(t->data.size);
}

/// Copies bytes to `*at` and moves it on.
static const void *keep(unsigned char **at, const void *data, size_t size) {
    unsigned char *place = *at;
    if (size > 0) memcpy(place, data, size);
    *at += padded(size);
    return place;
}

int32_t echo_infer(void *model, const swiftlet_tensor *inputs, size_t input_count, const swiftlet_tensor **outputs, size_t *output_count) {
    echo_model *m = model;
    size_t size = padded(input_count * sizeof(swiftlet_tensor));
    for (size_t i = 0; i < input_count; i++) size += bytes_of(&inputs[i]);
    // The old answer goes last: a caller may hand it in as the new question.
    unsigned char *old = m->lent, *block = malloc(size + 1);
    if (block == NULL) return echo_refuse(m, SWIFTLET_FAILED, "infer: no memory for the tensors");
    swiftlet_tensor *all = (swiftlet_tensor *)block;
    unsigned char *at = block + padded(input_count * sizeof(swiftlet_tensor));
    for (size_t i = 0; i < input_count; i++) {
        const swiftlet_tensor *t = &inputs[i];
        all[i] = *t;
        all[i].name.data = keep(&at, t->name.data, t->name.size);
        all[i].shape = keep(&at, t->shape, t->rank * sizeof(int64_t));
        all[i].data.data = keep(&at, t->data.data, t->data.size);
    }
    m->lent = block;
    free(old);
    *outputs = all;
    *output_count = input_count;
    return SWIFTLET_OK;
}
