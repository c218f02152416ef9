// A template: it has loaded the plugin, and forks a process for each invocation; the zygote's side is templates.c.
#include "worker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TICKET_MIN = 4, TICKET_MAX = TICKET_MIN + CGROUP_CONTROLLERS };

typedef struct ticket {
    int fds[TICKET_MAX]; ///< channel, words to write, words to read, park, then the groups' `attach`
    int count;
} ticket;

/// False: the zygote is gone.
static bool wait_for_ticket(ticket *t) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(TICKET_MAX * sizeof(int))];
    } control;
    uint32_t nothing;
    struct iovec part = {.iov_base = &nothing, .iov_len = sizeof nothing};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    ssize_t got;
    while ((got = recvmsg(FD_CHANNEL, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {}
    struct cmsghdr *c = got <= 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return false;
    t->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(t->fds, CMSG_DATA(c), (size_t)t->count * sizeof(int));
    return t->count >= TICKET_MIN;
}

/// In the new process: everything that the template did not do for it.
_Noreturn static void serve_ticket(const zygote *z, const confine *of, const ticket *t, const loaded *l, wire_ready *ready) {
    cgroup_leaf leaf = {.attach = {-1, -1, -1}};
    for (int i = TICKET_MIN; i < t->count; i++) leaf.attach[i - TICKET_MIN] = t->fds[i];
    confine c = *of;
    c.leaf = &leaf;
    c.fresh = true;
    // The ticket's descriptors are above 4, since those were taken when it came.
    if (dup2(t->fds[1], FD_OUT) < 0 || dup2(t->fds[1], FD_ERROR) < 0 || dup2(t->fds[2], FD_WORDS) < 0 ||
        dup2(t->fds[0], FD_CHANNEL) < 0)
        _exit(EXIT_CANNOT);
    confine_failure why;
    uint64_t begin = now_ns();
    if (!confine_fresh(&c, t->fds[3], &why)) worker_not_confined(&why);
    ready->seal_ns = now_ns() - begin;
    // Writing to the pages now breaks their sharing with the template before the invocation comes.
    prefault(z, false);
    worker_ready(l, ready, true);
    handler_serve(l, true);
}

void template_serve(const zygote *z, const confine *c, const loaded *l, wire_ready *ready) {
    fill_holes(); // loading has left some
    for (ticket t; wait_for_ticket(&t);) {
        long pid = syscall(SYS_clone, TEMPLATE_FORK_FLAGS, NULL, NULL, c->tid, NULL);
        if (pid == 0) serve_ticket(z, c, &t, l, ready);
        for (int i = 0; i < t.count; i++) close(t.fds[i]);
        // A fork that fails is seen by the zygote: the socket of the one that never was is closed.
    }
    _exit(0);
}
