// What a limit counts: memory of every kind, whoever in the worker takes it, and the threads that it refused.
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static exited end_of(host *h, wire_start job, const char *library, const char *config, const char *path) {
    worker w = host_worker(h, job, library, config);
    if (path != NULL) send_invoke(w.channel, 1, path, "", 0, true);
    exited e = host_exited(h, w.number);
    close(w.channel);
    return e;
}

static void check_starved(const exited *e, const char *what) {
    uint64_t limit = job_default().memory_bytes, peak = e->told.memory_peak;
    CHECK(e->came && e->told.oom == 1, "%s: status %x oom %u %s", what, e->told.status, e->told.oom, e->words);
    CHECK(peak > limit - limit / 16 && peak <= limit, "%s: peak %llu", what, (unsigned long long)peak);
}

static void check_killed(const exited *e, const char *what) {
    check_starved(e, what);
    CHECK(e->told.status == SIGKILL, "%s: status %x", what, e->told.status);
}

static void test_memory_of_the_worker(host *h) {
    static const char *const BOMBS[] = {"/bomb-map", "/bomb-heap", "/bomb-page-tables"};
    for (size_t i = 0; i < sizeof BOMBS / sizeof BOMBS[0]; i++) {
        exited e = end_of(h, job_default(), "attempts.so", "{}", BOMBS[i]);
        check_killed(&e, BOMBS[i]);
    }
    exited e = end_of(h, job_default(), "subject.so", "hog", NULL);
    check_killed(&e, "init");
}

static wire_start backend_job(uint32_t threads) {
    wire_start job = job_default();
    job.kind = WIRE_KIND_BACKEND;
    job.pids = job.threads = threads;
    return job;
}

/// Several threads sleep for want of memory, not one of them the first.
static void test_memory_of_threads(host *h) {
    exited e = end_of(h, backend_job(4), "engine.so", "hog", NULL);
    check_killed(&e, "threads of a backend");
}

/// A template has a group of its own; those that wait for it hear how it ended.
static void test_memory_of_a_template(host *h) {
    wire_start job = job_default();
    job.kind = WIRE_KIND_FRESH;
    if ((h->have & WIRE_LAYER_PID) == 0) return;
    exited e = end_of(h, job, "subject.so", "hog", NULL);
    CHECK(e.came && e.told.status == SIGKILL, "status %x %s", e.told.status, e.words);
}

static void test_refused_threads(host *h) {
    worker w = host_worker(h, backend_job(4), "engine.so", "threads");
    packet p = receive_type(w.channel, WIRE_FAILED);
    CHECK(!p.ended && strstr(text_of(&p), "3 threads") != NULL, "type %u: %s", p.head.type, text_of(&p));
    exited e = host_exited(h, w.number);
    CHECK(e.came && e.told.pids_refused > 0, "refused %u", e.told.pids_refused);
    close(w.channel);
    e = end_of(h, backend_job(4), "engine.so", "fail", NULL);
    CHECK(e.came && e.told.pids_refused == 0, "nobody asked for one, refused %u", e.told.pids_refused);
}

/// Files in memory, which filter and rlimits keep a worker from making: it is refused more, or ended for what it mapped.
static void test_memory_files(host *h) {
    static const char *const BOMBS[] = {"/bomb-memfd", "/bomb-shared"};
    for (size_t i = 0; i < sizeof BOMBS / sizeof BOMBS[0]; i++) {
        worker w = host_worker(h, job_default(), "attempts.so", "{}");
        send_invoke(w.channel, 1, BOMBS[i], "", 0, true);
        packet p = receive_type(w.channel, WIRE_RESPONSE);
        CHECK(p.ended || strstr(text_of(&p), " 0\n") == NULL, "%s worked", BOMBS[i]);
        close(w.channel);
        exited e = host_exited(h, w.number);
        check_starved(&e, BOMBS[i]);
    }
}

/// The same bombs where nothing counts: each is as large as it says, so that only the limit can have ended it above.
static void test_without_limits(host *h) {
    static const char *const BOMBS[] = {"/bomb-map", "/bomb-heap", "/bomb-page-tables", "/bomb-memfd", "/bomb-shared"};
    for (size_t i = 0; i < sizeof BOMBS / sizeof BOMBS[0]; i++) {
        worker w;
        packet p = ask(h, &w, "attempts.so", BOMBS[i]);
        uint32_t status;
        size_t size;
        wire_finished finished;
        const char *body = (const char *)response_body(&p, &status, &size, &finished);
        CHECK(size > 3 && memcmp(body + size - 3, " 0\n", 3) == 0, "%s: %.*s", BOMBS[i], (int)size, body);
        leave(h, w);
    }
}

static void with(const char *without, void (*run)(host *h)) {
    host h = host_start(without);
    host_zygote(&h, 1, 1);
    host_adopt(&h);
    run(&h);
    CHECK(host_stop(&h) == 0, "forker");
}

void test_limits(void) {
    host h = host_start(NULL);
    bool memory = (h.have & WIRE_LAYER_CGROUP_MEMORY) != 0, pids = (h.have & WIRE_LAYER_CGROUP_PIDS) != 0;
    host_stop(&h);
    if (!memory || !pids) {
        printf("skip limits: no control groups for memory and pids\n");
        return;
    }
    with(NULL, test_memory_of_the_worker);
    with(NULL, test_memory_of_threads);
    with(NULL, test_memory_of_a_template);
    with(NULL, test_refused_threads);
    with("seccomp,rlimits", test_memory_files);
    with("seccomp,rlimits,cgroup-memory", test_without_limits);
}
