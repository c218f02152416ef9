// Runs the suites against the real forker, zygotes and workers; --bench measures instead.
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "check.h"

int check_failures;
const char *check_current = "";

void run_tests(const char *suite, const test *tests, host *h) {
    int count = 0, before = check_failures;
    for (; tests[count].name != NULL; count++) {
        check_current = tests[count].name;
        tests[count].run(h);
    }
    printf("%-10s %3d tests, %d failed checks\n", suite, count, check_failures - before);
}

uint32_t attempts_kind = WIRE_KIND_HANDLER;

packet ask(host *h, worker *w, const char *library, const char *path) {
    wire_start job = job_default();
    job.kind = attempts_kind;
    *w = host_worker(h, job, library, "{}");
    send_invoke(w->channel, 1, path, "body", 4, true);
    return receive_type(w->channel, WIRE_RESPONSE);
}

void leave(host *h, worker w) {
    close(w.channel);
    exited e = host_exited(h, w.number);
    CHECK(e.came && e.told.status == 0, "status %x words %s", e.told.status, e.words);
}

static void run_alone(const char *name, void (*run)(void)) {
    int before = check_failures;
    check_current = name;
    run();
    printf("%-22s %d failed checks\n", name, check_failures - before);
}

static int bench(void) {
    host h = host_start(NULL);
    host_zygote(&h, 1, 4);
    host_adopt(&h);
    bench_cold(&h, "subject.so", "C handler, prepared worker");
    if (getenv("SWIFT_PLUGIN") != NULL) bench_cold(&h, "swift.so", "Swift handler, prepared worker");
    return host_stop(&h);
}

static int bench_warm(void) {
    // On one core, the two sides differ by what they do and not by where the scheduler puts them.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) return 2;
    host h = host_start(NULL);
    host_zygote(&h, 1, 1);
    host_adopt(&h);
    bench_ipc(&h, "subject.so");
    return host_stop(&h);
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    PROGRAM = getenv("ZYGOTE");
    APP = getenv("APP");
    KIT = getenv("KIT");
    if (PROGRAM == NULL || APP == NULL) {
        fprintf(stderr, "run scripts/test-sandbox, which sets ZYGOTE and APP\n");
        return 2;
    }
    if (count > 1 && strcmp(words[1], "--bench") == 0) return bench();
    if (count > 1 && strcmp(words[1], "--bench-ipc") == 0) return bench_warm();
    check_current = "start";
    host h = host_start(NULL);
    uint32_t all = WIRE_LAYER_CGROUP_DEVICES * 2 - 1;
    if (h.have != all) printf("note: layers %x of %x are in force; `swiftlet-zygote layers` says why\n", h.have, all);
    host_zygote(&h, 1, 3);
    host_adopt(&h);
    run_tests("handlers", HANDLER_TESTS, &h);
    run_tests("failures", FAILURE_TESTS, &h);
    run_tests("attempts", ATTEMPT_TESTS, &h);
    run_tests("backends", BACKEND_TESTS, &h);
    if ((h.have & WIRE_LAYER_PID) != 0) run_tests("fresh", FRESH_TESTS, &h);
    else printf("skip fresh: no pid namespaces on this machine\n");
    check_current = "stop";
    int status = host_stop(&h);
    CHECK(status == 0, "forker %x", status);
    run_alone("seal", test_seal);
    run_alone("groups", test_groups);
    run_alone("limits", test_limits);
    run_alone("delegated", test_delegated);
    run_alone("nothing left", test_nothing_left);
    run_alone("forker killed", test_forker_killed);
    run_alone("host gone", test_host_gone);
    run_alone("second adoption", test_second_adoption);
    run_alone("given workers", test_given_workers);
    run_alone("jobs ahead", test_jobs_ahead);
    run_alone("devices", test_devices);
    run_alone("backend devices", test_backend_devices);
    run_alone("dmem regions", test_dmem_regions);
    run_alone("each layer off", test_each_layer_off);
    run_alone("unprivileged", test_unprivileged);
    printf("%s\n", check_failures == 0 ? "all passed" : "FAILED");
    return check_failures > 0;
}
