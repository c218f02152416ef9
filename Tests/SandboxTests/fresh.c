// Workers that a template forks for one invocation each: nothing of an earlier one is seen, and limits and exits hold.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static worker fresh(host *h, const char *library) {
    wire_start job = job_default();
    job.kind = WIRE_KIND_FRESH;
    return host_worker(h, job, library, "{}");
}

/// The answer's text; empty when there was none.
static const char *answer(worker w, uint64_t id, const char *path) {
    static char text[512];
    send_invoke(w.channel, id, path, "", 0, true);
    packet p = receive_type(w.channel, WIRE_RESPONSE);
    uint32_t status;
    size_t size;
    wire_finished finished;
    const uint8_t *body = response_body(&p, &status, &size, &finished);
    CHECK(status == 200 && finished.status == 0 && size < sizeof text, "status %u, type %u %s", status, p.head.type, text_of(&p));
    if (status != 200 || size >= sizeof text) size = 0;
    memcpy(text, body, size);
    text[size] = 0;
    return text;
}

/// Processes whose parent is the zygote.
static int children(const host *h) {
    char path[64];
    int count = 0, pid;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", h->zygote_pid, h->zygote_pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fscanf(file, "%d", &pid) == 1) count++;
    if (file != NULL) fclose(file);
    return count;
}

static int wait_for_children(const host *h, int wanted) {
    int count = children(h);
    for (int i = 0; i < 500 && count != wanted; i++) {
        usleep(10000);
        count = children(h);
    }
    return count;
}

static void test_no_trace(host *h) {
    for (uint64_t id = 1; id <= 20; id++) {
        worker w = fresh(h, "traces.so");
        const char *found = answer(w, id, "/");
        CHECK(found[0] == 0, "invocation %d finds%s", (int)id, found);
        exited e = host_exited(h, w.number);
        CHECK(e.came && e.told.status == 0, "status %x %s", e.told.status, e.words);
        close(w.channel);
    }
    // The same plugin in a worker that serves many finds all of them: so each trace can be seen.
    worker w = host_worker(h, job_default(), "traces.so", "{}");
    answer(w, 1, "/");
    const char *found = answer(w, 2, "/");
    CHECK(strcmp(found, " global heap thread-local environment signal-handler signal-mask mapping freed-memory") == 0,
          "found%s", found);
    leave(h, w);
}

static void test_one_invocation_each(host *h) {
    worker w = fresh(h, "subject.so");
    answer(w, 1, "/nothing");
    send_invoke(w.channel, 2, "/nothing", "", 0, true);
    packet p = receive(w.channel, 5000);
    CHECK(p.ended && !p.late, "it served a second one: type %u", p.head.type);
    close(w.channel);
    host_exited(h, w.number);
}

static void test_spares_wait(host *h) {
    enum { COUNT = 12 };
    worker w[COUNT];
    for (int i = 0; i < COUNT; i++) w[i] = fresh(h, "subject.so");
    for (int i = 0; i < COUNT; i++) {
        answer(w[i], (uint64_t)i + 1, "/nothing");
        exited e = host_exited(h, w[i].number);
        CHECK(e.came && e.told.status == 0, "status %x %s", e.told.status, e.words);
        close(w[i].channel);
    }
    // It says that it is ready together with its answer, and nothing before; without work it leaves quietly.
    worker unused = fresh(h, "subject.so");
    packet p = receive(unused.channel, 300);
    CHECK(p.late, "type %u %s", p.head.type, text_of(&p));
    leave(h, unused);
}

static void ends_by(host *h, const char *path, int signal_number) {
    worker w = fresh(h, "subject.so");
    send_invoke(w.channel, 1, path, "", 0, true);
    exited e = host_exited(h, w.number);
    CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == signal_number, "%s: status %x %s", path,
          e.told.status, e.words);
    CHECK(signal_number != SIGKILL || e.told.oom == 1, "%s: oom %u", path, e.told.oom);
    close(w.channel);
}

static void test_exits(host *h) {
    ends_by(h, "/crash", SIGSEGV);
    ends_by(h, "/trap", SIGILL);
    ends_by(h, "/abort", SIGABRT);
    if ((h->have & WIRE_LAYER_CGROUP_MEMORY) != 0) ends_by(h, "/hog", SIGKILL);
    worker w = fresh(h, "subject.so");
    send_invoke(w.channel, 1, "/exit", "", 0, true);
    exited e = host_exited(h, w.number);
    CHECK(e.came && WIFEXITED(e.told.status) && WEXITSTATUS(e.told.status) == 7, "status %x", e.told.status);
    close(w.channel);
}

static void test_kill(host *h) {
    worker w = fresh(h, "subject.so");
    send_invoke(w.channel, 1, "/loop", "", 0, true);
    wire_kill kill_it = {.worker = w.number};
    for (int i = 0; i < 50; i++) { // its number is known once it has said hello
        send_frame(h->zygote, (wire_head){.type = WIRE_KILL}, &kill_it, sizeof kill_it);
        usleep(2000);
    }
    exited e = host_exited(h, w.number);
    CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == SIGKILL, "status %x", e.told.status);
    close(w.channel);
}

static void test_a_template_that_fails(host *h) {
    worker w[3];
    for (int i = 0; i < 3; i++) w[i] = fresh(h, "ctor-crashes.so");
    for (int i = 0; i < 3; i++) {
        exited e = host_exited(h, w[i].number);
        CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == SIGSEGV, "status %x", e.told.status);
        close(w[i].channel);
    }
    worker refused = fresh(h, "no-entry.so");
    packet p = receive(refused.channel, 5000);
    CHECK(p.head.type == WIRE_FAILED && strstr(text_of(&p), "swiftlet_plugin_entry") != NULL, "type %u %s", p.head.type, text_of(&p));
    exited e = host_exited(h, refused.number);
    CHECK(e.came, "no exit");
    close(refused.channel);
}

/// What a constructor may not do in a template, and a handler may not do in what it forks.
static void test_attempts(host *h) {
    attempts_kind = WIRE_KIND_FRESH;
    attempts_all(h, "attempts.so", "/all");
    attempts_all(h, "attempts-constructor.so", "/report");
    attempts_kind = WIRE_KIND_HANDLER;
}

static void test_goes_when_idle(host *h) {
    sleep(2); // templates of other tests are gone, and the prepared workers are there again
    int before = children(h);
    worker w = fresh(h, "subject.so");
    answer(w, 1, "/nothing");
    host_exited(h, w.number);
    close(w.channel);
    CHECK(children(h) > before, "a template is kept for a moment");
    int after = wait_for_children(h, before);
    CHECK(after == before, "%d processes before, %d after", before, after);
}

const test FRESH_TESTS[] = {
    {"no trace", test_no_trace},
    {"one invocation each", test_one_invocation_each},
    {"spares wait", test_spares_wait},
    {"exits", test_exits},
    {"kill", test_kill},
    {"a template that fails", test_a_template_that_fails},
    {"attempts", test_attempts},
    {"goes when idle", test_goes_when_idle},
    {NULL, NULL},
};
