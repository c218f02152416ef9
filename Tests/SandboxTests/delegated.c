// A host as a service manager starts it on control groups v2: not root, in a group that was given to it and that it lives in.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define TOP "/sys/fs/cgroup"

enum { NOBODY = 65534 };

static bool put(const char *directory, const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool wrote = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return wrote;
}

static bool give(const char *group, const char *file) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", group, file);
    return chown(path, NOBODY, NOBODY) == 0;
}

/// What a service manager does: controllers come down to the group, and the group's own files are the service's.
static bool delegate(const char *group) {
    return put(TOP, "cgroup.subtree_control", "+memory +pids +cpu") && mkdir(group, 0755) == 0 && give(group, ".") &&
        give(group, "cgroup.procs") && give(group, "cgroup.subtree_control") && give(group, "cgroup.threads");
}

/// In `group` itself with "", or in the leaf that a host made for itself.
static bool lives_in(const char *group, const char *end) {
    char text[512] = "";
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) return false;
    close(fd);
    text[strcspn(text, "\n")] = 0;
    const char *own = text + strlen("0::"), *below = group + strlen(TOP);
    size_t length = strlen(own), size = strlen(end);
    if (strncmp(own, below, strlen(below)) != 0) return false;
    const char *rest = own + strlen(below);
    return size == 0 ? rest[0] == 0 : length > size && strcmp(own + length - size, end) == 0 && strchr(rest + 1, '/') == NULL;
}

static void check_layers(const host *h) {
    uint32_t needed = WIRE_LAYER_CGROUP_MEMORY | WIRE_LAYER_CGROUP_PIDS | WIRE_LAYER_CGROUP_CPU;
    CHECK((h->have & needed) == needed && (h->have & WIRE_LAYER_USER) == 0, "layers %x", h->have);
}

_Noreturn static void serve(const char *group) {
    check_failures = 0;
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    CHECK(put(group, "cgroup.procs", pid), "%s", strerror(errno));
    if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0) exit(3);
    CHECK(lives_in(group, ""), "not where a service manager puts it");
    host h = host_start(NULL);
    check_layers(&h);
    // A group with processes hands nothing on, so it has moved.
    CHECK(lives_in(group, "-host"), "it did not make room");
    host_zygote(&h, 1, 2);
    host_adopt(&h);
    run_tests("handlers", HANDLER_TESTS, &h);
    run_tests("failures", FAILURE_TESTS, &h);
    run_tests("attempts", ATTEMPT_TESTS, &h);
    run_tests("backends", BACKEND_TESTS, &h);
    run_tests("fresh", FRESH_TESTS, &h);
    check_current = "delegated";
    CHECK(host_stop(&h) == 0, "forker");
    h = host_start(NULL);
    check_layers(&h);
    CHECK(lives_in(group, "-host"), "a second start went deeper");
    CHECK(host_stop(&h) == 0, "forker");
    test_groups();
    test_limits();
    exit(check_failures > 0 ? 1 : 0);
}

void test_delegated(void) {
    if (geteuid() != 0 || access(TOP "/cgroup.controllers", F_OK) != 0) {
        printf("skip delegated: it takes root to give a group away, and control groups v2\n");
        return;
    }
    char group[128], command[256];
    snprintf(group, sizeof group, TOP "/service-%d", getpid());
    CHECK(delegate(group), "%s: %s", group, strerror(errno));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) serve(group);
    int status;
    waitpid(child, &status, 0);
    CHECK(status == 0, "status %x", status);
    // Its own leaf stays for the next start to remove; nothing else may.
    snprintf(command, sizeof command, "find %s -mindepth 1 -type d ! -name '*-host'", group);
    FILE *left = popen(command, "r");
    char line[256] = "";
    CHECK(left != NULL && fgets(line, sizeof line, left) == NULL, "left behind: %s", line);
    if (left != NULL) pclose(left);
    snprintf(command, sizeof command, "find %s -depth -type d -exec rmdir {} +", group);
    CHECK(system(command) == 0, "rmdir");
}
