// Learns which pages a first invocation writes to, by having one in a throw-away child; prefault.c writes to them ahead.
//
// A forked process shares its pages until it writes to them, and each first write costs some 2 to 8 us. Which pages a plugin
// makes the loader, the Swift runtime and SwiftletKit write to hardly depends on the plugin: so a plugin of ours shows it.
// No tenant exists yet when this runs, and the child's code is all our own.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, RANGES_MAX = 1024, PAGES_MAX = 16384 };
/// /proc/PID/pagemap: the page is there, and no other process maps it. https://docs.kernel.org/admin-guide/mm/pagemap.html
#define PRESENT (1ull << 63)
#define EXCLUSIVE (1ull << 56)

typedef struct range {
    uintptr_t begin, end;
} range;

// ---- which pages are a process's own ---------------------------------------------------------------------------------------

/// Writable private mappings of this process. Nothing here may allocate: the heap is what is being watched.
static size_t writable_ranges(range *ranges) {
    static char text[512 << 10];
    size_t have = 0, count = 0;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; maps >= 0 && (got = read(maps, text + have, sizeof text - 1 - have)) > 0;) have += (size_t)got;
    if (maps >= 0) close(maps);
    text[have] = 0;
    for (char *line = text; line != NULL && *line != 0 && count < RANGES_MAX; line = strchr(line, '\n')) {
        line += *line == '\n';
        char *rest = line;
        range r = {.begin = strtoul(rest, &rest, 16)};
        if (*rest != '-') break;
        r.end = strtoul(rest + 1, &rest, 16);
        if (strncmp(rest, " rw-p", 5) == 0) ranges[count++] = r;
    }
    return count;
}

/// Addresses of the pages in `ranges` that this process has for itself, in order.
static size_t own_pages(const range *ranges, size_t count, uintptr_t *pages) {
    size_t found = 0;
    int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; map >= 0 && i < count; i++)
        for (uintptr_t at = ranges[i].begin; at < ranges[i].end;) {
            uint64_t entries[512];
            size_t wanted = (ranges[i].end - at) / PAGE;
            if (wanted > sizeof entries / sizeof entries[0]) wanted = sizeof entries / sizeof entries[0];
            ssize_t got = pread(map, entries, wanted * sizeof entries[0], (off_t)(at / PAGE * sizeof entries[0]));
            if (got <= 0) break;
            for (size_t j = 0; j < (size_t)got / sizeof entries[0] && found < PAGES_MAX; j++, at += PAGE)
                if ((entries[j] & (PRESENT | EXCLUSIVE)) == (PRESENT | EXCLUSIVE)) pages[found++] = at;
        }
    if (map >= 0) close(map);
    return found;
}

static bool among(const uintptr_t *pages, size_t count, uintptr_t page) {
    size_t low = 0;
    while (low < count) {
        size_t middle = (low + count) / 2;
        if (pages[middle] < page) low = middle + 1;
        else count = middle;
    }
    return pages[low] == page; // the array has room for one more, which is never a page
}

uintptr_t heap_end(void) {
    // What lies at the end of the heap and is free.
    return ((uintptr_t)sbrk(0) - mallinfo2().keepcost) & ~(uintptr_t)(PAGE - 1);
}

// ---- the child -------------------------------------------------------------------------------------------------------------

static void send_request(int socket) {
    static const char METHOD[] = "POST", PATH[] = "/", ID[] = "rehearsal";
    static const char TYPE[] = "content-type", JSON[] = "application/json";
    static const char BODY[] = "{\"name\":\"somebody\",\"count\":3,\"prices\":[2.5,4.0,9.75]}";
    uint8_t packet[512];
    wire_invoke invoke = {.id = 1, .method_size = sizeof METHOD - 1, .path_size = sizeof PATH - 1, .tenant_size = sizeof ID - 1,
                          .function_size = sizeof ID - 1, .request_id_size = sizeof ID - 1, .header_count = 1};
    uint32_t field[] = {sizeof TYPE - 1, sizeof JSON - 1};
    const struct { const void *bytes; size_t size; } parts[] = {
        {&invoke, sizeof invoke}, {METHOD, sizeof METHOD - 1}, {PATH, sizeof PATH - 1}, {ID, sizeof ID - 1}, {ID, sizeof ID - 1},
        {ID, sizeof ID - 1}, {field, sizeof field}, {TYPE, sizeof TYPE - 1}, {JSON, sizeof JSON - 1}, {BODY, sizeof BODY - 1}};
    size_t size = WIRE_HEAD_SIZE;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; size += parts[i++].size)
        memcpy(packet + size, parts[i].bytes, parts[i].size);
    wire_head head = {.type = WIRE_INVOKE, .flags = WIRE_FLAG_END, .size = (uint32_t)(size - sizeof head), .id = 1};
    memcpy(packet, &head, sizeof head);
    if (send(socket, packet, size, MSG_NOSIGNAL) != (ssize_t)size) _exit(EXIT_CANNOT);
}

/// The life of a worker, in short; what it says stays in the socket, whose other end is `host`.
static void have_one_invocation(const char *library) {
    static job j;
    wire_ready ready = {0};
    snprintf(j.library, sizeof j.library, "%s", library);
    j.start.kind = WIRE_KIND_HANDLER;
    loaded l = loader_open(&j);
    handler_init(&l, &j);
    worker_ready(&l, &ready);
    if (!handler_serve_next()) _exit(EXIT_CANNOT);
}

_Noreturn static void rehearse(const zygote *z, const char *library, int report) {
    static range ranges[RANGES_MAX];
    static uintptr_t before[PAGES_MAX + 1], after[PAGES_MAX + 1];
    int pair[2], words[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0 ||
        (report = fcntl(report, F_DUPFD_CLOEXEC, 16)) < 0 || (pair[1] = fcntl(pair[1], F_DUPFD_CLOEXEC, 16)) < 0 ||
        (words[0] = fcntl(words[0], F_DUPFD_CLOEXEC, 16)) < 0 || dup2(pair[0], FD_CHANNEL) < 0 || dup2(words[0], FD_WORDS) < 0)
        _exit(EXIT_CANNOT);
    send_request(pair[1]);
    prefault(z);
    uintptr_t end = heap_end();
    size_t count = writable_ranges(ranges);
    size_t had = own_pages(ranges, count, before);
    have_one_invocation(library);
    // The ranges of before: what the plugin itself brought is another's tomorrow. The heap may have grown.
    for (size_t i = 0; i < count; i++)
        if (ranges[i].begin < end && end <= ranges[i].end) ranges[i].end = (uintptr_t)sbrk(0) & ~(uintptr_t)(PAGE - 1);
    size_t has = own_pages(ranges, count, after);
    learned result = {0};
    for (size_t i = 0; i < has && result.count < LEARNED_MAX; i++) {
        if (among(before, had, after[i])) continue;
        bool beyond = after[i] >= end && after[i] < (uintptr_t)sbrk(0);
        if (beyond) result.heap_pages = (uint32_t)((after[i] - end) / PAGE) + 1;
        else result.page[result.count++] = after[i];
    }
    if (write(report, &result, sizeof result) != sizeof result) _exit(EXIT_CANNOT);
    _exit(0);
}

// ---- the zygote ------------------------------------------------------------------------------------------------------------

int rehearsal_learn(zygote *z, const char *library, const char **step) {
    int report[2], status = 0;
    *step = "rehearsal: start it";
    if (pipe2(report, O_CLOEXEC) < 0) return -errno;
    pid_t pid = fork();
    if (pid == 0) rehearse(z, library, report[1]);
    if (pid < 0) status = -errno;
    close(report[1]);
    static learned result;
    *step = "rehearsal: hear how it went";
    size_t have = 0;
    for (ssize_t got; status == 0 && (got = read(report[0], (uint8_t *)&result + have, sizeof result - have)) > 0;) have += (size_t)got;
    close(report[0]);
    int ended = 0;
    if (pid > 0 && waitpid(pid, &ended, 0) < 0) status = -errno;
    if (status < 0) return status;
    *step = "rehearsal: its plugin could not serve; build it again with `make build`";
    if (have != sizeof result || ended != 0) return -ENOEXEC;
    z->learned = result;
    return 0;
}
