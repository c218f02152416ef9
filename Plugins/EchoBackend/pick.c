// Which token comes next: a real, if small, distribution with the echo at 0.9 and the letters sharing the rest.
#include "echo.h"

#include <math.h>

static const double ECHO_SHARE = 0.9;

/// The text to say: tokens `from` up to `to`; `said` of them have been.
typedef struct plan {
    uint32_t from;
    uint32_t to;
    uint32_t said;
    bool asked; ///< an ECHO stands in the text
} plan;

static uint32_t last_before(const sequence *s, uint32_t end, int32_t token) {
    while (end > 0 && s->tokens[end - 1] != token) end--;
    return end; // one past the token, 0 when there is none
}

static plan plan_of(const sequence *s) {
    plan p = {.said = 0};
    uint32_t echo = last_before(s, s->count, TOKEN_ECHO);
    if (echo == 0) return p;
    p.asked = true;
    p.said = s->count - echo;
    uint32_t turn = last_before(s, echo - 1, TOKEN_TURN);
    p.from = 0;
    p.to = turn == 0 ? echo - 1 : turn - 1;
    if (turn == 0) return p;
    // A turn is ROLE, its name, a newline, the text, TURN.
    p.from = last_before(s, p.to, TOKEN_ROLE);
    while (p.from < p.to && s->tokens[p.from] != '\n') p.from++;
    if (p.from < p.to) p.from++;
    return p;
}

static int32_t echo_next(const echo_model *m, const sequence *s) {
    plan p = plan_of(s);
    if (!p.asked) return TOKEN_ECHO;
    uint32_t length = p.to - p.from;
    uint32_t until = m->config.tokens > 0 && length > 0 ? (uint32_t)m->config.tokens : length;
    if (p.said >= until) return TOKEN_END;
    return s->tokens[p.from + p.said % length];
}

static bool is_letter(int32_t token) { return token >= 'a' && token <= 'z'; }

/// The letters that are not the echo itself.
static uint32_t letters_beside(int32_t echo) { return is_letter(echo) ? 25 : 26; }

static double share_of(int32_t token, int32_t echo) {
    return token == echo ? ECHO_SHARE : (1 - ECHO_SHARE) / letters_beside(echo);
}

/// Temperature and the cuts work on the two heights that the distribution has.
static int32_t pick(const sequence *s, int32_t echo) {
    const swiftlet_sampling_v1 *how = &s->sampling;
    uint32_t letters = letters_beside(echo);
    double letter = (1 - ECHO_SHARE) / letters;
    if (how->temperature == 0 || how->top_k == 1 || how->top_p <= ECHO_SHARE) return echo;
    if (letter / ECHO_SHARE < how->min_p) return echo;
    if (how->top_k > 0 && (uint32_t)how->top_k - 1 < letters) letters = (uint32_t)how->top_k - 1;
    double weight = pow(letter / ECHO_SHARE, 1 / how->temperature);
    double point = sequence_random(s, 0) * (1 + weight * letters) - 1;
    if (point < 0) return echo;
    int32_t token = 'a' + (int32_t)fmin(point / weight, letters - 1);
    return is_letter(echo) && token >= echo ? token + 1 : token;
}

static swiftlet_token_logprob described(int32_t token, int32_t echo) {
    return (swiftlet_token_logprob){token, (float)log(share_of(token, echo)), echo_piece(token)};
}

void echo_pick(const echo_model *m, const sequence *s, swiftlet_token_logprob *top, swiftlet_step_output *output) {
    int32_t echo = echo_next(m, s);
    int32_t token = pick(s, echo);
    output->picked = described(token, echo);
    output->end = token == TOKEN_END;
    if (!s->sampling.want_logprobs) {
        output->picked.logprob = 0;
        return;
    }
    uint32_t wanted = s->sampling.top_logprobs;
    if (wanted == 0) return;
    output->top = top;
    top[output->top_count++] = described(echo, echo);
    for (int32_t letter = 'a'; output->top_count < wanted; letter++) {
        if (letter != echo) top[output->top_count++] = described(letter, echo);
    }
}
