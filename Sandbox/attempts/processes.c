// Processes: making them, becoming another program, reaching into those of others.
#include "acts.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_CREATE 1
#endif

// ---- making ---------------------------------------------------------------------------------------------------------------

static int child_of(long pid) {
    if (pid < 0) return errno;
    if (pid == 0) _exit(0);
    waitpid((pid_t)pid, NULL, __WALL);
    return 0;
}
static int fork_child(void) { return child_of(syscall(SYS_fork)); }
static int vfork_child(void) { return child_of(vfork()); }
static int clone_child(void) { return child_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)); }
static int clone3_child(void) {
    uint64_t arguments[11] = {[4] = SIGCHLD};
    return child_of(syscall(SYS_clone3, arguments, sizeof arguments));
}
static int clone_sharing_files(void) { return child_of(syscall(SYS_clone, CLONE_FILES | CLONE_FS | SIGCHLD, NULL, NULL, NULL, NULL)); }
static int clone_user(void) { return child_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)); }
static int clone_pid(void) { return child_of(syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL)); }
static int clone_parent(void) {
    // A child that the zygote would have to reap.
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) _exit(0);
    return answer(pid);
}
static int in_thread(void *unused) {
    (void)unused;
    return 0;
}
static int clone_thread(void) {
    static _Alignas(16) char stack[16384];
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    int result = answer(clone(in_thread, stack + sizeof stack, flags, NULL));
    if (result == 0) usleep(20000);
    return result;
}
static int executed(int descriptor, const char *path) {
    // Replaces this program: what comes after is only reached when it was refused.
    char *const words[] = {"sh", "-c", "exit 0", NULL};
    return answer(syscall(SYS_execveat, descriptor, path, words, words + 3, path[0] == 0 ? AT_EMPTY_PATH : 0));
}
static int execute(void) {
    char *const words[] = {"sh", "-c", "exit 0", NULL};
    return answer(execve("/bin/sh", words, words + 3));
}
static int execute_at(void) { return executed(AT_FDCWD, "/bin/sh"); }
static int execute_loader(void) {
    // The loader is in every jail, and runs whatever it is told to.
    char *const words[] = {"ld.so", "--help", NULL};
    return answer(execve("/lib64/ld-linux-x86-64.so.2", words, words + 2));
}
static int execute_memory(void) {
    int file = memfd_create("x", 0);
    if (file < 0) return errno;
    static const char SCRIPT[] = "#!/bin/sh\nexit 0\n";
    if (write(file, SCRIPT, sizeof SCRIPT - 1) < 0) return errno;
    return executed(file, "");
}
static int unshare_user(void) { return answer(unshare(CLONE_NEWUSER)); }
static int unshare_mounts(void) { return answer(unshare(CLONE_NEWNS)); }
static int unshare_net(void) { return answer(unshare(CLONE_NEWNET)); }
static int unshare_files(void) { return answer(unshare(CLONE_FILES)); }
static int enter_namespace(void) {
    int pidfd = (int)syscall(SYS_pidfd_open, other(), 0);
    int result = answer(setns(pidfd < 0 ? 0 : pidfd, CLONE_NEWNS));
    if (pidfd >= 0) close(pidfd);
    return result;
}

// ---- signals: SIGCONT harms nobody who is reached ------------------------------------------------------------------------

static int kill_all(void) { return answer(kill(-1, SIGCONT)); }
static int kill_other(void) { return answer(kill(other(), SIGCONT)); }
static int kill_group(void) { return answer(kill(0, SIGCONT)); }
static int tgkill_other(void) { return answer(syscall(SYS_tgkill, other(), other(), SIGCONT)); }
static int tkill_other(void) { return answer(syscall(SYS_tkill, other(), SIGCONT)); }
static int queue_other(void) {
    siginfo_t told = {.si_code = SI_QUEUE, .si_signo = SIGCONT};
    return answer(syscall(SYS_rt_sigqueueinfo, other(), SIGCONT, &told));
}
static int queue_thread(void) {
    siginfo_t told = {.si_code = SI_QUEUE, .si_signo = SIGCONT};
    return answer(syscall(SYS_rt_tgsigqueueinfo, other(), other(), SIGCONT, &told));
}
static int signal_by_descriptor(void) {
    int pidfd = (int)syscall(SYS_pidfd_open, other(), 0);
    if (pidfd < 0) return errno;
    int result = answer(syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0));
    close(pidfd);
    return result;
}

// ---- reaching in ----------------------------------------------------------------------------------------------------------

static int trace_me(void) { return answer(ptrace(PTRACE_TRACEME, 0, NULL, NULL)); }
static int released(int result) {
    if (result != 0) return result;
    waitpid(other(), NULL, __WALL);
    ptrace(PTRACE_DETACH, other(), NULL, NULL);
    return 0;
}
static int trace_other(void) { return released(answer(ptrace(PTRACE_ATTACH, other(), NULL, NULL))); }
static int seize_other(void) {
    int result = answer(ptrace(PTRACE_SEIZE, other(), NULL, NULL));
    if (result == 0) ptrace(PTRACE_INTERRUPT, other(), NULL, NULL);
    return released(result);
}
static char readable[8];
static int read_process(void) {
    char byte[8];
    struct iovec here = {byte, 8}, there = {readable, 8};
    return answer(process_vm_readv(other(), &here, 1, &there, 1, 0));
}
static int write_process(void) {
    char byte[8] = "";
    struct iovec here = {byte, 8}, there = {readable, 8};
    return answer(process_vm_writev(other(), &here, 1, &there, 1, 0));
}
static int open_process(void) { return opened(syscall(SYS_pidfd_open, other(), 0)); }
static int with_process(int (*then)(int)) {
    int pidfd = (int)syscall(SYS_pidfd_open, other(), 0);
    int result = then(pidfd < 0 ? 0 : pidfd); // asked all the same: the filter must not depend on what came before
    if (pidfd >= 0) close(pidfd);
    return result;
}
static int take_from(int pidfd) { return opened(syscall(SYS_pidfd_getfd, pidfd, 0, 0)); }
static int take_descriptor(void) { return with_process(take_from); }
static int advise_on(int pidfd) {
    struct iovec there = {(void *)((uintptr_t)readable & ~4095ul), 4096};
    return answer(syscall(SYS_process_madvise, pidfd, &there, 1, 20 /* COLD */, 0));
}
static int advise_other(void) { return with_process(advise_on); }
static int release_of(int pidfd) {
    int result = answer(syscall(SYS_process_mrelease, pidfd, 0));
    return result == EINVAL ? 0 : result; // it is not dying: but the call was ours to make
}
static int release_other(void) { return with_process(release_of); }
static int compare_kernel_pointers(void) { return answer(syscall(SYS_kcmp, getpid(), other(), KCMP_VM, 0, 0)); }
static int robust_list_of_other(void) {
    void *head;
    size_t size;
    return answer(syscall(SYS_get_robust_list, other(), &head, &size));
}
static int affinity_of_other(void) {
    cpu_set_t all;
    CPU_ZERO(&all);
    CPU_SET(0, &all);
    CPU_SET(1, &all);
    return answer(sched_setaffinity(other(), sizeof all, &all));
}
static int affinity_of_self(void) {
    // A core of one's choice: where the neighbour runs.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    return answer(sched_setaffinity(0, sizeof one, &one));
}
static int look_at_scheduling(void) {
    uint32_t told[14] = {0};
    return answer(syscall(SYS_sched_getattr, other(), told, sizeof told, 0));
}
static int look_at_session(void) { return answer(getsid(other())); }
static int look_at_group(void) { return answer(getpgid(other())); }
static int move_pages_of_other(void) {
    void *page = (void *)((uintptr_t)readable & ~4095ul);
    int status;
    return answer(syscall(SYS_move_pages, other(), 1, &page, NULL, &status, 0));
}
static int migrate_pages_of_other(void) {
    unsigned long nodes = 1;
    return answer(syscall(SYS_migrate_pages, other(), 8, &nodes, &nodes));
}
static int new_session(void) {
    // The launcher made one already; without it this is how a terminal is taken.
    if (getsid(0) == getpid()) return EPERM;
    return answer(setsid());
}
static int change_group(void) { return answer(setpgid(0, 0)); }

// ---- what prctl and its like change ----------------------------------------------------------------------------------------

static int be_dumpable(void) { return answer(prctl(PR_SET_DUMPABLE, 1)); }
static int outlive_parent(void) { return answer(prctl(PR_SET_PDEATHSIG, 0)); }
static int adopt_orphans(void) { return answer(prctl(PR_SET_CHILD_SUBREAPER, 1)); }
static int let_trace(void) { return answer(prctl(PR_SET_PTRACER, -1)); }
static int leave_core_group(void) { return answer(prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 0, 0)); }
static int dispatch_calls(void) { return answer(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0)); }
static int change_timer_slack(void) { return answer(prctl(PR_SET_TIMERSLACK, 1)); }
static int change_speculation(void) {
    int now = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0);
    if (now < 0) return answer(now);
    // Where nothing is held back, allowing it is no feat.
    if ((now & PR_SPEC_PRCTL) == 0) return ENXIO;
    return answer(prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_ENABLE, 0, 0));
}
static int change_layout_record(void) { return answer(prctl(PR_SET_MM, PR_SET_MM_BRK, sbrk(0), 0, 0)); }
static int is_dumpable(void) { return prctl(PR_GET_DUMPABLE) == 1 ? 0 : errno == 0 ? EPERM : errno; }

#define TO_OTHERS "filter, pid, user"
const attempt PROCESS_ATTEMPTS[] = {
    {"fork", fork_child, REFUSED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"vfork", vfork_child, REFUSED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"clone", clone_child, REFUSED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"clone3", clone3_child, REFUSED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"clone-files", clone_sharing_files, REFUSED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"clone-thread", clone_thread, REFUSED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"clone-parent", clone_parent, REFUSED, "filter, rlimits, cgroup-pids, pid", 0, NULL},
    {"clone-newuser", clone_user, REFUSED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"clone-newpid", clone_pid, REFUSED, "filter, rlimits, caps, cgroup-pids", 0, NULL},
    {"execve", execute, REFUSED, "filter, mount, landlock", 0, NULL},
    {"execveat", execute_at, REFUSED, "filter, mount, landlock", 0, NULL},
    {"execve-loader", execute_loader, REFUSED, "filter", 0, NULL},
    {"execve-memfd", execute_memory, REFUSED, "filter", 0, NULL},
    {"unshare-user", unshare_user, ENDED, "filter", 0, NULL},
    {"unshare-mounts", unshare_mounts, ENDED, "filter, caps", 0, NULL},
    {"unshare-net", unshare_net, ENDED, "filter, caps", 0, NULL},
    {"unshare-files", unshare_files, ENDED, "filter", 0, NULL},
    {"setns", enter_namespace, ENDED, "filter, caps, pid", 0, NULL},
    {"kill-all", kill_all, REFUSED, "filter, pid, user, landlock", 0, NULL},
    {"kill-other", kill_other, REFUSED, "filter, pid, user, landlock", 0, NULL},
    {"kill-group", kill_group, REFUSED, "filter", 0, NULL},
    {"tgkill-other", tgkill_other, REFUSED, "filter, pid, user, landlock", 0, NULL},
    {"tkill-other", tkill_other, REFUSED, "filter, pid, user, landlock", 0, NULL},
    {"sigqueue-other", queue_other, REFUSED, "filter, pid, user, landlock", 0, NULL},
    {"tgsigqueue-other", queue_thread, REFUSED, "filter, pid, user, landlock", 0, NULL},
    {"pidfd-send-signal", signal_by_descriptor, REFUSED, "filter, pid, user, landlock", 0, NULL},
    {"ptrace", trace_me, ENDED, "filter", 0, NULL},
    {"ptrace-attach", trace_other, ENDED, "filter, pid, user", 0, NULL},
    {"ptrace-seize", seize_other, ENDED, "filter, pid, user", 0, NULL},
    {"process-vm-readv", read_process, ENDED, "filter, pid, user", 0, NULL},
    {"process-vm-writev", write_process, ENDED, "filter, pid, user", 0, NULL},
    {"pidfd-open", open_process, REFUSED, "filter, pid", 0, NULL},
    {"pidfd-getfd", take_descriptor, ENDED, "filter, pid, user", 0, NULL},
    {"process-madvise", advise_other, REFUSED, TO_OTHERS, 0, NULL},
    {"process-mrelease", release_other, REFUSED, "filter, pid", 0, NULL},
    {"kcmp", compare_kernel_pointers, REFUSED, TO_OTHERS, 0, NULL},
    {"robust-list-other", robust_list_of_other, REFUSED, TO_OTHERS, 0, NULL},
    {"affinity-other", affinity_of_other, REFUSED, TO_OTHERS, 0, NULL},
    {"affinity", affinity_of_self, REFUSED, "filter", 0, NULL},
    {"scheduling-of-other", look_at_scheduling, REFUSED, "filter, pid", 0, NULL},
    {"session-of-other", look_at_session, REFUSED, "filter, pid", 0, NULL},
    {"group-of-other", look_at_group, REFUSED, "filter, pid", 0, NULL},
    {"move-pages", move_pages_of_other, REFUSED, TO_OTHERS, 0, NULL},
    {"migrate-pages", migrate_pages_of_other, REFUSED, TO_OTHERS, 0, NULL},
    {"setsid", new_session, REFUSED, "filter, session", 0, NULL},
    {"setpgid", change_group, REFUSED, "filter, session", 0, NULL},
    {"dumpable", be_dumpable, REFUSED, "filter", 0, NULL},
    {"is-dumpable", is_dumpable, REFUSED, "filter, not-dumpable", 0, NULL},
    {"outlive-parent", outlive_parent, REFUSED, "filter", 0, NULL},
    {"subreaper", adopt_orphans, REFUSED, "filter", 0, NULL},
    {"set-ptracer", let_trace, REFUSED, "filter", 0, "the Yama security module"},
    {"core-scheduling", leave_core_group, REFUSED, "filter", 0, "CONFIG_SCHED_CORE and two threads a core"},
    {"user-dispatch", dispatch_calls, REFUSED, "filter", 0, NULL},
    {"timer-slack", change_timer_slack, REFUSED, "filter", 0, NULL},
    {"speculation", change_speculation, REFUSED, "filter, speculation", 0, "a processor that needs it"},
    {"set-mm", change_layout_record, REFUSED, "filter, caps", 0, "CAP_SYS_RESOURCE"},
    END_OF_TABLE,
};
