// The zygote: builds the jail once, keeps workers prepared, hands them jobs, reaps them; next: worker.c.
#include <errno.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "packet.h"
#include "workers.h"

/// How long the control socket must be silent before a worker is prepared: a burst of starts comes first.
enum { QUIET_MS = 2, PREPARE_FAILURES_MAX = 3, KNOWN_MAX = 4, LIMIT_AHEAD_MIN = 16 << 20 };

zygote Z;
static worker workers[WORKERS_MAX];
worker *live[WORKERS_MAX];
uint32_t live_count;
static uint32_t next_slot;
/// Jobs that the host asked for, until somebody has them.
static known_job known[KNOWN_MAX];
static wire_start latest; ///< a tenant's next job is likely to have the limits of its last one
static bool announced, adopted, gives;
static uint32_t prepare_failures; ///< in a row

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

_Noreturn static void cannot(const char *step, int error, const char *detail) {
    char text[WORDS_MAX];
    int length = snprintf(text, sizeof text, "zygote: %s: %s%s%s", step, strerror(error), detail[0] == 0 ? "" : ": ", detail);
    if (length >= (int)sizeof text) length = sizeof text - 1;
    packet_send(Z.control, WIRE_ZYGOTE_FAILED, text, (size_t)length, NULL, 0);
    _exit(EXIT_CANNOT);
}

// ---- preparing workers ---------------------------------------------------------------------------------------------------

/// A fork into a pid namespace of its own. setns puts our choice back to our own namespace, which unshare needs; fork,
/// not a raw clone, so that glibc in the worker knows its thread's id.
pid_t worker_fork_process(int inside) {
    if (inside >= 0) return setns(inside, CLONE_NEWPID) < 0 ? -1 : fork();
    if ((Z.options->have & WIRE_LAYER_PID) != 0 &&
        (setns(Z.pid_namespace, CLONE_NEWPID) < 0 || unshare(CLONE_NEWPID) < 0))
        return -1;
    return fork();
}

worker *worker_free(void) {
    // Slots go round, so that a user id rests before it is used again.
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        uint32_t slot = (next_slot + i) % WORKERS_MAX;
        if (workers[slot].state != FREE) continue;
        next_slot = slot + 1;
        return &workers[slot];
    }
    return NULL;
}

void worker_enlist(worker *w, const worker *as) {
    *w = *as;
    w->place = live_count;
    live[live_count++] = w;
}

static void delist(worker *w) {
    live[w->place] = live[--live_count];
    live[w->place]->place = w->place;
    *w = (worker){.state = FREE};
}

static void close_all(const int *descriptors, int count) {
    for (int i = 0; i < count; i++)
        if (descriptors[i] >= 0) close(descriptors[i]);
}

worker *worker_fork(uint32_t kind, int inside) {
    worker *w = worker_free();
    if (w == NULL) {
        errno = EAGAIN;
        return NULL;
    }
    uint32_t slot = (uint32_t)(w - workers);
    int fds[4] = {-1, -1, -1, -1}; // park: ours, the worker's; words: read, write
    int status = leaf_get(w);
    if (status == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) status = -errno;
    if (status == 0 && pipe2(fds + 2, O_CLOEXEC | O_NONBLOCK) < 0) status = -errno;
    pid_t pid = status < 0 ? -1 : worker_fork_process(inside);
    if (pid == 0) worker_main(&Z, slot, &w->leaf, kind, fds[1], fds[2], fds[3]);
    if (status == 0 && pid < 0) status = -errno;
    if (status < 0) {
        close_all(fds, 4);
        leaf_give_back(w, NULL);
        errno = -status;
        return NULL;
    }
    close(fds[1]);
    close(fds[3]);
    worker_enlist(w, &(worker){.state = PREPARING, .pid = pid, .park = fds[0], .words = fds[2], .leaf = w->leaf});
    return w;
}

static uint32_t count_prepared(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < live_count; i++)
        count += live[i]->counted && (live[i]->state == PREPARING || live[i]->state == READY || live[i]->state == GIVEN);
    return count;
}

/// Those that wait are handlers to be: a zygote with devices has none.
static uint32_t prepare_count(void) {
    return Z.devices.count > 0 ? 0 : Z.options->prepare;
}

static void end_prepared(void) {
    for (uint32_t i = 0; i < live_count; i++)
        if (live[i]->counted) {
            live[i]->counted = false;
            kill(live[i]->pid, SIGKILL);
        }
}

/// One that the host asked for and nobody is meant for yet.
static known_job *job_ahead(void) {
    for (uint32_t i = 0; i < KNOWN_MAX; i++) {
        bool meant = known[i].number == 0;
        for (uint32_t j = 0; j < live_count && !meant; j++) meant = live[j]->meant_for == &known[i];
        if (!meant) return &known[i];
    }
    return NULL;
}

static void know_job(uint32_t number, const uint8_t *payload, size_t size) {
    static job checked;
    // Only what a waiting handler may become.
    if (job_read(&checked, Z.app, payload, size) != NULL || checked.start.kind != WIRE_KIND_HANDLER || Z.devices.count > 0) return;
    latest = checked.start;
    for (uint32_t i = 0; i < KNOWN_MAX; i++) {
        if (known[i].number != 0) continue;
        known[i].number = number;
        known[i].size = size;
        memcpy(known[i].payload, payload, size);
        return;
    }
}

/// Makes a worker that has said hello the one for its job.
static void give_job(worker *w) {
    known_job *its = w->meant_for;
    w->meant_for = NULL;
    w->job = its->number;
    memcpy(&w->limits, its->payload, sizeof w->limits);
    its->number = 0;
    int status = cgroup_leaf_limit(&w->leaf, &w->limits);
    if (status < 0 || send(w->park, its->payload, its->size, MSG_NOSIGNAL) < 0) kill(w->pid, SIGKILL);
}

static void prepare_one(void) {
    known_job *wanted = job_ahead();
    worker *w = worker_fork(WIRE_KIND_HANDLER, -1);
    if (w == NULL) cannot("prepare a worker", errno, "");
    w->counted = true;
    w->meant_for = wanted;
    // A very small limit comes with the job, not ahead: preparing takes memory too.
    if (latest.memory_bytes >= LIMIT_AHEAD_MIN) w->limits = latest;
    int status = cgroup_leaf_limit(&w->leaf, &w->limits);
    if (status < 0) cannot("limit a worker", -status, "");
}

static void announce_when_ready(void) {
    if (announced) return;
    uint32_t ready = 0;
    for (uint32_t i = 0; i < live_count; i++) ready += live[i]->state == READY;
    if (ready < prepare_count()) return;
    announced = true;
    char self[16] = "";
    ssize_t length = readlinkat(Z.proc, "self", self, sizeof self - 1);
    wire_layers layers = {.version = WIRE_VERSION, .have = Z.options->have & LAYERS_ALL, .cgroup = Z.options->groups.version,
                          .pid = length > 0 ? atoi(self) : 0};
    packet_send(Z.control, WIRE_ZYGOTE_READY, &layers, sizeof layers, NULL, 0);
}

void worker_tell_started(const worker *w) {
    wire_started started = {.worker = w->number, .pid = w->host_pid, .prepared = w->counted};
    packet_send(Z.control, WIRE_STARTED, &started, sizeof started, NULL, 0);
}

static void hear_parked(worker *w) {
    if (w->of != NULL) return templates_hear(w);
    parked hello;
    ssize_t got = recv(w->park, &hello, sizeof hello, MSG_DONTWAIT);
    if (got != sizeof hello) return; // it died; its last words come with the exit
    w->host_pid = hello.pid;
    if (w->state == PREPARING && w->meant_for != NULL) give_job(w);
    if (w->state == PREPARING) w->state = READY;
    else worker_tell_started(w);
    prepare_failures = 0;
    announce_when_ready();
}

// ---- frames from the host ------------------------------------------------------------------------------------------------

void worker_never_started(uint32_t number, const char *why) {
    wire_exited gone = {.worker = number, .status = EXIT_CANNOT << 8, .words_size = (uint32_t)strlen(why)};
    packet_send(Z.control, WIRE_EXITED, &gone, sizeof gone, why, gone.words_size);
}

static worker *worker_for(uint32_t kind) {
    worker *waiting = NULL;
    // Only handlers and probes come from the pool: a backend's load filter allows threads, so it is chosen at the fork.
    for (uint32_t i = 0; kind != WIRE_KIND_BACKEND && kind != WIRE_KIND_JIT && i < live_count; i++) {
        if (!live[i]->counted || live[i]->job != 0 || live[i]->meant_for != NULL) continue;
        if (live[i]->state == READY) return live[i];
        if (live[i]->state == PREPARING && waiting == NULL) waiting = live[i];
    }
    return waiting != NULL ? waiting : worker_fork(kind, -1);
}

/// Lets the host start the waiting workers without us in between, which saves it a wake-up.
static void give_prepared(void) {
    static uint32_t given;
    for (uint32_t i = 0; i < live_count; i++) {
        worker *w = live[i];
        if (w->state != READY || !w->counted) continue;
        struct {
            wire_head head;
            wire_prepared body;
        } packet = {.head = {.type = WIRE_PREPARED, .size = sizeof packet.body}};
        w->number = WIRE_PREPARED_BIT | given++;
        packet.body = (wire_prepared){.worker = w->number, .pid = w->host_pid, .memory_bytes = w->limits.memory_bytes,
                                      .pids = w->limits.pids, .cpu_percent = w->limits.cpu_percent,
                                      .cpu_weight = w->leaf.limits.cpu_weight, .job = w->job};
        // The host never waits on it; nor do we, should its job come by us after all.
        if (fcntl(w->park, F_SETFL, O_NONBLOCK) < 0 || packet_pass(Z.control, &packet, sizeof packet, w->park) < 0) return;
        w->state = GIVEN;
    }
}

static worker *find_given(uint32_t number) {
    for (uint32_t i = 0; i < live_count; i++)
        if (live[i]->state == GIVEN && live[i]->number == number) return live[i];
    return NULL;
}

static void take(const uint8_t *payload, size_t size) {
    wire_taken taken;
    if (size < sizeof taken) cannot("taken: malformed", EPROTO, "");
    memcpy(&taken, payload, sizeof taken);
    if (taken.job != 0) know_job(taken.job, payload + sizeof taken, size - sizeof taken);
    worker *w = find_given(taken.worker);
    if (w == NULL) return; // it has ended
    w->state = WORKING;
    close(w->park);
    w->park = -1;
}

/// `prepared`: the number of the one that the host wants, or 0.
static void start(uint32_t prepared, const uint8_t *payload, size_t size, int channel) {
    static job checked;
    const char *wrong = job_read(&checked, Z.app, payload, size);
    uint32_t number = checked.start.worker;
    if (wrong == NULL && channel < 0) wrong = "start: no channel came with the job";
    // Its root and its group hold the devices for every worker: so all of them, and none in any other zygote.
    if (wrong == NULL && checked.start.device_count != Z.devices.count)
        wrong = "start: the job's devices are not those that this zygote has adopted";
    if (wrong != NULL) return worker_never_started(number, wrong);
    if (checked.start.kind == WIRE_KIND_FRESH) return templates_start(&checked, payload, size, channel);
    worker *w = prepared == 0 ? NULL : find_given(prepared);
    if (w == NULL) w = worker_for(checked.start.kind);
    if (w == NULL) return worker_never_started(number, "start: no worker could be forked; lower the load or raise pids limits");
    int status = cgroup_leaf_limit(&w->leaf, &checked.start);
    if (status == 0 && Z.dmem_region[0] != 0 && checked.start.device_bytes > 0)
        status = cgroup_leaf_limit_device(&w->leaf, Z.dmem_region, checked.start.device_bytes);
    if (status == 0) status = packet_pass(w->park, payload, size, channel);
    w->state = WORKING;
    w->number = number;
    latest = checked.start;
    if (status < 0) kill(w->pid, SIGKILL);
    // A worker that was not ready yet tells its number in the host's pid namespace later.
    else if (w->host_pid != 0) worker_tell_started(w);
}

/// No mount namespaces: workers read the tenant's directory where it is. Those that wait don't know it yet: new ones.
static int adopt_in_place(int directory, const char **step) {
    static char path[APP_MAX];
    *step = "adopt: find the directory's path";
    int status = root_path(Z.proc, directory, path, sizeof path);
    if (status < 0) return status;
    Z.app = path;
    end_prepared();
    *step = "adopt: look at the devices' nodes";
    return devices_check(&Z.devices);
}

/// Before anything is mounted or allowed: what runs already was confined for a zygote without devices.
static void adopt_devices(const uint8_t *payload, size_t size) {
    wire_adopt wanted;
    memcpy(&wanted, payload, sizeof wanted);
    device_list devices = {.count = wanted.device_count};
    if (devices.count > WIRE_DEVICES_MAX || size != sizeof wanted + devices.count * sizeof devices.node[0])
        cannot("adopt: devices: sizes disagree", EPROTO, "");
    memcpy(devices.node, payload + sizeof wanted, size - sizeof wanted);
    const char *wrong = devices_wrong(&devices);
    if (wrong != NULL) cannot("adopt: devices", EINVAL, wrong);
    Z.devices = devices;
    if (devices.count == 0) return;
    end_prepared();
    int group = Z.devices_group;
    for (int i = 0; Z.options->groups.version == 2 && group < 0 && i < CGROUP_CONTROLLERS; i++) group = Z.groups[i];
    if ((Z.options->have & WIRE_LAYER_CGROUP_DEVICES) == 0 || group < 0) return;
    int status = cgroup_allow_devices(Z.options->groups.version, group, &devices);
    if (status < 0) cannot("adopt: let the devices into the group", -status, "");
}

static void adopt(const uint8_t *payload, size_t size, int directory) {
    const char *step = "";
    if (adopted || size < sizeof(wire_adopt) || directory < 0) cannot("adopt: a second one, or malformed", EPROTO, "");
    adopt_devices(payload, size);
    int status = (Z.options->have & WIRE_LAYER_MOUNT) != 0 ? root_adopt(&Z.jail, Z.proc, directory, &Z.devices, &step)
                                                           : adopt_in_place(directory, &step);
    if (status < 0) cannot(step, -status, "");
    if ((status = creds_keep_few(true)) < 0) cannot("adopt: drop capabilities", -status, "");
    if (!dmem_region(Z.dmem_capacity, Z.devices.address, Z.dmem_region, sizeof Z.dmem_region)) Z.dmem_region[0] = 0;
    wire_adopt wanted;
    memcpy(&wanted, payload, sizeof wanted);
    adopted = true;
    gives = wanted.give == 1;
    packet_send(Z.control, WIRE_ADOPTED, NULL, 0, NULL, 0);
}

static void end_worker(const uint8_t *payload, size_t size) {
    wire_kill wanted;
    if (size != sizeof wanted) cannot("kill: malformed", EPROTO, "");
    memcpy(&wanted, payload, sizeof wanted);
    for (uint32_t i = 0; i < live_count; i++)
        // One that a template has still to fork is ended by its channel's end.
        if (live[i]->state >= GIVEN && live[i]->number == wanted.worker && live[i]->pid > 0) kill(live[i]->pid, SIGKILL);
}

static void serve_host(void) {
    static _Alignas(8) uint8_t buffer[WIRE_FRAME_MAX];
    int passed;
    wire_head head;
    const uint8_t *payload;
    ssize_t got = packet_receive(Z.control, buffer, sizeof buffer, &passed, 0);
    if (got == 0 || got == -ECONNRESET) _exit(0); // as pid 1: the kernel ends every worker with us
    if (got < 0) cannot("control socket", (int)-got, "");
    if (!packet_open(buffer, got, &head, &payload)) cannot("control socket: sizes disagree", EPROTO, "");
    if (head.type == WIRE_ADOPT) adopt(payload, head.size, passed);
    else if (head.type == WIRE_START) start(head.id, payload, head.size, passed);
    else if (head.type == WIRE_TAKEN) take(payload, head.size);
    else if (head.type == WIRE_KILL) end_worker(payload, head.size);
    else cannot("control socket: a frame that is not for a zygote", EPROTO, "");
    if (passed >= 0) close(passed);
}

// ---- reaping -------------------------------------------------------------------------------------------------------------

/// A worker is pid 1 of its namespace, which can't die by a signal it sends itself: process.c leaves with this code instead.
static int real_status(int status) {
    if (!WIFEXITED(status)) return status;
    int signal_number = WEXITSTATUS(status) - 128;
    return signal_number == SIGABRT || signal_number == SIGXCPU ? signal_number : status;
}

static uint32_t last_words(int pipe_end, char words[WORDS_MAX]) {
    char chunk[4096];
    size_t held = 0;
    for (ssize_t got; (got = read(pipe_end, chunk, sizeof chunk)) > 0;) {
        size_t keep = (size_t)got > WORDS_MAX ? WORDS_MAX : (size_t)got;
        size_t drop = held + keep > WORDS_MAX ? held + keep - WORDS_MAX : 0;
        memmove(words, words + drop, held - drop);
        held -= drop;
        memcpy(words + held, chunk + (size_t)got - keep, keep);
        held += keep;
    }
    return (uint32_t)held;
}

void worker_bury(worker *w, int status, const struct rusage *used, const char *instead) {
    char words[WORDS_MAX + 1];
    // What a template said before it ended may still be unread.
    for (int i = 0; w->state == TEMPLATE && i < 16; i++) templates_hear(w);
    uint32_t size = last_words(w->words, words);
    if (size == 0 && instead != NULL) size = (uint32_t)snprintf(words, sizeof words, "%s", instead);
    words[size] = 0;
    cgroup_result result = cgroup_leaf_result(&w->leaf);
    wire_exited gone = {
        .worker = w->number, .status = real_status(status), .oom = result.oom || (result.exhausted && status != SIGKILL), .memory_peak = result.memory_peak,
        .cpu_us = (uint64_t)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000000u +
            (uint64_t)(used->ru_utime.tv_usec + used->ru_stime.tv_usec),
        .words_size = size, .pid = w->host_pid, .throttled_us = result.throttled_us, .pids_refused = result.pids_refused};
    // Without a cgroup the process's own high-water mark is the next best.
    if (gone.memory_peak == 0) gone.memory_peak = (uint64_t)used->ru_maxrss * 1024u;
    if (w->state == PREPARING && w->counted && (!announced || ++prepare_failures == PREPARE_FAILURES_MAX))
        cannot("prepare a worker", ECHILD, words);
    bool assigned = w->state == WORKING || w->state == GIVEN;
    if (w->meant_for != NULL) w->meant_for->number = 0;
    if (w->words >= 0) close(w->words);
    if (w->park >= 0) close(w->park);
    leaf_give_back(w, &result);
    if (w->state == TEMPLATE) templates_ended(w, status, words);
    else if (w->of != NULL) templates_child_ended(w->of);
    if (w->place < live_count && live[w->place] == w) delist(w);
    if (assigned) packet_send(Z.control, WIRE_EXITED, &gone, sizeof gone, words, size);
}

static bool bury_process(pid_t pid, int status, const struct rusage *used) {
    for (uint32_t i = 0; i < live_count; i++)
        if (live[i]->pid == pid) {
            worker_bury(live[i], status, used, NULL);
            return true;
        }
    return false;
}

static void reap(void) {
    int status;
    struct rusage used;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG, &used)) > 0;) {
        if (templates_reaped(pid) || bury_process(pid, status, &used)) continue;
        // What a template forked has said who it is before it ended, if perhaps not to us yet.
        for (uint32_t i = live_count; i-- > 0;) // backwards: one that is buried here gives its place to the last
            if (live[i]->state == WORKING && live[i]->of != NULL && live[i]->pid == 0) templates_hear(live[i]);
        bury_process(pid, status, &used);
    }
}

// ---- set-up and the loop -------------------------------------------------------------------------------------------------

static int count_threads(void) {
    int count = 0;
    DIR *listing = opendir("/proc/self/task");
    for (struct dirent *e; listing != NULL && (e = readdir(listing)) != NULL;) count += e->d_name[0] != '.';
    if (listing != NULL) closedir(listing);
    return count;
}

static uint64_t private_memory(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL && fscanf(file, "%*d %*d %*d %*d %*d %ld", &pages) != 1) pages = 0;
    if (file != NULL) fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/// The Swift runtime and the kit are paid for here, once; workers share the pages.
static void load_kit(const char *kit) {
    if (kit == NULL) return;
    void *handle = dlopen(kit, RTLD_NOW | RTLD_GLOBAL);
    if (handle == NULL) cannot("load the kit", ENOEXEC, dlerror());
    *(void **)&Z.warm_up = dlsym(handle, "swiftlet_kit_warm_up");
    if (Z.warm_up != NULL) Z.warm_up();
}

static void set_up(const options *o) {
    const char *step = "";
    Z.options = o;
    Z.control = o->control;
    Z.app = "/app";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) cannot("parent death signal", errno, "");
    fcntl(Z.control, F_SETFD, FD_CLOEXEC);
    int grouped = process_core_group();
    if (grouped == 0) grouped = process_yield_to_host();
    if (grouped < 0) cannot("core scheduling", -grouped, "");
    // Workers inherit it as their standard input.
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0) cannot("open /dev/null", errno, "");
    close(null);
    // Each worker costs up to nine descriptors here.
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    // One arena: a worker has one thread, and each further arena reserves 64 MB of addresses.
    mallopt(M_ARENA_MAX, 1);
    Z.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    Z.pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (Z.proc < 0 || Z.pid_namespace < 0) cannot("open /proc", errno, "");
    int status = cgroup_open(&o->groups, Z.groups);
    if (status < 0) cannot("open the cgroups", -status, "");
    // On v1 the workers inherit this group; on v2 theirs lie below one with a program.
    if (o->groups.devices[0] != 0 && (status = cgroup_enter_devices(o->groups.devices)) < 0) cannot("enter the devices group", -status, "");
    // By descriptors and values, since no path leads there from the new root.
    Z.devices_group = o->groups.devices[0] == 0 ? -1 : open(o->groups.devices, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (o->groups.version == 2) dmem_capacity(Z.dmem_capacity, sizeof Z.dmem_capacity);
    load_kit(o->kit);
    // A second thread would be missing in every fork, with whatever locks it held.
    if (count_threads() != 1) cannot("the kit started a thread", EDEADLK, "");
    Z.data_base = private_memory();
    if ((o->have & WIRE_LAYER_SECCOMP) != 0 && (status = filters_build(&Z.filters)) < 0) cannot("compile the filters", -status, "");
    fill_holes();
    if (o->rehearsal != NULL && (status = rehearsal_learn(&Z, o->rehearsal, &step)) < 0) cannot(step, -status, o->rehearsal);
    // Templates fork by a raw call, in which the kernel must write the new thread's number where glibc keeps it.
    if (prctl(PR_GET_TID_ADDRESS, &Z.tid) < 0 || Z.tid == NULL || *Z.tid != gettid()) Z.tid = NULL;
    if ((status = namespaces_enter(o->have, &step)) < 0) cannot(step, -status, "");
    if ((o->have & WIRE_LAYER_MOUNT) != 0 && (status = root_build(&Z.jail, o->swift_runtime, &step)) < 0)
        cannot(step, -status, "");
    root_find_libraries();
}

static int watch_signals(void) {
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) cannot("signalfd", errno, "");
    return signals;
}

int forked_main(options *o) {
    set_up(o);
    int status = creds_keep_few(false);
    if (status < 0) cannot("drop capabilities", -status, "");
    int signals = watch_signals();
    announce_when_ready();
    for (;;) {
        static struct pollfd watched[3 + WORKERS_MAX];
        static worker *at[WORKERS_MAX];
        watched[0] = (struct pollfd){.fd = Z.control, .events = POLLIN};
        watched[1] = (struct pollfd){.fd = signals, .events = POLLIN};
        nfds_t count = 2;
        for (uint32_t i = 0; i < live_count; i++)
            if (live[i]->park >= 0 &&
                (live[i]->state == PREPARING || live[i]->state == TEMPLATE ||
                 (live[i]->state == WORKING && live[i]->host_pid == 0))) {
                at[count - 2] = live[i];
                watched[count++] = (struct pollfd){.fd = live[i]->park, .events = POLLIN};
            }
        watched[count++] = (struct pollfd){.fd = starved_poller(), .events = POLLIN};
        int sweep = templates_sweep();
        bool missing = count_prepared() < prepare_count();
        int events = poll(watched, count, !missing ? sweep : announced ? QUIET_MS : 0);
        if (events < 0 && errno != EINTR) cannot("poll", errno, "");
        if (events == 0 && missing) prepare_one();
        if (events <= 0) continue;
        if (watched[--count].revents != 0) starved_end();
        for (nfds_t i = 2; i < count; i++)
            if (watched[i].revents != 0) hear_parked(at[i - 2]);
        if (watched[0].revents != 0) serve_host();
        else if (gives) give_prepared(); // what the host wants now comes first
        struct signalfd_siginfo news;
        bool ended = false;
        // A signal may come after poll returned: what was read decides, not what poll saw.
        while (read(signals, &news, sizeof news) > 0) ended = true;
        if (ended) reap();
    }
}
