// The sequence table: plain bookkeeping that every backend needs in the same way.
#include "sequences.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

bool sequences_make(sequences *table, uint32_t count) {
    table->all = calloc(count, sizeof(sequence));
    table->count = table->all == NULL ? 0 : count;
    return table->all != NULL;
}

sequence *sequence_find(const sequences *table, uint32_t id) {
    return id < table->count && table->all[id].started ? &table->all[id] : NULL;
}

/// Comparisons are written so that NaN fails them.
static const char *sampling_fault(const swiftlet_sampling_v1 *s) {
    if (s->size < SWIFTLET_SAMPLING_V1_FIRST_SIZE) return "sampling: the table is shorter than version 1";
    if (!(s->temperature >= 0 && s->temperature <= 100)) return "sampling: temperature must be from 0 to 100";
    if (!(s->top_p > 0 && s->top_p <= 1)) return "sampling: top_p must be above 0 and at most 1";
    if (!(s->min_p >= 0 && s->min_p < 1)) return "sampling: min_p must be from 0 to below 1";
    if (s->top_k < 0) return "sampling: top_k must be 0 or more";
    if (!(s->repeat_penalty > 0 && s->repeat_penalty <= 100)) return "sampling: repeat_penalty must be above 0";
    if (!(s->frequency_penalty >= -100 && s->frequency_penalty <= 100)) return "sampling: bad frequency_penalty";
    if (!(s->presence_penalty >= -100 && s->presence_penalty <= 100)) return "sampling: bad presence_penalty";
    if (s->penalty_window < -1) return "sampling: penalty_window must be -1 or more";
    if (s->top_logprobs > 20) return "sampling: top_logprobs must be from 0 to 20";
    return NULL;
}

int32_t sequence_start(sequences *table, uint32_t id, const swiftlet_sampling_v1 *sampling, const char **why) {
    *why = id >= table->count ? "seq_start: the id is not below max_sequences" : NULL;
    if (*why == NULL && table->all[id].started) *why = "seq_start: the id is in use; drop it first";
    if (*why == NULL) *why = sampling_fault(sampling);
    if (*why != NULL) return SWIFTLET_INVALID;
    sequence *s = &table->all[id];
    s->started = true;
    memcpy(&s->sampling, sampling, SWIFTLET_SAMPLING_V1_FIRST_SIZE);
    s->sampling.grammar = (swiftlet_bytes){NULL, 0};
    s->count = 0;
    return SWIFTLET_OK;
}

bool sequence_append(sequence *s, const int32_t *tokens, uint32_t count) {
    if (s->room - s->count < count) {
        uint32_t room = s->count + count + s->count / 2 + 64;
        int32_t *larger = realloc(s->tokens, room * sizeof(int32_t));
        if (larger == NULL) return false;
        s->tokens = larger;
        s->room = room;
    }
    memcpy(s->tokens + s->count, tokens, count * sizeof(int32_t));
    s->count += count;
    return true;
}

void sequence_drop(sequences *table, uint32_t id) {
    if (id >= table->count) return;
    free(table->all[id].tokens);
    table->all[id] = (sequence){0};
}

static const char *item_fault(const sequences *table, const swiftlet_step_item *item) {
    const sequence *s = sequence_find(table, item->sequence);
    if (s == NULL) return "step: an item names a sequence that was not started";
    if (item->position != s->count) return "step: an item's position is not the number of tokens its sequence holds";
    if (item->count == 0) return "step: an item has no tokens";
    return NULL;
}

static const char *tokens_fault(const sequences *table, const swiftlet_step_item *item) {
    for (uint32_t i = 0; i < item->count; i++) {
        if (item->tokens[i] < 0 || (uint32_t)item->tokens[i] >= table->vocabulary) return "step: a token is not in the vocabulary";
    }
    return NULL;
}

int32_t step_check(const sequences *table, const swiftlet_step_item *items, size_t item_count, const char **why) {
    uint64_t total = 0;
    *why = item_count > table->count ? "step: more items than sequences" : NULL;
    for (size_t i = 0; i < item_count && *why == NULL; i++) {
        *why = item_fault(table, &items[i]);
        total += items[i].count;
        if (*why == NULL && total > table->max_step_tokens) *why = "step: more tokens than max_step_tokens";
        if (*why == NULL) *why = tokens_fault(table, &items[i]);
        for (size_t j = 0; j < i && *why == NULL; j++) {
            if (items[j].sequence == items[i].sequence) *why = "step: a sequence has two items";
        }
    }
    return *why == NULL ? SWIFTLET_OK : SWIFTLET_INVALID;
}

/// splitmix64's finaliser: every input bit changes about half of the output bits.
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double sequence_random(const sequence *s, uint32_t draw) {
    uint64_t bits = mix(mix(s->sampling.seed + 0x9e3779b97f4a7c15u) + s->count * 0x9e3779b97f4a7c15u);
    if (draw > 0) bits = mix(bits + draw);
    return (double)(bits >> 11) * 0x1p-53;
}

swiftlet_bytes sampling_grammar(const swiftlet_sampling_v1 *sampling) {
    bool known = sampling->size >= offsetof(swiftlet_sampling_v1, grammar) + sizeof(swiftlet_bytes);
    return known ? sampling->grammar : (swiftlet_bytes){NULL, 0};
}
