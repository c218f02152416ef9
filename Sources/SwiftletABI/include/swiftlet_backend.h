// What a model engine offers: it runs exactly the step that the host planned; swiftlet_abi.h comes first.
//
// The host decides which sequences advance by how many tokens in a step, so fairness, quotas, priorities and
// accounting live in the host, once, for every engine. One process holds one model. All calls come on one thread.
#ifndef SWIFTLET_BACKEND_H
#define SWIFTLET_BACKEND_H

#include "swiftlet_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What a model can do; bits of `swiftlet_model_info_v1.capabilities`.
enum {
    SWIFTLET_CAN_GENERATE = 1u << 0,
    SWIFTLET_CAN_CHAT = 1u << 1,
    SWIFTLET_CAN_EMBED = 1u << 2,
    SWIFTLET_CAN_INFER = 1u << 3,
    SWIFTLET_CAN_SAVE = 1u << 4,
    SWIFTLET_CAN_COPY_PREFIX = 1u << 5,
    SWIFTLET_CAN_GRAMMAR = 1u << 6,
    SWIFTLET_CAN_RESTORE_PREFIX = 1u << 7,
};

/// How to open a model. Lent for the call.
typedef struct swiftlet_open_v1 {
    uint32_t size;    ///< sizeof(swiftlet_open_v1) of the host
    uint32_t version; ///< 1
    swiftlet_bytes model_path;  ///< absolute path of the model file inside the sandbox, NUL-terminated; empty: none
    swiftlet_bytes config;      ///< the manifest's `config` object as JSON
    uint64_t memory_budget;     ///< bytes of RAM the process may use; 0 = not limited
    uint64_t device_budget;     ///< bytes of device memory the process may use; 0 = no device
    uint32_t context_tokens;    ///< tokens of context over all sequences; 0 = the plugin's choice
    uint32_t max_sequences;     ///< sequences that may live at once; ids are 0 … max_sequences-1
    uint32_t max_step_tokens;   ///< tokens one step may hold over all items
    uint32_t threads;           ///< compute threads; 0 = the plugin's choice (1 where cores are shared)
    /// Writes one line to the model's log.
    void (*SWIFTLET_NONNULL log)(int32_t level, swiftlet_bytes text);
    /// Gives the words for the failure that a function of the backend is about to return.
    void (*SWIFTLET_NONNULL fail)(swiftlet_bytes text);
} swiftlet_open_v1;

/// What an open model is. Filled by `describe`; its text lives as long as the model.
typedef struct swiftlet_model_info_v1 {
    uint32_t size;    ///< set by the caller to sizeof(swiftlet_model_info_v1)
    uint32_t version; ///< set by the caller to 1
    swiftlet_bytes architecture;    ///< "llama", "bert", "echo", …
    uint32_t capabilities;          ///< SWIFTLET_CAN_* bits
    uint32_t vocabulary;            ///< number of tokens
    uint32_t context_tokens;        ///< tokens over all sequences, as really allocated
    uint32_t sequence_tokens;       ///< tokens one sequence may hold
    uint32_t max_sequences;         ///< as really allocated
    uint32_t max_step_tokens;       ///< as really allocated
    uint32_t embedding_size;        ///< floats in one embedding; 0 = none
    uint32_t reserved;              ///< 0
    uint64_t bytes_per_token;       ///< bytes of key/value memory one token takes
    uint64_t model_bytes;           ///< bytes of weights
} swiftlet_model_info_v1;

/// One turn of a chat.
typedef struct swiftlet_message {
    swiftlet_bytes role;    ///< "system", "user", "assistant"
    swiftlet_bytes content; ///< UTF-8
} swiftlet_message;

/// How a sequence picks its next token. Fixed by `seq_start` for the life of the sequence.
typedef struct swiftlet_sampling_v1 {
    uint32_t size;    ///< sizeof(swiftlet_sampling_v1) of the host
    uint32_t version; ///< 1
    uint64_t seed;    ///< the same seed, prompt and settings pick the same tokens in an otherwise empty model
    float temperature;       ///< 0 = always the likeliest token
    float top_p;             ///< 0 < p ≤ 1; 1 = off
    float min_p;             ///< 0 ≤ p < 1; 0 = off
    int32_t top_k;           ///< 0 = off
    float repeat_penalty;    ///< 1 = off
    float frequency_penalty; ///< 0 = off
    float presence_penalty;  ///< 0 = off
    int32_t penalty_window;  ///< how many of the last tokens the penalties look at; 0 = off, -1 = all
    uint32_t top_logprobs;   ///< 0 … 20 likeliest tokens to report with each token; see `want_logprobs`
    uint32_t want_logprobs;  ///< 1: report the log probability of each picked token
    /// What the picked tokens must spell, in llama.cpp's grammar notation (GBNF) with the start symbol `root`; empty:
    /// anything. Lent for the call; beyond `size` of an older host. Only with SWIFTLET_CAN_GRAMMAR; else INVALID.
    swiftlet_bytes grammar;
} swiftlet_sampling_v1;
/// Bytes of a swiftlet_sampling_v1 of hosts that knew no grammar.
#define SWIFTLET_SAMPLING_V1_FIRST_SIZE 56u

/// The part of a step that advances one sequence. Tokens of all items in a step: at most `max_step_tokens`.
typedef struct swiftlet_step_item {
    uint32_t sequence; ///< a started sequence; at most one item a sequence in a step
    uint32_t position; ///< position of the first token; equals the number of tokens the sequence holds
    const int32_t *SWIFTLET_NONNULL tokens;
    uint32_t count;  ///< 1 or more
    uint32_t sample; ///< 1: pick the token that follows the last one
} swiftlet_step_item;

/// One likely token.
typedef struct swiftlet_token_logprob {
    int32_t token;
    float logprob;        ///< natural logarithm, from the model's own distribution before sampling settings
    swiftlet_bytes piece; ///< the token's bytes; may end inside a UTF-8 character
} swiftlet_token_logprob;

/// What one item of a step came to. Its views live until the next call.
typedef struct swiftlet_step_output {
    uint32_t sequence;
    int32_t status; ///< OK; LIMIT: no room for this sequence's tokens, it did not advance; else FAILED, it is dropped
    uint32_t end;   ///< 1: the picked token ends the generation (and has no piece)
    uint32_t top_count;
    swiftlet_token_logprob picked; ///< valid when the item asked to sample
    const swiftlet_token_logprob *SWIFTLET_NULLABLE top; ///< likeliest first
} swiftlet_step_output;

/// Element types of tensors; numbers are never reused.
enum {
    SWIFTLET_BOOL = 1, SWIFTLET_U8, SWIFTLET_U16, SWIFTLET_U32, SWIFTLET_U64, SWIFTLET_I8, SWIFTLET_I16, SWIFTLET_I32,
    SWIFTLET_I64, SWIFTLET_F16, SWIFTLET_BF16, SWIFTLET_F32, SWIFTLET_F64, SWIFTLET_STRING,
};

/// A dense row-major tensor that somebody else owns.
typedef struct swiftlet_tensor {
    swiftlet_bytes name;
    const int64_t *SWIFTLET_NULLABLE shape; ///< `rank` extents
    uint32_t rank;
    uint32_t type; ///< element type
    swiftlet_bytes data; ///< little-endian, aligned to 8; a string is its length in 4 bytes, then its bytes
} swiftlet_tensor;

/// What a backend plugin offers. A function that is NULL is not offered. `model` is what `open` stored.
typedef struct swiftlet_backend_v1 {
    uint32_t size;    ///< sizeof(swiftlet_backend_v1) of the header the plugin was built with
    uint32_t version; ///< 1

    /// Loads the model. Called once. Returns OK, or FAILED after `fail`.
    int32_t (*SWIFTLET_NONNULL open)(
        const swiftlet_open_v1 *SWIFTLET_NONNULL options, void *SWIFTLET_NULLABLE *SWIFTLET_NONNULL model);

    /// Says what the open model is.
    int32_t (*SWIFTLET_NONNULL describe)(void *SWIFTLET_NULLABLE model, swiftlet_model_info_v1 *SWIFTLET_NONNULL info);

    /// Turns text into tokens. `*count` holds the room in `tokens` on entry and the number of tokens on return.
    /// `special` 1: text like "<|im_start|>" means its token; 0: it is plain text. `start` 1: add what the model
    /// wants before a text. Returns OK, TOO_SMALL or FAILED.
    int32_t (*SWIFTLET_NULLABLE tokenize)(
        void *SWIFTLET_NULLABLE model, swiftlet_bytes text, uint32_t special, uint32_t start,
        int32_t *SWIFTLET_NULLABLE tokens, size_t *SWIFTLET_NONNULL count);

    /// Writes a chat as the prompt this model was trained on, ready for the assistant's turn. `*length` holds the
    /// room in `text` on entry and the length on return. Returns OK, TOO_SMALL or FAILED.
    int32_t (*SWIFTLET_NULLABLE chat_prompt)(
        void *SWIFTLET_NULLABLE model, const swiftlet_message *SWIFTLET_NONNULL messages, size_t message_count,
        char *SWIFTLET_NULLABLE text, size_t *SWIFTLET_NONNULL length);

    /// Starts an empty sequence with its way to pick tokens. Returns OK, INVALID (id in use or too high) or FAILED.
    int32_t (*SWIFTLET_NULLABLE seq_start)(
        void *SWIFTLET_NULLABLE model, uint32_t sequence, const swiftlet_sampling_v1 *SWIFTLET_NONNULL sampling);

    /// Advances every item's sequence by its tokens, all in one pass of the engine. Stores one output an item, in
    /// their order. Returns OK when `outputs` is valid; INVALID: an item breaks the rules and nothing changed; or
    /// FAILED: every sequence in the step is dropped.
    int32_t (*SWIFTLET_NULLABLE step)(
        void *SWIFTLET_NULLABLE model, const swiftlet_step_item *SWIFTLET_NONNULL items, size_t item_count,
        swiftlet_step_output *SWIFTLET_NONNULL outputs);

    /// Makes the empty sequence `to` hold the first `tokens` tokens of `from`. Returns OK, UNSUPPORTED or FAILED.
    int32_t (*SWIFTLET_NULLABLE seq_copy)(void *SWIFTLET_NULLABLE model, uint32_t from, uint32_t to, uint32_t tokens);

    /// Ends a sequence and frees what it held; an unknown id is fine.
    int32_t (*SWIFTLET_NULLABLE seq_drop)(void *SWIFTLET_NULLABLE model, uint32_t sequence);

    /// Lends the state of a sequence as bytes, valid until the next call. Returns OK, UNSUPPORTED or FAILED.
    int32_t (*SWIFTLET_NULLABLE seq_save)(
        void *SWIFTLET_NULLABLE model, uint32_t sequence, swiftlet_bytes *SWIFTLET_NONNULL state);

    /// Gives the empty sequence the state that `seq_save` lent. Returns OK, UNSUPPORTED or FAILED.
    int32_t (*SWIFTLET_NULLABLE seq_restore)(void *SWIFTLET_NULLABLE model, uint32_t sequence, swiftlet_bytes state);

    /// Embeds one text of tokens into `vector` (`embedding_size` floats, length 1). Returns OK, LIMIT or FAILED.
    int32_t (*SWIFTLET_NULLABLE embed)(
        void *SWIFTLET_NULLABLE model, const int32_t *SWIFTLET_NONNULL tokens, size_t count,
        float *SWIFTLET_NONNULL vector);

    /// Runs the model on named tensors; `*outputs` lends `*output_count` tensors until the next call. Returns OK, INVALID
    /// (a name, type, shape or size that the model does not take; nothing ran) or FAILED.
    int32_t (*SWIFTLET_NULLABLE infer)(
        void *SWIFTLET_NULLABLE model, const swiftlet_tensor *SWIFTLET_NONNULL inputs, size_t input_count,
        const swiftlet_tensor *SWIFTLET_NULLABLE *SWIFTLET_NONNULL outputs, size_t *SWIFTLET_NONNULL output_count);

    /// Called once before the process ends in an orderly way. May be NULL.
    void (*SWIFTLET_NULLABLE close)(void *SWIFTLET_NULLABLE model);

    /// Lends what `infer` takes and gives: names, types and shapes, -1 for any extent, and no data. They live as long as
    /// the model. Whoever offers `infer` offers this.
    int32_t (*SWIFTLET_NULLABLE tensors)(
        void *SWIFTLET_NULLABLE model, const swiftlet_tensor *SWIFTLET_NULLABLE *SWIFTLET_NONNULL inputs,
        size_t *SWIFTLET_NONNULL input_count, const swiftlet_tensor *SWIFTLET_NULLABLE *SWIFTLET_NONNULL outputs,
        size_t *SWIFTLET_NONNULL output_count);

    /// Makes the empty sequence hold the first `tokens` tokens of a state that `seq_save` lent, also of another sequence and
    /// in an earlier process: as if it had been fed them itself. Returns OK, UNSUPPORTED, INVALID or FAILED; whatever it
    /// holds after a failure, the host drops.
    int32_t (*SWIFTLET_NULLABLE seq_restore_prefix)(
        void *SWIFTLET_NULLABLE model, uint32_t sequence, swiftlet_bytes state, uint32_t tokens);
} swiftlet_backend_v1;

#ifdef __cplusplus
}
#endif
#endif
