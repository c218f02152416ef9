// The small interface behind which cgroup v1 and v2 differ; used by cgroup.c only.
#ifndef SWIFTLET_CGROUP_H
#define SWIFTLET_CGROUP_H

#include "launcher.h"

typedef struct cgroup_kind {
    int (*open_leaf)(cgroup_leaf *leaf);
    int (*limit)(const cgroup_leaf *leaf, const struct limits *wanted);
    cgroup_result (*result)(const cgroup_leaf *leaf);
    bool (*renew)(const cgroup_leaf *leaf); ///< NULL: its peak can't be set back
    /// Both NULL where the kernel's own kill is as good.
    void (*watch)(cgroup_leaf *leaf, int poller, void *mark);
    void (*end_starved)(cgroup_leaf *leaf);
} cgroup_kind;

extern const cgroup_kind CGROUP_V1, CGROUP_V2;

int cgroup_write(int directory, const char *file, const char *text);
int cgroup_write_number(int directory, const char *file, uint64_t number);
/// Text of a file, cut at `room`; empty when it can't be read.
void cgroup_read(int directory, const char *file, char *text, size_t room);
/// The number after "`key` " in a flat keyed file; 0 when it is not there.
uint64_t cgroup_read_key(int directory, const char *file, const char *key);

#endif
