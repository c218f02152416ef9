// One text to one vector of length 1, in models made for it.
#include "llama_backend.h"

#include <math.h>

static void fill_batch(llama_backend_model *m, const int32_t *tokens, size_t count) {
    m->batch.n_tokens = (int32_t)count;
    for (size_t t = 0; t < count; t++) {
        m->batch.token[t] = tokens[t];
        m->batch.pos[t] = (llama_pos)t;
        m->batch.n_seq_id[t] = 1;
        m->batch.seq_id[t][0] = 0;
        m->batch.logits[t] = 1;
    }
}

/// Encoders keep nothing between texts; decoders used for embeddings do, and must forget the last one.
static int32_t compute(llama_backend_model *m) {
    llama_memory_t memory = llama_get_memory(m->context);
    if (memory == NULL) return llama_encode(m->context, m->batch);
    llama_memory_clear(memory, false);
    return llama_decode(m->context, m->batch);
}

int32_t model_embed(void *model, const int32_t *tokens, size_t count, float *vector) {
    llama_backend_model *m = model;
    if (!m->embeds) return refuse(SWIFTLET_UNSUPPORTED, "embed: this is not an embedding model");
    if (count == 0) return refuse(SWIFTLET_INVALID, "embed: no tokens");
    uint32_t most = m->sequences.max_step_tokens < m->sequence_tokens ? m->sequences.max_step_tokens : m->sequence_tokens;
    if (count > most) return refuse(SWIFTLET_LIMIT, "embed: %zu tokens and the model takes %u; send less text", count, most);
    for (size_t t = 0; t < count; t++) {
        if (tokens[t] < 0 || (uint32_t)tokens[t] >= m->sequences.vocabulary) {
            return refuse(SWIFTLET_INVALID, "embed: token %zu is not in the vocabulary", t);
        }
    }
    fill_batch(m, tokens, count);
    int32_t result = compute(m);
    const float *pooled = result == 0 ? llama_get_embeddings_seq(m->context, 0) : NULL;
    if (pooled == NULL) return refuse(SWIFTLET_FAILED, "embed: llama.cpp gave %d: %s", result, last_error());
    int32_t size = llama_model_n_embd_out(m->weights);
    double sum = 0;
    for (int32_t i = 0; i < size; i++) sum += (double)pooled[i] * pooled[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (int32_t i = 0; i < size; i++) vector[i] = (float)(pooled[i] * scale);
    return SWIFTLET_OK;
}
