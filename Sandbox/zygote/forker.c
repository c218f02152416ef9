// The forker: the one lasting privileged process. It starts zygotes, reaps them, removes their cgroups; next: forked.c.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "packet.h"
#include "zygote.h"

typedef struct child {
    pid_t pid; ///< 0 = free
    uint32_t number;
    cgroup_groups groups;
} child;

typedef struct forker {
    const options *options;
    int program; ///< this very program, whatever lies at its path later
    int signals;
    uint32_t have;
    uid_t uid;
    gid_t gid;
    bool user_namespace; ///< not root, and the machine lets anyone have one
    cgroup_groups top;
    child *children;
} forker;

_Noreturn static void cannot(const forker *f, const char *step, int error) {
    char text[256];
    int length = snprintf(text, sizeof text, "forker: %s: %s", step, strerror(error));
    packet_send(f->options->control, WIRE_ZYGOTE_FAILED, text, (size_t)length, NULL, 0);
    cgroup_remove(&f->top);
    exit(EXIT_CANNOT);
}

// ---- starting ------------------------------------------------------------------------------------------------------------

enum { ARGUMENTS_MAX = 40, TEXT_MAX = 4096 };

typedef struct arguments {
    char *word[ARGUMENTS_MAX];
    int count;
    char text[TEXT_MAX];
    size_t used;
} arguments;

static void argue(arguments *a, const char *word) {
    size_t size = strlen(word) + 1;
    if (a->count + 1 >= ARGUMENTS_MAX || a->used + size > sizeof a->text) abort();
    a->word[a->count++] = memcpy(a->text + a->used, word, size);
    a->word[a->count] = NULL;
    a->used += size;
}

static void argue_number(arguments *a, const char *name, uint32_t number) {
    char text[16];
    snprintf(text, sizeof text, "%u", number);
    argue(a, name);
    argue(a, text);
}

static void argue_text(arguments *a, const char *name, const char *text) {
    if (text == NULL || text[0] == 0) return;
    argue(a, name);
    argue(a, text);
}

static void describe(const forker *f, const child *c, uint32_t slot, uint32_t prepare, arguments *a) {
    argue(a, "swiftlet-zygote");
    argue(a, "zygote");
    argue_number(a, "--control", 3);
    argue_number(a, "--have", f->have);
    argue_number(a, "--prepare", prepare);
    argue_number(a, "--uid-first", f->options->uid_base + slot * WORKERS_MAX);
    argue_text(a, "--kit", f->options->kit);
    argue_text(a, "--rehearsal", f->options->rehearsal);
    argue_text(a, "--swift-runtime", f->options->swift_runtime);
    if (f->user_namespace) argue(a, "--user-namespace");
    argue_number(a, "--cgroup-version", c->groups.version);
    // A controller that is left out on purpose is there all the same: the zygote must not know of it.
    if ((f->have & WIRE_LAYER_CGROUP_MEMORY) != 0) argue_text(a, "--cgroup-memory", c->groups.path[CGROUP_MEMORY]);
    if ((f->have & WIRE_LAYER_CGROUP_PIDS) != 0) argue_text(a, "--cgroup-pids", c->groups.path[CGROUP_PIDS]);
    if ((f->have & WIRE_LAYER_CGROUP_CPU) != 0) argue_text(a, "--cgroup-cpu", c->groups.path[CGROUP_CPU]);
    if ((f->have & WIRE_LAYER_CGROUP_DEVICES) != 0) argue_text(a, "--cgroup-devices", c->groups.devices);
}

/// In the child of a raw clone: nothing but system calls until exec.
_Noreturn static void become_zygote(const forker *f, const arguments *a, int control) {
    static char *const ENVIRONMENT[] = {"SWIFT_BACKTRACE=enable=no", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (f->user_namespace && user_namespace_map(f->uid, f->gid) < 0) _exit(EXIT_CANNOT);
    // Out of the way first: 3 may be the program's own descriptor.
    int high = fcntl(f->program, F_DUPFD_CLOEXEC, 16);
    int passed = fcntl(control, F_DUPFD_CLOEXEC, 16);
    if (high < 0 || passed < 0 || dup2(passed, 3) < 0) _exit(EXIT_CANNOT);
    for (int fd = 4; fd < 64; fd++)
        if (fd != high) close(fd);
    close_range(64, ~0u, 0);
    execveat(high, "", a->word, ENVIRONMENT, AT_EMPTY_PATH);
    _exit(EXIT_CANNOT);
}

static void report_gone(const forker *f, uint32_t number, int status) {
    wire_zygote_gone gone = {.zygote = number, .status = status};
    packet_send(f->options->control, WIRE_ZYGOTE_GONE, &gone, sizeof gone, NULL, 0);
}

static void spawn(forker *f, const wire_spawn *wanted, int control) {
    uint32_t slot = 0;
    while (slot < ZYGOTES_MAX && f->children[slot].pid != 0) slot++;
    if (slot == ZYGOTES_MAX || control < 0) {
        report_gone(f, wanted->zygote, EXIT_CANNOT << 8);
        return;
    }
    child *c = &f->children[slot];
    char name[24];
    snprintf(name, sizeof name, "z%u", wanted->zygote);
    if (cgroup_make_child(&f->top, name, &c->groups) < 0 ||
        ((f->have & WIRE_LAYER_CGROUP_DEVICES) != 0 && cgroup_restrict_devices(&c->groups) < 0)) {
        cgroup_remove(&c->groups);
        report_gone(f, wanted->zygote, EXIT_CANNOT << 8);
        return;
    }
    arguments a = {0};
    describe(f, c, slot, wanted->prepare > WORKERS_MAX / 2 ? WORKERS_MAX / 2 : wanted->prepare, &a);
    // A pid namespace around zygote and workers: when the zygote ends, the kernel ends all of them.
    uint64_t flags = (f->have & WIRE_LAYER_PID) != 0 ? CLONE_NEWPID : 0;
    if (f->user_namespace) flags |= CLONE_NEWUSER;
    pid_t pid = clone_process(flags);
    if (pid == 0) become_zygote(f, &a, control);
    if (pid < 0) {
        cgroup_remove(&c->groups);
        report_gone(f, wanted->zygote, EXIT_CANNOT << 8);
        return;
    }
    c->pid = pid;
    c->number = wanted->zygote;
}

// ---- ending --------------------------------------------------------------------------------------------------------------

static void reap(forker *f) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (uint32_t i = 0; i < ZYGOTES_MAX; i++) {
            child *c = &f->children[i];
            if (c->pid != pid) continue;
            cgroup_remove(&c->groups);
            c->pid = 0;
            report_gone(f, c->number, status);
        }
}

static void end_all(forker *f) {
    for (uint32_t i = 0; i < ZYGOTES_MAX; i++)
        if (f->children[i].pid != 0) kill(f->children[i].pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {}
    cgroup_remove(&f->top);
}

/// Groups of hosts that ended by force: named swiftlet-PID, and no such process lives. rmdir takes only empty ones.
static void remove_leftovers(const cgroup_groups *top, const char *name) {
    const char *dash = strrchr(name, '-');
    if (dash == NULL) return;
    for (int i = 0; i <= CGROUP_CONTROLLERS; i++) {
        char parent[512];
        snprintf(parent, sizeof parent, "%s", i < CGROUP_CONTROLLERS ? top->path[i] : top->devices);
        char *slash = strrchr(parent, '/');
        if (slash == NULL) continue;
        *slash = 0;
        DIR *listing = opendir(parent);
        for (struct dirent *e; listing != NULL && (e = readdir(listing)) != NULL;) {
            size_t prefix = (size_t)(dash - name) + 1;
            char *end = NULL;
            if (strncmp(e->d_name, name, prefix) != 0) continue;
            long pid = strtol(e->d_name + prefix, &end, 10);
            if (pid <= 0 || (*end != 0 && strcmp(end, "-host") != 0) || kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
            cgroup_groups old = {.version = top->version};
            char *path = i < CGROUP_CONTROLLERS ? old.path[i] : old.devices;
            if ((size_t)snprintf(path, sizeof old.devices, "%s/%s", parent, e->d_name) < sizeof old.devices)
                cgroup_remove(&old);
        }
        if (listing != NULL) closedir(listing);
    }
}

// ---- the loop ------------------------------------------------------------------------------------------------------------

/// Returns false when the host has gone.
static bool serve_host(forker *f) {
    _Alignas(8) uint8_t buffer[256];
    int passed;
    wire_head head;
    const uint8_t *payload;
    ssize_t got = packet_receive(f->options->control, buffer, sizeof buffer, &passed, 0);
    if (got == 0 || got == -ECONNRESET) return false;
    if (got < 0) cannot(f, "control socket", (int)-got);
    bool valid = packet_open(buffer, got, &head, &payload) && head.type == WIRE_SPAWN && head.size == sizeof(wire_spawn);
    if (!valid) cannot(f, "control socket: a frame that is not SPAWN", EPROTO);
    wire_spawn wanted;
    memcpy(&wanted, payload, sizeof wanted);
    spawn(f, &wanted, passed);
    if (passed >= 0) close(passed);
    return true;
}

static void prepare(forker *f) {
    const options *o = f->options;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fcntl(o->control, F_SETFD, FD_CLOEXEC);
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    // The host's terminal sends its signals to the whole group; the host decides when we end, by closing the socket.
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    cgroup_make_top(&f->top, o->cgroup_name);
    remove_leftovers(&f->top, o->cgroup_name);
    f->program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    f->signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    f->children = calloc(ZYGOTES_MAX, sizeof *f->children);
    if (f->program < 0 || f->signals < 0 || f->children == NULL) cannot(f, "prepare", errno);
    layer found[LAYER_COUNT];
    f->have = (layers_probe(found, &f->top, o->uid_base) | STEPS_ALL) & ~o->without;
    if ((f->have & WIRE_LAYER_SECCOMP) == 0) f->have &= ~(uint32_t)(STEP_LOAD_FILTER | STEP_SERVE_FILTER);
    uint32_t namespaces = WIRE_LAYER_PID | WIRE_LAYER_NET | WIRE_LAYER_MOUNT | WIRE_LAYER_IPC;
    f->user_namespace = f->uid != 0 && (f->have & namespaces) != 0;
    if (f->uid == 0 && (f->have & WIRE_LAYER_USER) == 0 && (o->without & WIRE_LAYER_USER) == 0)
        cannot(f, "user ids: --uid-base must lie in /proc/self/uid_map", EINVAL);
    wire_layers layers = {.version = WIRE_VERSION, .have = f->have & LAYERS_ALL, .cgroup = f->top.version, .pid = getpid()};
    packet_send(o->control, WIRE_FORKER_READY, &layers, sizeof layers, NULL, 0);
}

int forker_main(options *o) {
    forker f = {.options = o, .uid = geteuid(), .gid = getegid()};
    prepare(&f);
    struct pollfd watched[] = {{.fd = o->control, .events = POLLIN}, {.fd = f.signals, .events = POLLIN}};
    for (bool host = true; host;) {
        if (poll(watched, 2, -1) < 0 && errno != EINTR) cannot(&f, "poll", errno);
        struct signalfd_siginfo news;
        while (read(f.signals, &news, sizeof news) > 0) {}
        reap(&f);
        if (watched[0].revents != 0) host = serve_host(&f);
    }
    end_all(&f);
    return 0;
}

// ---- layers: for people --------------------------------------------------------------------------------------------------

int layers_main(const options *o, bool json) {
    char name[48];
    snprintf(name, sizeof name, "swiftlet-layers-%d", getpid());
    cgroup_groups top;
    layer found[LAYER_COUNT];
    cgroup_make_top(&top, name);
    uint32_t have = layers_probe(found, &top, o->uid_base) & ~o->without, required = o->require != 0 ? o->require : LAYERS_ALL;
    cgroup_remove(&top);
    if (json) printf("{\"have\":%u,\"cgroup\":%u,\"landlock\":%d,\"layers\":[", have, top.version, landlock_abi());
    for (int i = 0; i < LAYER_COUNT; i++) {
        layer *l = &found[i];
        const char *reason = l->error == 0 ? "" : strerror(l->error), *fix = l->error == 0 ? "" : l->fix;
        if (l->error == 0 && (o->without & l->bit) != 0) {
            l->error = ECANCELED;
            reason = "left out by --without";
            fix = "leave that option away";
        }
        if (json)
            printf("%s{\"name\":\"%s\",\"in_force\":%s,\"stops\":\"%s\",\"reason\":\"%s\",\"fix\":\"%s\"}", i == 0 ? "" : ",",
                   l->name, l->error == 0 ? "true" : "false", l->stops, reason, fix);
        else if (l->error == 0) printf("yes %-14s stops %s\n", l->name, l->stops);
        else printf("NO  %-14s %s; to get it: %s\n", l->name, reason, fix);
    }
    char counted[1024];
    dmem_capacity(counted, sizeof counted);
    bool dmem = top.version == 2 && counted[0] != 0;
    if (json) printf("],\"dmem\":%s}\n", dmem ? "true" : "false");
    else printf("%s dmem           %s\n", dmem ? "yes" : "-- ", dmem ? "stops taking more device memory than its budget, on the devices that count it"
                : "absent: Linux 6.14, control groups v2 and a driver that counts device memory (NVIDIA's does not); no layer");
    return (have & required) == required ? 0 : 1;
}
