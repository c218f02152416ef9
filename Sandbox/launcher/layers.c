// What this machine really gives: each layer is tried in a throw-away child, since asking politely proves nothing.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP_FIX "run as root, or in a delegated group (systemd: Delegate=yes with DelegateSubgroup=)"
#define NAMESPACE_FIX "run as root, or allow unprivileged user namespaces (sysctl user.max_user_namespaces > 0)"
#define KERNEL_FIX(version, option) "Linux " version " or later with " option

static const layer LAYERS[LAYER_COUNT] = {
    {WIRE_LAYER_USER, "user", "acting on other workers of the same user", "run as root: each worker gets a user id of its own", 0},
    {WIRE_LAYER_PID, "pid", "seeing and signalling any other process", NAMESPACE_FIX, 0},
    {WIRE_LAYER_NET, "net", "every network, the loopback of the host included", NAMESPACE_FIX, 0},
    {WIRE_LAYER_MOUNT, "mount", "seeing the host's files", NAMESPACE_FIX, 0},
    {WIRE_LAYER_IPC, "ipc", "System V and POSIX queues, host name", NAMESPACE_FIX, 0},
    {WIRE_LAYER_LANDLOCK, "landlock", "files outside the function's directory", KERNEL_FIX("5.13", "CONFIG_SECURITY_LANDLOCK, and lsm=landlock at boot"), 0},
    {WIRE_LAYER_SECCOMP, "seccomp", "most of the kernel's calls", KERNEL_FIX("4.14", "CONFIG_SECCOMP_FILTER"), 0},
    {WIRE_LAYER_CAPS, "caps", "root's powers, and ever regaining them", "none needed: every Linux has it", 0},
    {WIRE_LAYER_RLIMITS, "rlimits", "fork bombs, core files, growing files", "none needed: every Linux has it", 0},
    {WIRE_LAYER_MDWE, "mdwe", "turning written memory into code", KERNEL_FIX("6.3", "PR_SET_MDWE"), 0},
    {WIRE_LAYER_CGROUP_MEMORY, "cgroup-memory", "taking more memory than its limit", CGROUP_FIX, 0},
    {WIRE_LAYER_CGROUP_PIDS, "cgroup-pids", "more processes than its limit", CGROUP_FIX, 0},
    {WIRE_LAYER_CGROUP_CPU, "cgroup-cpu", "taking more CPU than its limit", CGROUP_FIX, 0},
    {WIRE_LAYER_CGROUP_DEVICES, "cgroup-devices", "opening devices, GPUs included", CGROUP_FIX, 0},
};

uint32_t layer_bit(const char *name) {
    static const struct {
        const char *name;
        uint32_t bit;
    } STEPS[] = {
        {"session", STEP_SESSION}, {"signals", STEP_SIGNALS}, {"descriptors", STEP_DESCRIPTORS},
        {"parent-death", STEP_PARENT_DEATH}, {"not-dumpable", STEP_NOT_DUMPABLE}, {"no-new-privs", STEP_NO_NEW_PRIVS},
        {"speculation", STEP_SPECULATION}, {"load-filter", STEP_LOAD_FILTER}, {"serve-filter", STEP_SERVE_FILTER},
    };
    for (int i = 0; i < LAYER_COUNT; i++)
        if (strcmp(LAYERS[i].name, name) == 0) return LAYERS[i].bit;
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++)
        if (strcmp(STEPS[i].name, name) == 0) return STEPS[i].bit;
    return 0;
}

static int result(int status) {
    return status < 0 ? errno : 0;
}

static int try_user(uid_t uid) {
    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0) return errno;
    return result(setresuid(uid, uid, uid));
}

static int try_mount(void) {
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0) return errno;
    return result(mount("swiftlet", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=4k"));
}

static int try_seccomp(void) {
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = 1, .filter = allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return errno;
    return result((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static int try_landlock(void) {
    int abi = landlock_abi();
    return abi < 0 ? -abi : 0;
}

static int try_cgroup(const cgroup_groups *groups, int controller) {
    if (groups->path[controller][0] == 0) return groups->error[controller];
    cgroup_groups probe;
    int status = cgroup_make_child(groups, "probe", &probe);
    if (status == 0) {
        int dirs[CGROUP_CONTROLLERS];
        cgroup_leaf leaf;
        status = cgroup_open(&probe, dirs);
        if (status == 0) status = cgroup_leaf_make(probe.version, dirs, 0, &leaf);
        wire_start job = {.memory_bytes = 64u << 20, .pids = 8, .cpu_percent = 100};
        if (status == 0) status = cgroup_leaf_limit(&leaf, &job);
        if (status == 0) status = cgroup_leaf_attach(&leaf);
    }
    return -status;
}

/// Refused is what must be refused, and no more.
static int try_devices(const cgroup_groups *groups) {
    cgroup_groups probe;
    int status = cgroup_make_child(groups, "probe", &probe);
    if (status == 0) status = cgroup_restrict_devices(&probe);
    if (status == 0 && probe.devices[0] != 0) status = cgroup_enter_devices(probe.devices);
    if (status == 0 && probe.devices[0] == 0) { // v2: below, because a group that hands controllers on holds no process
        int dirs[CGROUP_CONTROLLERS];
        cgroup_leaf leaf;
        status = cgroup_open(&probe, dirs);
        if (status == 0) status = cgroup_leaf_make(probe.version, dirs, 1, &leaf);
        if (status == 0) status = cgroup_leaf_attach(&leaf);
    }
    if (status < 0) return -status;
    int harmless = open("/dev/null", O_RDWR | O_CLOEXEC), log = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return harmless < 0 ? errno : log >= 0 ? ENOTSUP : 0;
}

static int attempt(uint32_t bit, const cgroup_groups *groups, uid_t uid) {
    confine nobody = {.user_namespace = geteuid() != 0};
    switch (bit) {
    case WIRE_LAYER_USER: return try_user(uid);
    case WIRE_LAYER_NET: return result(unshare(CLONE_NEWNET));
    case WIRE_LAYER_MOUNT: return try_mount();
    case WIRE_LAYER_IPC: return result(unshare(CLONE_NEWIPC | CLONE_NEWUTS));
    case WIRE_LAYER_LANDLOCK: return try_landlock();
    case WIRE_LAYER_SECCOMP: return try_seccomp();
    case WIRE_LAYER_CAPS: return -creds_capabilities(&nobody);
    case WIRE_LAYER_RLIMITS: return -rlimits_fixed(&nobody);
    case WIRE_LAYER_MDWE: return -process_memory_deny_write_execute(&nobody);
    case WIRE_LAYER_CGROUP_MEMORY: return try_cgroup(groups, CGROUP_MEMORY);
    case WIRE_LAYER_CGROUP_PIDS: return try_cgroup(groups, CGROUP_PIDS);
    case WIRE_LAYER_CGROUP_CPU: return try_cgroup(groups, CGROUP_CPU);
    case WIRE_LAYER_CGROUP_DEVICES: return try_devices(groups);
    default: return 0; // pid: the clone itself is the attempt
    }
}

/// Runs one attempt in a child; its exit code is the errno.
static int in_child(uint32_t bit, const cgroup_groups *groups, uid_t uid) {
    bool privileged = geteuid() == 0;
    uid_t outside = geteuid();
    gid_t outside_group = getegid();
    bool cgroup = bit >= WIRE_LAYER_CGROUP_MEMORY;
    uint64_t flags = bit == WIRE_LAYER_PID ? CLONE_NEWPID : 0;
    // Unprivileged, every namespace hangs on the user namespace; user ids and cgroups stay the caller's own.
    if (!privileged && !cgroup && bit != WIRE_LAYER_USER) flags |= CLONE_NEWUSER;
    pid_t child = clone_process(flags);
    if (child < 0) return errno;
    if (child == 0) {
        int error = 0;
        if ((flags & CLONE_NEWUSER) != 0) error = -user_namespace_map(outside, outside_group);
        if (error == 0) error = attempt(bit, groups, uid);
        _exit(error);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

uint32_t layers_probe(layer found[LAYER_COUNT], const cgroup_groups *groups, uid_t uid) {
    uint32_t have = 0;
    for (int i = 0; i < LAYER_COUNT; i++) {
        found[i] = LAYERS[i];
        found[i].error = in_child(LAYERS[i].bit, groups, uid);
        if (found[i].error == 0) have |= LAYERS[i].bit;
    }
    cgroup_groups probe = *groups;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        size_t length = strlen(probe.path[i]);
        if (length > 0) strncat(probe.path[i], "/probe", sizeof probe.path[i] - length - 1);
    }
    if (probe.devices[0] != 0) strncat(probe.devices, "/probe", sizeof probe.devices - strlen(probe.devices) - 1);
    cgroup_remove(&probe);
    return have;
}
