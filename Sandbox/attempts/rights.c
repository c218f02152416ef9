// Rights: becoming somebody else, taking back what was given up, going first.
#include "acts.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static int become_root(void) { return answer(setuid(0)); }
static int become_other(void) { return answer(setresuid(1000, 1000, 1000)); }
static int join_group(void) { return answer(setresgid(0, 0, 0)); }
static int drop_groups(void) { return answer(syscall(SYS_setgroups, 0, NULL)); }
static int open_as_root(void) {
    // setfsuid never says no: a second call tells what the first one did.
    if (setfsuid(1001) < 0) return errno;
    int now = setfsuid((uid_t)-1);
    return now == 1001 ? 0 : EPERM;
}
static int take_capability(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct wanted[2] = {{.effective = 1u << CAP_SYS_ADMIN, .permitted = 1u << CAP_SYS_ADMIN}, {0}};
    return answer(syscall(SYS_capset, &head, wanted));
}
static int keep_capabilities(void) { return answer(prctl(PR_SET_KEEPCAPS, 1)); }
static int change_secure_bits(void) { return answer(prctl(PR_SET_SECUREBITS, 0)); }
static int pass_capability_on(void) { return answer(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)); }
static int drop_bounding(void) { return answer(prctl(PR_CAPBSET_DROP, CAP_WAKE_ALARM, 0, 0, 0)); }
static int raise_limit(void) {
    struct rlimit now, more;
    if (getrlimit(RLIMIT_NPROC, &now) < 0) return errno;
    more = (struct rlimit){now.rlim_max, now.rlim_max};
    // Root may hold everything already: then "more" is the same, and the call must still be allowed to count.
    if (now.rlim_max != RLIM_INFINITY) more.rlim_max = more.rlim_cur = now.rlim_max + 1;
    return answer(syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &more, NULL));
}
static int raise_files(void) {
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) < 0) return errno;
    struct rlimit more = {now.rlim_max + 1, now.rlim_max + 1};
    return answer(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &more, NULL));
}
static int limit_other(void) {
    struct rlimit same;
    int result = answer(syscall(SYS_prlimit64, other(), RLIMIT_NOFILE, NULL, &same));
    return result != 0 ? result : answer(syscall(SYS_prlimit64, other(), RLIMIT_NOFILE, &same, NULL));
}
static int real_time(void) {
    struct sched_param most = {.sched_priority = 1};
    return answer(sched_setscheduler(0, SCHED_FIFO, &most));
}
static int by_deadline(void) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } wanted = {.size = 48, .policy = 6 /* SCHED_DEADLINE */, .runtime = 1000000, .deadline = 10000000, .period = 10000000};
    return answer(syscall(SYS_sched_setattr, 0, &wanted, 0));
}
static int be_nice(void) { return answer(setpriority(PRIO_PROCESS, 0, -20)); }
static int slow_other(void) { return answer(setpriority(PRIO_PROCESS, (id_t)other(), 19)); }
static int first_at_disk(void) { return answer(syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 0)); }
static int disk_of_other(void) { return answer(syscall(SYS_ioprio_set, 1, other(), 2 << 13 | 4)); }
static int without_randomness(void) { return answer(syscall(SYS_personality, 0x0040000)); }
static int as_other_system(void) { return answer(syscall(SYS_personality, 8 /* PER_LINUX32 */)); }

const attempt RIGHT_ATTEMPTS[] = {
    {"setuid", become_root, REFUSED, "user, filter", 0, NULL},
    {"setresuid", become_other, REFUSED, "caps, filter", 0, NULL},
    {"setresgid", join_group, REFUSED, "user, filter", 0, NULL},
    {"setgroups", drop_groups, REFUSED, "caps, filter", 0, NULL},
    {"setfsuid", open_as_root, REFUSED, "caps, filter", 0, NULL},
    {"capset", take_capability, REFUSED, "caps, filter", 0, NULL},
    {"keep-caps", keep_capabilities, REFUSED, "filter", 0, NULL},
    {"securebits", change_secure_bits, REFUSED, "caps, filter", 0, NULL},
    {"ambient-caps", pass_capability_on, REFUSED, "filter", 0, NULL},
    {"drop-bounding", drop_bounding, REFUSED, "caps, filter", 0, NULL},
    {"raise-rlimit", raise_limit, REFUSED, "caps, serve filter", 0, "CAP_SYS_RESOURCE"},
    {"raise-files", raise_files, REFUSED, "caps, serve filter", 0, "CAP_SYS_RESOURCE"},
    {"limit-other", limit_other, REFUSED, "filter, pid, user", 0, NULL},
    {"real-time", real_time, REFUSED, "filter, rlimits, caps", 0, "a cgroup with real-time budget"},
    {"deadline", by_deadline, REFUSED, "filter, caps", 0, NULL},
    {"nice", be_nice, REFUSED, "filter, caps", 0, NULL},
    {"nice-other", slow_other, REFUSED, "filter, pid, user", 0, NULL},
    {"ioprio", first_at_disk, REFUSED, "filter, caps", 0, NULL},
    {"ioprio-other", disk_of_other, REFUSED, "filter, pid, user", 0, NULL},
    {"personality", without_randomness, REFUSED, "filter", 0, NULL},
    {"personality-32", as_other_system, REFUSED, "filter", 0, NULL},
    END_OF_TABLE,
};
