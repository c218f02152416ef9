// The namespaces that all workers of a zygote share, entered once: an empty network, own IPC and host name, own mounts.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t clone_process(uint64_t flags) {
    return (pid_t)syscall(SYS_clone, flags | 17 /* SIGCHLD */, NULL, NULL, NULL, NULL);
}

static int put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t wrote = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    return wrote < 0 ? -error : 0;
}

int user_namespace_map(uid_t outside_uid, gid_t outside_gid) {
    char text[64];
    // Before the group map, which an unprivileged process may write only when groups can no longer be dropped.
    int status = put("/proc/self/setgroups", "deny");
    if (status < 0 && status != -ENOENT) return status;
    snprintf(text, sizeof text, "0 %u 1\n", outside_gid);
    if ((status = put("/proc/self/gid_map", text)) < 0) return status;
    snprintf(text, sizeof text, "0 %u 1\n", outside_uid);
    return put("/proc/self/uid_map", text);
}

int namespaces_enter(uint32_t have, const char **step) {
    *step = "unshare(mount)";
    if ((have & WIRE_LAYER_MOUNT) != 0) {
        if (unshare(CLONE_NEWNS) < 0) return -errno;
        // Nothing we mount comes back to the host; a device the host unmounts is not held here.
        if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0) return -errno;
    }
    *step = "unshare(net)";
    if ((have & WIRE_LAYER_NET) != 0 && unshare(CLONE_NEWNET) < 0) return -errno;
    *step = "unshare(ipc, uts)";
    if ((have & WIRE_LAYER_IPC) != 0) {
        if (unshare(CLONE_NEWIPC | CLONE_NEWUTS) < 0) return -errno;
        static const char NAME[] = "swiftlet";
        if (sethostname(NAME, sizeof NAME - 1) < 0) return -errno;
    }
    return 0;
}
