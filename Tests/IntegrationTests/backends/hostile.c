// A backend that says "ok" to every prompt, and breaks its contract when the prompt begins with "!" and how; or lies in describe.
#include "swiftlet_backend.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BYTES = 256, END = BYTES, VOCABULARY, SEQUENCES = 8, EMBEDDING = 4 };
enum { CHANNEL = 3, FRAME_RESULT = 105, FRAME_LOG = 98, FLAG_END = 1, HEAD = 16, FRAME_MAX = 65536 };

static const char *lie = "";
static char act[64]; ///< what the last prompt asked for
static uint32_t operations; ///< that were numbered, as the host numbers them
static uint32_t said[SEQUENCES];
static unsigned char large[80 << 20]; ///< touched only when it is sent

static int told(const char *what) {
    return strcmp(act, what) == 0;
}

static void hang_when(const char *what) {
    while (told(what)) usleep(10000);
}

// ---- frames that the worker did not make ---------------------------------------------------------------------------------

static void forge(uint16_t type, uint16_t flags, uint32_t id, const void *payload, uint32_t size) {
    static unsigned char frame[FRAME_MAX];
    const struct {
        uint16_t type, flags;
        uint32_t size, id, call;
    } head = {type, flags, size, id, 0};
    memcpy(frame, &head, HEAD);
    memcpy(frame + HEAD, payload, size);
    send(CHANNEL, frame, HEAD + size, 0);
}

/// An answer to the step that is running: right but for its time.
static void forge_time(uint32_t sequence) {
    const struct {
        int32_t status;
        uint32_t reserved, count, unused;
        uint64_t nanoseconds;
        uint32_t sequence;
        int32_t outcome;
        uint32_t end;
        int32_t token;
        float logprob;
        uint32_t piece, top, none;
    } result = {.count = 1, .nanoseconds = UINT64_MAX, .sequence = sequence, .end = 1, .token = END};
    forge(FRAME_RESULT, FLAG_END, operations, &result, sizeof result);
}

static void forge_many(void) {
    static const unsigned char part[FRAME_MAX - HEAD] = {1};
    for (uint32_t id = 1; id < 100000; id++) forge(FRAME_RESULT, 0, id, part, sizeof part);
}

// ---- the engine ----------------------------------------------------------------------------------------------------------

static int32_t open_model(const swiftlet_open_v1 *options, void **model) {
    static char config[256];
    *model = NULL;
    if (options->config.size < sizeof config) memcpy(config, options->config.data, options->config.size);
    lie = config;
    return SWIFTLET_OK;
}

static int lies(const char *what) {
    return strstr(lie, what) != NULL;
}

static int32_t describe(void *model, swiftlet_model_info_v1 *info) {
    (void)model;
    if (lies("silent")) return SWIFTLET_OK;
    info->capabilities = SWIFTLET_CAN_GENERATE | SWIFTLET_CAN_CHAT | SWIFTLET_CAN_EMBED;
    if (lies("everything")) info->capabilities = UINT32_MAX;
    info->vocabulary = lies("vocabulary") ? 0 : VOCABULARY;
    info->context_tokens = lies("huge") ? UINT32_MAX : lies("none") ? 0 : 4096;
    info->sequence_tokens = info->context_tokens;
    info->max_sequences = lies("sequences") ? UINT32_MAX : lies("none") ? 0 : SEQUENCES;
    info->max_step_tokens = lies("huge") ? UINT32_MAX : lies("none") ? 0 : 256;
    info->embedding_size = lies("huge") ? UINT32_MAX : EMBEDDING;
    info->bytes_per_token = info->model_bytes = lies("huge") ? UINT64_MAX : 0;
    return SWIFTLET_OK;
}

static int32_t put_tokens(swiftlet_bytes text, int32_t *tokens, size_t *count) {
    int32_t status = *count < text.size ? SWIFTLET_TOO_SMALL : SWIFTLET_OK;
    for (size_t i = 0; status == SWIFTLET_OK && i < text.size; i++) tokens[i] = ((const unsigned char *)text.data)[i];
    *count = text.size;
    return status;
}

static void obey(swiftlet_bytes text) {
    act[0] = 0;
    if (text.size < 2 || text.size > sizeof act || *(const char *)text.data != '!') return;
    memcpy(act, (const char *)text.data + 1, text.size - 1);
    act[text.size - 1] = 0;
}

static int32_t tokenize(void *model, swiftlet_bytes text, uint32_t special, uint32_t start, int32_t *tokens, size_t *count) {
    (void)model;
    (void)start;
    // Of a chat it is the second half of one operation.
    if (!special) {
        operations++;
        obey(text);
    }
    hang_when("hang-tokenize");
    if (told("crash-tokenize")) abort();
    int32_t status = put_tokens(text, tokens, count);
    if (status == SWIFTLET_OK && told("token-prompt")) tokens[0] = VOCABULARY;
    if (status == SWIFTLET_OK && told("count-prompt")) *count = SIZE_MAX / 8;
    return status;
}

static int32_t chat_prompt(void *model, const swiftlet_message *messages, size_t message_count, char *text, size_t *length) {
    (void)model;
    operations++;
    swiftlet_bytes last = messages[message_count - 1].content;
    obey(last);
    hang_when("hang-prompt");
    int32_t status = *length < last.size ? SWIFTLET_TOO_SMALL : SWIFTLET_OK;
    if (status == SWIFTLET_OK) memcpy(text, last.data, last.size);
    *length = last.size;
    return status;
}

static int32_t seq_start(void *model, uint32_t sequence, const swiftlet_sampling_v1 *sampling) {
    (void)model;
    (void)sampling;
    operations++;
    hang_when("hang-start");
    if (told("fail-start")) return SWIFTLET_FAILED;
    if (sequence >= SEQUENCES) return SWIFTLET_INVALID;
    said[sequence] = 0;
    return SWIFTLET_OK;
}

static swiftlet_step_output next(const swiftlet_step_item *item) {
    static const char WORDS[] = "ok";
    uint32_t *at = &said[item->sequence % SEQUENCES];
    swiftlet_step_output out = {.sequence = item->sequence};
    if (!item->sample) return out;
    if (*at == 2) out.end = 1;
    else out.picked = (swiftlet_token_logprob){.token = WORDS[*at], .piece = {&WORDS[*at], 1}};
    *at += 1;
    return out;
}

/// Takes memory until the kernel has had enough.
static void leak(void) {
    for (;;) {
        char *block = malloc(1 << 20);
        if (block != NULL) memset(block, 1, 1 << 20);
    }
}

static void misbehave(const swiftlet_step_item *items, swiftlet_step_output *outputs) {
    hang_when("hang-step");
    if (told("crash-step")) *(volatile int *)8 = 1;
    if (told("exit-step")) _exit(0);
    if (told("leak-step")) leak();
    if (told("wrong-sequence")) outputs[0].sequence = 77;
    if (told("token-high")) outputs[0].picked.token = VOCABULARY;
    if (told("token-negative")) outputs[0].picked.token = -5;
    if (told("status-item")) outputs[0].status = -77;
    if (told("large-piece")) outputs[0].picked.piece = (swiftlet_bytes){large, sizeof large};
    if (told("large-size")) outputs[0].picked.piece.size = SIZE_MAX / 2;
    if (told("many-tops")) {
        outputs[0].top_count = 1 << 20;
        outputs[0].top = (const swiftlet_token_logprob *)(const void *)large;
    }
    if (told("forge-garbage")) forge(FRAME_RESULT, FLAG_END, operations, "\0\0\0\0\0\0\0\0garbage", 15);
    if (told("forge-short")) forge(FRAME_RESULT, FLAG_END, operations, "x", 1);
    if (told("forge-unasked")) forge(FRAME_RESULT, FLAG_END, 4000000000u, "\0\0\0\0\0\0\0\0", 8);
    if (told("forge-type")) forge(64, 0, 1, "x", 1);
    if (told("forge-time")) forge_time(items[0].sequence);
    if (told("forge-many")) forge_many();
}

static int32_t step(void *model, const swiftlet_step_item *items, size_t count, swiftlet_step_output *outputs) {
    (void)model;
    operations++;
    for (size_t i = 0; i < count; i++) outputs[i] = next(&items[i]);
    // Fewer than asked: what the worker made of the others is all zero.
    if (told("few") && count > 1) memset(&outputs[1], 0, (count - 1) * sizeof outputs[1]);
    if (act[0] != 0) misbehave(items, outputs);
    return told("status-step") ? 12345 : told("fail-step") ? SWIFTLET_FAILED : SWIFTLET_OK;
}

static int32_t embed(void *model, const int32_t *tokens, size_t count, float *vector) {
    (void)model;
    (void)tokens;
    (void)count;
    operations++;
    hang_when("hang-embed");
    if (told("crash-embed")) __builtin_trap();
    for (int i = 0; i < EMBEDDING; i++) vector[i] = told("infinite") ? 1e38f * 10 : 0.5f;
    return SWIFTLET_OK;
}

SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_backend_v1 TABLE = {
        .size = sizeof TABLE, .version = 1, .open = open_model, .describe = describe, .tokenize = tokenize,
        .chat_prompt = chat_prompt, .seq_start = seq_start, .step = step, .embed = embed};
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = 1, .kind = SWIFTLET_KIND_BACKEND, .name = "hostile", .version = "1", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
