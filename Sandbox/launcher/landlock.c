// Landlock: which files the worker may read, and that it reaches nothing else; called by confine.c.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

// Younger than the headers this builds with. Sizes tell the kernel which fields it gets.
struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};
enum { FS_ABI1 = (1 << 13) - 1, FS_REFER = 1 << 13, FS_TRUNCATE = 1 << 14, FS_IOCTL_DEV = 1 << 15 };
enum { NET_BIND_AND_CONNECT = 3, SCOPE_ABSTRACT_SOCKET_AND_SIGNAL = 3 };

int landlock_abi(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi < 0 ? -errno : (int)abi;
}

enum { READ_BELOW = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE };

static int add_rule(int ruleset, const char *path, int kind, uint64_t access) {
    int place = open(path, O_PATH | O_CLOEXEC | kind);
    if (place < 0) return -errno;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = place};
    long status = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = errno;
    close(place);
    return status < 0 ? -error : 0;
}

static int allow(int ruleset, const char *path) {
    return add_rule(ruleset, path, O_DIRECTORY, READ_BELOW);
}

/// The one descriptor above 4 that a waiting worker has; closed before tenant code runs.
static int ruleset = -1;

static int allow_libraries(const confine *c) {
    int status = 0;
    for (const char *const *path = root_library_directories(); status == 0 && *path != NULL; path++)
        status = allow(ruleset, *path);
    if (status == 0 && c->swift_runtime != NULL) status = allow(ruleset, c->swift_runtime);
    return status;
}

int landlock_prepare(const confine *c) {
    int abi = landlock_abi();
    if (abi < 0) return abi;
    struct ruleset wanted = {.handled_access_fs = FS_ABI1};
    if (abi >= 2) wanted.handled_access_fs |= FS_REFER;
    if (abi >= 3) wanted.handled_access_fs |= FS_TRUNCATE;
    if (abi >= 5) wanted.handled_access_fs |= FS_IOCTL_DEV;
    size_t size = sizeof wanted.handled_access_fs;
    if (abi >= 4) {
        wanted.handled_access_net = NET_BIND_AND_CONNECT;
        size += sizeof wanted.handled_access_net;
    }
    if (abi >= 6) {
        wanted.scoped = SCOPE_ABSTRACT_SOCKET_AND_SIGNAL;
        size += sizeof wanted.scoped;
    }
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, size, 0);
    return ruleset < 0 ? -errno : allow_libraries(c);
}

/// A driver is talked to by opening its nodes for reading and writing, and by ioctl; each node for itself, not /dev.
static int allow_devices(const confine *c) {
    uint64_t access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
    if (landlock_abi() >= 5) access |= FS_IOCTL_DEV;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < c->job->device_count && i < c->devices->count; i++) {
        char path[sizeof "/dev/" + sizeof c->devices->node[i].path];
        snprintf(path, sizeof path, "/dev/%s", c->devices->node[i].path);
        status = add_rule(ruleset, path, O_NOFOLLOW, access);
    }
    return status;
}

/// NVIDIA's library reads what the root has of /proc and /sys. Only where it is our root: else these are the kernel's.
static int allow_driver_texts(const confine *c) {
    if (c->job->device_count == 0 || (c->have & WIRE_LAYER_MOUNT) == 0 || !driver_texts_there(c->devices)) return 0;
    int status = allow(ruleset, "/proc");
    return status < 0 ? status : allow(ruleset, "/sys");
}

/// Engines ask how many cores there are. Where there is no such file they do without.
static int allow_processors(const confine *c) {
    if (c->job->kind != WIRE_KIND_BACKEND && c->job->kind != WIRE_KIND_JIT) return 0;
    int status = add_rule(ruleset, PROCESSORS, O_NOFOLLOW, LANDLOCK_ACCESS_FS_READ_FILE);
    return status == -ENOENT || status == -ENOTDIR ? 0 : status;
}

int landlock_confine(const confine *c) {
    int status = allow(ruleset, c->directory);
    if (status == 0) status = allow_processors(c);
    if (status == 0) status = allow_devices(c);
    if (status == 0) status = allow_driver_texts(c);
    if (status == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) status = -errno;
    close(ruleset);
    return status;
}
