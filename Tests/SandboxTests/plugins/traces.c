// Leaves a trace of itself in every place a process can, and reports those that it finds from before.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "swiftlet_handler.h"

static int global = 1;
static int *heap; // from init: what init made is there in every invocation, what an invocation wrote is not
static _Thread_local int local_to_thread;
static char *const PLACE = (char *)0x200000000000;

static int32_t init(const swiftlet_host_v1 *host, swiftlet_bytes config, void **state) {
    (void)host, (void)config;
    heap = calloc(1, sizeof *heap);
    *state = heap;
    return heap == NULL ? SWIFTLET_FAILED : SWIFTLET_OK;
}

static void handler(int number) { (void)number; }

static int32_t invoke(void *state, const swiftlet_invocation_v1 *v, const swiftlet_host_v1 *host) {
    (void)v;
    char found[256] = "";
    struct sigaction action, ours = {.sa_handler = handler};
    sigset_t mask, usr2;
    int *made_by_init = state;
    sigaction(SIGUSR1, NULL, &action);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    if (global != 1) strcat(found, " global");
    if (*made_by_init != 0) strcat(found, " heap");
    if (local_to_thread != 0) strcat(found, " thread-local");
    if (getenv("TRACE") != NULL) strcat(found, " environment");
    if (action.sa_handler == handler) strcat(found, " signal-handler");
    if (sigismember(&mask, SIGUSR2) == 1) strcat(found, " signal-mask");
    void *page = mmap(PLACE, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page == MAP_FAILED) strcat(found, " mapping");
    else PLACE[0] = 1;
    // What is free now and was written before: a heap that is handed on would show it.
    char *freed = malloc(4000);
    if (freed != NULL && memmem(freed, 4000, "trace-in-free-memory", 20) != NULL) strcat(found, " freed-memory");
    global++;
    (*made_by_init)++;
    local_to_thread++;
    putenv("TRACE=1");
    sigaction(SIGUSR1, &ours, NULL);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    sigprocmask(SIG_BLOCK, &usr2, NULL);
    if (freed != NULL) for (int i = 0; i + 20 < 4000; i += 20) memcpy(freed + i, "trace-in-free-memory", 20);
    free(freed);
    return host->write((swiftlet_bytes){.data = found, .size = strlen(found)});
}

SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_handler_v1 TABLE = {.size = sizeof TABLE, .version = 1, .init = init, .invoke = invoke};
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = 1, .kind = SWIFTLET_KIND_HANDLER, .name = "traces", .version = "1", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
