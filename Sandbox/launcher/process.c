// Attributes of the worker process itself: session, signals, privileges it can never gain; called by confine.c.
#include "launcher.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_CREATE 1
#endif

int process_core_group(void) {
    // EINVAL, ENODEV: the kernel has no such thing, or no core has two threads; then there is nothing to keep apart.
    if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 0 /* this thread */, 0) < 0 && errno != EINVAL && errno != ENODEV)
        return -errno;
    return 0;
}

int process_yield_to_host(void) {
    // A worker that wakes must not stop the host in the middle of what it sends, nor a neighbour that runs.
    struct sched_param none = {0};
    return sched_setscheduler(0, SCHED_BATCH, &none) < 0 ? -errno : 0;
}

int process_session(const confine *c) {
    (void)c;
    return setsid() < 0 ? -errno : 0;
}

// The zygote turns this exit code back into the signal (see exited.c).
static void leave(int signal_number) {
    _exit(128 + signal_number);
}

int process_signals(const confine *c) {
    (void)c;
    struct sigaction action = {.sa_handler = leave};
    if (sigaction(SIGABRT, &action, NULL) < 0 || sigaction(SIGXCPU, &action, NULL) < 0) return -errno;
    action.sa_handler = SIG_IGN;
    if (sigaction(SIGPIPE, &action, NULL) < 0) return -errno;
    sigset_t none;
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

int process_parent_death(const confine *c) {
    (void)c;
    return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
}

int process_not_dumpable(const confine *c) {
    (void)c;
    return prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
}

int process_no_new_privileges(const confine *c) {
    (void)c;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int process_speculation(const confine *c) {
    (void)c;
    // Indirect branches only: what is read past a store is the process's own memory, and a process is the boundary here.
    // ENODEV, ENXIO, EPERM: the processor does not need it, or the administrator decided it for the whole machine.
    if (prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0, 0) < 0 &&
        errno != ENODEV && errno != ENXIO && errno != EPERM && errno != EINVAL)
        return -errno;
    return 0;
}

int process_memory_deny_write_execute(const confine *c) {
    (void)c;
    return prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0 ? -errno : 0;
}
