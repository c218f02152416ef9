// Limits the kernel keeps per process: the fixed ones, and those of the job; called by confine.c.
#include "launcher.h"

#include <errno.h>
#include <sys/resource.h>

enum { TEMPLATE_FORKS_MAX = 320 };

static int limit(int what, rlim_t soft, rlim_t hard) {
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now) < 0) return -errno;
    // A limit that is already tighter stays; raising it is refused by the kernel anyway.
    if (hard > now.rlim_max) hard = now.rlim_max;
    if (soft > hard) soft = hard;
    struct rlimit wanted = {.rlim_cur = soft, .rlim_max = hard};
    return setrlimit((__rlimit_resource_t)what, &wanted) < 0 ? -errno : 0;
}

int rlimits_fixed(const confine *c) {
    (void)c;
    static const struct {
        int what;
        rlim_t value;
    } FIXED[] = {
        {RLIMIT_CORE, 0},     // no memory image of a tenant on disk, no core handler run as root
        {RLIMIT_FSIZE, 0},    // no file grows
        {RLIMIT_MEMLOCK, 0},  // no memory withheld from the machine
        {RLIMIT_MSGQUEUE, 0}, // no kernel memory by POSIX queues
        {RLIMIT_SIGPENDING, 64},
        {RLIMIT_RTPRIO, 0},
        {RLIMIT_NICE, 0},
        {RLIMIT_STACK, 8u << 20},
    };
    for (size_t i = 0; i < sizeof FIXED / sizeof FIXED[0]; i++) {
        int status = limit(FIXED[i].what, FIXED[i].value, FIXED[i].value);
        if (status < 0) return status;
    }
    return 0;
}

int rlimits_no_processes(const confine *c) {
    (void)c;
    return limit(RLIMIT_NPROC, 1, 1);
}

int rlimits_job(const confine *c) {
    const wire_start *job = c->job;
    int status = 0;
    // NPROC counts every process and thread of a user: it holds a constructor that forks even where filters and
    // cgroups are missing. Without a user of its own the siblings count too, so only "none at all" can be said.
    bool threads = (job->kind == WIRE_KIND_BACKEND || job->kind == WIRE_KIND_JIT) && job->pids > 1, forks = job->kind == WIRE_KIND_FRESH;
    // One more than the group allows where there is one: that one must refuse first, since it counts what it refused.
    rlim_t processes = job->pids + ((c->have & WIRE_LAYER_CGROUP_PIDS) != 0 ? 1 : 0);
    if (forks) status = (c->have & WIRE_LAYER_USER) != 0 ? limit(RLIMIT_NPROC, TEMPLATE_FORKS_MAX, TEMPLATE_FORKS_MAX) : 0;
    else if (!threads) status = limit(RLIMIT_NPROC, 1, 1);
    else if ((c->have & WIRE_LAYER_USER) != 0) status = limit(RLIMIT_NPROC, processes, processes);
    if (status < 0) return status;
    rlim_t files = job->files < 16 ? 16 : job->files;
    if ((status = limit(RLIMIT_NOFILE, files, files)) < 0) return status;
    // One second between the signal that can be told apart and the kill that can't.
    if (job->cpu_seconds > 0 && (status = limit(RLIMIT_CPU, job->cpu_seconds, job->cpu_seconds + 1u)) < 0) return status;
    if (job->memory_bytes > 0 && (c->have & WIRE_LAYER_CGROUP_MEMORY) == 0) {
        rlim_t bytes = c->data_base + job->memory_bytes;
        if ((status = limit(RLIMIT_DATA, bytes, bytes)) < 0) return status;
        // Page tables count as nobody's data, and take a 512th of the addresses that are touched. A GPU's driver reserves
        // addresses for all the memory there is, and touches few.
        bytes = (4ull << 30) + 16 * job->memory_bytes;
        if (job->device_count == 0 && (status = limit(RLIMIT_AS, bytes, bytes)) < 0) return status;
    }
    return 0;
}
