// The plugin that tests put into a worker: what it does is chosen by the path of the request and by its configuration.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swiftlet_handler.h"

static int is(swiftlet_bytes text, const char *word) {
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static swiftlet_bytes say(const char *text) {
    return (swiftlet_bytes){.data = text, .size = strlen(text)};
}

__attribute__((noinline)) static void crash(void) {
    volatile int *nowhere = (volatile int *)8;
    *nowhere = 1;
}

static void hog(void) {
    for (size_t i = 0; i < 1024; i++) {
        char *block = malloc(1 << 20);
        if (block == NULL) _exit(3);
        memset(block, 1, 1 << 20);
    }
}

static int32_t init(const swiftlet_host_v1 *host, swiftlet_bytes config, void **state) {
    *state = NULL;
    if (is(config, "crash")) crash();
    if (is(config, "abort")) abort();
    if (is(config, "exit")) exit(5);
    if (is(config, "hog")) hog();
    if (is(config, "loop"))
        for (;;) {}
    if (!is(config, "fail")) return SWIFTLET_OK;
    host->fail(say("no such database"));
    return SWIFTLET_FAILED;
}

static int32_t echo(const swiftlet_invocation_v1 *v, const swiftlet_host_v1 *host) {
    static char buffer[65536];
    swiftlet_header type = {.name = say("content-type"), .value = say("text/plain")};
    int32_t status = host->respond(201, &type, 1);
    if (status == SWIFTLET_OK) status = host->write(v->body);
    for (size_t got = 1; status == SWIFTLET_OK && got > 0 && !v->body_complete;) {
        status = host->read_body(buffer, sizeof buffer, &got);
        if (status == SWIFTLET_OK) status = host->write((swiftlet_bytes){.data = buffer, .size = got});
    }
    return status;
}

/// Starts one host call and passes its events on as the answer.
static int32_t call(const swiftlet_host_v1 *host, swiftlet_bytes payload) {
    uint32_t number;
    swiftlet_event_v1 event = {.size = sizeof event, .version = 1};
    int32_t status = host->call(say("test.call"), payload, &number);
    do {
        if (status == SWIFTLET_OK) status = host->next(UINT64_MAX, &event);
        if (status == SWIFTLET_OK) status = host->write(event.data);
        if (status == SWIFTLET_OK) status = host->flush();
    } while (status == SWIFTLET_OK && event.kind == SWIFTLET_EVENT_DATA);
    return status;
}

static int32_t invoke(void *state, const swiftlet_invocation_v1 *v, const swiftlet_host_v1 *host) {
    (void)state;
    if (is(v->path, "/echo")) return echo(v, host);
    if (is(v->path, "/call")) return call(host, v->body);
    if (is(v->path, "/crash")) crash();
    if (is(v->path, "/trap")) __builtin_trap();
    if (is(v->path, "/abort")) abort();
    if (is(v->path, "/exit")) exit(7);
    if (is(v->path, "/hog")) hog();
    if (is(v->path, "/loop"))
        for (;;) {}
    if (is(v->path, "/endless"))
        for (;;) {
            static char block[32768];
            int32_t status = host->write((swiftlet_bytes){.data = block, .size = sizeof block});
            if (status != SWIFTLET_OK) return status;
        }
    if (is(v->path, "/print")) {
        printf("one\ntwo\n");
        fflush(stdout);
        fprintf(stderr, "three");
        host->log(SWIFTLET_LOG_WARNING, say("four"));
    }
    if (is(v->path, "/wait")) {
        swiftlet_event_v1 event = {.size = sizeof event, .version = 1};
        int32_t status = host->next(20000000, &event);
        return status == SWIFTLET_TIMEOUT ? host->write(say("timeout")) : status;
    }
    if (is(v->path, "/last-words")) {
        fprintf(stderr, "about to end\n");
        crash();
    }
    if (is(v->path, "/fail")) {
        host->fail(say("the soup is cold"));
        return SWIFTLET_FAILED;
    }
    return SWIFTLET_OK;
}

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void construct(void) {
    IN_CONSTRUCTOR;
}
#endif

static const swiftlet_handler_v1 TABLE = {.size = sizeof TABLE, .version = 1, .init = init, .invoke = invoke};

#ifndef ABI
#define ABI SWIFTLET_ABI_VERSION
#endif
#ifndef NO_ENTRY
SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = ABI, .kind = SWIFTLET_KIND_HANDLER, .name = "subject", .version = "1.0", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
#endif
