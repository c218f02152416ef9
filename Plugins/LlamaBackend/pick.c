// Which token comes next, how likely it was, and which others were likely.
#include "llama_backend.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
extern float expf(float) __attribute__((simd("notinbranch"))); // glibc has it for several at once, too, in libmvec
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

enum { NO_TOKEN = -1, LANES = 16 };

// By blocks, in lanes that do not wait for each other: all of the model's threads wait until the next token is picked.

WIDE static float highest_of_block(const float *logits) {
    float lanes[LANES], highest = -INFINITY;
    for (uint32_t l = 0; l < LANES; l++) lanes[l] = -INFINITY;
    for (uint32_t t = 0; t < PICK_BLOCK; t += LANES) {
        for (uint32_t l = 0; l < LANES; l++) lanes[l] = logits[t + l] > lanes[l] ? logits[t + l] : lanes[l];
    }
    for (uint32_t l = 0; l < LANES; l++) highest = lanes[l] > highest ? lanes[l] : highest;
    return highest;
}

/// The first of the likeliest.
static llama_token likeliest(const float *logits, uint32_t words) {
    uint32_t best = 0;
    for (uint32_t block = 0; block < words; block += PICK_BLOCK) {
        bool whole = words - block >= PICK_BLOCK;
        if (whole && !(highest_of_block(logits + block) > logits[best])) continue;
        uint32_t end = whole ? block + PICK_BLOCK : words;
        for (uint32_t t = block; t < end; t++) {
            if (logits[t] > logits[best]) best = t;
        }
    }
    return (llama_token)best;
}

/// The exponentials of PICK_BLOCK scores, `colder` times as far from the highest, in their place.
WIDE static void exponentials_of_block(float *scores, float highest, float colder) {
    for (uint32_t t = 0; t < PICK_BLOCK; t++) scores[t] = expf((scores[t] - highest) * colder);
}

static double sum_of_block(const float *scores) {
    float lanes[LANES] = {0};
    double sum = 0;
    for (uint32_t t = 0; t < PICK_BLOCK; t += LANES) {
        for (uint32_t l = 0; l < LANES; l++) lanes[l] += scores[t + l];
    }
    for (uint32_t l = 0; l < LANES; l++) sum += lanes[l];
    return sum;
}

/// The exponentials of the first `count`, one or more, of a model's scores, and zeros up to a whole block; their sum.
static double exponentials(float *scores, uint32_t count, float highest, float colder) {
    double sum = 0;
    for (uint32_t i = count; i % PICK_BLOCK != 0; i++) scores[i] = -INFINITY;
    for (uint32_t block = 0; block < count; block += PICK_BLOCK) {
        exponentials_of_block(scores + block, highest, colder);
        sum += sum_of_block(scores + block);
    }
    return sum;
}

/// Draws from `count` logits in `m->scores` by the sequence's temperature, and by a number that hangs on its seed and position
/// only, so that a sequence picks the same whoever else is in the step, and goes on the same after save and restore.
static uint32_t draw(llama_backend_model *m, const sequence *s, uint32_t count, uint32_t attempt) {
    // However low the temperature is, the highest is no further from itself.
    float *scores = m->scores, colder = fminf(1 / s->sampling.temperature, FLT_MAX);
    double point = sequence_random(s, attempt) * exponentials(scores, count, scores[likeliest(scores, count)], colder);
    uint32_t block = 0, last = 0;
    for (double sum; block + PICK_BLOCK < count && point >= (sum = sum_of_block(scores + block)); block += PICK_BLOCK) point -= sum;
    for (uint32_t i = block; i < count; i++) {
        if (scores[i] > 0) last = i;
        point -= scores[i];
        if (point < 0) return i;
    }
    return last; // what rounding left over
}

static llama_token_data_array all_candidates(llama_backend_model *m, const float *logits) {
    uint32_t words = m->sequences.vocabulary;
    for (uint32_t t = 0; t < words; t++) m->candidates[t] = (llama_token_data){(llama_token)t, logits[t], 0};
    return (llama_token_data_array){m->candidates, words, -1, false};
}

/// From the whole vocabulary, without cuts and penalties.
static llama_token choose_from_all(llama_backend_model *m, const sequence *s, const float *logits) {
    uint32_t words = m->sequences.vocabulary;
    if (s->sampling.temperature == 0) return likeliest(logits, words);
    memcpy(m->scores, logits, words * sizeof *logits);
    return (llama_token)draw(m, s, words, 0);
}

static llama_token choose_from(llama_backend_model *m, uint32_t id, llama_token_data_array *left, uint32_t attempt) {
    const sequence *s = sequence_find(&m->sequences, id);
    if (m->chains[id] != NULL) llama_sampler_apply(m->chains[id], left);
    uint32_t count = (uint32_t)left->size;
    for (uint32_t i = 0; i < count; i++) m->scores[i] = left->data[i].logit;
    return left->data[s->sampling.temperature > 0 ? draw(m, s, count, attempt) : (uint32_t)likeliest(m->scores, count)].id;
}

/// Most tokens fit a grammar anyway, and asking it about one is cheap: only when the free choice does not fit, the whole
/// vocabulary is put to it, and a second draw is made from what fits. NO_TOKEN: nothing does.
static llama_token choose(llama_backend_model *m, uint32_t id, const float *logits) {
    llama_token free_choice;
    if (m->chains[id] == NULL) {
        free_choice = choose_from_all(m, sequence_find(&m->sequences, id), logits);
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
static float log_sum(llama_backend_model *m, const float *logits) {
    uint32_t words = m->sequences.vocabulary;
    float highest = logits[likeliest(logits, words)];
    memcpy(m->scores, logits, words * sizeof *logits);
    return highest + (float)log(exponentials(m->scores, words, highest, 1));
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
    float base = log_sum(m, logits);
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
