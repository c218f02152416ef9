// Resources: each bomb grows far past every limit and stops by itself at a bound that harms no machine.
#include "acts.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/// A function's limit in the tests is 32 MiB; who gets this far was not limited.
enum { STEP = 1 << 20, STEPS = 192, PAGE = 4096, MANY = 64, MOST = 3000 };

static void touch(char *memory, size_t size) {
    for (size_t i = 0; i < size; i += PAGE) memory[i] = 1;
}

// ---- memory of every kind -------------------------------------------------------------------------------------------------

static int by_heap(void) {
    static char *blocks[STEPS];
    int result = 0, count = 0;
    for (; count < STEPS && result == 0; count++)
        if ((blocks[count] = malloc(STEP)) == NULL) result = errno;
        else touch(blocks[count], STEP);
    for (int i = 0; i < count; i++) free(blocks[i]);
    return result;
}
static int by_map(void) {
    size_t size = (size_t)STEPS * STEP;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return errno;
    touch(at, size);
    munmap(at, size);
    return 0;
}
static int by_populate(void) {
    size_t size = (size_t)STEPS * STEP;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return errno;
    int result = answer(madvise(at, size, 23 /* POPULATE_WRITE */));
    munmap(at, size);
    return result;
}
static int by_break(void) {
    for (int i = 0; i < STEPS; i++) {
        char *at = sbrk(STEP);
        if (at == (void *)-1) return errno;
        touch(at, STEP);
    }
    sbrk(-(intptr_t)STEPS * STEP);
    return 0;
}
static int by_remap(void) {
    char *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return errno;
    size_t size = PAGE;
    for (size_t i = 1; i <= STEPS; i++) {
        char *more = mremap(at, size, i * STEP, MREMAP_MAYMOVE);
        int error = errno;
        if (more == MAP_FAILED) return munmap(at, size), error;
        at = more, size = i * STEP;
        touch(at, size);
    }
    munmap(at, size);
    return 0;
}
__attribute__((noinline)) static char deeper(int levels) {
    volatile char room[STEP];
    touch((char *)room, STEP);
    return levels == 0 ? room[0] : (char)(deeper(levels - 1) + room[1]);
}
static int by_stack(void) {
    // Ends with SIGSEGV at the stack's limit.
    (void)deeper(STEPS);
    return 0;
}
static int by_page_tables(void) {
    // Reading one page in every 2 MiB costs a page of tables each, and counts as nobody's data.
    size_t stride = 2 << 20, size = stride * 40000;
    char *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return errno;
    madvise(at, size, MADV_NOHUGEPAGE);
    char sum = 0;
    for (size_t i = 0; i < size; i += stride) sum = (char)(sum + *(volatile char *)(at + i));
    munmap(at, size);
    return sum;
}
static int by_mappings(void) {
    // Neighbours with different rights don't merge: each is an object of the kernel's.
    size_t count = 60000;
    char *at = mmap(NULL, count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return errno;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i += 2) result = answer(mprotect(at + i * PAGE, PAGE, PROT_READ | PROT_WRITE));
    if (result == 0) touch(at, PAGE);
    munmap(at, count * PAGE);
    // It costs 6 MB, far below the limit of memory; what must hold is that the kernel counts it to us.
    return result == 0 ? ENOMEM : result;
}
static int by_shared(void) {
    size_t size = (size_t)STEPS * STEP;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return errno;
    touch(at, size);
    munmap(at, size);
    return 0;
}
static int by_segment(void) {
    int made = shmget(IPC_PRIVATE, (size_t)STEPS * STEP, 0600);
    if (made < 0) return errno;
    char *at = shmat(made, NULL, 0);
    shmctl(made, IPC_RMID, NULL);
    if (at == (void *)-1) return errno;
    touch(at, (size_t)STEPS * STEP);
    shmdt(at);
    return 0;
}
static int filled(int fd) {
    static char block[STEP];
    if (fd < 0) return errno;
    int result = 0;
    for (int i = 0; i < STEPS && result == 0; i++) result = answer(write(fd, block, STEP));
    close(fd);
    return result;
}
static int by_memory_file(void) { return filled(memfd_create("bomb", 0)); }
static int by_file(void) {
    int result = filled(open("/tmp/bomb", O_WRONLY | O_CREAT, 0600));
    unlink("/tmp/bomb");
    return result;
}
static int by_own_file(void) {
    place p = beside(WORLD.own, "bomb");
    int result = filled(open(p.path, O_WRONLY | O_CREAT, 0600));
    unlink(p.path);
    return result;
}
static int by_sockets(void) {
    static char block[65536];
    int ends[2 * MANY], made = 0, result = 0;
    for (; made < MANY && result == 0; made++) {
        result = answer(socketpair(AF_UNIX, SOCK_STREAM, 0, ends + 2 * made));
        if (result == 0)
            while (send(ends[2 * made], block, sizeof block, MSG_DONTWAIT) > 0) {}
        else made--;
    }
    for (int i = 0; i < 2 * made; i++) close(ends[i]);
    return result;
}
static int by_pipes(void) {
    static char block[65536];
    int ends[2 * MANY], made = 0, result = 0;
    for (; made < MANY && result == 0; made++) {
        result = answer(pipe2(ends + 2 * made, O_NONBLOCK));
        if (result == 0)
            while (write(ends[2 * made + 1], block, sizeof block) > 0) {}
        else made--;
    }
    for (int i = 0; i < 2 * made; i++) close(ends[i]);
    return result;
}
static int by_own_pipe(void) {
    // What the worker prints lands in a pipe of its own, which holds 64 KiB and does not wait.
    static char block[65536];
    size_t held = 0;
    for (int i = 0; i < STEPS; i++) {
        ssize_t wrote = write(2, block, sizeof block);
        if (wrote < 0) break;
        held += (size_t)wrote;
    }
    return held > STEP ? 0 : EAGAIN;
}
static volatile int rung;
static void ring(int number) {
    (void)number;
    rung++;
}
static int by_signals(void) {
    // Real-time signals queue up, each in memory of the kernel.
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGRTMIN + 3);
    struct sigaction action = {.sa_handler = ring};
    sigaction(SIGRTMIN + 3, &action, NULL);
    sigprocmask(SIG_BLOCK, &one, NULL);
    rung = 0;
    for (int i = 0; i < 5000; i++) kill(getpid(), SIGRTMIN + 3);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    return rung > 1000 ? 0 : EAGAIN;
}
static int by_timers(void) {
    int result = 0;
    static timer_t made[1000];
    struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
    int count = 0;
    while (count < 1000 && result == 0)
        if ((result = answer(timer_create(CLOCK_MONOTONIC, &quiet, &made[count]))) == 0) count++;
    while (count > 0) timer_delete(made[--count]);
    return result;
}
static int by_keys(void) {
    char name[32], block[1024] = "";
    int result = 0;
    for (int i = 0; i < 16 && result == 0; i++) {
        snprintf(name, sizeof name, "swiftlet-bomb-%d", i);
        result = answer(syscall(SYS_add_key, "user", name, block, sizeof block, -2));
    }
    return result;
}

// ---- processes, descriptors, processor ------------------------------------------------------------------------------------

static int by_forks(void) {
    pid_t made[MANY];
    int count = 0, result = 0;
    for (; count < MANY && result == 0; count++) {
        made[count] = fork();
        if (made[count] == 0) {
            pause();
            _exit(0);
        }
        if (made[count] < 0) result = errno, count--;
    }
    for (int i = 0; i < count; i++) kill(made[i], SIGKILL), waitpid(made[i], NULL, 0);
    return result;
}
static int wait_a_little(void *unused) {
    (void)unused;
    usleep(50000);
    return 0;
}
static int by_threads(void) {
    enum { STACK = 16384 };
    char *stacks = mmap(NULL, MANY * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stacks == MAP_FAILED) return errno;
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, result = 0;
    for (int i = 0; i < MANY && result == 0; i++) result = answer(clone(wait_a_little, stacks + (i + 1) * STACK, flags, NULL));
    usleep(100000);
    return result;
}
static int by_descriptors(void) {
    static int made[MOST];
    int count = 0, result = 0;
    for (; count < MOST && result == 0; count++)
        if ((made[count] = fcntl(0, F_DUPFD, 5)) < 0) result = errno, count--;
    for (int i = 0; i < count; i++) close(made[i]);
    return result;
}
static int by_open_files(void) {
    static int made[MOST];
    int count = 0, result = 0;
    place p = beside(WORLD.own, "plugin.so");
    for (; count < MOST && result == 0; count++)
        if ((made[count] = open(p.path, O_RDONLY)) < 0) result = errno, count--;
    for (int i = 0; i < count; i++) close(made[i]);
    return result;
}
static int by_rulesets(void) {
    // Each is a descriptor and some kernel memory; a constructor may make them, until its files run out.
    uint64_t handled = 1;
    static int made[MOST];
    int count = 0, result = 0;
    for (; count < MOST && result == 0; count++)
        if ((made[count] = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0)) < 0) result = errno, count--;
    for (int i = 0; i < count; i++) close(made[i]);
    return result;
}
static uint64_t clock_of(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static int more_cpu(void) {
    // More than half a core, through the better half of a second.
    uint64_t begin = clock_of(CLOCK_MONOTONIC), used = clock_of(CLOCK_THREAD_CPUTIME_ID), now;
    while ((now = clock_of(CLOCK_MONOTONIC)) - begin < 600000000u) {}
    return clock_of(CLOCK_THREAD_CPUTIME_ID) - used > (now - begin) / 2 ? 0 : EAGAIN;
}
static int by_spinning(void) {
    for (volatile uint64_t i = 0;; i++) {}
    return 0;
}
static int by_silence(void) {
    struct timespec hour = {3600, 0};
    for (;;) nanosleep(&hour, NULL);
    return 0;
}
static int by_deafness(void) {
    // Whatever may be caught or held back is; then it spins.
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    for (int i = 1; i < 65; i++) sigaction(i, &ignored, NULL);
    return by_spinning();
}
static int by_barriers(void) {
    // Interrupts every core that runs a process which asked for such fences.
    syscall(SYS_membarrier, 4 /* REGISTER_GLOBAL_EXPEDITED */, 0, 0);
    for (;;) syscall(SYS_membarrier, 2 /* GLOBAL_EXPEDITED */, 0, 0);
    return 0;
}
static int by_yielding(void) {
    for (;;) sched_yield();
    return 0;
}
static int by_faults(void) {
    // The kernel's time instead of ours: map, touch, unmap.
    for (;;) {
        char *at = mmap(NULL, 4 * STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) continue;
        touch(at, 4 * STEP);
        munmap(at, 4 * STEP);
    }
    return 0;
}
static int by_core_file(void) {
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_CORE, &all) < 0) return errno;
    return 0;
}
static int by_printing(void) {
    static char line[4096];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (;;)
        if (write(1, line, sizeof line) < 0) read(4, line, 1); // makes room for itself
    return 0;
}

const attempt RESOURCE_ATTEMPTS[] = {
    {"bomb-heap", by_heap, LIMITED, "cgroup-memory, rlimits", 0, NULL},
    {"bomb-map", by_map, LIMITED, "cgroup-memory, rlimits", 0, NULL},
    {"bomb-populate", by_populate, LIMITED, "cgroup-memory, rlimits", 0, NULL},
    {"bomb-brk", by_break, LIMITED, "cgroup-memory, rlimits", 0, NULL},
    {"bomb-mremap", by_remap, LIMITED, "cgroup-memory, rlimits", 0, NULL},
    {"bomb-stack", by_stack, LIMITED, "rlimits", 0, "a stack without a limit"},
    {"bomb-page-tables", by_page_tables, LIMITED, "cgroup-memory, rlimits", 0, NULL},
    {"bomb-mappings", by_mappings, LIMITED, "cgroup-memory, kernel", 0, "vm.max_map_count without a limit"},
    {"bomb-shared", by_shared, LIMITED, "filter, cgroup-memory", 0, NULL},
    {"bomb-segment", by_segment, LIMITED, "filter, cgroup-memory", 0, NULL},
    {"bomb-memfd", by_memory_file, LIMITED, "filter, rlimits, cgroup-memory", 0, NULL},
    {"bomb-tmpfs", by_file, LIMITED, "filter, mount, landlock, rlimits", 0, NULL},
    {"bomb-disk", by_own_file, LIMITED, "filter, mount, landlock, rlimits", 0, NULL},
    {"bomb-sockets", by_sockets, LIMITED, "filter, rlimits", 0, NULL},
    {"bomb-pipes", by_pipes, LIMITED, "filter, rlimits", 0, NULL},
    {"bomb-own-pipe", by_own_pipe, LIMITED, "kernel", 0, "a pipe without a limit"},
    {"bomb-signals", by_signals, LIMITED, "rlimits", 0, NULL},
    {"bomb-timers", by_timers, LIMITED, "filter, rlimits", 0, NULL},
    {"bomb-keys", by_keys, LIMITED, "filter", 0, NULL},
    {"bomb-forks", by_forks, LIMITED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"bomb-threads", by_threads, LIMITED, "filter, rlimits, cgroup-pids", 0, NULL},
    {"bomb-descriptors", by_descriptors, LIMITED, "filter, rlimits", 0, NULL},
    {"bomb-open-files", by_open_files, LIMITED, "serve filter, rlimits", 0, NULL},
    {"bomb-rulesets", by_rulesets, LIMITED, "serve filter, rlimits", 0, NULL},
    {"bomb-core-file", by_core_file, LIMITED, "filter, rlimits, caps", 0, "CAP_SYS_RESOURCE"},
    {"more-cpu", more_cpu, LIMITED, "cgroup-cpu", WITH_LESS_CPU, "a core that others leave alone"},
    {"spin", by_spinning, LIMITED, "time limit", WITHOUT_ANSWER, NULL},
    {"silence", by_silence, LIMITED, "time limit", WITHOUT_ANSWER, NULL},
    {"deaf-spin", by_deafness, LIMITED, "time limit", WITHOUT_ANSWER, NULL},
    {"barriers", by_barriers, LIMITED, "time limit", WITHOUT_ANSWER, NULL},
    {"yield", by_yielding, LIMITED, "time limit", WITHOUT_ANSWER, NULL},
    {"page-faults", by_faults, LIMITED, "time limit", WITHOUT_ANSWER, NULL},
    {"print-flood", by_printing, LIMITED, "time limit", WITHOUT_ANSWER, NULL},
    END_OF_TABLE,
};
