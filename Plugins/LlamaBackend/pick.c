// Which token comes next, how likely it was, and which others were likely.
#include "llama_backend.h"

#include <math.h>

enum { NO_TOKEN = -1, LANES = 16, BLOCK = 512 };

/// Of BLOCK logits, in lanes that do not wait for each other: nothing else of a token is computed meanwhile.
static float highest_of(const float *logits) {
    float lanes[LANES], highest = -INFINITY;
    for (uint32_t l = 0; l < LANES; l++) lanes[l] = -INFINITY;
    for (uint32_t t = 0; t < BLOCK; t += LANES) {
        for (uint32_t l = 0; l < LANES; l++) lanes[l] = logits[t + l] > lanes[l] ? logits[t + l] : lanes[l];
    }
    for (uint32_t l = 0; l < LANES; l++) highest = lanes[l] > highest ? lanes[l] : highest;
    return highest;
}

/// The first of the likeliest.
static llama_token likeliest(const float *logits, uint32_t words) {
    uint32_t best = 0;
    for (uint32_t block = 0; block < words; block += BLOCK) {
        bool whole = words - block >= BLOCK;
        if (whole && !(highest_of(logits + block) > logits[best])) continue;
        uint32_t end = whole ? block + BLOCK : words;
        for (uint32_t t = block; t < end; t++) {
            if (logits[t] > logits[best]) best = t;
        }
    }
    return (llama_token)best;
}

/// Draws from what the chain left, by `point`, a number that hangs on seed and position only, so that a sequence picks the same
/// whoever else is in the step, and goes on the same after save and restore.
static llama_token draw(llama_token_data_array *left, double point) {
    float highest = left->data[0].logit;
    for (size_t i = 1; i < left->size; i++) {
        if (left->data[i].logit > highest) highest = left->data[i].logit;
    }
    double sum = 0;
    for (size_t i = 0; i < left->size; i++) sum += left->data[i].p = expf(left->data[i].logit - highest);
    point *= sum;
    for (size_t i = 0; i < left->size; i++) {
        point -= left->data[i].p;
        if (point < 0) return left->data[i].id;
    }
    return left->data[left->size - 1].id;
}

static llama_token_data_array all_candidates(llama_backend_model *m, const float *logits) {
    uint32_t words = m->sequences.vocabulary;
    for (uint32_t t = 0; t < words; t++) m->candidates[t] = (llama_token_data){(llama_token)t, logits[t], 0};
    return (llama_token_data_array){m->candidates, words, -1, false};
}

static llama_token choose_from(const llama_backend_model *m, uint32_t id, llama_token_data_array *left, uint32_t attempt) {
    const sequence *s = sequence_find(&m->sequences, id);
    if (m->chains[id] != NULL) llama_sampler_apply(m->chains[id], left);
    if (s->sampling.temperature > 0) return draw(left, sequence_random(s, attempt));
    size_t best = 0;
    for (size_t i = 1; i < left->size; i++) {
        if (left->data[i].logit > left->data[best].logit) best = i;
    }
    return left->data[best].id;
}

/// Most tokens fit a grammar anyway, and asking it about one is cheap: only when the free choice does not fit, the whole
/// vocabulary is put to it, and a second draw is made from what fits. NO_TOKEN: nothing does.
static llama_token choose(llama_backend_model *m, uint32_t id, const float *logits) {
    llama_token free_choice;
    if (m->chains[id] == NULL) {
        free_choice = likeliest(logits, m->sequences.vocabulary);
    } else {
        llama_token_data_array all = all_candidates(m, logits);
        free_choice = choose_from(m, id, &all, 0);
    }
    if (grammar_allows(m, id, free_choice)) return free_choice;
    llama_token_data_array fitting = all_candidates(m, logits);
    grammar_cut(m, id, &fitting);
    return fitting.size == 0 ? NO_TOKEN : choose_from(m, id, &fitting, 1);
}

/// What to take from a logit to get a log probability.
static float log_sum(const float *logits, uint32_t words) {
    float highest = logits[likeliest(logits, words)];
    double sum = 0;
    for (uint32_t t = 0; t < words; t++) sum += expf(logits[t] - highest);
    return highest + (float)log(sum);
}

/// The `wanted` likeliest tokens, likeliest first, by insertion into a short sorted list.
static uint32_t find_top(const float *logits, uint32_t words, uint32_t wanted, swiftlet_token_logprob *top) {
    uint32_t count = 0;
    for (uint32_t t = 0; t < words; t++) {
        if (count == wanted && logits[t] <= top[count - 1].logprob) continue;
        if (count < wanted) count++;
        uint32_t at = count - 1;
        for (; at > 0 && top[at - 1].logprob < logits[t]; at--) top[at] = top[at - 1];
        top[at] = (swiftlet_token_logprob){.token = (int32_t)t, .logprob = logits[t]};
    }
    return count;
}

static void report_likelihood(llama_backend_model *m, uint32_t id, const float *logits, swiftlet_step_output *output) {
    uint32_t words = m->sequences.vocabulary, wanted = sequence_find(&m->sequences, id)->sampling.top_logprobs;
    float base = log_sum(logits, words);
    output->picked.logprob = logits[output->picked.token] - base;
    if (wanted == 0) return;
    swiftlet_token_logprob *top = m->top + 20 * (size_t)id;
    output->top = top;
    output->top_count = find_top(logits, words, wanted, top);
    for (uint32_t i = 0; i < output->top_count; i++) {
        top[i].logprob -= base;
        top[i].piece = piece_of(m, top[i].token);
    }
}

int32_t pick_token(llama_backend_model *m, uint32_t id, int32_t entry, swiftlet_step_output *output) {
    const float *logits = llama_get_logits_ith(m->context, entry);
    if (logits == NULL) return SWIFTLET_FAILED;
    grammar_begin(m, id);
    llama_token token = choose(m, id, logits);
    if (token == NO_TOKEN) return SWIFTLET_FAILED;
    output->end = llama_vocab_is_eog(m->vocabulary, token);
    output->picked.token = token;
    if (!output->end) output->picked.piece = piece_of(m, token);
    if (sequence_find(&m->sequences, id)->sampling.want_logprobs) report_likelihood(m, id, logits, output);
    return SWIFTLET_OK;
}
