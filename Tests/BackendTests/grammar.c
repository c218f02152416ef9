// Grammars through the plugin's own table: bad ones are refused and leave the model well, tokens that don't fit are refused,
// and a sequence that was saved in the middle goes on as it would have. Run by scripts/test-backends.
#include "check.h"

static int32_t start(uint32_t id, const char *grammar, size_t size, float temperature) {
    swiftlet_sampling_v1 how = {.size = sizeof how, .version = 1, .seed = 7, .temperature = temperature, .top_p = 1,
                                .repeat_penalty = 1, .grammar = {.data = grammar, .size = size}};
    words[0] = 0;
    return table->seq_start(model, id, &how);
}

static int32_t start_text(uint32_t id, const char *grammar, float temperature) {
    return start(id, grammar, strlen(grammar), temperature);
}

/// Goes on from the picked token until the end, or `most` tokens.
static void run(uint32_t id, uint32_t *position, char *text, size_t room, int most) {
    size_t length = strlen(text);
    for (int i = 0; i < most && !out.end; i++) {
        size_t size = out.picked.piece.size;
        if (length + size + 1 > room) return;
        memcpy(text + length, out.picked.piece.data, size);
        text[length += size] = 0;
        int32_t token = out.picked.token;
        if (feed(id, (*position)++, &token, 1) != SWIFTLET_OK) {
            CHECK(0, "a picked token is taken");
            return;
        }
    }
}

static void refuse_bad_ones(void) {
    static const char *const bad[] = {
        "root", "root ::=", "root ::= (", "root ::= \"a", "root ::= [a", "root ::= nobody", "root ::= root \"a\"", "start ::= \"a\"",
        "root ::= a\na ::= b\nb ::= a | \"x\"", "root ::= \"\\q\"", "root ::= \"a\"{99999}", "root ::= \"a\"{3", "root ::= *",
        "root ::= \"a\"{99999999999999999999999}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (i == 1) continue; // an empty rule is a grammar that spells nothing but ""
        CHECK(start_text(0, bad[i], 0) != SWIFTLET_OK && strstr(words, "grammar") != NULL, bad[i]);
    }
    CHECK(start(0, "root ::= \"a\"\0", 13, 0) == SWIFTLET_INVALID, "a zero byte");
}

static int32_t prompt[64];
static uint32_t prompt_count;

static void hold_answers(float temperature, char *text, size_t room) {
    CHECK(start_text(1, "root ::= \"{\" [a-c]{4} \"é}\"", temperature) == SWIFTLET_OK, "a good grammar");
    CHECK(feed(1, 0, prompt, prompt_count) == SWIFTLET_OK, "the prompt is not the answer");
    uint32_t position = prompt_count;
    text[0] = 0;
    run(1, &position, text, room, 40);
    CHECK(out.end && strlen(text) == 8 && text[0] == '{' && strcmp(text + 5, "é}") == 0, "the answer fits");
    CHECK(strspn(text + 1, "abc") == 4, "each letter fits");
    table->seq_drop(model, 1);
}

static void go_on_after_restore(void) {
    static const char GRAMMAR[] = "root ::= [0-9]{3} \"-\" [a-z]{12}";
    char whole[128] = "", first[128] = "";
    uint32_t position = prompt_count;
    CHECK(start_text(1, GRAMMAR, 1) == SWIFTLET_OK && feed(1, 0, prompt, prompt_count) == SWIFTLET_OK, "start");
    run(1, &position, whole, sizeof whole, 60);
    CHECK(strlen(whole) == 16 && whole[3] == '-', "whole");
    table->seq_drop(model, 1);

    position = prompt_count;
    CHECK(start_text(1, GRAMMAR, 1) == SWIFTLET_OK && feed(1, 0, prompt, prompt_count) == SWIFTLET_OK, "start again");
    run(1, &position, first, sizeof first, 4);
    int32_t token = out.picked.token;
    swiftlet_bytes piece = out.picked.piece;
    swiftlet_bytes state;
    CHECK(table->seq_save(model, 1, &state) == SWIFTLET_OK, "save");
    void *copy = malloc(state.size);
    if (copy == NULL) abort();
    memcpy(copy, state.data, state.size);
    CHECK(start_text(2, GRAMMAR, 1) == SWIFTLET_OK, "another");
    CHECK(table->seq_restore(model, 2, (swiftlet_bytes){copy, state.size}) == SWIFTLET_OK, "restore");
    free(copy);
    strncat(first, piece.data, piece.size);
    CHECK(feed(2, position++, &token, 1) == SWIFTLET_OK, "goes on");
    run(2, &position, first, sizeof first, 60);
    CHECK(strcmp(whole, first) == 0, "the same answer with a stop on the way");
    table->seq_drop(model, 1);
    table->seq_drop(model, 2);
}

static void refuse_strange_tokens(void) {
    int32_t strange[8];
    size_t count = 8;
    CHECK(table->tokenize(model, (swiftlet_bytes){"hello", 5}, 0, 0, strange, &count) == SWIFTLET_OK && count > 0, "tokens");
    CHECK(start_text(3, "root ::= [0-9]+", 0) == SWIFTLET_OK && feed(3, 0, prompt, prompt_count) == SWIFTLET_OK, "start");
    CHECK(feed(3, prompt_count, strange, 1) == SWIFTLET_FAILED, "what was not picked does not fit");
    CHECK(feed(3, prompt_count + 1, strange, 1) == SWIFTLET_INVALID, "and the sequence is gone");
}

static void serve_old_hosts(void) {
    swiftlet_sampling_v1 how = {.size = SWIFTLET_SAMPLING_V1_FIRST_SIZE, .version = 1, .top_p = 1, .repeat_penalty = 1,
                                .grammar = {.data = (const void *)1, .size = 1 << 20}};
    CHECK(table->seq_start(model, 0, &how) == SWIFTLET_OK, "what lies behind an old host's table is not read");
    table->seq_drop(model, 0);
}

int main(int count, char **arguments) {
    load_plugin(count, arguments);
    swiftlet_open_v1 how = opening(arguments[2], "{}");
    if (table->open(&how, &model) != SWIFTLET_OK) return fprintf(stderr, "%s\n", words), 2;
    swiftlet_model_info_v1 info = {.size = sizeof info, .version = 1};
    CHECK(table->describe(model, &info) == SWIFTLET_OK && (info.capabilities & SWIFTLET_CAN_GRAMMAR), "it says so");
    size_t room = 64;
    CHECK(table->tokenize(model, (swiftlet_bytes){"Tell me something.", 18}, 0, 1, prompt, &room) == SWIFTLET_OK, "a prompt");
    prompt_count = (uint32_t)room;

    char one[64], two[64];
    refuse_bad_ones();
    hold_answers(0, one, sizeof one);
    hold_answers(1, one, sizeof one);
    hold_answers(1, two, sizeof two);
    CHECK(strcmp(one, two) == 0, "the same seed gives the same answer");
    go_on_after_restore();
    refuse_strange_tokens();
    serve_old_hosts();
    hold_answers(0, one, sizeof one);
    table->close(model);
    printf("grammar: %d failed checks\n", failures);
    return failures > 0;
}
