// The forbidden acts: each tries one thing and answers what the kernel said.
#ifndef SWIFTLET_ATTEMPTS_H
#define SWIFTLET_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>

/// How an attempt must end.
enum outcome {
    REFUSED, ///< the call fails, whatever the errno
    ENDED,   ///< the kernel ends the process
};

typedef struct attempt {
    const char *name;
    /// 0: it worked, and the sandbox has a hole. Else the errno.
    int (*act)(void);
    enum outcome outcome;
    const char *stops; ///< the layers that stand against it, for the report
    /// 1: harmless, and so allowed, while the plugin is loaded; refused when it serves.
    int allowed_in_constructor;
} attempt;

/// True when a layer other than `off` stands against the attempt; NULL: none is off.
bool attempt_is_held_without(const attempt *a, const char *off);

extern const attempt ATTEMPTS[];
extern const size_t ATTEMPT_COUNT;

#endif
