// Drives the real forker, zygotes and workers through starts, answers, crashes and refusals.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "host.h"

static int failures;
static const char *current;

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            failures++; \
            printf("FAIL %s: %s:%d: %s: ", current, __FILE__, __LINE__, #condition); \
            printf(__VA_ARGS__); \
            printf("\n"); \
        } \
    } while (0)

static void test_echo(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 7, "/echo", "hello", 5, true);
    packet p = receive(w.channel, 5000);
    CHECK(p.head.type == WIRE_READY, "type %u: %s", p.head.type, text_of(&p));
    p = receive(w.channel, 5000);
    uint32_t status;
    size_t size;
    wire_finished finished;
    CHECK(p.head.type == WIRE_RESPONSE, "type %u: %s", p.head.type, text_of(&p));
    const uint8_t *body = response_body(&p, &status, &size, &finished);
    CHECK(status == 201 && size == 5 && memcmp(body, "hello", 5) == 0, "status %u size %zu", status, size);
    CHECK(finished.status == 0, "one packet carries the answer and its end, got flags %u", p.head.flags);
    close(w.channel);
    exited e = host_exited(h, w.number);
    CHECK(e.came && e.told.status == 0, "status %x words %s", e.told.status, e.words);
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
    bool bench = count > 1 && strcmp(words[1], "--bench") == 0;
    host h = host_start(NULL);
    printf("layers %x\n", h.have);
    host_zygote(&h, 1, 3);
    host_adopt(&h);
    current = "echo";
    test_echo(&h);
    if (bench) bench_cold(&h, "C handler");
    int status = host_stop(&h);
    CHECK(status == 0, "forker %x", status);
    return failures > 0;
}
