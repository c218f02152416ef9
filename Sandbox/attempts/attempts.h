// The forbidden acts: each tries one thing and answers what the kernel said; the tables are at the end of the files beside.
#ifndef SWIFTLET_ATTEMPTS_H
#define SWIFTLET_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// How an attempt must end.
enum outcome {
    REFUSED,  ///< the call fails, whatever the errno
    ENDED,    ///< the kernel ends the process
    LIMITED,  ///< a limit says no, or ends the worker: bombs; run beside a neighbour only
    DISOWNED, ///< the host ends the worker, because it broke the protocol; needs a real host
};

/// What else must be known to run an attempt.
enum {
    HARMLESS_WHILE_LOADING = 1 << 0, ///< allowed to a constructor, and so to a plugin that never leaves its own
    WITHOUT_ANSWER = 1 << 1,         ///< it never returns of its own accord: run where a time limit ends it
    WITH_LESS_CPU = 1 << 2,          ///< run where the function has a fifth of a core
};

typedef struct attempt {
    const char *name;
    /// 0: it worked, and the sandbox has a hole. Else the errno.
    int (*act)(void);
    enum outcome outcome;
    const char *stops; ///< the layers that stand against it; the tests switch each of them off
    unsigned flags;
    const char *needs; ///< what an unconfined process lacks to succeed on some kernels; NULL: it succeeds on every one
} attempt;

/// All attempts, one table after the other; NULL behind the last.
const attempt *attempt_at(size_t index);
const attempt *attempt_find(const char *name, size_t size);
/// True when a layer other than `off` stands against the attempt; NULL: none is off.
bool attempt_is_held_without(const attempt *a, const char *off);

/// Where the acts find what they reach for; who runs them fills it in.
typedef struct attempt_world {
    char own[256];       ///< the directory of the function's own plugin
    char neighbour[256]; ///< that of another function of the same tenant, with a file `secret`
    uint64_t invocation; ///< the one that runs, for forged frames
} attempt_world;
extern attempt_world WORLD;

#endif
