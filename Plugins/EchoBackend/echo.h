// The model that says back what it was told: bytes are tokens, a few specials mark a chat; entry.c is where it starts.
//
// What comes next is a function of the tokens alone: after ECHO it is the text before it, a token at a time, then
// END. Without an ECHO the next token is ECHO. In a chat the text is the last finished turn.
#ifndef SWIFTLET_ECHO_H
#define SWIFTLET_ECHO_H

#include "../Shared/sequences.h"

enum { TOKEN_END = 256, TOKEN_ROLE, TOKEN_TURN, TOKEN_ECHO, VOCABULARY };
enum { EMBEDDING_SIZE = 64 };

/// The manifest's `config`; what makes Echo a test double. Steps are counted from 1; 0 = never.
typedef struct echo_config {
    int64_t open_us;  ///< how long open takes
    int64_t step_us;  ///< how long a step takes …
    int64_t token_us; ///< … and what each of its tokens adds
    int64_t token_bytes; ///< zeros that each token adds to a saved state
    int64_t tokens;   ///< say the text again and again, and end after exactly this many tokens; 0 = say it once
    int64_t fail_at;  ///< this step returns FAILED
    int64_t crash_at; ///< this step ends the process by SIGABRT
    int64_t crash_open; ///< 1: opening the model ends it like that
    int64_t stall_at; ///< this step never returns
} echo_config;

typedef struct echo_model {
    echo_config config;
    sequences sequences;
    uint32_t context_tokens;
    uint32_t used_tokens; ///< over all sequences
    uint64_t steps;
    swiftlet_token_logprob *top; ///< 20 for each sequence
    unsigned char *lent;         ///< what the last call lent
    void (*log)(int32_t level, swiftlet_bytes text);
    void (*fail)(swiftlet_bytes text);
} echo_model;

/// Gives `why` to the host and returns `status`.
int32_t echo_refuse(const echo_model *m, int32_t status, const char *why);
/// The bytes a token stands for; specials have none.
swiftlet_bytes echo_piece(int32_t token);
/// Lets the time pass that a real model would compute for.
void echo_wait_us(int64_t microseconds);

int32_t echo_tokenize(void *model, swiftlet_bytes text, uint32_t special, uint32_t start, int32_t *tokens, size_t *count);
int32_t echo_chat_prompt(void *model, const swiftlet_message *messages, size_t message_count, char *text, size_t *length);

int32_t echo_seq_start(void *model, uint32_t id, const swiftlet_sampling_v1 *sampling);
int32_t echo_seq_copy(void *model, uint32_t from, uint32_t to, uint32_t tokens);
int32_t echo_seq_drop(void *model, uint32_t id);
int32_t echo_seq_save(void *model, uint32_t id, swiftlet_bytes *state);
int32_t echo_seq_restore(void *model, uint32_t id, swiftlet_bytes state);
int32_t echo_seq_restore_prefix(void *model, uint32_t id, swiftlet_bytes state, uint32_t tokens);

int32_t echo_step(void *model, const swiftlet_step_item *items, size_t item_count, swiftlet_step_output *outputs);
/// Picks what follows the sequence's tokens.
void echo_pick(const echo_model *m, const sequence *s, swiftlet_token_logprob *top, swiftlet_step_output *output);

int32_t echo_embed(void *model, const int32_t *tokens, size_t count, float *vector);
int32_t echo_infer(void *model, const swiftlet_tensor *inputs, size_t input_count, const swiftlet_tensor **outputs, size_t *output_count);

#endif
