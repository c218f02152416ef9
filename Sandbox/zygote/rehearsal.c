// Learns which pages a first invocation touches, by having one in a throw-away child; prefault.c touches them ahead.
//
// A forked process finds its code anew and shares its data until it writes: each first touch of a page costs some 2 to 8 us.
// Which pages a plugin makes the loader, the Swift runtime and SwiftletKit touch hardly depends on the plugin, so a plugin of
// ours shows it. No tenant exists yet when this runs, and the child's code is all our own.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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
    OPENED_MAX = 8192,
    /// Pages from which on a mapping's tables are worth their part in each fork and exit.
    MANY = 16,
};
/// /proc/PID/pagemap: the page is there, it is a file's, and no other process maps it. https://docs.kernel.org/admin-guide/mm/pagemap.html
#define PRESENT (1ull << 63)
#define OF_FILE (1ull << 61)
#define EXCLUSIVE (1ull << 56)

typedef struct mapping {
    page_range at;
    int protection; ///< PROT_*
    unsigned long file; ///< its inode; 0: none
} mapping;

static bool is_writable(const mapping *m) {
    return (m->protection & PROT_WRITE) != 0;
}

// ---- which pages a process has touched -------------------------------------------------------------------------------------

/// The private mappings of this process.
static size_t list_mappings(mapping *found) {
    enum { ROOM = 512 << 10 };
    size_t have = 0, count = 0;
    // Shared memory, because private pages are what is looked at.
    char *text = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED) return 0;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; maps >= 0 && (got = read(maps, text + have, ROOM - 1 - have)) > 0;) have += (size_t)got;
    if (maps >= 0) close(maps);
    for (char *line = text; line != NULL && *line != 0 && count < MAPPINGS_MAX; line = strchr(line, '\n')) {
        line += *line == '\n';
        char *rest = line;
        mapping m = {.at.begin = strtoul(rest, &rest, 16)};
        if (*rest != '-') break;
        m.at.end = strtoul(rest + 1, &rest, 16);
        if (rest[1] != 'r' || rest[4] != 'p') continue;
        m.protection = PROT_READ | (rest[2] == 'w' ? PROT_WRITE : 0) | (rest[3] == 'x' ? PROT_EXEC : 0);
        sscanf(rest, "%*s %*s %*s %lu", &m.file);
        found[count++] = m;
    }
    munmap(text, ROOM);
    return count;
}

/// A full list leaves the rest to be found when it is touched.
static void add_range(page_list *list, uintptr_t begin, uintptr_t end) {
    if (list->count < PAGE_RANGES_MAX) list->range[list->count++] = (page_range){begin, end};
}

/// Adds a page, to the last range when it follows on that.
static void add_page(page_list *list, uintptr_t page) {
    page_range *last = list->count == 0 ? NULL : &list->range[list->count - 1];
    if (last != NULL && page == last->end) last->end = page + PAGE;
    else add_range(list, page, page + PAGE);
}

static bool holds(const mapping *m, uintptr_t address) {
    return m->at.begin <= address && address < m->at.end;
}

/// True for mappings of the files that hold this code, libc and the loader: they are in use, whatever happens.
static bool is_in_use(const mapping *mappings, size_t count, const mapping *m) {
    extern void *__tls_get_addr(void *);
    const uintptr_t needed[] = {(uintptr_t)&is_in_use, (uintptr_t)&mprotect, (uintptr_t)&__tls_get_addr};
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < sizeof needed / sizeof needed[0]; j++)
            if (holds(&mappings[i], needed[j]) && mappings[i].file == m->file) return true;
    return m->file == 0;
}

static int by_address(const void *a, const void *b) {
    uintptr_t first = *(const uintptr_t *)a, second = *(const uintptr_t *)b;
    return first < second ? -1 : first > second;
}

/// Calls `act` for each page of a mapping with its entry in /proc/self/pagemap. Without one, for none: nothing is learned.
static void each_page(const mapping *m, void (*act)(uintptr_t page, uint64_t entry, void *argument), void *argument) {
    uint64_t entries[64];
    int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (uintptr_t at = m->at.begin; at < m->at.end;) {
        size_t wanted = (m->at.end - at) / PAGE, most = sizeof entries / sizeof entries[0];
        ssize_t got = pread(map, entries, (wanted > most ? most : wanted) * sizeof entries[0], (off_t)(at / PAGE * sizeof entries[0]));
        if (got <= 0) break;
        for (size_t i = 0; i < (size_t)got / sizeof entries[0]; i++, at += PAGE) act(at, entries[i], argument);
    }
    if (map >= 0) close(map);
}

/// A private page that a process which was forked a moment ago has made its own.
static void add_written(uintptr_t page, uint64_t entry, void *written) {
    if ((entry & (PRESENT | EXCLUSIVE)) == (PRESENT | EXCLUSIVE)) add_page(written, page);
}

/// A page that it has looked at, or that was mapped beside one.
static void add_present(uintptr_t page, uint64_t entry, void *read) {
    if ((entry & PRESENT) != 0) add_page(read, page);
}

// ---- watching what is read -------------------------------------------------------------------------------------------------
//
// A fault maps sixteen pages where one is wanted, so page tables tell too much: every page that is copied in a fork and
// cleared at an exit costs. So libraries are closed, and each page is opened when it is asked for.

/// What the child knows. Shared memory, because what it writes to private pages is what it looks for.
static struct notes {
    size_t mapping_count, watched_count, opened_count;
    mapping mappings[MAPPINGS_MAX], watched[MAPPINGS_MAX];
    uintptr_t opened[OPENED_MAX];
    page_list heap;
    learned result;
} *notes;

static void open_page(int number, siginfo_t *info, void *unused) {
    (void)number;
    (void)unused;
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);
    for (size_t i = 0; i < notes->watched_count; i++) {
        if (!holds(&notes->watched[i], page)) continue;
        if (notes->opened_count < OPENED_MAX) notes->opened[notes->opened_count++] = page;
        if (mprotect((void *)page, PAGE, notes->watched[i].protection) == 0) return;
    }
    _exit(EXIT_CANNOT);
}

static void watch_reads(void) {
    struct sigaction action = {.sa_sigaction = open_page, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (sigaction(SIGSEGV, &action, NULL) < 0) _exit(EXIT_CANNOT);
    for (size_t i = 0; i < notes->mapping_count; i++) {
        const mapping *m = &notes->mappings[i];
        if (is_writable(m) || is_in_use(notes->mappings, notes->mapping_count, m)) continue;
        notes->watched[notes->watched_count++] = *m;
        if (mprotect((void *)m->at.begin, m->at.end - m->at.begin, PROT_NONE) < 0) _exit(EXIT_CANNOT);
    }
}

static void list_reads(page_list *read) {
    qsort(notes->opened, notes->opened_count, sizeof notes->opened[0], by_address);
    for (size_t i = 0; i < notes->opened_count; i++) add_page(read, notes->opened[i]);
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

_Noreturn static void rehearse(const char *library, int report) {
    int pair[2], words[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0 ||
        (report = fcntl(report, F_DUPFD_CLOEXEC, 16)) < 0 || (pair[1] = fcntl(pair[1], F_DUPFD_CLOEXEC, 16)) < 0 ||
        (words[0] = fcntl(words[0], F_DUPFD_CLOEXEC, 16)) < 0 || dup2(pair[0], FD_CHANNEL) < 0 || dup2(words[0], FD_WORDS) < 0)
        _exit(EXIT_CANNOT);
    notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (notes == MAP_FAILED) _exit(EXIT_CANNOT);
    channel_prefault();
    handler_prefault();
    // Those of before: what the plugin itself brings is another's tomorrow.
    notes->mapping_count = list_mappings(notes->mappings);
    uintptr_t end = heap_end();
    send_request(pair[1]);
    watch_reads();
    have_one_invocation(library);
    mapping beyond = {.at = {end, ((uintptr_t)sbrk(0)) & ~(uintptr_t)(PAGE - 1)}, .protection = PROT_READ | PROT_WRITE};
    each_page(&beyond, add_written, &notes->heap);
    for (size_t i = 0; i < notes->mapping_count; i++) {
        mapping *m = &notes->mappings[i];
        if (m->at.begin < end && end <= m->at.end) m->at.end = end;
        if (is_writable(m)) each_page(m, add_written, &notes->result.written);
        // Those that could not be watched. A fork has to find their pages for itself.
        else if (is_in_use(notes->mappings, notes->mapping_count, m)) each_page(m, add_present, &notes->result.read);
    }
    for (uint32_t i = 0; i < notes->heap.count; i++)
        add_range(&notes->result.heap, notes->heap.range[i].begin - end, notes->heap.range[i].end - end);
    list_reads(&notes->result.read);
    const learned result = notes->result;
    for (size_t sent = 0; sent < sizeof result;) {
        ssize_t now = write(report, (const uint8_t *)&result + sent, sizeof result - sent);
        if (now <= 0) _exit(EXIT_CANNOT);
        sent += (size_t)now;
    }
    _exit(0);
}

// ---- page tables -----------------------------------------------------------------------------------------------------------

/// Has forks find a mapping's pages in their page tables. A fork copies the tables of a private mapping of a file only if one
/// of its pages was ever written to: so one is, with what it holds already. It is never writable and executable at once.
static bool pass_on(const mapping *m) {
    void *begin = (void *)m->at.begin;
    size_t size = m->at.end - m->at.begin;
    if (mprotect(begin, size, PROT_READ | PROT_WRITE) < 0) return false;
    *(volatile uint8_t *)begin = *(volatile uint8_t *)begin;
    return mprotect(begin, size, m->protection) == 0;
}

static bool includes(const page_list *list, uintptr_t page) {
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (list->range[middle].end <= page) low = middle + 1;
        else high = middle;
    }
    return low < list->count && list->range[low].begin <= page;
}

/// A page of a file that is not wanted. One that was written to is nowhere else: relocations, say.
static void forget_unwanted(uintptr_t page, uint64_t entry, void *wanted) {
    if ((entry & (PRESENT | OF_FILE)) == (PRESENT | OF_FILE) && !includes(wanted, page)) madvise((void *)page, PAGE, MADV_DONTNEED);
}

/// Takes the ranges that lie in `m` out of `list`. Returns how many pages they are.
static size_t take_out(page_list *list, const mapping *m, page_list *taken) {
    uint32_t kept = 0;
    size_t pages = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        page_range r = list->range[i];
        if (!holds(m, r.begin)) {
            list->range[kept++] = r;
            continue;
        }
        add_range(taken, r.begin, r.end);
        pages += (r.end - r.begin) / PAGE;
    }
    list->count = kept;
    return pages;
}

/// The zygote keeps the pages of libraries that will be read, and only those, and its forks inherit them. A mapping with few
/// of them stays as it is, since passing it on costs each fork some microseconds: its pages are left in the list.
static void inherit(page_list *read, page_list *inherited) {
    static mapping mappings[MAPPINGS_MAX];
    static page_list wanted, left;
    size_t count = list_mappings(mappings);
    for (size_t i = 0; i < count; i++) {
        const mapping *m = &mappings[i];
        if (is_writable(m)) continue;
        wanted.count = 0;
        bool many = take_out(read, m, &wanted) >= MANY;
        bool in_use = is_in_use(mappings, count, m);
        bool passed = many && !in_use && pass_on(m);
        if (passed) touch_pages(&wanted, 0, MADV_POPULATE_READ);
        for (uint32_t j = 0; j < wanted.count; j++)
            add_range(passed ? inherited : &left, wanted.range[j].begin, wanted.range[j].end);
        if (!in_use) each_page(m, forget_unwanted, &wanted);
    }
    *read = left;
}

// ---- the zygote ------------------------------------------------------------------------------------------------------------

/// Tries on a spare mapping whether code may be closed, written to and opened again. Services that may not
/// (MemoryDenyWriteExecute, SELinux's execmod) would find their libraries closed for good.
static bool may_change_code(const char *library) {
    int file = open(library, O_RDONLY | O_CLOEXEC);
    uint8_t *page = file < 0 ? MAP_FAILED : mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    if (file >= 0) close(file);
    if (page == MAP_FAILED) return false;
    bool may = mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0;
    if (may) *(volatile uint8_t *)page = *(volatile uint8_t *)page;
    may = may && mprotect(page, PAGE, PROT_READ | PROT_EXEC) == 0;
    munmap(page, PAGE);
    return may;
}

int rehearsal_learn(zygote *z, const char *library, const char **step) {
    if (!may_change_code(library)) return 0;
    int report[2], status = 0;
    *step = "rehearsal: start it";
    if (pipe2(report, O_CLOEXEC) < 0) return -errno;
    pid_t pid = fork();
    if (pid == 0) rehearse(library, report[1]);
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
    inherit(&z->learned.read, &z->learned.inherited);
    return 0;
}
