// What an answer must spell: llama.cpp's grammar sampler, held so that none of its asserts and exceptions can be met.
#include "llama_backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int32_t grammar_start(llama_backend_model *m, uint32_t id, swiftlet_bytes text) {
    m->constraints[id] = (constraint){0};
    if (text.size == 0) return SWIFTLET_OK;
    if (memchr(text.data, 0, text.size) != NULL) return refuse(SWIFTLET_INVALID, "seq_start: the grammar holds a zero byte");
    char *copy = malloc(text.size + 1);
    if (copy == NULL) return refuse(SWIFTLET_FAILED, "seq_start: no memory for the grammar; drop a sequence");
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    m->constraints[id].grammar = llama_sampler_init_grammar(m->vocabulary, copy, "root");
    free(copy);
    if (m->constraints[id].grammar != NULL) return SWIFTLET_OK;
    return refuse(SWIFTLET_INVALID, "seq_start: llama.cpp can't use the grammar: %s; its rule is in the log", last_error());
}

void grammar_drop(llama_backend_model *m, uint32_t id) {
    if (m->constraints[id].grammar != NULL) llama_sampler_free(m->constraints[id].grammar);
    m->constraints[id] = (constraint){0};
}

void grammar_begin(llama_backend_model *m, uint32_t id) {
    constraint *c = &m->constraints[id];
    if (c->begun) return;
    c->begun = true;
    c->from = sequence_find(&m->sequences, id)->count;
}

/// Takes one byte of UTF-8. False: no character goes on so. llama.cpp's grammar lets overlong forms pass.
static bool take_byte(constraint *c, uint8_t byte) {
    if (c->missing > 0) {
        if (byte < c->low || byte > c->high) return false;
        c->missing--;
        c->low = 0x80;
        c->high = 0xBF;
        return true;
    }
    if (byte < 0x80) return true;
    if (byte < 0xC2 || byte > 0xF4) return false;
    c->missing = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    c->low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    c->high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return true;
}

static bool take_piece(constraint *c, swiftlet_bytes piece) {
    for (size_t i = 0; i < piece.size; i++) {
        if (!take_byte(c, ((const uint8_t *)piece.data)[i])) return false;
    }
    // The grammar reads control tokens as their names, and nobody sees those.
    return piece.size > 0;
}

static bool spells(llama_backend_model *m, const constraint *c, llama_token token) {
    constraint after = *c;
    return llama_vocab_is_eog(m->vocabulary, token) || take_piece(&after, piece_of(m, token));
}

bool grammar_allows(llama_backend_model *m, uint32_t id, llama_token token) {
    const constraint *c = &m->constraints[id];
    if (c->grammar == NULL) return true;
    if (!spells(m, c, token)) return false;
    llama_token_data one = {token, 0, 0};
    llama_token_data_array only = {&one, 1, -1, false};
    llama_sampler_apply(c->grammar, &only);
    return one.logit > -INFINITY;
}

void grammar_cut(llama_backend_model *m, uint32_t id, llama_token_data_array *candidates) {
    const constraint *c = &m->constraints[id];
    llama_sampler_apply(c->grammar, candidates);
    size_t kept = 0;
    for (size_t i = 0; i < candidates->size; i++) {
        if (candidates->data[i].logit == -INFINITY || !spells(m, c, candidates->data[i].id)) continue;
        candidates->data[kept++] = candidates->data[i];
    }
    candidates->size = kept;
}

bool grammar_feed(llama_backend_model *m, uint32_t id, uint32_t place, llama_token token) {
    constraint *c = &m->constraints[id];
    if (c->grammar == NULL || !c->begun || place < c->from) return true;
    // Accepting what does not fit would end the process.
    if (!grammar_allows(m, id, token)) return false;
    llama_sampler_accept(c->grammar, token);
    if (!llama_vocab_is_eog(m->vocabulary, token)) take_piece(c, piece_of(m, token));
    return true;
}
