// What a model will take of a device, told before a byte of it is loaded there: refusing beats being ended half-way.
//
// Weights and sizes come from a dry run of llama.cpp's loader; its own sum over a context is C++ and not installed, so
// keys, values and computing are worked out here, as its graphs need them with flash attention.
#include "llama_backend.h"

#include <ggml-backend.h>
#include <stdio.h>
#include <stdlib.h>

/// A context of CUDA and its kernels: nobody tells before it is there, and the driver counts it.
#define DRIVER_BYTES (512ull << 20)

static uint64_t number_in_header(const struct llama_model *weights, const char *architecture, const char *name, uint64_t otherwise) {
    char key[128], value[32];
    snprintf(key, sizeof key, "%s.%s", architecture, name);
    return llama_model_meta_val_str(weights, key, value, sizeof value) > 0 ? strtoull(value, NULL, 10) : otherwise;
}

uint64_t bytes_per_token(const llama_backend_model *m) {
    uint64_t heads = (uint64_t)llama_model_n_head(m->weights);
    if (heads == 0 || m->embeds) return 0;
    uint64_t head_size = (uint64_t)llama_model_n_embd(m->weights) / heads;
    uint64_t key = number_in_header(m->weights, m->architecture, "attention.key_length", head_size);
    uint64_t value = number_in_header(m->weights, m->architecture, "attention.value_length", head_size);
    return (uint64_t)llama_model_n_layer(m->weights) * (uint64_t)llama_model_n_head_kv(m->weights) * (key + value) * 2;
}

/// The widest places of a graph: a block's activations for each token of a piece, the mask, and the logits.
static uint64_t computing(const llama_backend_model *m, const struct llama_context_params *params) {
    uint64_t width = (uint64_t)llama_model_n_embd(m->weights);
    uint64_t inner = number_in_header(m->weights, m->architecture, "feed_forward_length", 4 * width);
    uint64_t outputs = m->embeds ? 0 : params->n_seq_max;
    return (uint64_t)params->n_ubatch * ((8 * width + 3 * inner) * 4 + (uint64_t)params->n_ctx * 6) +
        outputs * (uint64_t)llama_vocab_n_tokens(m->vocabulary) * 4;
}

static bool has_device(void) {
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) != NULL || ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU) != NULL;
}

int32_t check_device_budget(const llama_backend_model *m, const struct llama_context_params *params, uint64_t budget) {
    uint64_t weights = llama_model_size(m->weights), kept = bytes_per_token(m) * params->n_ctx, work = computing(m, params);
    uint64_t needed = weights + kept + work + DRIVER_BYTES;
#define MB(bytes) ((unsigned long long)((bytes) + (1u << 20) - 1) >> 20)
    if (needed > budget)
        return refuse(SWIFTLET_FAILED,
            "open: the model needs about %llu MB of its device (weights %llu, keys and values %llu, computing %llu, the driver %llu) "
            "and its budget is %llu MB; raise limits.device_memory_mb, or lower context_tokens or max_step_tokens",
            MB(needed), MB(weights), MB(kept), MB(work), MB(DRIVER_BYTES), (unsigned long long)(budget >> 20));
    if (has_device()) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED,
        "open: the manifest gives this model a device, and this build of llama.cpp finds none that it can compute on; "
        "deploy a build for the device, or remove `device`");
}
