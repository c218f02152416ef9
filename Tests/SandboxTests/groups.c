// Control groups without a zygote: what the kernel is told, and who is found in a group that has no memory left.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "launcher.h"

enum { LIMIT = 8 << 20, PAGE = 4096 };

/// A zygote's groups, and an epoll as it has one.
typedef struct place {
    cgroup_groups top, groups;
    int dirs[CGROUP_CONTROLLERS];
    int poller;
} place;

static bool place_make(place *p) {
    char name[48];
    snprintf(name, sizeof name, "swiftlet-groups-%d", getpid());
    cgroup_make_top(&p->top, name);
    if (p->top.path[CGROUP_MEMORY][0] == 0 || p->top.path[CGROUP_CPU][0] == 0) {
        cgroup_remove(&p->top);
        return false;
    }
    p->poller = epoll_create1(EPOLL_CLOEXEC);
    CHECK(cgroup_make_child(&p->top, "z1", &p->groups) == 0 && cgroup_open(&p->groups, p->dirs) == 0 && p->poller >= 0, "%s",
          strerror(errno));
    return true;
}

static void place_remove(place *p) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (p->dirs[i] >= 0) close(p->dirs[i]);
    close(p->poller);
    int status = cgroup_remove(&p->top);
    CHECK(status == 0, "groups stayed: %s", strerror(-status));
}

static cgroup_leaf leaf_of(const place *p) {
    cgroup_leaf leaf;
    wire_start job = {.memory_bytes = LIMIT, .pids = 4};
    int status = cgroup_leaf_make(p->groups.version, p->dirs, 7, &leaf);
    if (status == 0) status = cgroup_leaf_limit(&leaf, &job);
    CHECK(status == 0, "%s", strerror(-status));
    return leaf;
}

static long number_in(int directory, const char *file) {
    char text[32] = "";
    int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    if (fd >= 0) close(fd);
    return strtol(text, NULL, 10);
}

// ---- weight ----------------------------------------------------------------------------------------------------------------

static void test_weight(const place *p) {
    static const struct {
        uint32_t asked;
        long weight, shares;
    } CASES[] = {{0, 100, 1024}, {300, 300, 3072}, {1, 1, 10}, {10000, 10000, 102400}, {0, 100, 1024}};
    cgroup_leaf leaf = leaf_of(p);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        wire_start job = {.memory_bytes = LIMIT, .pids = 4, .cpu_percent = 50, .cpu_weight = CASES[i].asked};
        int status = cgroup_leaf_limit(&leaf, &job);
        long found = number_in(leaf.dir[CGROUP_CPU], leaf.version == 1 ? "cpu.shares" : "cpu.weight");
        CHECK(status == 0 && found == (leaf.version == 1 ? CASES[i].shares : CASES[i].weight), "%u: %ld, %s", CASES[i].asked,
              found, strerror(-status));
    }
    CHECK(cgroup_leaf_remove(&leaf, p->dirs) == 0, "the group stayed");
}

// ---- no memory left ----------------------------------------------------------------------------------------------------------

static void touch_pages(size_t size) {
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t i = 0; at != MAP_FAILED && i < size; i += PAGE) at[i] = 1;
}

/// A process in the group that takes so much and then waits.
static pid_t process_in(const cgroup_leaf *leaf, size_t takes) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    if (cgroup_leaf_attach(leaf) < 0) _exit(9);
    touch_pages(takes);
    for (;;) pause();
}

static bool is_starved(const cgroup_leaf *leaf) {
    char text[128] = "";
    int fd = openat(leaf->dir[CGROUP_MEMORY], "memory.oom_control", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    if (fd >= 0) close(fd);
    return strstr(text, "under_oom 1") != NULL;
}

static bool becomes_starved(const cgroup_leaf *leaf) {
    for (int i = 0; i < 500 * patience(); i++) {
        if (is_starved(leaf)) return true;
        usleep(10000);
    }
    return false;
}

/// Waits for the event as a zygote does. True: it is about this leaf.
static bool is_told(const place *p, const cgroup_leaf *leaf) {
    struct epoll_event news;
    return epoll_wait(p->poller, &news, 1, 5000 * patience()) == 1 && news.data.ptr == leaf;
}

static int ended_by(pid_t pid) {
    int status = 0;
    for (int i = 0; i < 500 * patience(); i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        usleep(10000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
}

static void check_result(const cgroup_leaf *leaf) {
    cgroup_result r = cgroup_leaf_result(leaf);
    CHECK(r.oom && r.memory_peak > LIMIT - LIMIT / 8 && r.memory_peak <= LIMIT, "oom %d peak %llu", r.oom,
          (unsigned long long)r.memory_peak);
}

/// Nobody has said who they are: the group's own list names them, those that only sleep as well.
static void test_all_of_a_group_end(const place *p) {
    cgroup_leaf leaf = leaf_of(p);
    cgroup_leaf_watch(&leaf, p->poller, &leaf);
    CHECK(leaf.starved_event > 0, "no event");
    pid_t modest = process_in(&leaf, PAGE);
    usleep(20000);
    cgroup_leaf_end_starved(&leaf);
    CHECK(waitpid(modest, NULL, WNOHANG) == 0, "there was memory left");
    pid_t greedy = process_in(&leaf, 2 * LIMIT);
    CHECK(is_told(p, &leaf) && becomes_starved(&leaf), "not told");
    CHECK(waitpid(greedy, NULL, WNOHANG) == 0, "the kernel ended it");
    cgroup_leaf_end_starved(&leaf);
    CHECK(ended_by(greedy) == SIGKILL && ended_by(modest) == SIGKILL, "one of them lives");
    check_result(&leaf);
    CHECK(cgroup_leaf_remove(&leaf, p->dirs) == 0, "the group stayed");
    CHECK(epoll_wait(p->poller, &(struct epoll_event){0}, 1, 100) == 0, "a group that goes is no event");
}

/// It sleeps already when somebody begins to listen.
static void test_told_late(const place *p) {
    cgroup_leaf leaf = leaf_of(p);
    int file = openat(leaf.dir[CGROUP_MEMORY], "memory.oom_control", O_WRONLY | O_CLOEXEC);
    CHECK(file >= 0 && write(file, "1", 1) == 1, "%s", strerror(errno));
    close(file);
    pid_t greedy = process_in(&leaf, 2 * LIMIT);
    CHECK(becomes_starved(&leaf), "it does not sleep");
    cgroup_leaf_watch(&leaf, p->poller, &leaf);
    CHECK(is_told(p, &leaf), "not told");
    cgroup_leaf_end_starved(&leaf);
    CHECK(ended_by(greedy) == SIGKILL, "it lives");
    check_result(&leaf);
    CHECK(cgroup_leaf_remove(&leaf, p->dirs) == 0, "the group stayed");
}

/// Where there is nobody to tell, the kernel must still do it.
static void test_kernel_does_it(const place *p) {
    cgroup_leaf leaf = leaf_of(p);
    cgroup_leaf_watch(&leaf, -1, &leaf);
    if (leaf.version == 2) cgroup_leaf_watch(&leaf, p->poller, &leaf);
    CHECK(leaf.starved_event == 0, "an event");
    pid_t greedy = process_in(&leaf, 2 * LIMIT);
    CHECK(ended_by(greedy) == SIGKILL, "it lives");
    check_result(&leaf);
    CHECK(cgroup_leaf_remove(&leaf, p->dirs) == 0, "the group stayed");
}

/// All controllers left out, as `--sandbox-without` can: a worker has no group, and nothing fails for that.
static void test_left_out(uint32_t version) {
    const int none[CGROUP_CONTROLLERS] = {-1, -1, -1};
    cgroup_leaf leaf;
    wire_start job = {.memory_bytes = LIMIT, .pids = 4};
    int status = cgroup_leaf_make(version, none, 7, &leaf);
    CHECK(status == 0, "version %u: %s", version, strerror(-status));
    CHECK(cgroup_leaf_limit(&leaf, &job) == 0 && cgroup_leaf_attach(&leaf) == 0, "version %u", version);
    cgroup_result result = cgroup_leaf_result(&leaf);
    CHECK(result.memory_peak == 0 && !result.oom && !cgroup_leaf_renew(&leaf, &result), "version %u: a group", version);
    CHECK(cgroup_leaf_remove(&leaf, none) == 0, "version %u", version);
}

void test_groups(void) {
    for (uint32_t version = 0; version <= 2; version++) test_left_out(version);
    place p;
    if (!place_make(&p)) {
        printf("skip groups: no control groups for memory and cpu\n");
        return;
    }
    test_weight(&p);
    test_kernel_does_it(&p);
    if (p.groups.version == 1) {
        test_all_of_a_group_end(&p);
        test_told_late(&p);
    }
    place_remove(&p);
}
