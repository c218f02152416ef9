// Starting, copying, saving and ending sequences; step.c advances them.
#include "llama_backend.h"

#include <stdlib.h>
#include <string.h>

/// What a saved state begins with; the tokens follow, then llama.cpp's own bytes.
typedef struct saved_state {
    char magic[4];
    uint32_t count;
    uint32_t answer_from; ///< the place of the first picked token; NO_ANSWER: none was picked
} saved_state;

enum { NO_ANSWER = UINT32_MAX };

static bool add(struct llama_sampler *chain, struct llama_sampler *link) {
    if (link != NULL) llama_sampler_chain_add(chain, link);
    return link != NULL;
}

/// The penalties and cuts of a sequence in llama.cpp's usual order; temperature and the draw come after them, see pick.c.
/// False: no memory. `*chain` stays NULL when there are none.
static bool make_chain(const swiftlet_sampling_v1 *s, uint32_t words, struct llama_sampler **chain) {
    bool penalties = s->penalty_window != 0 && (s->repeat_penalty != 1 || s->frequency_penalty != 0 || s->presence_penalty != 0);
    bool cuts = s->temperature > 0 && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0);
    *chain = NULL;
    if (!penalties && !cuts) return true;
    struct llama_sampler *c = llama_sampler_chain_init((struct llama_sampler_chain_params){.no_perf = true});
    if (c == NULL) return false;
    *chain = c;
    bool good = true;
    // The window is in tokens; "all" is more than any context holds, but not so much that its ring buffer hurts.
    int32_t window = s->penalty_window < 0 || s->penalty_window > 131072 ? 131072 : s->penalty_window;
    if (penalties) {
        good = add(c, llama_sampler_init_penalties((int32_t)words, window, s->repeat_penalty, s->frequency_penalty, s->presence_penalty));
    }
    if (!cuts) return good;
    if (s->top_k > 0) good = good && add(c, llama_sampler_init_top_k(s->top_k));
    if (s->top_p < 1) good = good && add(c, llama_sampler_init_top_p(s->top_p, 1));
    if (s->min_p > 0) good = good && add(c, llama_sampler_init_min_p(s->min_p, 1));
    return good;
}

int32_t model_seq_start(void *model, uint32_t id, const swiftlet_sampling_v1 *sampling) {
    llama_backend_model *m = model;
    if (m->embeds) return refuse(SWIFTLET_UNSUPPORTED, "seq_start: this is an embedding model; use embed");
    const char *why;
    int32_t status = sequence_start(&m->sequences, id, sampling, &why);
    if (status != SWIFTLET_OK) return refuse(status, "%s", why);
    status = grammar_start(m, id, sampling_grammar(sampling));
    if (status == SWIFTLET_OK && !make_chain(sampling, m->sequences.vocabulary, &m->chains[id])) {
        status = refuse(SWIFTLET_FAILED, "seq_start: no memory for the sampler; drop a sequence");
    }
    if (status != SWIFTLET_OK) model_seq_drop(m, id);
    return status;
}

/// The started, empty sequence `id`, or NULL after `refuse`.
static sequence *empty_sequence(const llama_backend_model *m, uint32_t id, const char *step) {
    sequence *s = sequence_find(&m->sequences, id);
    if (s != NULL && s->count == 0) return s;
    refuse(SWIFTLET_INVALID, "%s: sequence %u is not started and empty", step, id);
    return NULL;
}

/// Makes our books of `id` say what llama.cpp holds now.
static int32_t adopt(llama_backend_model *m, uint32_t id, const int32_t *tokens, uint32_t count) {
    if (!sequence_append(sequence_find(&m->sequences, id), tokens, count)) {
        model_seq_drop(m, id);
        return refuse(SWIFTLET_FAILED, "no memory for the tokens of sequence %u; it is dropped", id);
    }
    for (uint32_t i = 0; m->chains[id] != NULL && i < count; i++) llama_sampler_accept(m->chains[id], tokens[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (grammar_feed(m, id, i, tokens[i])) continue;
        model_seq_drop(m, id);
        return refuse(SWIFTLET_INVALID, "the tokens do not fit the grammar of sequence %u; it is dropped", id);
    }
    return SWIFTLET_OK;
}

static bool make_room(llama_backend_model *m, size_t size) {
    if (size <= m->state_room) return true;
    free(m->state);
    m->state = malloc(size);
    m->state_room = m->state == NULL ? 0 : size;
    return m->state != NULL;
}

/// Gives `id` llama.cpp's bytes of a sequence and leaves it the first `tokens` tokens.
static bool put_prefix(llama_backend_model *m, uint32_t id, const unsigned char *bytes, size_t size, uint32_t tokens) {
    if (llama_state_seq_set_data(m->context, bytes, size, (llama_seq_id)id) == 0) return false;
    return llama_memory_seq_rm(llama_get_memory(m->context), (llama_seq_id)id, (llama_pos)tokens, -1);
}

/// Between parts of their own by way of our memory: llama_memory_seq_cp would copy the whole part, and only in the next
/// step, while seq_save and seq_restore don't wait for that.
static int32_t copy_state(llama_backend_model *m, uint32_t from, uint32_t to, uint32_t tokens) {
    size_t size = llama_state_seq_get_size(m->context, (llama_seq_id)from);
    if (!make_room(m, size)) return refuse(SWIFTLET_FAILED, "seq_copy: no memory for %zu bytes", size);
    size_t got = llama_state_seq_get_data(m->context, m->state, size, (llama_seq_id)from);
    if (got > 0 && put_prefix(m, to, m->state, got, tokens)) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED, "seq_copy: %s", last_error());
}

int32_t model_seq_copy(void *model, uint32_t from, uint32_t to, uint32_t tokens) {
    llama_backend_model *m = model;
    const sequence *source = sequence_find(&m->sequences, from);
    if (source == NULL || tokens > source->count || from == to) {
        return refuse(SWIFTLET_INVALID, "seq_copy: sequence %u does not hold %u tokens", from, tokens);
    }
    if (!m->cuts) return SWIFTLET_UNSUPPORTED;
    if (empty_sequence(m, to, "seq_copy") == NULL) return SWIFTLET_INVALID;
    if (m->config.kv_unified != 0) {
        llama_memory_seq_cp(llama_get_memory(m->context), (llama_seq_id)from, (llama_seq_id)to, 0, (llama_pos)tokens);
    } else {
        int32_t status = copy_state(m, from, to, tokens);
        if (status != SWIFTLET_OK) return status;
    }
    return adopt(m, to, source->tokens, tokens);
}

int32_t model_seq_drop(void *model, uint32_t id) {
    llama_backend_model *m = model;
    if (sequence_find(&m->sequences, id) == NULL) return SWIFTLET_OK;
    llama_memory_seq_rm(llama_get_memory(m->context), (llama_seq_id)id, -1, -1);
    if (m->chains[id] != NULL) llama_sampler_free(m->chains[id]);
    m->chains[id] = NULL;
    grammar_drop(m, id);
    sequence_drop(&m->sequences, id);
    return SWIFTLET_OK;
}

int32_t model_seq_save(void *model, uint32_t id, swiftlet_bytes *state) {
    llama_backend_model *m = model;
    const sequence *s = sequence_find(&m->sequences, id);
    if (s == NULL) return refuse(SWIFTLET_INVALID, "seq_save: sequence %u was not started", id);
    size_t own = sizeof(saved_state) + s->count * sizeof(int32_t);
    size_t engine = llama_state_seq_get_size(m->context, (llama_seq_id)id);
    if (!make_room(m, own + engine)) return refuse(SWIFTLET_FAILED, "seq_save: no memory for %zu bytes", own + engine);
    const constraint *c = &m->constraints[id];
    saved_state head = {{'L', 'L', 'M', '2'}, s->count, c->begun ? c->from : NO_ANSWER};
    memcpy(m->state, &head, sizeof head);
    if (s->count > 0) memcpy(m->state + sizeof head, s->tokens, s->count * sizeof(int32_t));
    size_t got = llama_state_seq_get_data(m->context, m->state + own, engine, (llama_seq_id)id);
    if (got == 0) return refuse(SWIFTLET_FAILED, "seq_save: %s", last_error());
    *state = (swiftlet_bytes){m->state, own + got};
    return SWIFTLET_OK;
}

/// Reads what stands before llama.cpp's own bytes. Returns their offset; 0: `seq_save` never lent this.
static size_t read_head(const llama_backend_model *m, swiftlet_bytes state, saved_state *head) {
    if (state.size < sizeof *head) return 0;
    memcpy(head, state.data, sizeof *head);
    size_t own = sizeof *head + head->count * sizeof(int32_t);
    return memcmp(head->magic, "LLM2", 4) == 0 && state.size > own && head->count <= m->sequence_tokens ? own : 0;
}

int32_t model_seq_restore(void *model, uint32_t id, swiftlet_bytes state) {
    llama_backend_model *m = model;
    if (empty_sequence(m, id, "seq_restore") == NULL) return SWIFTLET_INVALID;
    saved_state head;
    size_t own = read_head(m, state, &head);
    if (own == 0) return refuse(SWIFTLET_INVALID, "seq_restore: the bytes are not a state that seq_save lent");
    const unsigned char *bytes = state.data;
    if (llama_state_seq_set_data(m->context, bytes + own, state.size - own, (llama_seq_id)id) == 0) {
        return refuse(SWIFTLET_FAILED, "seq_restore: no room for %u tokens, or a state of another model", head.count);
    }
    m->constraints[id].begun = head.answer_from != NO_ANSWER;
    m->constraints[id].from = head.answer_from;
    return adopt(m, id, (const int32_t *)(bytes + sizeof head), head.count);
}

int32_t model_seq_restore_prefix(void *model, uint32_t id, swiftlet_bytes state, uint32_t tokens) {
    llama_backend_model *m = model;
    if (!m->cuts) return SWIFTLET_UNSUPPORTED;
    if (empty_sequence(m, id, "seq_restore_prefix") == NULL) return SWIFTLET_INVALID;
    saved_state head;
    size_t own = read_head(m, state, &head);
    if (own == 0 || tokens > head.count) {
        return refuse(SWIFTLET_INVALID, "seq_restore_prefix: the bytes are not a state of %u tokens that seq_save lent", tokens);
    }
    const unsigned char *bytes = state.data;
    if (!put_prefix(m, id, bytes + own, state.size - own, tokens)) {
        return refuse(SWIFTLET_FAILED, "seq_restore_prefix: no room for %u tokens, or a state of another model", head.count);
    }
    // Whatever was an answer there is prompt here: the sequence has picked nothing yet.
    return adopt(m, id, (const int32_t *)(bytes + sizeof head), tokens);
}
