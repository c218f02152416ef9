// What the tables share: turning results into answers, and whom to aim at.
#ifndef SWIFTLET_ACTS_H
#define SWIFTLET_ACTS_H

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "attempts.h"

extern const attempt FILE_ATTEMPTS[], PROCESS_ATTEMPTS[], RIGHT_ATTEMPTS[], KERNEL_ATTEMPTS[], MEMORY_ATTEMPTS[],
    TALK_ATTEMPTS[], RESOURCE_ATTEMPTS[], FRAME_ATTEMPTS[];

#define END_OF_TABLE {NULL, NULL, REFUSED, NULL, 0, NULL}

static inline int answer(long result) {
    return result < 0 ? errno : 0;
}

static inline int opened(long fd) {
    if (fd < 0) return errno;
    close((int)fd);
    return 0;
}

static inline int mapped(void *at, size_t size) {
    if (at == MAP_FAILED) return errno;
    munmap(at, size);
    return 0;
}

/// A process that is not ours: the parent where it can be named, else a number that somebody may have.
static inline pid_t other(void) {
    pid_t parent = getppid();
    return parent > 0 ? parent : 2;
}

typedef struct place {
    char path[512];
} place;

static inline place beside(const char *directory, const char *name) {
    place p;
    snprintf(p.path, sizeof p.path, "%s/%s", directory, name);
    return p;
}

#endif
