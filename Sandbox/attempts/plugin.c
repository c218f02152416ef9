// A handler plugin that does forbidden things: the one named by the path, or all; in invoke, in its constructor, in an IFUNC.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "attempts.h"
#include "swiftlet_handler.h"

static char report[65536];
static size_t report_size;

static void note(const char *name, long number) {
    int wrote = snprintf(report + report_size, sizeof report - report_size, "%s %ld\n", name, number);
    if (wrote > 0 && report_size + (size_t)wrote < sizeof report) report_size += (size_t)wrote;
}

/// Every attempt that the kernel answers; those that end the process are asked for one by one. With a layer switched
/// off, only what others hold: the rest works then, and may end this process.
static void try_all(int constructor, const char *off) {
    const attempt *a;
    for (size_t i = 0; (a = attempt_at(i)) != NULL; i++)
        if (a->outcome == REFUSED && !(constructor && (a->flags & HARMLESS_WHILE_LOADING) != 0) &&
            attempt_is_held_without(a, off))
            note(a->name, a->act());
}

static void try_one(const char *name, size_t size) {
    const attempt *a = attempt_find(name, size);
    if (a != NULL) note(a->name, a->act());
}

/// Our own directory, as the loader names it, and that of the tenant's other function beside it.
static void look_around(swiftlet_bytes neighbour) {
    Dl_info where;
    if (dladdr((void *)look_around, &where) == 0 || where.dli_fname == NULL) return;
    snprintf(WORLD.own, sizeof WORLD.own, "%s", where.dli_fname);
    char *slash = strrchr(WORLD.own, '/');
    if (slash == NULL) return;
    *slash = 0;
    slash = strrchr(WORLD.own, '/');
    if (slash == NULL || neighbour.size > 128) return;
    snprintf(WORLD.neighbour, sizeof WORLD.neighbour, "%.*s/%.*s", (int)(slash - WORLD.own), WORLD.own, (int)neighbour.size,
             (const char *)neighbour.data);
}

#if defined IN_CONSTRUCTOR || defined ONE_IN_CONSTRUCTOR
static const swiftlet_bytes NEIGHBOUR = {"neighbour", 9};
#endif

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void construct(void) {
    look_around(NEIGHBOUR);
    try_all(1, NULL);
}
#endif
#ifdef ONE_IN_CONSTRUCTOR
__attribute__((constructor)) static void construct_one(void) {
    look_around(NEIGHBOUR);
    try_one(ONE_IN_CONSTRUCTOR, strlen(ONE_IN_CONSTRUCTOR));
}
#endif
#ifdef FALSE_SEAL
// A filter of the plugin's own answers "done" to the call that would load the last one: it serves with the load filter only.
__attribute__((constructor)) static void seal_falsely(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_seccomp, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), // not the attempt to get a listener
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
#endif
#ifdef IN_RESOLVER
// The loader calls it while it relocates this library, before any constructor; only plain system calls work there.
static int resolved;
static int chosen(void) { return resolved; }
static long plain(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
static int (*resolve(void))(void) {
    static const char PATH[] = "/etc/passwd";
    long opened = plain(2 /* open */, (long)PATH, 0, 0), at = plain(257 /* openat */, -100, (long)PATH, 0);
    long made = plain(57 /* fork */, 0, 0, 0), socket = plain(41 /* socket */, 2, 1, 0), memory = plain(319 /* memfd */, (long)PATH, 0, 0);
    if (made == 0) plain(60 /* exit */, 0, 0, 0);
    resolved = opened < 0 && at < 0 && made < 0 && socket < 0 && memory < 0 ? EPERM : 0;
    return chosen;
}
int from_resolver(void) __attribute__((ifunc("resolve"), visibility("default")));
#endif

static int names(swiftlet_bytes text, const char *word) {
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/// Where things lie in memory, to compare with what another tenant sees.
static void tell_addresses(void) {
    int on_stack;
    note("library", (long)&report);
    note("libc", (long)(void *)&memcpy);
    note("stack", (long)&on_stack);
    uint64_t canary = 0;
    const void *random = (const void *)getauxval(AT_RANDOM);
    if (random != NULL) memcpy(&canary, random, sizeof canary);
    note("random", (long)canary);
}

/// What an honest tenant may do with its core and its memory: the yardstick for what hostile ones take from a neighbour.
static void work(void) {
    enum { SIZE = 16 << 20 };
    struct timespec now, begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        char *memory = malloc(SIZE);
        if (memory != NULL) memset(memory, 1, SIZE);
        free(memory);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 300);
    note("work", 1);
}

static int32_t invoke(void *state, const swiftlet_invocation_v1 *v, const swiftlet_host_v1 *host) {
    (void)state;
    look_around(v->query.size > 0 ? v->query : (swiftlet_bytes){"neighbour", 9});
    WORLD.invocation = v->id;
    const char *name = (const char *)v->path.data + 1;
    size_t size = v->path.size - 1;
    char off[32] = "";
    if (names(v->path, "/all")) try_all(0, NULL);
    else if (names(v->path, "/unsealed")) try_all(1, NULL);
    else if (names(v->path, "/work")) work();
    else if (names(v->path, "/where")) tell_addresses();
    else if (size > 8 && size < sizeof off && memcmp(name, "without/", 8) == 0) try_all(0, memcpy(off, name + 8, size - 8));
#ifdef IN_RESOLVER
    else if (names(v->path, "/resolver")) note("resolver", from_resolver());
#endif
    else try_one(name, size);
    int32_t status = host->write((swiftlet_bytes){.data = report, .size = report_size});
    report_size = 0;
    return status;
}

SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_handler_v1 TABLE = {.size = sizeof TABLE, .version = 1, .invoke = invoke};
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = 1, .kind = SWIFTLET_KIND_HANDLER, .name = "attempts", .version = "1", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
