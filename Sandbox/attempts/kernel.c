// The kernel's depths: calls that no tenant needs, and gates that lead past a filter which only looks at numbers.
#include "acts.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>

#ifndef __NR_statmount
#define __NR_statmount 457
#define __NR_listmount 458
#endif
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif

// ---- mounts ---------------------------------------------------------------------------------------------------------------

static int mount_something(void) { return answer(mount("none", "/app", "tmpfs", 0, NULL)); }
static int make_writable(void) { return answer(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int new_mount(void) { return opened(syscall(SYS_fsopen, "tmpfs", 0)); }
static int clone_mount(void) { return opened(syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */)); }
static int pick_mount(void) { return opened(syscall(SYS_fspick, AT_FDCWD, "/", 0)); }
static int move_a_mount(void) {
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, "/app", 1);
    int result = answer(syscall(SYS_move_mount, tree, "", AT_FDCWD, "/app", 4 /* F_EMPTY_PATH */));
    if (tree >= 0) close(tree);
    return result;
}
static int change_mount(void) {
    uint64_t attributes[4] = {0, 1 /* RDONLY */, 0, 0};
    return answer(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, attributes, sizeof attributes));
}
static int unmount(void) { return answer(umount2("/app", MNT_DETACH)); }
static int other_root(void) { return answer(syscall(SYS_pivot_root, "/app", "/app/old")); }
static int list_mounts(void) {
    uint64_t request[4] = {32, (uint64_t)-1 /* LSMT_ROOT */, 0, 0}, found[8];
    return answer(syscall(__NR_listmount, request, found, 8, 0));
}
static int swap_on(void) { return answer(swapon("/app/none", 0)) == ENOENT ? 0 : answer(swapon("/app/none", 0)); }
static int quota(void) {
    int result = answer(quotactl(QCMD(Q_SYNC, USRQUOTA), NULL, 0, NULL));
    return result;
}
static int account(void) { return answer(syscall(SYS_acct, NULL)); }

// ---- code and memory of the kernel ----------------------------------------------------------------------------------------

static int load_bpf(void) {
    union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return opened(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
}
static int set_up_uring(void) {
    char parameters[120] = {0};
    return opened(syscall(SYS_io_uring_setup, 4, parameters));
}
static int enter_uring(void) {
    int result = answer(syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0));
    return result == EBADF ? 0 : result; // reached: only the ring was missing
}
static int register_uring(void) {
    int result = answer(syscall(SYS_io_uring_register, -1, 0, NULL, 0));
    return result == EBADF || result == EINVAL ? 0 : result;
}
static int fault_in_user_space(void) { return opened(syscall(SYS_userfaultfd, 1)); }
static int count_events(void) {
    struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_TASK_CLOCK, .size = sizeof a, .exclude_kernel = 1};
    return opened(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));
}
static int watch_machine(void) {
    struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK, .size = sizeof a};
    return opened(syscall(SYS_perf_event_open, &a, -1, 0, -1, 0));
}
static int reached(long result) {
    // Bad arguments on purpose, since good ones would harm the machine: what matters is who says no.
    return result >= 0 || errno == EFAULT || errno == EINVAL || errno == EBADF || errno == ENOENT || errno == ENOEXEC ? 0 : errno;
}
static int load_module(void) { return reached(syscall(SYS_finit_module, -1, "", 0)); }
static int load_module_image(void) { return reached(syscall(SYS_init_module, NULL, 0, "")); }
static int unload_module(void) { return reached(syscall(SYS_delete_module, "no-such-module", O_NONBLOCK)); }
static int load_kernel(void) { return reached(syscall(SYS_kexec_load, 0, 99, NULL, 0xffff0000ul)); }
static int load_kernel_file(void) { return reached(syscall(SYS_kexec_file_load, -1, -1, 0, "", 0)); }
static int restart_machine(void) { return reached(syscall(SYS_reboot, 0, 0, 0, NULL)); }
static int set_clock(void) { return answer(syscall(SYS_settimeofday, NULL, NULL)); }
static int steer_clock(void) {
    // The tick that it has already.
    struct timex now = {0};
    if (adjtimex(&now) < 0) return errno;
    now.modes = ADJ_TICK;
    return adjtimex(&now) < 0 ? errno : 0;
}
static int read_kernel_log(void) { return answer(syscall(SYS_syslog, 10, NULL, 0)); }
static int own_local_table(void) {
    char table[64];
    return answer(syscall(SYS_modify_ldt, 0, table, sizeof table));
}
static int reach_ports(void) { return answer(syscall(SYS_ioperm, 0x80, 1, 1)); }
static int raise_port_level(void) { return answer(syscall(SYS_iopl, 3)); }
static int set_segment(void) { return answer(syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &(unsigned long){0})); }

// ---- keys, filters, odds ---------------------------------------------------------------------------------------------------

static int look_at_keys(void) { return answer(syscall(SYS_keyctl, 0, -3, 1, 0, 0)); }
static int add_a_key(void) { return answer(syscall(SYS_add_key, "user", "swiftlet-attempt", "x", 1, -2 /* process keyring */)); }
static int ask_for_key(void) {
    // Could start a program of the host's choosing, as root.
    int result = answer(syscall(SYS_request_key, "user", "swiftlet-no-such-key", NULL, -2));
    return result == ENOKEY ? 0 : result;
}
static int listen_for_calls(void) {
    struct {
        unsigned short size, a, b, c;
        struct {
            unsigned short code;
            unsigned char t, f;
            unsigned k;
        } *code;
    } one = {.size = 1, .code = (void *)&(struct { unsigned short code; unsigned char t, f; unsigned k; }){6, 0, 0, 0x7fff0000}};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return opened(syscall(SYS_seccomp, 1, 8 /* NEW_LISTENER */, &one));
}
static int loosen_landlock(void) {
    uint64_t handled = 1;
    return opened(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
}
static int look_at_page_cache(void) {
    uint64_t range[2] = {0, 4096}, told[5];
    int result = answer(syscall(__NR_cachestat, 0, range, told, 0));
    return result == EOPNOTSUPP ? 0 : result;
}
static int unknown_call(void) { return syscall(1000) < 0 && errno == ENOSYS ? 0 : errno; } // a later kernel may have it

// ---- the other gates --------------------------------------------------------------------------------------------------------

static int by_old_gate(long number) {
    long result = number;
    __asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? (int)-result : 0;
}
static int i386_getpid(void) { return by_old_gate(20); }
static int i386_as_munmap(void) {
    // 11 is munmap here, which is allowed, and execve there; without a path it can only be refused by the kernel.
    int result = by_old_gate(11);
    return result == EFAULT ? 0 : result;
}
static int i386_as_write(void) { return by_old_gate(24); } // getuid there, sched_yield here
static int x32_getpid(void) { return answer(syscall(0x40000000 | SYS_getpid)); }
static int x32_only(void) { return answer(syscall(0x40000000 | 513, 0, NULL, NULL)); } // x32's own table of calls

const attempt KERNEL_ATTEMPTS[] = {
    {"mount", mount_something, ENDED, "filter, caps", 0, NULL},
    {"remount", make_writable, ENDED, "filter, caps", 0, NULL},
    {"fsopen", new_mount, ENDED, "filter, caps", 0, NULL},
    {"fspick", pick_mount, ENDED, "filter, caps", 0, NULL},
    {"open-tree", clone_mount, ENDED, "filter, caps", 0, NULL},
    {"move-mount", move_a_mount, ENDED, "filter, caps", 0, NULL},
    {"mount-setattr", change_mount, ENDED, "filter, caps", 0, NULL},
    {"umount", unmount, ENDED, "filter, caps", 0, NULL},
    {"pivot-root", other_root, ENDED, "filter, caps", 0, NULL},
    {"listmount", list_mounts, REFUSED, "filter", 0, "Linux 6.8"},
    {"swapon", swap_on, REFUSED, "filter, caps", 0, NULL},
    {"quotactl", quota, REFUSED, "filter", 0, NULL},
    {"acct", account, REFUSED, "filter, caps", 0, NULL},
    {"bpf", load_bpf, ENDED, "filter", 0, NULL},
    {"io-uring", set_up_uring, REFUSED, "filter", 0, NULL},
    {"io-uring-enter", enter_uring, REFUSED, "filter", 0, NULL},
    {"io-uring-register", register_uring, REFUSED, "filter", 0, NULL},
    {"userfaultfd", fault_in_user_space, ENDED, "filter", 0, NULL},
    {"perf-event", count_events, ENDED, "filter", 0, NULL},
    {"perf-machine", watch_machine, ENDED, "filter, caps", 0, NULL},
    {"finit-module", load_module, ENDED, "filter, caps", 0, "CONFIG_MODULES"},
    {"init-module", load_module_image, ENDED, "filter, caps", 0, "CONFIG_MODULES"},
    {"delete-module", unload_module, ENDED, "filter, caps", 0, "CONFIG_MODULES"},
    {"kexec-load", load_kernel, ENDED, "filter, caps", 0, "CONFIG_KEXEC"},
    {"kexec-file-load", load_kernel_file, ENDED, "filter, caps", 0, "CONFIG_KEXEC_FILE"},
    {"reboot", restart_machine, REFUSED, "filter, caps", 0, NULL},
    {"settimeofday", set_clock, REFUSED, "filter, caps", 0, NULL},
    {"adjtimex", steer_clock, REFUSED, "filter, caps", 0, NULL},
    {"syslog", read_kernel_log, REFUSED, "filter, caps", 0, NULL},
    {"modify-ldt", own_local_table, REFUSED, "filter", 0, NULL},
    {"ioperm", reach_ports, REFUSED, "filter, caps", 0, "CONFIG_X86_IOPL_IOPERM"},
    {"iopl", raise_port_level, REFUSED, "filter, caps", 0, "CONFIG_X86_IOPL_IOPERM"},
    {"arch-prctl", set_segment, REFUSED, "filter", 0, NULL},
    {"keyctl", look_at_keys, ENDED, "filter", 0, NULL},
    {"add-key", add_a_key, ENDED, "filter", 0, NULL},
    {"request-key", ask_for_key, ENDED, "filter", 0, NULL},
    {"seccomp-listener", listen_for_calls, REFUSED, "filter", 0, NULL},
    {"landlock-ruleset", loosen_landlock, REFUSED, "serve filter", HARMLESS_WHILE_LOADING, NULL},
    {"cachestat", look_at_page_cache, REFUSED, "filter", 0, "Linux 6.5"},
    {"unknown-call", unknown_call, REFUSED, "filter", 0, NULL},
    {"int80", i386_getpid, ENDED, "filter", 0, "CONFIG_IA32_EMULATION"},
    {"int80-execve", i386_as_munmap, ENDED, "filter", 0, "CONFIG_IA32_EMULATION"},
    {"int80-getuid", i386_as_write, ENDED, "filter", 0, "CONFIG_IA32_EMULATION"},
    {"x32", x32_getpid, ENDED, "filter", 0, "CONFIG_X86_X32_ABI"},
    {"x32-own", x32_only, ENDED, "filter", 0, "CONFIG_X86_X32_ABI"},
    END_OF_TABLE,
};
