// One step: all items in one pass of llama.cpp; what does not fit into the key and value store is left out and said so.
#include "llama_backend.h"

enum { DECODED = 0, NO_ROOM = 1 };

/// Puts every item that is still in (status OK) into the batch; remembers where its last token went.
static void fill_batch(llama_backend_model *m, const swiftlet_step_item *items, size_t item_count, swiftlet_step_output *outputs) {
    struct llama_batch *b = &m->batch;
    b->n_tokens = 0;
    for (size_t i = 0; i < item_count; i++) {
        if (outputs[i].status != SWIFTLET_OK) continue;
        for (uint32_t t = 0; t < items[i].count; t++, b->n_tokens++) {
            b->token[b->n_tokens] = items[i].tokens[t];
            b->pos[b->n_tokens] = (llama_pos)(items[i].position + t);
            b->n_seq_id[b->n_tokens] = 1;
            b->seq_id[b->n_tokens][0] = (llama_seq_id)items[i].sequence;
            b->logits[b->n_tokens] = items[i].sample && t + 1 == items[i].count;
        }
    }
}

/// Takes the item out that asks for most: the fewest others have to wait for it.
static void leave_one_out(const swiftlet_step_item *items, size_t item_count, swiftlet_step_output *outputs) {
    size_t largest = item_count;
    for (size_t i = 0; i < item_count; i++) {
        if (outputs[i].status != SWIFTLET_OK) continue;
        if (largest == item_count || items[i].count >= items[largest].count) largest = i;
    }
    outputs[largest].status = SWIFTLET_LIMIT;
}

/// Decodes as many items as have room. llama.cpp finds room for a whole batch before it computes any of it, so
/// "no room" leaves nothing behind.
static int32_t decode(llama_backend_model *m, const swiftlet_step_item *items, size_t item_count, swiftlet_step_output *outputs) {
    for (;;) {
        fill_batch(m, items, item_count, outputs);
        if (m->batch.n_tokens == 0) return DECODED;
        set_deaf(true);
        int32_t result = llama_decode(m->context, m->batch);
        set_deaf(false);
        if (result != NO_ROOM) return result;
        leave_one_out(items, item_count, outputs);
    }
}

static void drop_all(llama_backend_model *m, const swiftlet_step_item *items, size_t item_count) {
    for (size_t i = 0; i < item_count; i++) model_seq_drop(m, items[i].sequence);
}

/// Books the item's tokens and picks the next one. `next` is the batch entry after the item's last token.
static void finish_item(llama_backend_model *m, const swiftlet_step_item *item, int32_t next, swiftlet_step_output *output) {
    struct llama_sampler *chain = m->chains[item->sequence];
    uint32_t place = item->position;
    bool good = sequence_append(sequence_find(&m->sequences, item->sequence), item->tokens, item->count);
    // Penalties look at what the sequence holds, so a token counts when it is fed, not when it is picked.
    for (uint32_t t = 0; chain != NULL && t < item->count; t++) llama_sampler_accept(chain, item->tokens[t]);
    for (uint32_t t = 0; good && t < item->count; t++) good = grammar_feed(m, item->sequence, place + t, item->tokens[t]);
    if (good && item->sample) good = pick_token(m, item->sequence, next - 1, output) == SWIFTLET_OK;
    if (good) return;
    output->status = SWIFTLET_FAILED;
    model_seq_drop(m, item->sequence);
}

int32_t model_step(void *model, const swiftlet_step_item *items, size_t item_count, swiftlet_step_output *outputs) {
    llama_backend_model *m = model;
    const char *why;
    int32_t status = step_check(&m->sequences, items, item_count, &why);
    if (status != SWIFTLET_OK) return refuse(status, "%s", why);
    for (size_t i = 0; i < item_count; i++) {
        bool fits = items[i].count <= m->sequence_tokens - items[i].position;
        outputs[i] = (swiftlet_step_output){.sequence = items[i].sequence, .status = fits ? SWIFTLET_OK : SWIFTLET_LIMIT};
    }
    int32_t result = decode(m, items, item_count, outputs);
    if (result != DECODED) {
        drop_all(m, items, item_count);
        return refuse(SWIFTLET_FAILED, "step: llama_decode gave %d: %s; the step's sequences are dropped, start them again", result,
            last_error());
    }
    int32_t next = 0;
    for (size_t i = 0; i < item_count; i++) {
        if (outputs[i].status != SWIFTLET_OK) continue;
        next += (int32_t)items[i].count;
        finish_item(m, &items[i], next, &outputs[i]);
    }
    return SWIFTLET_OK;
}
