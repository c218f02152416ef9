// Language and embedding models in GGUF files, run by llama.cpp; entry.c is where it starts.
//
// Every call of llama.cpp that can end the process (its asserts do) is made only after the arguments were checked here.
#ifndef SWIFTLET_LLAMA_BACKEND_H
#define SWIFTLET_LLAMA_BACKEND_H

#include "../Shared/sequences.h"

#include <ggml-cpu.h>
#include <llama.h>

/// The manifest's `config`.
typedef struct model_config {
    int64_t kv_unified; ///< 1: one store of keys and values for all sequences; 0: an equal part for each
} model_config;

/// What a sequence's answer must spell. Its state hangs on the tokens that the sequence holds, not on what was picked.
typedef struct constraint {
    struct llama_sampler *grammar; ///< NULL: anything goes
    bool begun;                    ///< the first token was picked
    uint32_t from;                 ///< once begun: the place of that token; what is before it is the prompt
    uint32_t missing;              ///< bytes that the character at the end still needs
    uint8_t low, high;             ///< where its next byte lies
} constraint;

typedef struct llama_backend_model {
    model_config config;
    struct llama_model *weights;
    struct llama_context *context;
    struct ggml_threadpool *threads; ///< NULL with one thread
    const struct llama_vocab *vocabulary;
    const char *chat_template; ///< NULL: none that llama.cpp knows
    struct llama_batch batch;
    sequences sequences;
    struct llama_sampler **chains; ///< one for each sequence; NULL: neither penalties nor cuts
    constraint *constraints;       ///< one for each sequence
    swiftlet_bytes *pieces;        ///< one for each token, filled when first asked for
    llama_token_data *candidates;  ///< one for each token, for the sequence that is picking
    float *scores;                 ///< one for each token, in whole blocks, for the sequence that is picking
    swiftlet_token_logprob *top;   ///< 20 for each sequence
    char architecture[64];
    bool embeds;
    bool cuts; ///< llama.cpp can forget a sequence's last tokens
    uint32_t sequence_tokens;
    uint32_t threads_count;
    unsigned char *state; ///< what seq_save lent
    size_t state_room;
} llama_backend_model;

/// Gives formatted words for a failure to the host and returns `status`. Usable once `hear` was called.
int32_t refuse(int32_t status, const char *format, ...) __attribute__((format(printf, 2, 3)));

// log.c
/// Takes llama.cpp's log: warnings and worse go to the host, the last error is kept for `refuse`.
void hear(const swiftlet_open_v1 *options);
/// The last error line of llama.cpp, or "".
const char *last_error(void);
/// While deaf, nothing goes to the host: for calls whose failure is expected.
void set_deaf(bool deaf);

// load.c
int32_t model_open(const swiftlet_open_v1 *options, void **model);
void model_close(void *model);

// budget.c
/// Keys and values of one token over all layers, 2 bytes a number.
uint64_t bytes_per_token(const llama_backend_model *m);
/// Refuses what would not fit into `budget` bytes of the device; `m` has weights of a dry run.
int32_t check_device_budget(const llama_backend_model *m, const struct llama_context_params *params, uint64_t budget);

// text.c
int32_t model_tokenize(void *model, swiftlet_bytes text, uint32_t special, uint32_t start, int32_t *tokens, size_t *count);
int32_t model_chat_prompt(void *model, const swiftlet_message *messages, size_t message_count, char *text, size_t *length);
/// The bytes a token stands for; they live as long as the model.
swiftlet_bytes piece_of(llama_backend_model *m, llama_token token);

// sequences.c
int32_t model_seq_start(void *model, uint32_t id, const swiftlet_sampling_v1 *sampling);
int32_t model_seq_copy(void *model, uint32_t from, uint32_t to, uint32_t tokens);
int32_t model_seq_drop(void *model, uint32_t id);
int32_t model_seq_save(void *model, uint32_t id, swiftlet_bytes *state);
int32_t model_seq_restore(void *model, uint32_t id, swiftlet_bytes state);
int32_t model_seq_restore_prefix(void *model, uint32_t id, swiftlet_bytes state, uint32_t tokens);

// step.c
int32_t model_step(void *model, const swiftlet_step_item *items, size_t item_count, swiftlet_step_output *outputs);

// pick.c
enum { PICK_BLOCK = 512 }; ///< scores that are looked at together
/// Picks what follows the sequence's tokens from the logits of batch entry `entry`.
int32_t pick_token(llama_backend_model *m, uint32_t id, int32_t entry, swiftlet_step_output *output);

// grammar.c
/// Gives a started sequence its grammar. Returns OK, or what `refuse` returned.
int32_t grammar_start(llama_backend_model *m, uint32_t id, swiftlet_bytes text);
void grammar_drop(llama_backend_model *m, uint32_t id);
/// A token is about to be picked: what the sequence holds by now is its prompt, if this is the first.
void grammar_begin(llama_backend_model *m, uint32_t id);
/// Whether the answer may go on with `token`.
bool grammar_allows(llama_backend_model *m, uint32_t id, llama_token token);
/// Keeps only the candidates that the answer may go on with.
void grammar_cut(llama_backend_model *m, uint32_t id, llama_token_data_array *candidates);
/// The sequence now holds `token` at `place`. False: the grammar does not allow it there.
bool grammar_feed(llama_backend_model *m, uint32_t id, uint32_t place, llama_token token);

// embed.c
int32_t model_embed(void *model, const int32_t *tokens, size_t count, float *vector);

#endif
