// Times of starts; tests.c runs it with --bench.
#ifndef SWIFTLET_TEST_BENCH_H
#define SWIFTLET_TEST_BENCH_H

#include "host.h"

void bench_cold(host *h, const char *library, const char *label);

/// Prints "sample OURS BASELINE" lines, in nanoseconds: warm invocations, and the same packet to an unconfined process and back.
void bench_ipc(host *h, const char *library);

#endif
