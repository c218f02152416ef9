// Where the worker comes in: the table of functions, and what the open model is.
#include "llama_backend.h"

static uint32_t capabilities(const llama_backend_model *m) {
    if (m->embeds) return SWIFTLET_CAN_EMBED;
    return SWIFTLET_CAN_GENERATE | SWIFTLET_CAN_SAVE | SWIFTLET_CAN_GRAMMAR | (m->chat_template != NULL ? SWIFTLET_CAN_CHAT : 0)
        | (m->cuts ? SWIFTLET_CAN_COPY_PREFIX | SWIFTLET_CAN_RESTORE_PREFIX : 0);
}

static int32_t model_describe(void *model, swiftlet_model_info_v1 *info) {
    const llama_backend_model *m = model;
    if (info->size < sizeof *info) return refuse(SWIFTLET_INVALID, "describe: the table is shorter than version 1");
    info->architecture = (swiftlet_bytes){m->architecture, __builtin_strlen(m->architecture)};
    info->capabilities = capabilities(m);
    info->vocabulary = m->sequences.vocabulary;
    info->context_tokens = llama_n_ctx(m->context);
    info->sequence_tokens = m->sequence_tokens;
    info->max_sequences = m->sequences.count;
    info->max_step_tokens = m->sequences.max_step_tokens;
    info->embedding_size = m->embeds ? (uint32_t)llama_model_n_embd_out(m->weights) : 0;
    info->reserved = 0;
    info->bytes_per_token = bytes_per_token(m);
    info->model_bytes = llama_model_size(m->weights);
    return SWIFTLET_OK;
}

static const swiftlet_backend_v1 table = {
    .size = sizeof(swiftlet_backend_v1),
    .version = 1,
    .open = model_open,
    .describe = model_describe,
    .tokenize = model_tokenize,
    .chat_prompt = model_chat_prompt,
    .seq_start = model_seq_start,
    .step = model_step,
    .seq_copy = model_seq_copy,
    .seq_drop = model_seq_drop,
    .seq_save = model_seq_save,
    .seq_restore = model_seq_restore,
    .embed = model_embed,
    .infer = NULL,
    .close = model_close,
    .seq_restore_prefix = model_seq_restore_prefix,
};

static const swiftlet_plugin plugin = {
    .size = sizeof(swiftlet_plugin),
    .abi = SWIFTLET_ABI_VERSION,
    .kind = SWIFTLET_KIND_BACKEND,
    .name = "llama",
    .version = "1.0.0",
    .table = &table,
};

const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    return host_abi >= SWIFTLET_ABI_VERSION ? &plugin : NULL;
}
