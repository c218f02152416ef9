// What NVIDIA's driver library reads of /proc and /sys, as texts that never change; for a zygote that adopted such a device.
//
// Measured: CUDA refuses to start where it can't name its threads or find its module. Nothing of the kernel's own is mounted:
// a worker would see itself, and what else is counted there.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
#include <linux/mount.h>
#endif

/// Copied as the host's kernel says them. Those that a machine has not are left out.
static const char *const COPIED[DRIVER_TEXTS] = {
    "/sys/module/nvidia/initstate", "/sys/module/nvidia_uvm/initstate", // without it, the library wants the module loaded
    "/sys/devices/system/memory/block_size_bytes", // which the driver compares with what others told it
    "/sys/devices/system/cpu/online", "/sys/devices/system/node/node0/cpumap", "/sys/devices/system/node/node1/cpumap",
    "/proc/driver/nvidia/params", "/proc/devices",
};
enum { THREAD_NAMES = 320 }; ///< more than limits.threads allows, and some that have ended

static bool is_nvidia(const device_list *devices) {
    return devices->count > 0 && strncmp(devices->node[0].path, "nvidia", 6) == 0;
}

/// Takes the lines out that do not have the word.
static void keep_lines(char *text, const char *word) {
    char *to = text;
    for (char *line = text, *end; *line != 0; line = end) {
        end = line + strcspn(line, "\n");
        end += *end == '\n';
        char after = *end;
        *end = 0;
        bool kept = strstr(line, word) != NULL;
        *end = after;
        if (!kept) continue;
        memmove(to, line, (size_t)(end - line));
        to += end - line;
    }
    *to = 0;
}

void driver_texts_read(const device_list *devices, driver_texts *texts) {
    texts->wanted = is_nvidia(devices);
    for (int i = 0; texts->wanted && i < DRIVER_TEXTS; i++) {
        char *text = texts->text[i];
        int fd = open(COPIED[i], O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof texts->text[i] - 1);
        if (fd >= 0) close(fd);
        text[size < 0 ? 0 : size] = 0;
        // Other drivers are nobody's business here.
        if (strcmp(COPIED[i], "/proc/devices") == 0) keep_lines(text, "nvidia");
        // The nodes are there and can't be made: a library that is told so does not try.
        char *modify = strstr(text, "ModifyDeviceFiles: 1");
        if (modify != NULL) modify[strlen("ModifyDeviceFiles: ")] = '0';
    }
}

/// The folders above `path`.
static int make_folders(const char *path) {
    char partial[128];
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(partial, sizeof partial, "%.*s", (int)(slash - path), path);
        if (mkdir(partial, 0755) < 0 && errno != EEXIST) return -errno;
    }
    return 0;
}

static int write_text(const char *path, const char *text) {
    int status = make_folders(path);
    int fd = status < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0) return status < 0 ? status : -errno;
    size_t size = strlen(text);
    if (write(fd, text, size) != (ssize_t)size) status = -EIO;
    close(fd);
    return status;
}

/// The library opens /proc/self/task/N/comm of each thread it starts, to write its name, and gives up where it can't.
static int make_thread_names(void) {
    static const char FIRST[] = "/proc/self/task/1/comm";
    int status = make_folders(FIRST);
    if (status == 0 && symlink("/dev/null", FIRST) < 0) status = -errno;
    for (int i = 2; status == 0 && i <= THREAD_NAMES; i++) {
        char path[48];
        snprintf(path, sizeof path, "/proc/self/task/%d", i);
        if (symlink("1", path) < 0) status = -errno;
    }
    // By its number as well, and a namespace to look at: it makes a name of both.
    if (status == 0) status = write_text("/proc/self/ns/pid", "");
    if (status == 0 && symlink("self", "/proc/1") < 0) status = -errno;
    return status;
}

int driver_texts_attach(const driver_texts *texts) {
    if (!texts->wanted) return 0;
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    int status = 0;
    if (mount("swiftlet", "/proc", "tmpfs", flags, "size=64k,nr_inodes=512,mode=0755") < 0 ||
        mount("swiftlet", "/sys", "tmpfs", flags, "size=64k,nr_inodes=64,mode=0755") < 0)
        status = -errno;
    if (status == 0) status = root_add_processors(PROCESSORS);
    for (int i = 0; status == 0 && i < DRIVER_TEXTS; i++)
        if (texts->text[i][0] != 0) status = write_text(COPIED[i], texts->text[i]);
    if (status == 0) status = make_thread_names();
    struct mount_attr sealed = {.attr_set = MOUNT_ATTR_RDONLY};
    if (status == 0 && (mount_setattr(AT_FDCWD, "/proc", 0, &sealed, sizeof sealed) < 0 ||
                        mount_setattr(AT_FDCWD, "/sys", 0, &sealed, sizeof sealed) < 0))
        status = -errno;
    return status;
}

bool driver_texts_there(const device_list *devices) {
    return is_nvidia(devices);
}
