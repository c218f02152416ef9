// cgroup v2: one directory for all controllers; attaching waits 12-15 ms, which a prepared worker pays ahead of time.
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

/// Any controller's descriptor leads to the same directory.
static int directory(const cgroup_leaf *leaf) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (leaf->dir[i] >= 0) return leaf->dir[i];
    return -1;
}

static int open_leaf(cgroup_leaf *leaf) {
    int d = directory(leaf);
    leaf->attach[CGROUP_MEMORY] = openat(d, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    return leaf->attach[CGROUP_MEMORY] < 0 ? -errno : 0;
}

static int limit_memory(int d, uint64_t bytes) {
    if (bytes == 0) return cgroup_write(d, "memory.max", "max");
    int status = cgroup_write_number(d, "memory.max", bytes);
    if (status == 0) status = cgroup_write(d, "memory.oom.group", "1");
    // Absent without swap: then there is nothing to forbid.
    if (status == 0 && (status = cgroup_write(d, "memory.swap.max", "0")) == -ENOENT) status = 0;
    return status;
}

static int limit(const cgroup_leaf *leaf, const struct limits *wanted) {
    const struct limits *now = &leaf->limits;
    int d = directory(leaf), status = 0;
    if (leaf->dir[CGROUP_MEMORY] >= 0 && wanted->memory_bytes != now->memory_bytes)
        status = limit_memory(d, wanted->memory_bytes);
    if (status == 0 && leaf->dir[CGROUP_PIDS] >= 0 && wanted->pids != now->pids)
        status = wanted->pids == 0 ? cgroup_write(d, "pids.max", "max") : cgroup_write_number(d, "pids.max", wanted->pids);
    if (status == 0 && leaf->dir[CGROUP_CPU] >= 0 && wanted->cpu_percent != now->cpu_percent) {
        char text[48] = "max 100000";
        if (wanted->cpu_percent != 0)
            snprintf(text, sizeof text, "%llu 100000", (unsigned long long)wanted->cpu_percent * 1000);
        status = cgroup_write(d, "cpu.max", text);
    }
    if (status == 0 && leaf->dir[CGROUP_CPU] >= 0 && wanted->cpu_weight != now->cpu_weight)
        status = cgroup_write_number(d, "cpu.weight", wanted->cpu_weight);
    return status;
}

static cgroup_result result(const cgroup_leaf *leaf) {
    cgroup_result r = {0};
    char text[64];
    if (leaf->dir[CGROUP_PIDS] >= 0) r.pids_refused = (uint32_t)cgroup_read_key(leaf->dir[CGROUP_PIDS], "pids.events", "max");
    if (leaf->dir[CGROUP_CPU] >= 0) r.throttled_us = cgroup_read_key(leaf->dir[CGROUP_CPU], "cpu.stat", "throttled_usec");
    if (leaf->dir[CGROUP_MEMORY] < 0) return r;
    cgroup_read(leaf->dir[CGROUP_MEMORY], "memory.peak", text, sizeof text);
    r.memory_peak = strtoull(text, NULL, 10);
    r.oom = cgroup_read_key(leaf->dir[CGROUP_MEMORY], "memory.events", "oom_kill") > 0;
    return r;
}

const cgroup_kind CGROUP_V2 = {.open_leaf = open_leaf, .limit = limit, .result = result};
