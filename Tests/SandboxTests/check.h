// The one assertion of these tests, and the suites that main runs.
#ifndef SWIFTLET_TEST_CHECK_H
#define SWIFTLET_TEST_CHECK_H

#include <stdio.h>

#include "host.h"

extern int check_failures;
extern const char *check_current;

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            check_failures++; \
            printf("FAIL %s: %s:%d: %s: ", check_current, __FILE__, __LINE__, #condition); \
            printf(__VA_ARGS__); \
            printf("\n"); \
        } \
    } while (0)

typedef struct test {
    const char *name;
    void (*run)(host *h);
} test;

extern const test HANDLER_TESTS[], FAILURE_TESTS[], ATTEMPT_TESTS[], BACKEND_TESTS[], FRESH_TESTS[];

void run_tests(const char *suite, const test *tests, host *h);

/// Starts a worker, sends one request, and returns the frame that answers it; the channel stays open in `*w`.
packet ask(host *h, worker *w, const char *library, const char *path);
/// Ends a worker by closing its channel; checks that it ended in order.
void leave(host *h, worker w);

// filters.c
void test_seal(void);

// groups.c: control groups by themselves
void test_groups(void);

// delegated.c: a service without root in a group of its own
void test_delegated(void);

// limits.c: what memory and which threads are counted
void test_limits(void);

// devices.c: device nodes of backends, each case with a zygote of its own
void test_backend_devices(void);
void test_dmem_regions(void);

// life.c: tests that need a forker of their own
void test_nothing_left(void);
void test_forker_killed(void);
void test_host_gone(void);
void test_second_adoption(void);
void test_given_workers(void);
void test_jobs_ahead(void);
void test_devices(void);
void test_unprivileged(void);
void test_each_layer_off(void);
/// Kind of the workers that `attempts_all` and `ask` start.
extern uint32_t attempts_kind;
/// Runs the attempts that the path names; none may have worked.
void attempts_all(host *h, const char *library, const char *path);

#endif
