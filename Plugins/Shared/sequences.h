// What a backend remembers of each sequence, and the rules of the contract every step is held to.
#ifndef SWIFTLET_PLUGIN_SEQUENCES_H
#define SWIFTLET_PLUGIN_SEQUENCES_H

#include "swiftlet_backend.h"

#include <stdbool.h>

typedef struct sequence {
    bool started;
    swiftlet_sampling_v1 sampling; ///< without its grammar, which was only lent
    int32_t *tokens; ///< what the sequence holds, in order
    uint32_t count;
    uint32_t room;
} sequence;

typedef struct sequences {
    sequence *all;
    uint32_t count;
    uint32_t max_step_tokens;
    uint32_t vocabulary;
} sequences;

/// Makes `count` sequences, none started. False: no memory.
bool sequences_make(sequences *table, uint32_t count);

/// The started sequence `id`, or NULL.
sequence *sequence_find(const sequences *table, uint32_t id);

/// Starts `id` empty; INVALID with its words in `why` when the id or the sampling breaks the contract.
int32_t sequence_start(sequences *table, uint32_t id, const swiftlet_sampling_v1 *sampling, const char **why);

/// Adds tokens. False: no memory, and nothing was added.
bool sequence_append(sequence *s, const int32_t *tokens, uint32_t count);

/// Forgets the sequence and its memory; an unknown id is fine.
void sequence_drop(sequences *table, uint32_t id);

/// Holds a step to the contract before anything changes; INVALID with its words in `why`.
int32_t step_check(const sequences *table, const swiftlet_step_item *items, size_t item_count, const char **why);

/// A number in 0 ..< 1 that depends on nothing but the seed and the place in the text: which other sequences share
/// a step, and whether this one was saved and restored on the way, can't change what is picked.
/// A place where more than one is needed numbers its draws from 0.
double sequence_random(const sequence *s, uint32_t draw);

/// The grammar of a sampling; empty also when the host is too old to know one. Lent as the sampling is.
swiftlet_bytes sampling_grammar(const swiftlet_sampling_v1 *sampling);

#endif
