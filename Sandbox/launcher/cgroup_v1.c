// cgroup v1: one directory a controller; a worker writes "0" to `tasks`, since a write to `cgroup.procs` waits 12-15 ms.
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
    if (status == 0 && leaf->dir[CGROUP_CPU] >= 0 && wanted->cpu_weight != now->cpu_weight) // 1024 shares are the default
        status = cgroup_write_number(leaf->dir[CGROUP_CPU], "cpu.shares", (uint64_t)wanted->cpu_weight * 1024 / 100);
    return status;
}

// ---- no memory left --------------------------------------------------------------------------------------------------------
//
// The kernel's own kill writes to the console while it holds up a core. So a process that touches a page beyond the limit
// sleeps, where only SIGKILL wakes it, until the zygote has looked; a system call that would take memory fails with ENOMEM.

/// Returns 0 or -errno.
static int tell(const cgroup_leaf *leaf, int event) {
    char text[32];
    int file = openat(leaf->dir[CGROUP_MEMORY], "memory.oom_control", O_RDONLY | O_CLOEXEC);
    if (file < 0) return -errno;
    snprintf(text, sizeof text, "%d %d", event, file);
    int status = cgroup_write(leaf->dir[CGROUP_MEMORY], "cgroup.event_control", text);
    close(file);
    return status;
}

static void watch(cgroup_leaf *leaf, int poller, void *mark) {
    struct epoll_event marked = {.events = EPOLLIN | EPOLLET, .data.ptr = mark};
    if (leaf->starved_event > 0) epoll_ctl(poller, EPOLL_CTL_MOD, leaf->starved_event, &marked); // it has another worker now
    if (leaf->dir[CGROUP_MEMORY] < 0 || leaf->starved_event > 0) return;
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    // By edges: nobody has to read it.
    int status = event < 0 ? -errno : epoll_ctl(poller, EPOLL_CTL_ADD, event, &marked);
    if (status == 0) status = tell(leaf, event);
    // Last: from here on a worker sleeps until somebody hears of it.
    if (status == 0) status = cgroup_write(leaf->dir[CGROUP_MEMORY], "memory.oom_control", "1");
    if (status == 0) leaf->starved_event = event;
    else if (event >= 0) close(event);
}

/// By the group's list: who lives there may not have said yet who it is, or may never.
static void end_starved(cgroup_leaf *leaf) {
    char text[4096], *rest = NULL;
    if (cgroup_read_key(leaf->dir[CGROUP_MEMORY], "memory.oom_control", "under_oom") == 0) return;
    leaf->starved = true;
    cgroup_read(leaf->dir[CGROUP_MEMORY], "cgroup.procs", text, sizeof text);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        int pid = atoi(line);
        if (pid > 1) kill(pid, SIGKILL);
    }
}

/// A process that a failed system call made end by itself: its memory, not what is left of files, had reached the limit.
static bool exhausted(const cgroup_leaf *leaf, uint64_t peak) {
    char text[64];
    uint64_t limit = leaf->limits.memory_bytes;
    cgroup_read(leaf->dir[CGROUP_MEMORY], "memory.failcnt", text, sizeof text);
    if (limit == 0 || strtoull(text, NULL, 10) == 0) return false;
    cgroup_read(leaf->dir[CGROUP_MEMORY], "memory.usage_in_bytes", text, sizeof text);
    return peak >= strtoull(text, NULL, 10) + limit - limit / 8;
}

static cgroup_result result(const cgroup_leaf *leaf) {
    cgroup_result r = {0};
    char text[64];
    if (leaf->dir[CGROUP_PIDS] >= 0) r.pids_refused = (uint32_t)cgroup_read_key(leaf->dir[CGROUP_PIDS], "pids.events", "max");
    if (leaf->dir[CGROUP_CPU] >= 0) r.throttled_us = cgroup_read_key(leaf->dir[CGROUP_CPU], "cpu.stat", "throttled_time") / 1000;
    if (leaf->dir[CGROUP_MEMORY] < 0) return r;
    cgroup_read(leaf->dir[CGROUP_MEMORY], "memory.max_usage_in_bytes", text, sizeof text);
    r.memory_peak = strtoull(text, NULL, 10);
    r.oom = leaf->starved || cgroup_read_key(leaf->dir[CGROUP_MEMORY], "memory.oom_control", "oom_kill") > 0;
    r.exhausted = exhausted(leaf, r.memory_peak);
    return r;
}

/// What is left of the one before, files for the most part, must not be much of what the next one has.
static bool renew(const cgroup_leaf *leaf) {
    enum { LEFT_MAX = 2 << 20 };
    int d = leaf->dir[CGROUP_MEMORY];
    char text[64];
    if (d < 0) return true;
    cgroup_read(d, "memory.usage_in_bytes", text, sizeof text);
    return strtoull(text, NULL, 10) <= LEFT_MAX && cgroup_write(d, "memory.max_usage_in_bytes", "0") == 0 &&
        cgroup_write(d, "memory.failcnt", "0") == 0;
}

const cgroup_kind CGROUP_V1 = {
    .open_leaf = open_leaf, .limit = limit, .result = result, .renew = renew, .watch = watch, .end_starved = end_starved};
