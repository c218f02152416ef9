// Opening a model file, with the sizes that the host asked for, and giving everything back.
#include "llama_backend.h"

#include "../Shared/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// Looks at the file before llama.cpp does, because its own words for a bad file name neither cause nor remedy.
static int32_t check_file(const char *path) {
    unsigned char magic[4] = {0};
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return refuse(SWIFTLET_FAILED, "open model file %s: %s; put the file that the manifest's `model` names beside it",
            path, strerror(errno));
    }
    size_t got = fread(magic, 1, sizeof magic, file);
    fclose(file);
    if (got == sizeof magic && memcmp(magic, "GGUF", 4) == 0) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED, "open model file %s: not a GGUF file; give a model converted to GGUF", path);
}

static int32_t read_config(llama_backend_model *m, const swiftlet_open_v1 *options) {
    // Unified, because tenants then share one store: a long chat may take what short ones leave, and a prefix is copied
    // by reference. Parts of their own would be faster from 8 sequences on, but cap each at context / sequences.
    m->config.kv_unified = 1;
    const config_key keys[] = {{"kv_unified", 0, 1, &m->config.kv_unified}};
    char why[512];
    if (config_read(options->config, keys, 1, why, sizeof why) == SWIFTLET_OK) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED, "%s", why);
}

/// Embedding models say in their header how a text's vectors become one.
static bool has_pooling(const llama_backend_model *m) {
    char key[96], value[16];
    snprintf(key, sizeof key, "%s.pooling_type", m->architecture);
    return llama_model_meta_val_str(m->weights, key, value, sizeof value) > 0 && strcmp(value, "0") != 0;
}

/// `dry`: headers only, nothing is allocated.
static int32_t load_weights(llama_backend_model *m, const swiftlet_open_v1 *options, bool dry) {
    struct llama_model_params params = llama_model_default_params();
    // Nowhere in a dry run: even an empty buffer would open the device.
    params.n_gpu_layers = options->device_budget > 0 && !dry ? -1 : 0;
    params.no_alloc = dry;
    if (dry) params.load_mode = LLAMA_LOAD_MODE_NONE;
    const char *path = options->model_path.data;
    m->weights = llama_model_load_from_file(path, params);
    if (m->weights == NULL) {
        return refuse(SWIFTLET_FAILED, "load model file %s: %s; the file may be cut short: fetch it again", path,
            last_error()[0] != 0 ? last_error() : "llama.cpp gave no reason");
    }
    if (llama_model_meta_val_str(m->weights, "general.architecture", m->architecture, sizeof m->architecture) <= 0) {
        snprintf(m->architecture, sizeof m->architecture, "unknown");
    }
    m->vocabulary = llama_model_get_vocab(m->weights);
    m->sequences.vocabulary = (uint32_t)llama_vocab_n_tokens(m->vocabulary);
    m->embeds = has_pooling(m);
    return SWIFTLET_OK;
}

static struct llama_context_params context_params(const llama_backend_model *m, const swiftlet_open_v1 *options) {
    struct llama_context_params params = llama_context_default_params();
    uint32_t trained = (uint32_t)llama_model_n_ctx_train(m->weights);
    uint32_t step = options->max_step_tokens == 0 ? 512 : options->max_step_tokens;
    params.n_ctx = options->context_tokens == 0 ? trained : options->context_tokens;
    params.n_seq_max = m->embeds || options->max_sequences == 0 ? 1 : options->max_sequences;
    params.n_batch = step < params.n_ctx ? step : params.n_ctx;
    // What attends to a whole text at once must have it in one piece; the rest computes in pieces that fit the cache.
    params.n_ubatch = m->embeds || params.n_batch < 512 ? params.n_batch : 512;
    if (!m->embeds) params.n_outputs_max = params.n_seq_max; // one token picked for each sequence: 100 MB less logits
    params.n_threads = (int32_t)m->threads_count;
    params.n_threads_batch = (int32_t)m->threads_count;
    params.embeddings = m->embeds;
    params.kv_unified = m->config.kv_unified != 0;
    params.no_perf = true;
    return params;
}

/// Before a byte goes to the device.
static int32_t check_device(llama_backend_model *m, const swiftlet_open_v1 *options) {
    if (options->device_budget == 0) return SWIFTLET_OK;
    int32_t status = load_weights(m, options, true);
    if (status != SWIFTLET_OK) return status;
    struct llama_context_params params = context_params(m, options);
    status = check_device_budget(m, &params, options->device_budget);
    llama_model_free(m->weights);
    m->weights = NULL;
    return status;
}

static int32_t make_context(llama_backend_model *m, const swiftlet_open_v1 *options) {
    struct llama_context_params params = context_params(m, options);
    if (params.n_seq_max > llama_max_parallel_sequences()) {
        return refuse(SWIFTLET_FAILED, "open: max_sequences is %u and llama.cpp holds at most %zu; lower it", params.n_seq_max,
            llama_max_parallel_sequences());
    }
    m->context = llama_init_from_model(m->weights, params);
    if (m->context == NULL) {
        return refuse(SWIFTLET_FAILED, "open: no context of %u tokens: %s; lower context_tokens or raise limits.memory_mb",
            params.n_ctx, last_error()[0] != 0 ? last_error() : "not enough memory");
    }
    m->sequences.max_step_tokens = llama_n_batch(m->context);
    uint32_t trained = (uint32_t)llama_model_n_ctx_train(m->weights);
    m->sequence_tokens = llama_n_ctx_seq(m->context);
    if (trained > 0 && trained < m->sequence_tokens) m->sequence_tokens = trained;
    // A recurrent state is of all tokens or of none, and a sliding window has forgotten what a shorter text needs.
    m->cuts = !m->embeds && !llama_model_is_recurrent(m->weights) && !llama_model_is_hybrid(m->weights)
        && llama_model_n_swa(m->weights) == 0;
    return SWIFTLET_OK;
}

/// Without a pool of its own llama.cpp would start and end the threads in every step.
static int32_t make_threads(llama_backend_model *m) {
    if (m->threads_count == 1) return SWIFTLET_OK;
    struct ggml_threadpool_params params = ggml_threadpool_params_default((int)m->threads_count);
    params.poll = 1; // spins for some milliseconds behind a step: the next one mostly comes sooner, and waking costs as much as a token may
    m->threads = ggml_threadpool_new(&params);
    if (m->threads == NULL) return refuse(SWIFTLET_FAILED, "open: no %u threads; lower limits.threads", m->threads_count);
    llama_attach_threadpool(m->context, m->threads, m->threads);
    return SWIFTLET_OK;
}

static bool knows_template(const char *text) {
    const llama_chat_message hello = {"user", "hello"};
    return text != NULL && llama_chat_apply_template(text, &hello, 1, true, NULL, 0) > 0;
}

static int32_t make_tables(llama_backend_model *m) {
    uint32_t count = llama_n_seq_max(m->context), words = m->sequences.vocabulary;
    const char *chat = llama_model_chat_template(m->weights, NULL);
    m->chat_template = knows_template(chat) ? chat : NULL;
    m->chains = calloc(count, sizeof(struct llama_sampler *));
    m->constraints = calloc(count, sizeof(constraint));
    m->top = calloc(count, 20 * sizeof(swiftlet_token_logprob));
    m->pieces = calloc(words, sizeof(swiftlet_bytes));
    m->candidates = calloc(words, sizeof(llama_token_data));
    m->scores = calloc(words / PICK_BLOCK + 1, PICK_BLOCK * sizeof(float));
    m->batch = llama_batch_init((int32_t)m->sequences.max_step_tokens, 0, 1);
    bool good = m->chains && m->constraints && m->top && m->pieces && m->candidates && m->scores;
    if (good && sequences_make(&m->sequences, count)) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED, "open: no memory for the tables of %u sequences; raise limits.memory_mb", count);
}

/// With the first step a driver loads kernels, opens its nodes again and starts threads: it shall, before the sandbox closes.
static int32_t warm_up(llama_backend_model *m, const swiftlet_open_v1 *options) {
    if (options->device_budget == 0) return SWIFTLET_OK;
    llama_memory_t memory = llama_get_memory(m->context);
    m->batch.n_tokens = 1;
    m->batch.token[0] = 0;
    m->batch.pos[0] = 0;
    m->batch.n_seq_id[0] = 1;
    m->batch.seq_id[0][0] = 0;
    m->batch.logits[0] = 1;
    int32_t result = memory == NULL ? llama_encode(m->context, m->batch) : llama_decode(m->context, m->batch);
    if (memory != NULL) llama_memory_clear(memory, true);
    if (result == 0) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED, "open: the first step on the device gave %d: %s; raise limits.device_memory_mb, or look at the "
        "driver's own log", result, last_error()[0] != 0 ? last_error() : "llama.cpp gave no reason");
}

/// Weights and keys and values are most of what a model takes; refusing early beats being killed half-way.
static int32_t check_budget(const llama_backend_model *m, const swiftlet_open_v1 *options) {
    uint64_t needed = llama_model_size(m->weights);
    if (options->memory_budget == 0 || options->device_budget > 0 || needed <= options->memory_budget) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED, "open: the weights take %llu MB and the budget is %llu MB; raise limits.memory_mb",
        (unsigned long long)(needed >> 20), (unsigned long long)(options->memory_budget >> 20));
}

int32_t model_open(const swiftlet_open_v1 *options, void **model) {
    hear(options);
    if (options->model_path.size == 0) return refuse(SWIFTLET_FAILED, "open: the manifest names no `model`; name a GGUF file");
    llama_backend_model *m = calloc(1, sizeof *m);
    if (m == NULL) return refuse(SWIFTLET_FAILED, "open: no memory; raise limits.memory_mb");
    m->threads_count = options->threads == 0 ? 1 : options->threads;
    int32_t status = read_config(m, options);
    if (status == SWIFTLET_OK) status = check_file(options->model_path.data);
    if (status == SWIFTLET_OK) llama_backend_init();
    if (status == SWIFTLET_OK) status = check_device(m, options);
    if (status == SWIFTLET_OK) status = load_weights(m, options, false);
    if (status == SWIFTLET_OK) status = check_budget(m, options);
    if (status == SWIFTLET_OK) status = make_context(m, options);
    if (status == SWIFTLET_OK) status = make_threads(m);
    if (status == SWIFTLET_OK) status = make_tables(m);
    if (status == SWIFTLET_OK) status = warm_up(m, options);
    if (status != SWIFTLET_OK) return model_close(m), status;
    *model = m;
    return SWIFTLET_OK;
}

void model_close(void *model) {
    llama_backend_model *m = model;
    for (uint32_t i = 0; i < m->sequences.count; i++) model_seq_drop(m, i);
    if (m->batch.token != NULL) llama_batch_free(m->batch);
    if (m->context != NULL) llama_free(m->context);
    if (m->threads != NULL) ggml_threadpool_free(m->threads);
    if (m->weights != NULL) llama_model_free(m->weights);
    for (uint32_t i = 0; m->pieces != NULL && i < m->sequences.vocabulary; i++) free((void *)m->pieces[i].data);
    free(m->sequences.all);
    free(m->pieces);
    free(m->candidates);
    free(m->scores);
    free(m->chains);
    free(m->constraints);
    free(m->top);
    free(m->state);
    free(m);
}
