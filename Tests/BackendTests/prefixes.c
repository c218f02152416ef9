// Prefixes through the plugin's own table, with one store for all sequences and with parts of their own: a sequence that began
// with another's tokens, copied or restored from a saved state, goes on exactly as one that read them itself.
#include <stdbool.h>

#include "check.h"

enum { LONG = 96, SHARED = 64, ANSWER = 12, OTHER_SHARED = 40, STEP = 8 };

static void start(uint32_t id) {
    swiftlet_sampling_v1 how = {.size = sizeof how, .version = 1, .seed = 7, .temperature = 0, .top_p = 1, .repeat_penalty = 1.1f,
                                .penalty_window = 32, .want_logprobs = 1};
    words[0] = 0;
    CHECK(table->seq_start(model, id, &how) == SWIFTLET_OK, "start");
}

typedef struct answer {
    int32_t tokens[ANSWER];
    float logprobs[ANSWER];
} answer;

/// Feeds what is left of a prompt and takes an answer. Always in steps of the same size: another size rounds otherwise.
static answer go_on(uint32_t id, const int32_t *prompt, uint32_t held, uint32_t size) {
    answer a = {0};
    for (uint32_t at = held; at < size; at += STEP) CHECK(feed(id, at, prompt + at, STEP) == SWIFTLET_OK, "the rest of the prompt");
    for (uint32_t i = 0; i < ANSWER; i++) {
        a.tokens[i] = out.picked.token;
        a.logprobs[i] = out.picked.logprob;
        CHECK(feed(id, size + i, &a.tokens[i], 1) == SWIFTLET_OK, "a token");
    }
    return a;
}

static bool same(const answer *left, const answer *right) {
    for (int i = 0; i < ANSWER; i++) {
        float far = left->logprobs[i] - right->logprobs[i];
        if (left->tokens[i] != right->tokens[i] || far > 1e-4f || far < -1e-4f) return false;
    }
    return true;
}

static int32_t first[LONG], second[LONG];

static void make_prompts(void) {
    static const char text[] =
        "The tower stands at the mouth of the river. Long ago the people of the town lit a fire on its roof every night, so that "
        "ships could find the harbour. One winter the keeper fell ill, and his daughter climbed the stairs alone to light it. "
        "She was nine years old, and the storm was the worst that anybody could remember. When she reached the roof, she saw "
        "that the great lamp was broken, and far out on the water a small light was moving slowly towards the rocks.";
    int32_t tokens[256];
    size_t count = 256;
    int32_t status = table->tokenize(model, (swiftlet_bytes){text, sizeof text - 1}, 0, 1, tokens, &count);
    CHECK(status == SWIFTLET_OK && count >= LONG, "tokenize");
    if (count < LONG) exit(1);
    memcpy(first, tokens, sizeof first);
    memcpy(second, tokens, sizeof second);
    // The same beginning, and then the text backwards.
    for (int i = SHARED; i < LONG; i++) second[i] = tokens[LONG - 1 - (i - SHARED)];
}

static void copies_and_states(void) {
    make_prompts();
    start(0);
    go_on(0, first, 0, LONG);
    start(1);
    answer whole = go_on(1, second, 0, LONG);

    start(2);
    CHECK(table->seq_copy(model, 0, 2, SHARED) == SWIFTLET_OK, "copy");
    answer copied = go_on(2, second, SHARED, LONG);
    CHECK(same(&whole, &copied), "a copy goes on as what was read");

    swiftlet_bytes lent;
    CHECK(table->seq_save(model, 0, &lent) == SWIFTLET_OK, "save");
    unsigned char *kept = malloc(lent.size);
    if (kept == NULL) exit(1);
    memcpy(kept, lent.data, lent.size);
    swiftlet_bytes state = {kept, lent.size};
    for (uint32_t id = 0; id < 3; id++) table->seq_drop(model, id);

    start(2);
    CHECK(table->seq_restore_prefix(model, 2, state, SHARED) == SWIFTLET_OK, "restore a prefix");
    answer restored = go_on(2, second, SHARED, LONG);
    CHECK(same(&whole, &restored), "a restored prefix goes on as what was read");
    // What was restored can be copied at once, before any step: nothing waits in the engine.
    start(0);
    CHECK(table->seq_restore_prefix(model, 0, state, LONG) == SWIFTLET_OK, "restore the whole prompt");
    start(1);
    CHECK(table->seq_copy(model, 0, 1, OTHER_SHARED) == SWIFTLET_OK, "copy what was restored");
    table->seq_drop(model, 0);
    start(0);
    CHECK(table->seq_restore_prefix(model, 0, state, 1) == SWIFTLET_OK, "another takes the source's place");
    answer again = go_on(1, second, OTHER_SHARED, LONG);
    CHECK(same(&whole, &again), "a copy of a restored prefix, its source replaced");

    table->seq_drop(model, 0);
    start(0);
    CHECK(table->seq_restore_prefix(model, 0, state, LONG + ANSWER + 1) == SWIFTLET_INVALID, "more tokens than the state has");
    CHECK(table->seq_restore_prefix(model, 0, (swiftlet_bytes){kept, lent.size / 2}, SHARED) != SWIFTLET_OK, "a cut state");
    table->seq_drop(model, 0);
    start(0);
    memset(kept, 0, 4);
    CHECK(table->seq_restore_prefix(model, 0, state, SHARED) == SWIFTLET_INVALID, "not a state");
    CHECK(go_on(0, second, 0, LONG).tokens[0] == whole.tokens[0], "the model is well after that");
    for (uint32_t id = 0; id < 3; id++) table->seq_drop(model, id);
    free(kept);
}

int main(int count, char **arguments) {
    load_plugin(count, arguments);
    static const char *const configs[] = {"{}", "{\"kv_unified\":0}"};
    for (int i = 0; i < 2; i++) {
        swiftlet_open_v1 how = opening(arguments[2], configs[i]);
        if (table->open(&how, &model) != SWIFTLET_OK) return printf("prefixes: open: %s\n", words), 1;
        swiftlet_model_info_v1 info = {.size = sizeof info, .version = 1};
        table->describe(model, &info);
        CHECK(info.capabilities & SWIFTLET_CAN_COPY_PREFIX, configs[i]);
        CHECK(info.capabilities & SWIFTLET_CAN_RESTORE_PREFIX, configs[i]);
        copies_and_states();
        table->close(model);
    }
    printf("prefixes: %s\n", failures == 0 ? "all good" : "FAILED");
    return failures == 0 ? 0 : 1;
}
