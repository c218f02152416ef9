// Calls an HTTP server over keep-alive connections, so that no interpreter is on the path; prints what Server-Timing says.
//
// caller PORT PATH BODY                            one call for each line on stdin; its Server-Timing, a line
// caller PORT PATH BODY CONNECTIONS RATE SECONDS   calls at a steady rate; then for each "MICROSECONDS-SINCE-START TIMING"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 8192, TIMING = 160, CONNECTIONS_MAX = 64 };

typedef struct sample {
    uint64_t at_us;
    char timing[TIMING];
} sample;

typedef struct caller {
    int number, socket;
    size_t count;
    sample *samples;
} caller;

static char request[ROOM];
static size_t request_size;
static uint64_t began, pause_ns;
static double lasts;
static int connections;

static void stop(const char *why, const char *text) {
    fprintf(stderr, "caller: %s: %.300s\n", why, text);
    exit(1);
}

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int connected(const char *port) {
    int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to) != 0) stop("connect", port);
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return s;
}

/// One call that must answer 200. Copies the value of Server-Timing.
static void call(int s, char timing[TIMING]) {
    char answer[ROOM], *end = NULL;
    size_t have = 0, wanted = 0;
    if (send(s, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) stop("send", "the connection is gone");
    do {
        ssize_t got = recv(s, answer + have, sizeof answer - 1 - have, 0);
        if (got <= 0) stop("the answer ended early", "");
        have += (size_t)got;
        answer[have] = 0;
        if (end != NULL || (end = strstr(answer, "\r\n\r\n")) == NULL) continue;
        if (strncmp(answer, "HTTP/1.1 200", 12) != 0) stop("not 200", answer);
        const char *length = strcasestr(answer, "\r\ncontent-length:"), *words = strcasestr(answer, "\r\nserver-timing:");
        if (length == NULL || words == NULL) stop("no content-length or server-timing", answer);
        wanted = (size_t)(end + 4 - answer) + strtoul(length + 17, NULL, 10);
        words += 16;
        snprintf(timing, TIMING, "%.*s", (int)strcspn(words, "\r"), words);
    } while (end == NULL || have < wanted);
}

static void *paced(void *of) {
    caller *c = of;
    uint64_t due = began + (uint64_t)c->number * pause_ns / (uint64_t)connections;
    for (size_t room = 0;; c->count++, due += pause_ns) {
        struct timespec at = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL); // late ones are made at once
        if ((double)(clock_ns() - began) / 1e9 > lasts) return NULL;
        if (c->count == room && (c->samples = realloc(c->samples, (room = 2 * room + 1024) * sizeof(sample))) == NULL) stop("memory", "");
        call(c->socket, c->samples[c->count].timing);
        c->samples[c->count].at_us = (clock_ns() - began) / 1000;
    }
}

int main(int count, char **words) {
    if (count != 4 && count != 7) stop("usage", "caller PORT PATH BODY [CONNECTIONS RATE SECONDS]");
    request_size = (size_t)snprintf(
        request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s", *words[3] ? "POST" : "GET", words[2],
        strlen(words[3]), words[3]);
    if (request_size >= sizeof request) stop("the request is too long", words[2]);
    if (count == 4) {
        int s = connected(words[1]);
        char line[16], timing[TIMING];
        while (fgets(line, sizeof line, stdin) != NULL) {
            call(s, timing);
            puts(timing);
            fflush(stdout);
        }
        return 0;
    }
    connections = atoi(words[4]);
    if (connections < 1 || connections > CONNECTIONS_MAX || atof(words[5]) <= 0) stop("usage", "1 to 64 connections, a rate above 0");
    pause_ns = (uint64_t)(1e9 * connections / atof(words[5]));
    lasts = atof(words[6]);
    caller callers[CONNECTIONS_MAX] = {0};
    pthread_t threads[CONNECTIONS_MAX];
    for (int n = 0; n < connections; n++) callers[n] = (caller){.number = n, .socket = connected(words[1])};
    began = clock_ns();
    for (int n = 0; n < connections; n++)
        if (pthread_create(&threads[n], NULL, paced, &callers[n]) != 0) stop("pthread_create", "");
    for (int n = 0; n < connections; n++) pthread_join(threads[n], NULL);
    for (int n = 0; n < connections; n++)
        for (size_t i = 0; i < callers[n].count; i++)
            printf("%llu %s\n", (unsigned long long)callers[n].samples[i].at_us, callers[n].samples[i].timing);
    return 0;
}
