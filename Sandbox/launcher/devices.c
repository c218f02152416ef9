// The device nodes of a backend that was assigned a device: checked, copied into its zygote's root; used by root.c.
//
// Nobody else gets here: the other zygotes' roots have an empty /dev.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
#include <linux/mount.h>
#endif

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/// A name, or a directory's and a name; none begins with a dot, so no step leads upwards.
static bool is_path(const wire_device *node) {
    size_t length = strnlen(node->path, sizeof node->path);
    if (length == 0 || length == sizeof node->path) return false;
    int slashes = 0;
    for (size_t i = 0; i < length; i++) {
        bool first = i == 0 || node->path[i - 1] == '/';
        if (first ? !is_name(node->path[i]) || node->path[i] == '.' : !is_name(node->path[i]) && node->path[i] != '/') return false;
        slashes += node->path[i] == '/';
    }
    return slashes <= 1 && node->path[length - 1] != '/';
}

const char *devices_wrong(const device_list *devices) {
    if (devices->count > WIRE_DEVICES_MAX) return "too many devices";
    for (uint32_t i = 0; i < devices->count; i++) {
        if (!is_path(&devices->node[i])) return "a device's name is not one below /dev";
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(devices->node[i].path, devices->node[j].path) == 0) return "a device is named twice";
    }
    return NULL;
}

static int check_node(const wire_device *node, const struct stat *found) {
    bool same = S_ISCHR(found->st_mode) && major(found->st_rdev) == node->major && minor(found->st_rdev) == node->minor;
    return same ? 0 : -ESTALE;
}

/// As "0000:03:00.0".
static void find_address(device_list *devices) {
    char path[64], target[512];
    snprintf(path, sizeof path, "/sys/dev/char/%u:%u/device", devices->node[0].major, devices->node[0].minor);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0) return;
    target[length] = 0;
    const char *slash = strrchr(target, '/'), *name = slash == NULL ? target : slash + 1;
    if (strlen(name) < sizeof devices->address) memcpy(devices->address, name, strlen(name) + 1);
}

int devices_check(device_list *devices) {
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < devices->count; i++) {
        char path[sizeof "/dev/" + sizeof devices->node[i].path];
        struct stat found;
        snprintf(path, sizeof path, "/dev/%s", devices->node[i].path);
        status = lstat(path, &found) < 0 ? -errno : check_node(&devices->node[i], &found);
    }
    if (status == 0 && devices->count > 0) find_address(devices);
    return status;
}

static void close_all(int trees[WIRE_DEVICES_MAX], uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        close(trees[i]);
        trees[i] = -1;
    }
}

/// A copy of the node's mount that the driver behind it can be talked to through, and nothing else.
static int open_node(const wire_device *node) {
    char path[sizeof "/dev/" + sizeof node->path];
    snprintf(path, sizeof path, "/dev/%s", node->path);
    // A link is not followed: its target could change after the host has looked.
    int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    if (tree < 0) return -errno;
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, .propagation = MS_PRIVATE};
    struct stat found;
    int status = 0;
    if (fstat(tree, &found) < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) status = -errno;
    else status = check_node(node, &found);
    if (status == 0) return tree;
    close(tree);
    return status;
}

int devices_open(const device_list *devices, int trees[WIRE_DEVICES_MAX]) {
    for (uint32_t i = 0; i < devices->count; i++) {
        trees[i] = open_node(&devices->node[i]);
        if (trees[i] >= 0) continue;
        int status = trees[i];
        close_all(trees, i);
        return status;
    }
    return 0;
}

/// An empty file to mount the node on.
static int make_place(const wire_device *node, char *path, size_t room) {
    snprintf(path, room, "/dev/%s", node->path);
    char *slash = strchr(path + sizeof "/dev", '/');
    if (slash != NULL) {
        *slash = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST) return -errno;
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0) return -errno;
    close(fd);
    return 0;
}

int devices_attach(const device_list *devices, int trees[WIRE_DEVICES_MAX]) {
    int status = 0;
    if (devices->count == 0) return 0;
    // The root is sealed by now; what is mounted over its empty /dev is sealed in turn below.
    if (mount("swiftlet", "/dev", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=16k,nr_inodes=32,mode=0755") < 0) status = -errno;
    for (uint32_t i = 0; status == 0 && i < devices->count; i++) {
        char path[sizeof "/dev/" + sizeof devices->node[i].path];
        status = make_place(&devices->node[i], path, sizeof path);
        if (status == 0 && move_mount(trees[i], "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0) status = -errno;
    }
    struct mount_attr sealed = {.attr_set = MOUNT_ATTR_RDONLY};
    if (status == 0 && mount_setattr(AT_FDCWD, "/dev", 0, &sealed, sizeof sealed) < 0) status = -errno;
    close_all(trees, devices->count);
    return status;
}
