// Learns which pages a first invocation touches, by having one in a throw-away child; prefault.c touches them ahead.
//
// A forked process finds its code anew and shares its data until it writes: each first touch of a page costs some 2 to 8 us.
// Which pages a plugin makes the loader, the Swift runtime and SwiftletKit touch hardly depends on the plugin, so a plugin of
// ours shows it. No tenant exists yet when this runs, and the child's code is all our own.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    MAPPINGS_MAX = 2048,
    /// Pages between two that are wanted which are taken along, because a call costs more than they do.
    GAP = 8,
};
/// /proc/PID/pagemap: the page is there, and no other process maps it. https://docs.kernel.org/admin-guide/mm/pagemap.html
#define PRESENT (1ull << 63)
#define EXCLUSIVE (1ull << 56)

typedef struct mapping {
    page_range at;
    int protection; ///< PROT_*
} mapping;

static bool is_writable(const mapping *m) {
    return (m->protection & PROT_WRITE) != 0;
}

// ---- which pages a process has touched -------------------------------------------------------------------------------------

/// The private mappings of this process. Nothing here may allocate: the heap is what is being watched.
static size_t list_mappings(mapping *found) {
    static char text[512 << 10];
    size_t have = 0, count = 0;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; maps >= 0 && (got = read(maps, text + have, sizeof text - 1 - have)) > 0;) have += (size_t)got;
    if (maps >= 0) close(maps);
    text[have] = 0;
    for (char *line = text; line != NULL && *line != 0 && count < MAPPINGS_MAX; line = strchr(line, '\n')) {
        line += *line == '\n';
        char *rest = line;
        mapping m = {.at.begin = strtoul(rest, &rest, 16)};
        if (*rest != '-') break;
        m.at.end = strtoul(rest + 1, &rest, 16);
        if (rest[1] != 'r' || rest[4] != 'p') continue;
        m.protection = PROT_READ | (rest[2] == 'w' ? PROT_WRITE : 0) | (rest[3] == 'x' ? PROT_EXEC : 0);
        found[count++] = m;
    }
    return count;
}

/// A full list leaves the rest to be found when it is touched.
static void add_range(page_list *list, uintptr_t begin, uintptr_t end) {
    if (list->count < PAGE_RANGES_MAX) list->range[list->count++] = (page_range){begin, end};
}

/// Adds a page that lies behind those before; joined with the last ones when fewer than `gap` pages are between.
static void add_page(page_list *list, uintptr_t page, unsigned gap) {
    page_range *last = list->count == 0 ? NULL : &list->range[list->count - 1];
    if (last != NULL && page <= last->end + gap * PAGE) last->end = page + PAGE;
    else add_range(list, page, page + PAGE);
}

/// What a process that was forked a moment ago has made its own, and what it has looked at, in one of its mappings.
static void look(const mapping *m, learned *l) {
    static uint64_t entries[4096];
    int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (uintptr_t at = m->at.begin; at < m->at.end;) {
        size_t wanted = (m->at.end - at) / PAGE, most = sizeof entries / sizeof entries[0];
        ssize_t got = pread(map, entries, (wanted > most ? most : wanted) * sizeof entries[0], (off_t)(at / PAGE * sizeof entries[0]));
        if (got <= 0) break; // no pagemap, or a page that it does not tell: nothing is learned
        for (size_t i = 0; i < (size_t)got / sizeof entries[0]; i++, at += PAGE) {
            if ((entries[i] & PRESENT) == 0) continue;
            if (!is_writable(m)) add_page(&l->read, at, GAP);
            else if ((entries[i] & EXCLUSIVE) != 0) add_page(&l->written, at, 0);
        }
    }
    if (map >= 0) close(map);
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
    worker_ready(&l, &ready, true);
    if (!handler_serve_next()) _exit(EXIT_CANNOT);
}

_Noreturn static void rehearse(const zygote *z, const char *library, int report) {
    static mapping mappings[MAPPINGS_MAX];
    static learned result, heap;
    int pair[2], words[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0 ||
        (report = fcntl(report, F_DUPFD_CLOEXEC, 16)) < 0 || (pair[1] = fcntl(pair[1], F_DUPFD_CLOEXEC, 16)) < 0 ||
        (words[0] = fcntl(words[0], F_DUPFD_CLOEXEC, 16)) < 0 || dup2(pair[0], FD_CHANNEL) < 0 || dup2(words[0], FD_WORDS) < 0)
        _exit(EXIT_CANNOT);
    channel_prefault();
    handler_prefault();
    // Those of before: what the plugin itself brings is another's tomorrow.
    size_t count = list_mappings(mappings);
    uintptr_t end = heap_end();
    send_request(pair[1]);
    have_one_invocation(library);
    mapping beyond = {.at = {end, ((uintptr_t)sbrk(0)) & ~(uintptr_t)(PAGE - 1)}, .protection = PROT_READ | PROT_WRITE};
    look(&beyond, &heap);
    // More than a plugin as simple as ours does; not before, because it takes memory of the heap as well.
    if (z->warm_up != NULL) z->warm_up();
    for (size_t i = 0; i < count; i++) {
        if (mappings[i].at.begin < end && end <= mappings[i].at.end) mappings[i].at.end = end;
        look(&mappings[i], &result);
    }
    for (uint32_t i = 0; i < heap.written.count; i++)
        add_range(&result.heap, heap.written.range[i].begin - end, heap.written.range[i].end - end);
    for (size_t sent = 0; sent < sizeof result;) {
        ssize_t now = write(report, (const uint8_t *)&result + sent, sizeof result - sent);
        if (now <= 0) _exit(EXIT_CANNOT);
        sent += (size_t)now;
    }
    _exit(0);
}

// ---- page tables -----------------------------------------------------------------------------------------------------------

static bool holds(const mapping *m, uintptr_t address) {
    return m->at.begin <= address && address < m->at.end;
}

/// Has forks find a mapping's pages in their page tables. A fork copies the tables of a private mapping of a file only if one
/// of its pages was ever written to: so one is, with what it holds already.
static bool pass_on(const mapping *m) {
    // Never writable and executable at once, so not where this code is.
    if (holds(m, (uintptr_t)&pass_on) || holds(m, (uintptr_t)&mprotect)) return false;
    void *begin = (void *)m->at.begin;
    size_t size = m->at.end - m->at.begin;
    if (mprotect(begin, size, PROT_READ | PROT_WRITE) < 0) return false; // SELinux's execmod, say
    *(volatile uint8_t *)begin = *(volatile uint8_t *)begin;
    return mprotect(begin, size, m->protection) == 0;
}

/// The zygote touches what is only read, and its forks inherit it: looking for 1,800 pages costs each of them a millisecond.
/// What can't be passed on stays in the list.
static void inherit(page_list *read) {
    static mapping mappings[MAPPINGS_MAX];
    static page_list left;
    touch_pages(read, 0, MADV_POPULATE_READ);
    size_t count = list_mappings(mappings);
    for (size_t i = 0; i < count; i++) {
        bool passed = false, tried = false;
        for (uint32_t j = 0; j < read->count; j++) {
            const page_range *r = &read->range[j];
            if (r->end <= mappings[i].at.begin || r->begin >= mappings[i].at.end) continue;
            if (!tried) passed = pass_on(&mappings[i]);
            tried = true;
            if (!passed) add_range(&left, r->begin, r->end);
        }
    }
    *read = left;
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
    *step = "rehearsal: hear how it went";
    size_t have = 0;
    for (ssize_t got; status == 0 && (got = read(report[0], (uint8_t *)&z->learned + have, sizeof z->learned - have)) > 0;) have += (size_t)got;
    close(report[0]);
    int ended = 0;
    if (pid > 0 && waitpid(pid, &ended, 0) < 0) status = -errno;
    if (status < 0) return status;
    *step = "rehearsal: its plugin could not serve; build it again with `make build`";
    if (have != sizeof z->learned || ended != 0) return -ENOEXEC;
    inherit(&z->learned.read);
    return 0;
}
