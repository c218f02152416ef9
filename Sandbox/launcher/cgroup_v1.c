// cgroup v1: one directory a controller; a worker writes "0" to `tasks`, since a write to `cgroup.procs` waits 12-15 ms.
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static int open_leaf(cgroup_leaf *leaf) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (leaf->dir[i] < 0) continue;
        leaf->attach[i] = openat(leaf->dir[i], "tasks", O_WRONLY | O_CLOEXEC);
        if (leaf->attach[i] < 0) return -errno;
    }
    return 0;
}

static int limit(const cgroup_leaf *leaf, const struct limits *wanted) {
    const struct limits *now = &leaf->limits;
    int status = 0;
    if (leaf->dir[CGROUP_MEMORY] >= 0 && wanted->memory_bytes != now->memory_bytes)
        status = wanted->memory_bytes == 0
            ? cgroup_write(leaf->dir[CGROUP_MEMORY], "memory.limit_in_bytes", "-1")
            : cgroup_write_number(leaf->dir[CGROUP_MEMORY], "memory.limit_in_bytes", wanted->memory_bytes);
    if (status == 0 && leaf->dir[CGROUP_PIDS] >= 0 && wanted->pids != now->pids)
        status = wanted->pids == 0 ? cgroup_write(leaf->dir[CGROUP_PIDS], "pids.max", "max")
                                   : cgroup_write_number(leaf->dir[CGROUP_PIDS], "pids.max", wanted->pids);
    if (status == 0 && leaf->dir[CGROUP_CPU] >= 0 && wanted->cpu_percent != now->cpu_percent) // of 100 ms, the default
        status = wanted->cpu_percent == 0
            ? cgroup_write(leaf->dir[CGROUP_CPU], "cpu.cfs_quota_us", "-1")
            : cgroup_write_number(leaf->dir[CGROUP_CPU], "cpu.cfs_quota_us", (uint64_t)wanted->cpu_percent * 1000);
    return status;
}

static cgroup_result result(const cgroup_leaf *leaf) {
    cgroup_result r = {0};
    char text[64];
    if (leaf->dir[CGROUP_PIDS] >= 0) r.pids_refused = (uint32_t)cgroup_read_key(leaf->dir[CGROUP_PIDS], "pids.events", "max");
    if (leaf->dir[CGROUP_CPU] >= 0) r.throttled_us = cgroup_read_key(leaf->dir[CGROUP_CPU], "cpu.stat", "throttled_time") / 1000;
    if (leaf->dir[CGROUP_MEMORY] < 0) return r;
    cgroup_read(leaf->dir[CGROUP_MEMORY], "memory.max_usage_in_bytes", text, sizeof text);
    r.memory_peak = strtoull(text, NULL, 10);
    r.oom = cgroup_read_key(leaf->dir[CGROUP_MEMORY], "memory.oom_control", "oom_kill") > 0;
    return r;
}

const cgroup_kind CGROUP_V1 = {.open_leaf = open_leaf, .limit = limit, .result = result};
