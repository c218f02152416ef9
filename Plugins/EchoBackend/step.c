// One step: every item's tokens go in, the next token of each comes out; pick.c chooses it.
#include "echo.h"

#include <stdlib.h>
#include <unistd.h>

/// The faults that a test asked for by the config.
static int32_t act_faulty(echo_model *m) {
    int64_t now = (int64_t)++m->steps;
    if (now == m->config.crash_at) abort();
    while (now == m->config.stall_at) pause();
    if (now == m->config.fail_at) return echo_refuse(m, SWIFTLET_FAILED, "step: the config's fail_at says to fail here");
    return SWIFTLET_OK;
}

static void drop_all(echo_model *m, const swiftlet_step_item *items, size_t item_count) {
    for (size_t i = 0; i < item_count; i++) echo_seq_drop(m, items[i].sequence);
}

static int32_t advance(echo_model *m, const swiftlet_step_item *item) {
    if (item->count > m->context_tokens - m->used_tokens) return SWIFTLET_LIMIT;
    if (!sequence_append(sequence_find(&m->sequences, item->sequence), item->tokens, item->count)) {
        echo_seq_drop(m, item->sequence);
        return SWIFTLET_FAILED;
    }
    m->used_tokens += item->count;
    return SWIFTLET_OK;
}

int32_t echo_step(void *model, const swiftlet_step_item *items, size_t item_count, swiftlet_step_output *outputs) {
    echo_model *m = model;
    const char *why;
    int32_t status = step_check(&m->sequences, items, item_count, &why);
    if (status != SWIFTLET_OK) return echo_refuse(m, status, why);
    status = act_faulty(m);
    if (status != SWIFTLET_OK) return drop_all(m, items, item_count), status;
    int64_t tokens = 0;
    for (size_t i = 0; i < item_count; i++) {
        outputs[i] = (swiftlet_step_output){.sequence = items[i].sequence, .status = advance(m, &items[i])};
        if (outputs[i].status != SWIFTLET_OK) continue;
        tokens += items[i].count;
        if (items[i].sample) echo_pick(m, sequence_find(&m->sequences, items[i].sequence), m->top + 20 * i, &outputs[i]);
    }
    echo_wait_us(m->config.step_us + m->config.token_us * tokens);
    return SWIFTLET_OK;
}
