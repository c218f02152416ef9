// The root directory that workers see: read-only, a fixed set of libraries, /app, and no way back; once a zygote.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
#include <linux/mount.h>
#endif

/// Where the tmpfs is built, in a mount namespace of our own; every Linux has it.
#define WORKSHOP "/tmp"

/// All that a plugin may link beyond its own directory and the Swift runtime.
static const char *const LIBRARIES[] = {
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", // glibc refers to its loader by name
    "libc.so.6", "libm.so.6", "libmvec.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", // glibc
    "libgcc_s.so.1", "libstdc++.so.6", "libatomic.so.1", "libgomp.so.1", // compilers' runtimes
    "libz.so.1", // compression, which FoundationEssentials and engines link
};
static const char *const PLACES[] = {
    "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
    "/lib64", "/usr/lib64", "/lib", "/usr/lib",
};
enum { PLACE_COUNT = sizeof PLACES / sizeof PLACES[0] };
static const char *used[PLACE_COUNT + 1];

const char *const *root_library_directories(void) {
    return used;
}

static bool holds_a_library(const char *place) {
    for (size_t i = 0; i < sizeof LIBRARIES / sizeof LIBRARIES[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", place, LIBRARIES[i]);
        if (access(path, R_OK) == 0) return true;
    }
    return false;
}

void root_find_libraries(void) {
    int count = 0;
    for (int i = 0; i < PLACE_COUNT; i++) {
        struct stat now, before;
        if (stat(PLACES[i], &now) < 0 || !holds_a_library(PLACES[i])) continue;
        bool known = false;
        for (int j = 0; j < count; j++)
            known = known || (stat(used[j], &before) == 0 && before.st_ino == now.st_ino && before.st_dev == now.st_dev);
        if (!known) used[count++] = PLACES[i];
    }
    used[count] = NULL;
}

static int make_directories(const char *path) {
    char partial[PATH_MAX];
    if (strlen(path) >= sizeof partial) return -ENAMETOOLONG;
    for (size_t i = 1;; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(partial, path, i);
        partial[i] = 0;
        if (mkdir(partial, 0755) < 0 && errno != EEXIST) return -errno;
        if (path[i] == 0) return 0;
    }
}

/// A copy of the mount at `from`, read-only, without devices or set-id programs, attached at `to`.
static int attach_read_only(int from, const char *path, const char *to) {
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | (path[0] == 0 ? AT_EMPTY_PATH : 0);
    int tree = open_tree(from, path, flags);
    if (tree < 0) return -errno;
    struct mount_attr attributes = {
        .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE};
    int status = 0;
    if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) < 0 ||
        (to != NULL && move_mount(tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0))
        status = -errno;
    if (status == 0 && to == NULL) return tree;
    close(tree);
    return status;
}

static int add_library(const char *name) {
    for (int i = 0; i < PLACE_COUNT; i++) {
        char from[PATH_MAX], real[PATH_MAX], to[PATH_MAX + sizeof WORKSHOP];
        snprintf(from, sizeof from, "%s/%s", PLACES[i], name);
        if (realpath(PLACES[i], real) == NULL || access(from, R_OK) < 0) continue;
        snprintf(to, sizeof to, WORKSHOP "%s", real);
        int status = make_directories(to);
        if (status < 0) return status;
        size_t length = strlen(to);
        snprintf(to + length, sizeof to - length, "/%s", name);
        int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
        if (fd < 0) return -errno;
        close(fd);
        return attach_read_only(AT_FDCWD, from, to);
    }
    return 0; // this machine does not have it; a plugin that needs it is told so by dlopen
}

/// /lib is a link on most machines: copy the link, so that the loader's built-in paths lead to the same files.
static int add_links(void) {
    static const char *const NAMES[] = {"lib", "lib64"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        char from[16], to[32], target[PATH_MAX];
        snprintf(from, sizeof from, "/%s", NAMES[i]);
        snprintf(to, sizeof to, WORKSHOP "/%s", NAMES[i]);
        ssize_t length = readlink(from, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        if (symlink(target, to) < 0) return -errno;
    }
    return 0;
}

/// What engines read of /proc, as a text that never changes: how many cores there are. One of them looks for its end for
/// ever where it can't be opened; the kernel's own would also tell each core's frequency, which follows what neighbours do.
int root_add_processors(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    if (fd < 0) return -errno;
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    count = count < 1 ? 1 : count > 512 ? 512 : count;
    int status = 0;
    for (long i = 0; status == 0 && i < count; i++)
        if (dprintf(fd, "processor\t: %ld\nphysical id\t: 0\nsiblings\t: %ld\ncore id\t\t: %ld\ncpu cores\t: %ld\n\n", i, count, i, count) < 0)
            status = -errno;
    close(fd);
    return status;
}

static int fill(const char *swift_runtime, const char **step) {
    *step = "root: libraries";
    int status = add_links();
    for (size_t i = 0; status == 0 && i < sizeof LIBRARIES / sizeof LIBRARIES[0]; i++) status = add_library(LIBRARIES[i]);
    if (status < 0) return status;
    *step = "root: Swift runtime";
    if (swift_runtime != NULL) {
        char to[PATH_MAX];
        if ((size_t)snprintf(to, sizeof to, WORKSHOP "%s", swift_runtime) >= sizeof to) return -ENAMETOOLONG;
        if ((status = make_directories(to)) < 0) return status;
        if ((status = attach_read_only(AT_FDCWD, swift_runtime, to)) < 0) return status;
    }
    *step = "root: processors";
    if (mkdir(WORKSHOP "/proc", 0755) < 0) return -errno;
    if ((status = root_add_processors(WORKSHOP PROCESSORS)) < 0) return status;
    *step = "root: /app, /dev and /sys";
    return mkdir(WORKSHOP "/app", 0755) < 0 || mkdir(WORKSHOP "/dev", 0755) < 0 || mkdir(WORKSHOP "/sys", 0755) < 0 ? -errno : 0;
}

int root_build(jail *j, const char *swift_runtime, const char **step) {
    *step = "root: namespace";
    j->outside = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (j->outside < 0 || unshare(CLONE_NEWNS) < 0) return -errno;
    j->inside = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (j->inside < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0) return -errno;

    *step = "root: tmpfs";
    char runtime[PATH_MAX];
    // Before the tmpfs covers what may lie below it.
    if (swift_runtime != NULL && realpath(swift_runtime, runtime) == NULL) return -errno;
    if (mount("swiftlet", WORKSHOP, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=256k,nr_inodes=256,mode=0755") < 0)
        return -errno;
    int status = fill(swift_runtime == NULL ? NULL : runtime, step);
    if (status < 0) return status;

    *step = "root: pivot_root";
    // "." twice: the old root lands on top of the new one, and one unmount takes it away for good.
    if (chdir(WORKSHOP) < 0 || syscall(SYS_pivot_root, ".", ".") < 0) return -errno;
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) return -errno;
    struct mount_attr sealed = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount_setattr(AT_FDCWD, "/", 0, &sealed, sizeof sealed) < 0) return -errno;
    return 0;
}

int root_path(int proc, int directory, char *path, size_t room) {
    char link[64];
    snprintf(link, sizeof link, "self/fd/%d", directory);
    ssize_t length = readlinkat(proc, link, path, room - 1);
    if (length < 0) return -errno;
    path[length] = 0;
    return (size_t)length == room - 1 ? -ENAMETOOLONG : 0;
}

/// The same directory, seen from the namespace we are in: a mount of another namespace can't be copied.
static int reopen(int proc, int directory) {
    char path[PATH_MAX];
    int status = root_path(proc, directory, path, sizeof path);
    if (status < 0) return status;
    int again = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (again < 0) return -errno;
    struct stat given, found;
    if (fstat(directory, &given) == 0 && fstat(again, &found) == 0 && given.st_dev == found.st_dev &&
        given.st_ino == found.st_ino)
        return again;
    close(again);
    return -ESTALE;
}

/// What the adoption takes from the host's files, while they can be seen. Returns the directory's mount or -errno.
static int take_from_host(int proc, int directory, device_list *devices, int trees[WIRE_DEVICES_MAX], driver_texts *texts,
                          const char **step) {
    *step = "adopt: open the directory";
    int again = reopen(proc, directory);
    if (again < 0) return again;
    *step = "adopt: copy the mount";
    int tree = attach_read_only(again, "", NULL);
    close(again);
    if (tree < 0) return tree;
    *step = "adopt: copy the devices' nodes";
    int status = devices_check(devices);
    if (status == 0) status = devices_open(devices, trees);
    if (status == 0) driver_texts_read(devices, texts);
    if (status == 0) return tree;
    close(tree);
    return status;
}

int root_adopt(jail *j, int proc, int directory, device_list *devices, const char **step) {
    int nodes[WIRE_DEVICES_MAX];
    driver_texts texts;
    *step = "adopt: enter the outer namespace";
    if (setns(j->outside, CLONE_NEWNS) < 0) return -errno;
    int tree = take_from_host(proc, directory, devices, nodes, &texts, step);
    if (setns(j->inside, CLONE_NEWNS) < 0) {
        *step = "adopt: return to the inner namespace";
        return -errno;
    }
    if (tree < 0) return tree;
    *step = "adopt: mount at /app";
    int status = move_mount(tree, "", AT_FDCWD, "/app", MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
    close(tree);
    // One tenant for good: from here on nothing in this zygote leads to the host's files.
    close(j->outside);
    j->outside = -1;
    if (status < 0) return status;
    *step = "adopt: mount the devices' nodes";
    if ((status = devices_attach(devices, nodes)) < 0) return status;
    *step = "adopt: mount the texts for their driver";
    return driver_texts_attach(&texts);
}
