// Loads one plugin and plays its host over in-process queues; prints what the plugin did, one fact a line.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "swiftlet_handler.h"

typedef struct answer { uint32_t call, kind; uint64_t due; char *data; size_t size; struct answer *next; } answer;

static answer *answers, *delivered;
static uint32_t last_call, open_calls, cancelled_calls, max_open;
static uint64_t cancel_at;
static uint32_t responds, writes, flushes;
static const char *rest_of_body = "";
static char body[1 << 20];
static size_t body_size;
static int quiet;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int cancelled(void) { return cancel_at && now() >= cancel_at; }

static int count(const char *folder) {
    DIR *stream = opendir(folder);
    int entries = 0;
    while (readdir(stream)) entries++;
    closedir(stream);
    return entries - 2;
}

static long resident_kb(void) {
    long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (fscanf(file, "%ld %ld", &size, &resident) != 2) abort();
    fclose(file);
    return resident * 4;
}

static void queue(uint32_t call, uint32_t kind, uint64_t due, const char *data, size_t size) {
    answer *new = calloc(1, sizeof *new), **at = &answers;
    *new = (answer){call, kind, due, memcpy(malloc(size + 1), data, size), size, NULL};
    while (*at && (*at)->due <= due) at = &(*at)->next;
    new->next = *at;
    *at = new;
}

static void queue_text(uint32_t call, uint32_t kind, const char *text) { queue(call, kind, now(), text, strlen(text)); }

static void host_log(int32_t level, swiftlet_bytes text) {
    if (!quiet) printf("log %d %.*s\n", level, (int)text.size, (const char *)text.data);
}
static void host_fail(swiftlet_bytes text) { if (!quiet) printf("fail %.*s\n", (int)text.size, (const char *)text.data); }

static int32_t host_read_body(void *buffer, size_t capacity, size_t *got) {
    if (cancelled()) return SWIFTLET_CANCELLED;
    *got = strlen(rest_of_body) < 4 ? strlen(rest_of_body) : 4;
    if (*got > capacity) *got = capacity;
    memcpy(buffer, rest_of_body, *got);
    rest_of_body += *got;
    return SWIFTLET_OK;
}

static int32_t host_respond(int32_t status, const swiftlet_header *headers, size_t header_count) {
    if (cancelled()) return SWIFTLET_CANCELLED;
    if (status < 200 || status > 599 || responds++) return SWIFTLET_INVALID;
    if (quiet) return SWIFTLET_OK;
    printf("respond %d\n", status);
    for (size_t i = 0; i < header_count; i++)
        printf("header %.*s=%.*s\n", (int)headers[i].name.size, (const char *)headers[i].name.data,
               (int)headers[i].value.size, (const char *)headers[i].value.data);
    return SWIFTLET_OK;
}

static int32_t host_write(swiftlet_bytes data) {
    if (cancelled()) return SWIFTLET_CANCELLED;
    writes++;
    if (body_size + data.size > sizeof body) return SWIFTLET_LIMIT;
    memcpy(body + body_size, data.data, data.size);
    body_size += data.size;
    return SWIFTLET_OK;
}

static int32_t host_flush(void) {
    flushes++;
    return cancelled() ? SWIFTLET_CANCELLED : SWIFTLET_OK;
}

static void chat(uint32_t call, const char *payload, size_t size) {
    if (!memmem(payload, size, "\"stream\":true", 13)) {
        queue_text(call, SWIFTLET_EVENT_DATA, "{\"choices\":[{\"message\":{\"content\":\"four\"},\"finish_reason\":\"stop\"}],");
        queue_text(call, SWIFTLET_EVENT_DONE, "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}");
        return;
    }
    queue_text(call, SWIFTLET_EVENT_DATA, "{\"choices\":[{\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}");
    for (const char *word = "two\0plus\0two\0"; *word; word += strlen(word) + 1) {
        char chunk[128];
        snprintf(chunk, sizeof chunk, "{\"choices\":[{\"delta\":{\"content\":\"%s \"},\"finish_reason\":null}]}", word);
        queue_text(call, SWIFTLET_EVENT_DATA, chunk);
    }
    queue_text(call, SWIFTLET_EVENT_DATA, "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}");
    queue_text(call, SWIFTLET_EVENT_DONE, "");
}

/// Two vectors, however many texts were sent.
static void embed(uint32_t call) {
    queue_text(call, SWIFTLET_EVENT_DATA, "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5,-1e-3]},");
    queue_text(call, SWIFTLET_EVENT_DONE, "{\"index\":1,\"embedding\":[1,0]}],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}");
}

static int32_t host_call(swiftlet_bytes name, swiftlet_bytes payload, uint32_t *call) {
    if (cancelled()) return SWIFTLET_CANCELLED;
    if (open_calls >= 64) return SWIFTLET_LIMIT;
    *call = ++last_call;
    if (++open_calls > max_open) max_open = open_calls;
    const char *data = payload.data;
    if (name.size == 4 && !memcmp(name.data, "echo", 4)) queue(*call, SWIFTLET_EVENT_DONE, now(), data, payload.size);
    else if (name.size == 4 && !memcmp(name.data, "slow", 4))
        queue(*call, SWIFTLET_EVENT_DONE, now() + (uint64_t)atoi(data) * 1000000u, data, payload.size);
    else if (name.size == 4 && !memcmp(name.data, "fail", 4))
        queue_text(*call, SWIFTLET_EVENT_FAILED, "{\"error\":{\"type\":\"no_such_thing\",\"message\":\"there is none\"}}");
    else if (name.size == 4 && !memcmp(name.data, "boom", 4)) queue_text(*call, SWIFTLET_EVENT_FAILED, "not json");
    else if (name.size == 10 && !memcmp(name.data, "model.chat", 10)) chat(*call, data, payload.size);
    else if (name.size == 11 && !memcmp(name.data, "model.embed", 11)) embed(*call);
    return SWIFTLET_OK;
}

static void release(answer *old) {
    if (old) free(old->data);
    free(old);
}

static int32_t host_next(uint64_t timeout_ns, swiftlet_event_v1 *event) {
    const uint64_t start = now();
    const uint64_t limit = timeout_ns > UINT64_MAX - start ? UINT64_MAX : start + timeout_ns;
    for (;;) {
        if (cancelled()) return SWIFTLET_CANCELLED;
        if (answers && answers->due <= now()) break;
        if (now() >= limit) return SWIFTLET_TIMEOUT;
        nanosleep(&(struct timespec){0, timeout_ns < 200000 ? (long)timeout_ns : 200000}, NULL);
    }
    release(delivered);
    delivered = answers;
    answers = answers->next;
    if (delivered->kind != SWIFTLET_EVENT_DATA) open_calls--;
    event->kind = delivered->kind;
    event->call = delivered->call;
    event->data = (swiftlet_bytes){delivered->data, delivered->size};
    return SWIFTLET_OK;
}

static int32_t host_cancel(uint32_t call) {
    cancelled_calls++;
    open_calls--;
    for (answer **at = &answers; *at;) {
        answer *old = *at;
        if (old->call != call) { at = &old->next; continue; }
        *at = old->next;
        release(old);
    }
    return SWIFTLET_OK;
}

static const swiftlet_host_v1 host = {
    .size = sizeof host, .version = 1, .log = host_log, .fail = host_fail, .read_body = host_read_body,
    .respond = host_respond, .write = host_write, .flush = host_flush, .call = host_call, .next = host_next, .cancel = host_cancel,
};

static swiftlet_bytes text(const char *words) { return (swiftlet_bytes){words, strlen(words)}; }

static const char *option(int argc, char **argv, const char *name, const char *otherwise) {
    for (int i = 2; i + 1 < argc; i += 2)
        if (!strcmp(argv[i], name)) return argv[i + 1];
    return otherwise;
}

static int32_t invoke_once(const swiftlet_handler_v1 *handler, void *state, int argc, char **argv) {
    static const swiftlet_header headers[] = {{{"x-test", 6}, {"yes", 3}}, {{"accept", 6}, {"text/event-stream", 17}}};
    const uint64_t after = strtoull(option(argc, argv, "--cancel-after-ms", "0"), NULL, 10);
    cancel_at = after ? now() + after * 1000000u : 0;
    responds = writes = flushes = 0;
    body_size = 0;
    rest_of_body = option(argc, argv, "--rest", "");
    const swiftlet_invocation_v1 invocation = {
        .size = sizeof invocation, .version = 1, .id = 1, .deadline_ns = now() + 10000000000u,
        .method = text(option(argc, argv, "--method", "GET")), .path = text(option(argc, argv, "--path", "/")),
        .query = text(option(argc, argv, "--query", "")), .tenant = text("acme"), .function = text("probe"),
        .request_id = text("req-1"), .headers = headers, .header_count = 2,
        .body = text(option(argc, argv, "--body", "")), .body_complete = *rest_of_body == 0,
    };
    return handler->invoke(state, &invocation, &host);
}

/// Does the rest in `children` forks, one after the other, as a zygote's workers do. Answers 1 in a child.
static int fork_children(int children) {
    for (int i = 0; i < children; i++) {
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) return 1;
        int status;
        if (waitpid(child, &status, 0) != child || status) printf("child %d ended with %d\n", i, status);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *kit = option(argc, argv, "--kit", "");
    if (*kit) {
        const long before = resident_kb();
        void *library = dlopen(kit, RTLD_NOW | RTLD_GLOBAL);
        if (!library) return printf("dlopen %s\n", dlerror()), 1;
        printf("kit_rss_kb %ld -> %ld\n", before, resident_kb());
        if (*option(argc, argv, "--warm", "")) ((void (*)(void))dlsym(library, "swiftlet_kit_warm_up"))();
        printf("kit_rss_kb warm %ld\nkit_threads %d\nkit_fds %d\n", resident_kb(), count("/proc/self/task"), count("/proc/self/fd"));
    }
    const int children = atoi(option(argc, argv, "--fork", "0"));
    if (children && !fork_children(children)) return 0;
    const uint64_t load = now();
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return printf("dlopen %s\n", dlerror()), 1;
    printf("dlopen_us %.0f\n", (double)(now() - load) / 1e3);
    swiftlet_plugin_entry_fn entry = (swiftlet_plugin_entry_fn)dlsym(library, SWIFTLET_PLUGIN_ENTRY_NAME);
    if (entry(0)) return printf("accepted host ABI 0\n"), 1;
    const swiftlet_plugin *plugin = entry(SWIFTLET_ABI_VERSION);
    printf("plugin %s %s kind %u abi %u size %u\n", plugin->name, plugin->version, plugin->kind, plugin->abi, plugin->size);
    const swiftlet_handler_v1 *handler = plugin->table;
    void *state = NULL;
    const int32_t ready = handler->init ? handler->init(&host, text(option(argc, argv, "--config", "")), &state) : SWIFTLET_OK;
    printf("init %d\n", ready);
    if (ready != SWIFTLET_OK) return 0;

    const uint64_t first = now();
    const int32_t status = invoke_once(handler, state, argc, argv);
    const uint64_t end = now();
    printf("status %d\nresponds %u\nwrites %u\nflushes %u\nbody <<%.*s>>\n", status, responds, writes, flushes, (int)body_size, body);
    printf("max_open %u\nopen %u\ncancelled_calls %u\nelapsed_ms %.1f\nfirst_us %.1f\n", max_open, open_calls, cancelled_calls,
           (double)(end - first) / 1e6, (double)(end - first) / 1e3);

    const int repeat = atoi(option(argc, argv, "--repeat", "0"));
    quiet = 1;
    uint64_t warm = 0;
    size_t settled = 0;
    for (int i = 0; i < repeat; i++) {
        if (i == repeat / 4) { settled = mallinfo2().uordblks; warm = now(); }
        if (invoke_once(handler, state, argc, argv) != status) return printf("changed its mind at %d\n", i), 1;
    }
    if (repeat) printf("last %.*s\nwarm_us %.2f\ngrowth_bytes %ld\n", (int)body_size, body, (double)(now() - warm) / 1e3 / (repeat - repeat / 4),
                       (long)(mallinfo2().uordblks - settled));
    printf("threads %d\nrss_kb %ld\n", count("/proc/self/task"), resident_kb());
    if (handler->shutdown) handler->shutdown(state);
    printf("shutdown\n");
    return 0;
}
