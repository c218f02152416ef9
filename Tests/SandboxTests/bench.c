// Times of one start, step by step, from START to the first answer, and of warm invocations.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { ROUNDS = 300, SPARES = 4 };

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *name, uint64_t *times, size_t count) {
    qsort(times, count, sizeof *times, by_size);
    printf("%-28s p50 %8.1f us   p99 %8.1f us   n %zu\n", name, (double)times[count / 2] / 1000,
           (double)times[count * 99 / 100] / 1000, count);
}

static wire_start bench_job(void) {
    wire_start job = job_default();
    job.memory_bytes = 256u << 20;
    return job;
}

void bench_cold(host *h, const char *library, const char *label) {
    static uint64_t whole[ROUNDS], until_ready[ROUNDS], confine[ROUNDS], load[ROUNDS], seal[ROUNDS], warm[ROUNDS];
    uint64_t peak = 0;
    for (int i = 0; i < ROUNDS; i++) {
        usleep(6000); // the pool refills while nobody waits
        uint64_t begin = clock_ns();
        worker w = host_worker(h, bench_job(), library, "{}");
        send_invoke(w.channel, 1, "/echo", "hello", 5, true);
        packet p = receive(w.channel, 5000);
        if (p.head.type != WIRE_READY) {
            fprintf(stderr, "bench: %s: worker says %u: %s\n", library, p.head.type, text_of(&p));
            exit(2);
        }
        until_ready[i] = clock_ns() - begin;
        wire_ready ready;
        memcpy(&ready, p.bytes, sizeof ready);
        p = receive(w.channel, 5000);
        whole[i] = clock_ns() - begin;
        confine[i] = ready.confine_ns;
        load[i] = ready.load_ns;
        seal[i] = ready.seal_ns;
        begin = clock_ns();
        send_invoke(w.channel, 2, "/echo", "hello", 5, true);
        receive(w.channel, 5000);
        warm[i] = clock_ns() - begin;
        close(w.channel);
        exited e = host_exited(h, w.number);
        if (e.told.memory_peak > peak) peak = e.told.memory_peak;
    }
    printf("%s\n", label);
    print("START to first answer", whole, ROUNDS);
    print("START to READY", until_ready, ROUNDS);
    print("  confine for the job", confine, ROUNDS);
    print("  load", load, ROUNDS);
    print("  seal", seal, ROUNDS);
    print("second invocation", warm, ROUNDS);
    printf("%-28s     %8llu kB at most\n", "memory of a worker's life", (unsigned long long)peak / 1024);
}

/// The far end of the baseline: every packet goes back as it came.
static void echo(int socket) {
    static char bytes[WIRE_FRAME_MAX];
    for (;;) {
        ssize_t size = recv(socket, bytes, sizeof bytes, 0);
        if (size <= 0 || send(socket, bytes, (size_t)size, MSG_NOSIGNAL) != size) _exit(0);
    }
}

void bench_ipc(host *h, const char *library) {
    enum { WARM_UP = 500, SAMPLES = 5000 };
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) exit(2);
    pid_t child = fork();
    if (child < 0) exit(2);
    if (child == 0) {
        close(pair[0]);
        echo(pair[1]);
    }
    close(pair[1]);
    worker w = host_worker(h, bench_job(), library, "{}");
    packet p = receive(w.channel, 5000);
    if (p.head.type != WIRE_READY) {
        fprintf(stderr, "bench: %s: worker says %u: %s\n", library, p.head.type, text_of(&p));
        exit(2);
    }
    static char same[256], answer[WIRE_FRAME_MAX];
    for (int i = 0; i < WARM_UP + SAMPLES; i++) {
        uint64_t begin = clock_ns();
        send_invoke(w.channel, (uint64_t)i + 1, "/echo", "hello", 5, true);
        ssize_t size = recv(w.channel, answer, sizeof answer, 0);
        uint64_t ours = clock_ns() - begin;
        wire_head head = {0};
        if (size >= (ssize_t)sizeof head) memcpy(&head, answer, sizeof head);
        if (head.type != WIRE_RESPONSE) {
            fprintf(stderr, "bench: frame %u of %zd bytes instead of an answer\n", head.type, size);
            exit(2);
        }
        begin = clock_ns();
        bool there_and_back = send(pair[0], same, sizeof same, MSG_NOSIGNAL) > 0 && recv(pair[0], answer, sizeof answer, 0) > 0;
        uint64_t floor = clock_ns() - begin;
        if (!there_and_back) exit(2);
        if (i >= WARM_UP) printf("sample %llu %llu\n", (unsigned long long)ours, (unsigned long long)floor);
    }
    close(pair[0]);
    waitpid(child, NULL, 0);
    close(w.channel);
    host_exited(h, w.number);
}
