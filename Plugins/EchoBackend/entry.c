// The smallest complete backend: where the worker comes in, opens the model and asks what it is.
#include "echo.h"

#include "../Shared/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int32_t echo_refuse(const echo_model *m, int32_t status, const char *why) {
    m->fail((swiftlet_bytes){why, strlen(why)});
    return status;
}

void echo_wait_us(int64_t microseconds) {
    struct timespec left = {microseconds / 1000000, microseconds % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {}
}

static int32_t read_config(echo_model *m, swiftlet_bytes json) {
    echo_config *c = &m->config;
    const config_key keys[] = {
        {"open_us", 0, 60000000, &c->open_us},    {"step_us", 0, 60000000, &c->step_us},
        {"token_us", 0, 60000000, &c->token_us},  {"tokens", 0, 1 << 30, &c->tokens},
        {"fail_at", 0, INT64_MAX, &c->fail_at},   {"crash_at", 0, INT64_MAX, &c->crash_at},
        {"stall_at", 0, INT64_MAX, &c->stall_at}, {"crash_open", 0, 1, &c->crash_open},
        {"token_bytes", 0, 1 << 20, &c->token_bytes},
    };
    char why[512];
    if (config_read(json, keys, sizeof keys / sizeof keys[0], why, sizeof why) == SWIFTLET_OK) return SWIFTLET_OK;
    return echo_refuse(m, SWIFTLET_FAILED, why);
}

static int32_t make_tables(echo_model *m, const swiftlet_open_v1 *options) {
    uint32_t count = options->max_sequences == 0 ? 1 : options->max_sequences;
    m->context_tokens = options->context_tokens == 0 ? 65536 : options->context_tokens;
    m->sequences.max_step_tokens = options->max_step_tokens == 0 ? 512 : options->max_step_tokens;
    m->sequences.vocabulary = VOCABULARY;
    m->top = calloc(count, 20 * sizeof *m->top);
    if (m->top == NULL || !sequences_make(&m->sequences, count)) {
        return echo_refuse(m, SWIFTLET_FAILED, "open: no memory for the sequences; lower max_sequences");
    }
    return SWIFTLET_OK;
}

static int32_t echo_open(const swiftlet_open_v1 *options, void **model) {
    echo_model *m = calloc(1, sizeof *m);
    if (m == NULL) return SWIFTLET_FAILED;
    m->log = options->log;
    m->fail = options->fail;
    int32_t status = read_config(m, options->config);
    if (status == SWIFTLET_OK) status = make_tables(m, options);
    if (status != SWIFTLET_OK) return free(m->top), free(m), status;
    echo_wait_us(m->config.open_us);
    if (m->config.crash_open) abort();
    *model = m;
    return SWIFTLET_OK;
}

static int32_t echo_describe(void *model, swiftlet_model_info_v1 *info) {
    const echo_model *m = model;
    if (info->size < sizeof *info) return echo_refuse(m, SWIFTLET_INVALID, "describe: the table is shorter than version 1");
    info->architecture = (swiftlet_bytes){"echo", 4};
    info->capabilities = SWIFTLET_CAN_GENERATE | SWIFTLET_CAN_CHAT | SWIFTLET_CAN_EMBED | SWIFTLET_CAN_INFER
        | SWIFTLET_CAN_SAVE | SWIFTLET_CAN_COPY_PREFIX | SWIFTLET_CAN_RESTORE_PREFIX;
    info->vocabulary = VOCABULARY;
    info->context_tokens = m->context_tokens;
    info->sequence_tokens = m->context_tokens;
    info->max_sequences = m->sequences.count;
    info->max_step_tokens = m->sequences.max_step_tokens;
    info->embedding_size = EMBEDDING_SIZE;
    info->reserved = 0;
    info->bytes_per_token = sizeof(int32_t) + (uint64_t)m->config.token_bytes;
    info->model_bytes = 0;
    return SWIFTLET_OK;
}

static void echo_close(void *model) {
    echo_model *m = model;
    for (uint32_t i = 0; i < m->sequences.count; i++) sequence_drop(&m->sequences, i);
    free(m->sequences.all);
    free(m->top);
    free(m->lent);
    free(m);
}

static const swiftlet_backend_v1 table = {
    .size = sizeof(swiftlet_backend_v1),
    .version = 1,
    .open = echo_open,
    .describe = echo_describe,
    .tokenize = echo_tokenize,
    .chat_prompt = echo_chat_prompt,
    .seq_start = echo_seq_start,
    .step = echo_step,
    .seq_copy = echo_seq_copy,
    .seq_drop = echo_seq_drop,
    .seq_save = echo_seq_save,
    .seq_restore = echo_seq_restore,
    .embed = echo_embed,
    .infer = echo_infer,
    .close = echo_close,
    .seq_restore_prefix = echo_seq_restore_prefix,
};

static const swiftlet_plugin plugin = {
    .size = sizeof(swiftlet_plugin),
    .abi = SWIFTLET_ABI_VERSION,
    .kind = SWIFTLET_KIND_BACKEND,
    .name = "echo",
    .version = "1.0.0",
    .table = &table,
};

const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    return host_abi >= SWIFTLET_ABI_VERSION ? &plugin : NULL;
}
