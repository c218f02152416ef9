// Picks through the plugin's own table: without heat the likeliest token, whoever looks for it, and with heat as often as it is
// likely. Run by scripts/test-backends.
#include <math.h>

#include "check.h"

enum { STEPS = 96, DRAWS = 400, LOOKED_AT = 5 };

static int32_t prompt[64];
static size_t prompt_count = 64;

static void start(uint32_t id, float temperature, uint64_t seed, uint32_t top) {
    swiftlet_sampling_v1 how = {.size = sizeof how, .version = 1, .seed = seed, .temperature = temperature, .top_p = 1,
                                .repeat_penalty = 1, .top_logprobs = top, .want_logprobs = top > 0};
    CHECK(table->seq_start(model, id, &how) == SWIFTLET_OK, "start");
}

/// What is picked is found by blocks; what is reported is sorted one by one.
static void the_likeliest(void) {
    start(0, 0, 1, LOOKED_AT);
    CHECK(feed(0, 0, prompt, (uint32_t)prompt_count) == SWIFTLET_OK, "a prompt");
    uint32_t position = (uint32_t)prompt_count;
    for (int i = 0; i < STEPS; i++) {
        int32_t token = out.picked.token;
        CHECK(token == out.top[0].token && out.picked.logprob == out.top[0].logprob, "the likeliest is picked");
        for (uint32_t t = 1; t < LOOKED_AT; t++) CHECK(out.top[t].logprob <= out.top[t - 1].logprob, "likeliest first");
        CHECK(feed(0, position++, &token, 1) == SWIFTLET_OK, "a token");
    }
    table->seq_drop(model, 0);
}

/// The seeds are fixed, so this counts the same on every run; three standard deviations hold for them with room.
static void as_often_as_likely(void) {
    uint32_t last = (uint32_t)prompt_count - 1;
    int seen[LOOKED_AT] = {0};
    swiftlet_token_logprob likely[LOOKED_AT];
    start(0, 0, 1, LOOKED_AT);
    CHECK(feed(0, 0, prompt, last) == SWIFTLET_OK, "all but the last token");
    start(1, 0, 1, LOOKED_AT);
    CHECK(table->seq_copy(model, 0, 1, last) == SWIFTLET_OK && feed(1, last, prompt + last, 1) == SWIFTLET_OK, "the last token");
    memcpy(likely, out.top, sizeof likely);
    table->seq_drop(model, 1);
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        start(1, 1, seed, 0);
        CHECK(table->seq_copy(model, 0, 1, last) == SWIFTLET_OK && feed(1, last, prompt + last, 1) == SWIFTLET_OK, "a draw");
        for (int t = 0; t < LOOKED_AT; t++) seen[t] += out.picked.token == likely[t].token;
        table->seq_drop(model, 1);
    }
    for (int t = 0; t < LOOKED_AT; t++) {
        double part = exp(likely[t].logprob), spread = sqrt(DRAWS * part * (1 - part));
        snprintf(words, sizeof words, "of %d draws %d, at %.4f", DRAWS, seen[t], part);
        CHECK(part < 0.9 && fabs(seen[t] - DRAWS * part) <= 3 * spread, "as often as it is likely");
    }
    table->seq_drop(model, 0);
}

static void nearly_without_heat(void) {
    start(0, 0, 1, 0);
    CHECK(feed(0, 0, prompt, (uint32_t)prompt_count) == SWIFTLET_OK, "a prompt");
    int32_t likeliest = out.picked.token;
    table->seq_drop(model, 0);
    start(0, 1e-40f, 1, 0);
    CHECK(feed(0, 0, prompt, (uint32_t)prompt_count) == SWIFTLET_OK && out.picked.token == likeliest, "the lowest temperature");
    table->seq_drop(model, 0);
}

int main(int count, char **arguments) {
    load_plugin(count, arguments);
    swiftlet_open_v1 how = opening(arguments[2], "{\"kv_unified\":0}");
    if (table->open(&how, &model) != SWIFTLET_OK) return fprintf(stderr, "%s\n", words), 2;
    static const char text[] = "Once upon a time, there was a little";
    CHECK(table->tokenize(model, (swiftlet_bytes){text, sizeof text - 1}, 0, 1, prompt, &prompt_count) == SWIFTLET_OK, "a prompt");
    the_likeliest();
    as_often_as_likely();
    nearly_without_heat();
    table->close(model);
    printf("picks: %d failed checks\n", failures);
    return failures > 0;
}
