// Templates: confined processes that have loaded a plugin and fork once for each invocation; the far side is template.c.
//
// The zygote makes everything that a forked process gets (group, pipe, channel) and is its parent, so that limits and exits
// are the kernel's word and never the template's, which runs tenant code.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "packet.h"
#include "workers.h"

enum {
    TEMPLATES_MAX = 32,
    WAITING_MAX = 64,
    /// A template that nobody uses is kept for so long.
    IDLE_MS = 1000,
    /// Processes in a template's own group: itself, and forks that have not moved to their own group yet.
    FORKS_AT_ONCE = 64,
};

struct template {
    pid_t init;      ///< first process of its pid namespace; 0: this place is free
    int inside;      ///< that namespace
    worker *process; ///< NULL once it has ended
    bool loaded, ending;
    uint32_t children;
    uint64_t idle_since;
    wire_start start;
    uint8_t *key; ///< the START payload without the worker's number
    size_t key_size;
    struct waiting {
        uint32_t number;
        int channel;
    } waiting[WAITING_MAX];
    uint32_t waiting_count;
};

static template templates[TEMPLATES_MAX];

static size_t number_size(void) {
    return sizeof ((wire_start *)NULL)->worker;
}

static template *find(const uint8_t *payload, size_t size) {
    const uint8_t *key = payload + number_size();
    size_t key_size = size - number_size();
    for (int i = 0; i < TEMPLATES_MAX; i++) {
        template *t = &templates[i];
        if (t->init != 0 && !t->ending && t->key_size == key_size && memcmp(t->key, key, key_size) == 0) return t;
    }
    return NULL;
}

// ---- the pid namespace of a template -------------------------------------------------------------------------------------

/// Holds the namespace: when it ends, the kernel ends the template and everything it forked. It has no descriptor, no
/// right, and does nothing.
_Noreturn static void hold_namespace(void) {
    enum { NOBODY = 65534 };
    confine c = {.uid = NOBODY, .user_namespace = Z.options->user_namespace};
    close_range(0, ~0u, 0);
    if ((Z.options->have & WIRE_LAYER_USER) != 0 && creds_user(&c) < 0) _exit(EXIT_CANNOT);
    if (creds_capabilities(&c) < 0 || process_parent_death(&c) < 0 || process_no_new_privileges(&c) < 0) _exit(EXIT_CANNOT);
    for (;;) pause();
}

/// Returns 0 or -errno.
static int make_namespace(template *t) {
    pid_t pid = worker_fork_process(-1);
    if (pid == 0) hold_namespace();
    if (pid < 0) return -errno;
    t->init = pid;
    // Ours to look at, unlike the new process's own: it has changed its user.
    t->inside = openat(Z.proc, "self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
    return t->inside < 0 ? -errno : 0;
}

static void forget(template *t) {
    if (t->inside >= 0) close(t->inside);
    free(t->key);
    *t = (template){.inside = -1};
}

static void end(template *t) {
    if (t->ending) return;
    t->ending = true;
    if (t->init > 0) kill(t->init, SIGKILL);
}

// ---- tickets -------------------------------------------------------------------------------------------------------------

enum { TICKET_FDS = 4 + CGROUP_CONTROLLERS };

/// What template.c reads: which of the descriptors are groups follows from their count.
static int send_ticket(int socket, const int *descriptors, size_t count) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(TICKET_FDS * sizeof(int))];
    } control = {0};
    uint32_t nothing = 0;
    struct iovec part = {.iov_base = &nothing, .iov_len = sizeof nothing};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *passed = CMSG_FIRSTHDR(&message);
    passed->cmsg_level = SOL_SOCKET;
    passed->cmsg_type = SCM_RIGHTS;
    passed->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(passed), descriptors, count * sizeof(int));
    // Never waits: a template that does not read its tickets has been taken over by its plugin.
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void close_all(const int *descriptors, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (descriptors[i] >= 0) close(descriptors[i]);
}

/// Makes everything for one process and has the template fork it. Takes `channel`. Returns 0 or -errno.
static int fork_one(template *t, uint32_t number, int channel) {
    worker *w = worker_free();
    int park[2] = {-1, -1}, words[2] = {-1, -1}, status = 0, yes = 1;
    wire_start limits = t->start;
    limits.pids = 1;
    if (w == NULL) status = -EAGAIN;
    if (status == 0) status = leaf_get(w);
    if (status == 0) status = cgroup_leaf_limit(&w->leaf, &limits);
    if (status == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, park) < 0) status = -errno;
    if (status == 0 && setsockopt(park[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0) status = -errno;
    if (status == 0 && pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0) status = -errno;
    if (status == 0) {
        int ticket[TICKET_FDS] = {channel, words[1], words[0], park[1]};
        size_t count = 4;
        for (int i = 0; i < CGROUP_CONTROLLERS; i++)
            if (w->leaf.attach[i] >= 0) ticket[count++] = w->leaf.attach[i];
        status = send_ticket(t->process->park, ticket, count);
    }
    close_all((int[]){channel, park[1], words[1]}, 3);
    if (status < 0) {
        close_all((int[]){park[0], words[0]}, 2);
        if (w != NULL) leaf_give_back(w, NULL);
        return status;
    }
    worker_enlist(w, &(worker){.state = WORKING, .number = number, .park = park[0], .words = words[0], .leaf = w->leaf, .of = t});
    t->children++;
    return 0;
}

static void fork_or_tell(template *t, uint32_t number, int channel) {
    int status = fork_one(t, number, channel);
    if (status == 0) return;
    char why[128];
    snprintf(why, sizeof why, "fresh worker: %s", strerror(-status));
    worker_never_started(number, why);
    if (status != -EAGAIN) end(t);
}

static void serve_waiting(template *t) {
    for (uint32_t i = 0; i < t->waiting_count; i++) fork_or_tell(t, t->waiting[i].number, t->waiting[i].channel);
    t->waiting_count = 0;
}

// ---- starting ------------------------------------------------------------------------------------------------------------

/// Returns NULL with the cause in `*why`.
static template *make(const wire_start *start, const uint8_t *payload, size_t size, const char **why) {
    template *t = NULL;
    for (int i = 0; i < TEMPLATES_MAX && t == NULL; i++)
        if (templates[i].init == 0) t = &templates[i];
    *why = "template: this tenant has too many functions with reuse: request awake";
    if (t == NULL) return NULL;
    *t = (template){.inside = -1, .start = *start, .key_size = size - number_size(), .key = malloc(size)};
    *why = "template: no process or memory for it";
    if (t->key == NULL) return NULL;
    memcpy(t->key, payload + number_size(), t->key_size);
    if (make_namespace(t) < 0 || (t->process = worker_fork(WIRE_KIND_FRESH, t->inside)) == NULL) {
        if (t->init == 0) forget(t);
        else end(t);
        return NULL;
    }
    t->process->state = TEMPLATE;
    t->process->of = t;
    // While the plugin's constructors run, not one process more.
    wire_start limits = *start;
    limits.pids = 1;
    int status = cgroup_leaf_limit(&t->process->leaf, &limits);
    if (status < 0 || send(t->process->park, payload, size, MSG_NOSIGNAL) < 0) end(t);
    return t;
}

void templates_start(const job *checked, const uint8_t *payload, size_t size, int channel) {
    uint32_t number = checked->start.worker;
    const char *why = "template: the machine gives no pid namespace, which reuse: request needs";
    template *t = NULL;
    if ((Z.options->have & WIRE_LAYER_PID) != 0 && Z.tid != NULL) {
        t = find(payload, size);
        if (t == NULL) t = make(&checked->start, payload, size, &why);
    }
    int own = t == NULL ? -1 : fcntl(channel, F_DUPFD_CLOEXEC, 16);
    if (own < 0) return worker_never_started(number, why);
    if (t->loaded) return fork_or_tell(t, number, own);
    if (t->waiting_count == WAITING_MAX) {
        close(own);
        return worker_never_started(number, "template: too many invocations wait for it to load");
    }
    t->waiting[t->waiting_count++] = (struct waiting){.number = number, .channel = own};
}

// ---- what templates and their processes say --------------------------------------------------------------------------------

static void hear_template(worker *w) {
    static _Alignas(8) uint8_t buffer[WIRE_FRAME_MAX];
    template *t = w->of;
    int passed;
    ssize_t got = packet_receive(w->park, buffer, sizeof buffer, &passed, MSG_DONTWAIT);
    if (passed >= 0) close(passed);
    if (got == -EAGAIN) return;
    wire_head head;
    const uint8_t *payload;
    if (got == sizeof(parked) && w->host_pid == 0) {
        parked hello;
        memcpy(&hello, buffer, sizeof hello);
        w->host_pid = hello.pid;
        return;
    }
    if (got <= 0 || t->loaded || !packet_open(buffer, got, &head, &payload)) return end(t); // it has nothing more to say
    if (head.type != WIRE_READY) {
        // Words from loading: those who wait for it hear them as from a worker of their own.
        for (uint32_t i = 0; i < t->waiting_count; i++)
            (void)!send(t->waiting[i].channel, buffer, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
    wire_start limits = t->start;
    limits.pids = FORKS_AT_ONCE;
    if (cgroup_leaf_limit(&w->leaf, &limits) < 0) return end(t);
    t->loaded = true;
    t->idle_since = now_ns();
    serve_waiting(t);
}

/// In the host's pid namespace; 0 when that can't be told.
static int host_pid(pid_t pid) {
    char path[40], text[512] = "";
    int result = 0, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(path, sizeof path, "self/fdinfo/%d", pidfd);
    int file = pidfd < 0 ? -1 : openat(Z.proc, path, O_RDONLY | O_CLOEXEC);
    if (file >= 0 && read(file, text, sizeof text - 1) > 0) {
        const char *line = strstr(text, "\nPid:");
        if (line != NULL) result = atoi(line + 5);
    }
    if (file >= 0) close(file);
    if (pidfd >= 0) close(pidfd);
    return result < 0 ? 0 : result;
}

/// The kernel says who sent the byte. One that is known already: the template plays tricks, and ends.
static void hear_child(worker *w) {
    char byte;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    ssize_t got = recvmsg(w->park, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EAGAIN) return;
    if (got == 0) { // the template could not fork, or the process ended before it said a word
        static const struct rusage NONE;
        return worker_bury(w, EXIT_CANNOT << 8, &NONE, "fresh worker: its template could not fork it");
    }
    pid_t pid = 0;
    for (struct cmsghdr *c = got == 1 ? CMSG_FIRSTHDR(&message) : NULL; c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred from;
            memcpy(&from, CMSG_DATA(c), sizeof from);
            pid = from.pid;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            int unwanted;
            memcpy(&unwanted, CMSG_DATA(c), sizeof unwanted);
            close(unwanted);
        }
    }
    for (uint32_t i = 0; i < live_count; i++)
        if (live[i]->pid == pid) pid = 0;
    if (pid <= 1) return end(w->of);
    w->pid = pid;
    w->host_pid = host_pid(pid);
    close(w->park);
    w->park = -1;
    worker_tell_started(w);
}

void templates_hear(worker *w) {
    if (w->state == TEMPLATE) hear_template(w);
    else hear_child(w);
}

// ---- ending --------------------------------------------------------------------------------------------------------------

void templates_child_ended(template *t) {
    t->children--;
    t->idle_since = now_ns();
}

void templates_ended(worker *w, int status, const char *words) {
    static const struct rusage NONE;
    template *t = w->of;
    t->process = NULL;
    end(t);
    for (uint32_t i = 0; i < t->waiting_count; i++) {
        close(t->waiting[i].channel);
        worker gone = {.state = WORKING, .number = t->waiting[i].number, .park = -1, .words = -1, .place = WORKERS_MAX,
                       .leaf = {.dir = {-1, -1, -1}, .attach = {-1, -1, -1}, .number = UINT32_MAX}};
        worker_bury(&gone, status, &NONE, words);
    }
    t->waiting_count = 0;
    // Tickets that it took and did not use; what it forked is ended by the kernel, and reaped like any other.
    for (uint32_t i = live_count; i-- > 0;) // backwards: burying moves the last one into the place
        if (live[i]->state == WORKING && live[i]->of == t && live[i]->pid == 0) worker_bury(live[i], status, &NONE, words);
}

bool templates_reaped(pid_t pid) {
    for (int i = 0; i < TEMPLATES_MAX; i++) {
        template *t = &templates[i];
        if (t->init != pid || pid == 0) continue;
        // The kernel has ended all in its namespace before; each was our child and has been reaped, or is about to be.
        t->ending = true;
        t->init = -1;
        return true;
    }
    return false;
}

int templates_sweep(void) {
    int next = -1;
    uint64_t now = now_ns();
    for (int i = 0; i < TEMPLATES_MAX; i++) {
        template *t = &templates[i];
        if (t->init == 0) continue;
        if (t->init == -1 && t->process == NULL && t->children == 0) {
            forget(t);
            continue;
        }
        if (t->ending || t->children > 0 || t->waiting_count > 0 || !t->loaded) continue;
        uint64_t idle = (now - t->idle_since) / 1000000u;
        if (idle >= IDLE_MS) end(t);
        else if (next < 0 || (int)(IDLE_MS - idle) < next) next = (int)(IDLE_MS - idle);
    }
    return next;
}
