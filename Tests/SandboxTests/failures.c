// Plugins that are not what they claim, and handlers that crash, hang, exit or take too much.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/// The worker must refuse the library with a text that holds `words`.
static void refused(host *h, const char *library, const char *config, const char *words) {
    worker w = host_worker(h, job_default(), library, config);
    packet p = receive_type(w.channel, WIRE_FAILED);
    CHECK(!p.ended && strstr(text_of(&p), words) != NULL, "%s: type %u: %s", library, p.head.type, text_of(&p));
    exited e = host_exited(h, w.number);
    CHECK(e.came && WIFEXITED(e.told.status) && WEXITSTATUS(e.told.status) == 70, "status %x", e.told.status);
    close(w.channel);
}

static void test_not_plugins(host *h) {
    refused(h, "missing.so", "{}", "load: ");
    refused(h, "text.so", "{}", "invalid ELF header");
    refused(h, "empty.so", "{}", "file too short");
    refused(h, "no-entry.so", "{}", "swiftlet_plugin_entry");
    refused(h, "newer.so", "{}", "ABI 99, this host has ABI 1");
    refused(h, "neighbour-needed.so", "{}", "load: ");
}

static void test_names_that_lead_out(host *h) {
    static const char *const NAMES[] = {"../subjects/subject.so", "/app/subjects/subject.so", "a/../../x.so"};
    for (size_t i = 0; i < 3; i++) {
        worker w = host_worker(h, job_default(), NAMES[i], "{}");
        exited e = host_exited(h, w.number);
        CHECK(e.came && strstr(e.words, "leads out of") != NULL, "%s: %s", NAMES[i], e.words);
        close(w.channel);
    }
}

/// Starts, optionally invokes, and expects this end.
static exited end_of(host *h, const char *library, const char *config, const char *path) {
    worker w = host_worker(h, job_default(), library, config);
    if (path != NULL) send_invoke(w.channel, 1, path, "", 0, true);
    exited e = host_exited(h, w.number);
    close(w.channel);
    return e;
}

static void ends_by(host *h, const char *library, const char *config, const char *path, int signal_number) {
    exited e = end_of(h, library, config, path);
    CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == signal_number, "%s %s: status %x", library,
          path == NULL ? config : path, e.told.status);
}

static void test_crashes(host *h) {
    ends_by(h, "subject.so", "{}", "/crash", SIGSEGV);
    ends_by(h, "subject.so", "{}", "/trap", SIGILL);
    ends_by(h, "subject.so", "{}", "/abort", SIGABRT);
    ends_by(h, "subject.so", "crash", NULL, SIGSEGV);
    ends_by(h, "subject.so", "abort", NULL, SIGABRT);
    ends_by(h, "cut.so", "{}", NULL, SIGBUS); // its head promises more than the file holds
    ends_by(h, "ctor-crashes.so", "{}", NULL, SIGSEGV);
    ends_by(h, "ctor-aborts.so", "{}", NULL, SIGABRT);
}

static void test_exits(host *h) {
    exited e = end_of(h, "subject.so", "{}", "/exit");
    CHECK(e.came && e.told.status == 7 << 8, "status %x", e.told.status);
    e = end_of(h, "subject.so", "exit", NULL);
    CHECK(e.came && e.told.status == 5 << 8, "status %x", e.told.status);
    e = end_of(h, "ctor-exits.so", "{}", NULL);
    CHECK(e.came && e.told.status == 3 << 8, "status %x", e.told.status);
}

static void test_last_words(host *h) {
    exited e = end_of(h, "subject.so", "{}", "/last-words");
    CHECK(e.came && strcmp(e.words, "about to end\n") == 0, "words %s", e.words);
}

static void test_init_fails(host *h) {
    refused(h, "subject.so", "fail", "init: no such database");
}

static void test_kill(host *h) {
    static const char *const CONFIGS[] = {"{}", "loop"};
    for (int i = 0; i < 2; i++) {
        worker w = host_worker(h, job_default(), "subject.so", CONFIGS[i]);
        send_invoke(w.channel, 1, "/loop", "", 0, true);
        usleep(30000);
        wire_kill wanted = {.worker = w.number};
        send_frame(h->zygote, (wire_head){.type = WIRE_KILL}, &wanted, sizeof wanted);
        exited e = host_exited(h, w.number);
        CHECK(e.came && e.told.status == SIGKILL && e.told.oom == 0, "status %x", e.told.status);
        CHECK(e.told.cpu_us > 5000, "cpu %llu", (unsigned long long)e.told.cpu_us);
        close(w.channel);
    }
}

static void test_cpu_limit(host *h) {
    wire_start job = job_default();
    job.cpu_seconds = 1;
    worker w = host_worker(h, job, "subject.so", "{}");
    send_invoke(w.channel, 1, "/loop", "", 0, true);
    exited e = host_exited(h, w.number);
    CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == SIGXCPU, "status %x", e.told.status);
    close(w.channel);
}

/// A fifth of a core: a loop is held back most of the time, and the exit says for how long.
static void test_throttled(host *h) {
    wire_start job = job_default();
    job.cpu_percent = 20;
    worker w = host_worker(h, job, "subject.so", "{}");
    send_invoke(w.channel, 1, "/loop", "", 0, true);
    usleep(600000);
    wire_kill wanted = {.worker = w.number};
    send_frame(h->zygote, (wire_head){.type = WIRE_KILL}, &wanted, sizeof wanted);
    exited e = host_exited(h, w.number);
    if ((h->have & WIRE_LAYER_CGROUP_CPU) != 0)
        CHECK(e.came && e.told.throttled_us > 100000, "throttled %llu us", (unsigned long long)e.told.throttled_us);
    close(w.channel);
}

static void test_memory_limit(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 1, "/hog", "", 0, true);
    exited e = host_exited(h, w.number);
    if ((h->have & WIRE_LAYER_CGROUP_MEMORY) == 0) { // malloc is refused instead
        CHECK(e.came && e.told.status != 0, "status %x", e.told.status);
    } else {
        CHECK(e.came && e.told.oom == 1 && WTERMSIG(e.told.status) == SIGKILL, "status %x oom %u", e.told.status, e.told.oom);
        CHECK(e.told.memory_peak > 60u << 20 && e.told.memory_peak <= 64u << 20, "peak %llu", (unsigned long long)e.told.memory_peak);
    }
    close(w.channel);
}

static void test_broken_invoke(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    uint8_t short_frame[8] = {0};
    send_frame(w.channel, (wire_head){.type = WIRE_INVOKE, .id = 1}, short_frame, sizeof short_frame);
    packet p = receive_type(w.channel, WIRE_FAILED);
    CHECK(!p.ended && strstr(text_of(&p), "invoke: ") != NULL, "type %u", p.head.type);
    host_exited(h, w.number);
    close(w.channel);
}

const test FAILURE_TESTS[] = {
    {"not plugins", test_not_plugins},
    {"names that lead out", test_names_that_lead_out},
    {"crashes", test_crashes},
    {"exits", test_exits},
    {"last words", test_last_words},
    {"init fails", test_init_fails},
    {"kill", test_kill},
    {"cpu limit", test_cpu_limit},
    {"throttled", test_throttled},
    {"memory limit", test_memory_limit},
    {"broken invoke", test_broken_invoke},
    {NULL, NULL},
};
