// From the first process to the last: what is left behind, who dies with whom, and machines that give less.
#include <errno.h>
#include <glob.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static size_t groups_named(const char *name) {
    static const char *const PLACES[] = {"/sys/fs/cgroup/%s", "/sys/fs/cgroup/*/%s", "/sys/fs/cgroup/*/*/%s"};
    size_t count = 0;
    for (size_t i = 0; i < 3; i++) {
        char pattern[256];
        glob_t found;
        snprintf(pattern, sizeof pattern, PLACES[i], name);
        if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) count += found.gl_pathc;
        globfree(&found);
    }
    return count;
}

/// A zombie is gone too: it waits for a parent that is not ours to wake.
static bool gone(pid_t pid) {
    for (int i = 0; i < 200 * patience(); i++) {
        char path[32], state = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (file == NULL) return true;
        int read = fscanf(file, "%*d (%*[^)]) %c", &state);
        fclose(file);
        if (read == 1 && state == 'Z') return true;
        usleep(5000);
    }
    return false;
}

static int32_t pid_of(worker w) {
    packet p = receive(w.channel, 5000);
    wire_ready ready = {0};
    if (p.head.type == WIRE_READY) memcpy(&ready, p.bytes, sizeof ready);
    return ready.pid;
}

void test_nothing_left(void) {
    host h = host_start(NULL);
    for (uint32_t round = 1; round <= 3; round++) {
        host_zygote(&h, round, 2);
        host_adopt(&h);
        worker w = host_worker(&h, job_default(), "subject.so", "{}");
        int32_t pid = pid_of(w);
        CHECK(pid > 1 && kill(pid, 0) == 0, "worker %d", pid);
        CHECK(sched_getscheduler(pid) == SCHED_BATCH, "policy %d: a worker that wakes takes the host's processor", sched_getscheduler(pid));
        host_drop_zygote(&h); // with a worker alive
        CHECK(gone(pid) && gone(h.zygote_pid), "worker %d or zygote %d stayed", pid, h.zygote_pid);
        close(w.channel);
        char name[96];
        snprintf(name, sizeof name, "%s/z%u", h.cgroup, round);
        CHECK(groups_named(name) == 0, "cgroups of %s stayed", name);
    }
    CHECK(host_stop(&h) == 0, "forker");
    CHECK(groups_named(h.cgroup) == 0, "cgroups of %s stayed", h.cgroup);
}

void test_forker_killed(void) {
    host h = host_start(NULL);
    host_zygote(&h, 1, 2);
    host_adopt(&h);
    worker w = host_worker(&h, job_default(), "subject.so", "{}");
    int32_t pid = pid_of(w);
    kill(h.forker, SIGKILL);
    host_stop(&h);
    CHECK(gone(pid) && gone(h.zygote_pid), "worker %d or zygote %d outlived the forker", pid, h.zygote_pid);
    close(w.channel);
    // Its groups stay: the next host removes those of a host that is gone. Ours carries this process's number, so we do.
    char pattern[256];
    snprintf(pattern, sizeof pattern, "find /sys/fs/cgroup -depth -type d -path '*%s*' -exec rmdir {} + 2>/dev/null", h.cgroup);
    CHECK(system(pattern) == 0, "rmdir");
    CHECK(groups_named(h.cgroup) == 0, "cgroups of %s stayed", h.cgroup);
}

void test_host_gone(void) {
    host h = host_start(NULL);
    host_zygote(&h, 1, 2);
    pid_t zygote = h.zygote_pid;
    close(h.forker_socket); // the zygote's socket stays open: the forker must end it
    waitpid(h.forker, NULL, 0);
    CHECK(gone(zygote), "zygote %d stayed", zygote);
    CHECK(groups_named(h.cgroup) == 0, "cgroups of %s stayed", h.cgroup);
    close(h.zygote);
}

void test_second_adoption(void) {
    host h = host_start(NULL);
    host_zygote(&h, 1, 1);
    host_adopt(&h);
    wire_adopt again = {.version = WIRE_VERSION};
    send_frame(h.zygote, (wire_head){.type = WIRE_ADOPT}, &again, sizeof again);
    packet p = receive(h.zygote, 5000);
    CHECK(p.head.type == WIRE_ZYGOTE_FAILED && strstr(text_of(&p), "adopt") != NULL, "type %u", p.head.type);
    CHECK(gone(h.zygote_pid), "the zygote stayed");
    host_stop(&h);
}

/// The host starts waiting workers by itself: what it sends them, what the zygote tells of them, and who replaces them.
void test_given_workers(void) {
    host h = host_start(NULL);
    host_zygote(&h, 1, 2);
    host_adopt_giving(&h);
    // The first comes by way of the zygote, which learns the limits that the next are prepared with.
    worker first = host_worker(&h, job_default(), "subject.so", "{}");
    packet started = receive(h.zygote, 5000);
    CHECK(started.head.type == WIRE_STARTED, "type %u %s", started.head.type, text_of(&started));
    CHECK(pid_of(first) > 1, "no READY");
    prepared p = host_prepared(&h);
    for (int i = 0; i < 3 && p.channel >= 0 && p.told.memory_bytes != job_default().memory_bytes; i++) {
        // Prepared before anybody knew the limits: another takes its place. It ends with the zygote.
        wire_taken unwanted = {.worker = p.told.worker};
        send_frame(h.zygote, (wire_head){.type = WIRE_TAKEN}, &unwanted, sizeof unwanted);
        p = host_prepared(&h);
    }
    CHECK(p.channel >= 0 && (p.told.worker & WIRE_PREPARED_BIT) != 0 && p.told.pid > 1, "no worker was given");
    CHECK(p.told.memory_bytes == job_default().memory_bytes && p.told.pids == 1 && p.told.cpu_weight == 100, "limits %llu",
          (unsigned long long)p.told.memory_bytes);
    if (p.channel >= 0) {
        host_start_prepared(&p, job_default(), "subject.so");
        send_invoke(p.channel, 3, "/echo", "direct", 6, true);
        packet answer = receive_type(p.channel, WIRE_RESPONSE);
        uint32_t status;
        size_t size;
        wire_finished finished;
        const uint8_t *body = response_body(&answer, &status, &size, &finished);
        CHECK(status == 201 && size == 6 && memcmp(body, "direct", 6) == 0, "status %u", status);
        wire_taken taken = {.worker = p.told.worker};
        send_frame(h.zygote, (wire_head){.type = WIRE_TAKEN}, &taken, sizeof taken);
        prepared next = host_prepared(&h);
        CHECK(next.channel >= 0 && next.told.worker != p.told.worker, "no other was prepared in its place");
        close(next.channel);
        close(p.channel);
        exited e = host_exited(&h, p.told.worker);
        CHECK(e.came && e.told.status == 0 && e.told.pid == p.told.pid, "status %x", e.told.status);
    }
    close(first.channel);
    CHECK(host_stop(&h) == 0, "forker");
}

/// Waits for a worker that has job `number`; others are taken on the way.
static prepared with_job(host *h, uint32_t number) {
    prepared p = host_prepared(h);
    for (int i = 0; i < 6 && p.channel >= 0 && p.told.job != number; i++) {
        close(p.channel);
        host_take(h, p.told.worker, 0, job_default(), ""); // it ends, and another takes its place
        p = host_prepared(h);
    }
    CHECK(p.channel >= 0 && p.told.job == number, "no worker with job %u: %u", number, p.told.job);
    return p;
}

/// Workers that have their job ahead: limits and files are theirs, and nothing of the plugin has run before work comes.
void test_jobs_ahead(void) {
    host h = host_start(NULL);
    host_zygote(&h, 1, 2);
    host_adopt_giving(&h);
    // Nobody is given away before the first START.
    worker w = host_worker(&h, job_default(), "subject.so", "{}");
    receive_type(w.channel, WIRE_READY);
    receive(h.zygote, 5000);
    prepared first = host_prepared(&h);
    wire_start limited = job_default();
    limited.memory_bytes = 8u << 20;
    host_take(&h, first.told.worker, 7, limited, "subject.so");
    prepared p = with_job(&h, 7);
    CHECK(p.told.memory_bytes == limited.memory_bytes, "limit %llu", (unsigned long long)p.told.memory_bytes);
    if (p.channel >= 0) {
        send_invoke(p.channel, 3, "/echo", "ahead", 5, true);
        packet answer = receive_type(p.channel, WIRE_RESPONSE);
        uint32_t status;
        size_t size;
        wire_finished finished;
        const uint8_t *body = response_body(&answer, &status, &size, &finished);
        CHECK(status == 201 && size == 5 && memcmp(body, "ahead", 5) == 0, "status %u", status);
        // A constructor that crashes: it waits in peace, and dies of its work.
        host_take(&h, p.told.worker, 8, job_default(), "ctor-crashes.so");
        prepared crashes = with_job(&h, 8);
        packet nothing = receive(crashes.channel, 200);
        CHECK(nothing.late, "it spoke before it had work: type %u %s", nothing.head.type, text_of(&nothing));
        send_invoke(crashes.channel, 4, "/echo", "", 0, true);
        exited e = host_exited(&h, crashes.told.worker);
        CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == SIGSEGV, "status %x", e.told.status);
        close(crashes.channel);
        // One that nobody has work for leaves when its channel is closed, and its plugin never ran.
        host_take(&h, crashes.told.worker, 9, job_default(), "ctor-crashes.so");
        prepared unused = with_job(&h, 9);
        close(unused.channel);
        host_take(&h, unused.told.worker, 0, job_default(), "");
        exited quiet = host_exited(&h, unused.told.worker);
        CHECK(quiet.came && quiet.told.status == 0, "status %x %s", quiet.told.status, quiet.words);
        close(p.channel);
    }
    close(w.channel);
    close(first.channel);
    // A job that leads out of the directory gets nobody.
    prepared next = host_prepared(&h);
    host_take(&h, next.told.worker, 10, job_default(), "../neighbour/libneighbour.so");
    for (int i = 0; i < 2; i++) {
        prepared other = host_prepared(&h);
        CHECK(other.told.job != 10, "a job that leads out of its directory was given to a worker");
        host_take(&h, other.told.worker, 0, job_default(), "");
    }
    CHECK(host_stop(&h) == 0, "forker");
}

/// What the kernel says to a worker that is root, with nothing in the way but what is not in `without`.
static int open_device(const char *without) {
    host h = host_start(without);
    host_zygote(&h, 1, 1);
    host_adopt(&h);
    worker w;
    packet p = ask(&h, &w, "attempts.so", "/open-terminals");
    uint32_t status;
    size_t size;
    wire_finished finished;
    const char *body = (const char *)response_body(&p, &status, &size, &finished);
    int error = -1;
    if (size > 15) sscanf(body, "open-terminals %d", &error);
    close(w.channel);
    host_exited(&h, w.number);
    CHECK(host_stop(&h) == 0, "forker");
    return error;
}

void test_devices(void) {
#define ALL_OTHERS "seccomp,landlock,mount,caps,user,rlimits,mdwe"
    host h = host_start(NULL);
    bool have = (h.have & WIRE_LAYER_CGROUP_DEVICES) != 0;
    host_stop(&h);
    if (!have || access("/dev/ptmx", F_OK) != 0) {
        printf("skip devices: no devices group, or no /dev/ptmx to try\n");
        return;
    }
    int error = open_device(ALL_OTHERS);
    CHECK(error == EPERM, "with the devices group: %d", error);
    error = open_device(ALL_OTHERS ",cgroup-devices");
    CHECK(error == 0, "without it: %d", error);
}

/// Each layer off in turn: what another layer stands against must still fail. It proves that none is a decoration.
void test_each_layer_off(void) {
    static const char *const LAYERS[] = {"user", "pid", "net", "ipc", "mount", "landlock", "seccomp", "caps", "rlimits", "mdwe",
                                         "cgroup-memory", "cgroup-pids", "cgroup-cpu", "cgroup-devices"};
    for (size_t i = 0; i < sizeof LAYERS / sizeof LAYERS[0]; i++) {
        check_current = LAYERS[i];
        host h = host_start(LAYERS[i]);
        host_zygote(&h, 1, 1);
        host_adopt(&h);
        char path[32];
        snprintf(path, sizeof path, "/without/%s", LAYERS[i]);
        attempts_all(&h, "attempts.so", path);
        CHECK(host_stop(&h) == 0, "%s", LAYERS[i]);
    }
}

static void unprivileged_child(void) {
    enum { NOBODY = 65534 };
    if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0) exit(3);
    host h = host_start(NULL);
    CHECK((h.have & (WIRE_LAYER_USER | WIRE_LAYER_CGROUP_MEMORY)) == 0, "layers %x", h.have);
    uint32_t needed = WIRE_LAYER_PID | WIRE_LAYER_NET | WIRE_LAYER_MOUNT | WIRE_LAYER_IPC | WIRE_LAYER_CAPS | WIRE_LAYER_SECCOMP;
    CHECK((h.have & needed) == needed, "layers %x", h.have);
    host_zygote(&h, 1, 2);
    host_adopt(&h);
    run_tests("handlers", HANDLER_TESTS, &h);
    run_tests("failures", FAILURE_TESTS, &h);
    run_tests("attempts", ATTEMPT_TESTS, &h);
    run_tests("fresh", FRESH_TESTS, &h);
    CHECK(host_stop(&h) == 0, "forker");
    // A machine that gives no namespace at all, such as most containers: what is left must hold too.
    check_current = "no namespaces";
    h = host_start("pid,net,mount,ipc");
    host_zygote(&h, 1, 2);
    host_adopt(&h);
    run_tests("handlers", HANDLER_TESTS, &h);
    attempts_all(&h, "attempts.so", "/all");
    CHECK(host_stop(&h) == 0, "forker");
    exit(check_failures > 0 ? 1 : 0);
}

void test_unprivileged(void) {
    if (geteuid() != 0) {
        printf("skip unprivileged: the whole run is, since it was not started by root\n");
        return;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        check_failures = 0;
        unprivileged_child();
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(status == 0, "status %x", status);
}
