// Starting, copying, saving and ending Echo's sequences; step.c advances them.
#include "echo.h"

#include <stdlib.h>
#include <string.h>

/// What a saved state begins with; the tokens follow.
typedef struct saved_state {
    char magic[4];
    uint32_t count;
} saved_state;

int32_t echo_seq_start(void *model, uint32_t id, const swiftlet_sampling_v1 *sampling) {
    echo_model *m = model;
    const char *why;
    if (sampling_grammar(sampling).size > 0) return echo_refuse(m, SWIFTLET_INVALID, "seq_start: Echo knows no grammar");
    int32_t status = sequence_start(&m->sequences, id, sampling, &why);
    return status == SWIFTLET_OK ? status : echo_refuse(m, status, why);
}

/// Puts tokens into a started, empty sequence.
static int32_t fill(echo_model *m, uint32_t id, const int32_t *tokens, uint32_t count) {
    sequence *s = sequence_find(&m->sequences, id);
    if (s == NULL || s->count != 0) return echo_refuse(m, SWIFTLET_INVALID, "the sequence to fill is not started and empty");
    if (count > m->context_tokens - m->used_tokens) return echo_refuse(m, SWIFTLET_FAILED, "no room for the tokens; drop a sequence");
    if (!sequence_append(s, tokens, count)) return echo_refuse(m, SWIFTLET_FAILED, "no memory for the tokens");
    m->used_tokens += count;
    return SWIFTLET_OK;
}

int32_t echo_seq_copy(void *model, uint32_t from, uint32_t to, uint32_t tokens) {
    echo_model *m = model;
    const sequence *source = sequence_find(&m->sequences, from);
    if (source == NULL || tokens > source->count || from == to) {
        return echo_refuse(m, SWIFTLET_INVALID, "seq_copy: `from` does not hold that many tokens");
    }
    return fill(m, to, source->tokens, tokens);
}

int32_t echo_seq_drop(void *model, uint32_t id) {
    echo_model *m = model;
    const sequence *s = sequence_find(&m->sequences, id);
    if (s != NULL) m->used_tokens -= s->count;
    sequence_drop(&m->sequences, id);
    return SWIFTLET_OK;
}

static size_t state_size(const echo_model *m, uint32_t count) {
    return sizeof(saved_state) + count * (sizeof(int32_t) + (size_t)m->config.token_bytes);
}

int32_t echo_seq_save(void *model, uint32_t id, swiftlet_bytes *state) {
    echo_model *m = model;
    const sequence *s = sequence_find(&m->sequences, id);
    if (s == NULL) return echo_refuse(m, SWIFTLET_INVALID, "seq_save: the sequence was not started");
    size_t size = state_size(m, s->count);
    free(m->lent);
    m->lent = calloc(1, size);
    if (m->lent == NULL) return echo_refuse(m, SWIFTLET_FAILED, "seq_save: no memory for the state");
    saved_state head = {{'E', 'C', 'H', '1'}, s->count};
    memcpy(m->lent, &head, sizeof head);
    if (s->count > 0) memcpy(m->lent + sizeof head, s->tokens, s->count * sizeof(int32_t));
    *state = (swiftlet_bytes){m->lent, size};
    return SWIFTLET_OK;
}

/// How many tokens a state is of; false: `seq_save` never lent it.
static bool read_state(const echo_model *m, swiftlet_bytes state, uint32_t *count) {
    saved_state head = {{0}, 0};
    if (state.size >= sizeof head) memcpy(&head, state.data, sizeof head);
    *count = head.count;
    return memcmp(head.magic, "ECH1", 4) == 0 && state.size == state_size(m, head.count);
}

int32_t echo_seq_restore(void *model, uint32_t id, swiftlet_bytes state) {
    echo_model *m = model;
    uint32_t count;
    if (!read_state(m, state, &count)) {
        return echo_refuse(m, SWIFTLET_INVALID, "seq_restore: the bytes are not a state that seq_save lent");
    }
    return fill(m, id, (const int32_t *)((const char *)state.data + sizeof(saved_state)), count);
}

int32_t echo_seq_restore_prefix(void *model, uint32_t id, swiftlet_bytes state, uint32_t tokens) {
    echo_model *m = model;
    uint32_t count;
    if (!read_state(m, state, &count) || tokens > count) {
        return echo_refuse(m, SWIFTLET_INVALID, "seq_restore_prefix: the bytes are not a state of so many tokens that seq_save lent");
    }
    return fill(m, id, (const int32_t *)((const char *)state.data + sizeof(saved_state)), tokens);
}
