// Thin calls into the kernel; the header says what each is for.
#include "CLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

int clinux_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

int clinux_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd >= 0 ? fd : -errno;
}

void clinux_eventfd_ring(int fd) { (void)!eventfd_write(fd, 1); }

void clinux_eventfd_clear(int fd) {
    eventfd_t value;
    (void)!eventfd_read(fd, &value);
}

int clinux_channel(int *ours, int *theirs) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return -errno;
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
        int error = errno;
        close(pair[0]);
        close(pair[1]);
        return -error;
    }
    *ours = pair[0];
    *theirs = pair[1];
    return 0;
}

int clinux_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data.u64 = token};
    return epoll_ctl(epoll, operation, fd, &event) == 0 ? 0 : -errno;
}

enum { MAX_FDS = 4 };

ssize_t clinux_send_with_fds(int socket, const void *data, size_t size, const int *fds, size_t fd_count) {
    if (fd_count > MAX_FDS) return -EINVAL;
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    for (;;) {
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (sent >= 0) return sent;
        if (errno != EINTR) return -errno;
    }
}

ssize_t clinux_recv_packet(int socket, void *data, size_t size) {
    struct iovec part = {.iov_base = data, .iov_len = size};
    // No room for control data: the kernel drops any descriptor that a hostile peer attaches.
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    for (;;) {
        ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (received < 0 && errno == EINTR) continue;
        if (received < 0) return -errno;
        if (message.msg_flags & MSG_TRUNC) return -EMSGSIZE;
        return received;
    }
}

ssize_t clinux_recv_packet_with_fd(int socket, void *data, size_t size, int *fd) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    *fd = -1;
    ssize_t received;
    while ((received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR) return -errno;
    struct cmsghdr *passed = CMSG_FIRSTHDR(&message);
    if (passed != NULL && passed->cmsg_level == SOL_SOCKET && passed->cmsg_type == SCM_RIGHTS) memcpy(fd, CMSG_DATA(passed), sizeof *fd);
    if ((message.msg_flags & MSG_TRUNC) == 0) return received;
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return -EMSGSIZE;
}

int clinux_spawn(const char *path, char *const *arguments, char *const *environment, const int *keep, size_t keep_count) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&actions) != 0) return -ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -ENOMEM;
    }
    int error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (error == 0) error = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    // Two passes, because a target number may be the source of a later one.
    for (size_t i = 0; i < keep_count && error == 0; i++)
        error = posix_spawn_file_actions_adddup2(&actions, keep[i], (int)(200 + i));
    for (size_t i = 0; i < keep_count && error == 0; i++)
        error = posix_spawn_file_actions_adddup2(&actions, (int)(200 + i), (int)(3 + i));
    if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, (int)(3 + keep_count));
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    pid_t pid = 0;
    if (error == 0) error = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error == 0 ? pid : -error;
}

int clinux_pidfd_open(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd >= 0 ? fd : -errno;
}

int clinux_usable_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int clinux_drop_privileges(uid_t uid, gid_t gid) {
    if (setgroups(0, NULL) != 0) return -errno;
    if (setresgid(gid, gid, gid) != 0) return -errno;
    if (setresuid(uid, uid, uid) != 0) return -errno;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &head, none) != 0) return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
    return 0;
}

int clinux_try_wait(pid_t pid, int *status) {
    pid_t ended = waitpid(pid, status, WNOHANG);
    if (ended < 0) return -errno;
    return ended == pid;
}

int clinux_signalfd(const int *signals, size_t count) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : -errno;
}

int clinux_signalfd_next(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int clinux_ignore_sigpipe(void) { return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -errno : 0; }

int clinux_listen(const char *host, uint16_t port, int backlog, uint16_t *bound_port) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    memset(&address, 0, sizeof address);
    socklen_t size;
    if (inet_pton(AF_INET, host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        size = sizeof address.v4;
    } else if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        size = sizeof address.v6;
    } else {
        return -EINVAL;
    }
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 || bind(fd, &address.any, size) != 0 ||
        listen(fd, backlog) != 0 || getsockname(fd, &address.any, &size) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    *bound_port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return fd;
}

int clinux_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -errno;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int clinux_accept_from(int listener, struct clinux_peer *peer) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size = sizeof address;
    int fd = accept4(listener, &address.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -errno;
    memset(peer, 0, sizeof *peer);
    if (address.any.sa_family == AF_INET) {
        peer->family = 4;
        peer->port = ntohs(address.v4.sin_port);
        memcpy(peer->address, &address.v4.sin_addr, 4);
    } else if (address.any.sa_family == AF_INET6) {
        peer->family = 6;
        peer->port = ntohs(address.v6.sin6_port);
        memcpy(peer->address, &address.v6.sin6_addr, 16);
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int clinux_peer_is_loopback(const struct clinux_peer *peer) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t one[16] = {[15] = 1};
    if (peer->family == 4) return peer->address[0] == 127;
    if (peer->family != 6) return 0;
    if (memcmp(peer->address, one, sizeof one) == 0) return 1;
    return memcmp(peer->address, mapped, sizeof mapped) == 0 && peer->address[12] == 127;
}

void clinux_peer_text(const struct clinux_peer *peer, char *text, size_t size) {
    char address[INET6_ADDRSTRLEN] = "unknown";
    if (peer->family != 0) (void)inet_ntop(peer->family == 4 ? AF_INET : AF_INET6, peer->address, address, sizeof address);
    (void)snprintf(text, size, peer->family == 6 ? "[%s]:%u" : "%s:%u", address, peer->port);
}

void clinux_peer_network(const struct clinux_peer *peer, char *text, size_t size) {
    uint8_t network[16] = {0};
    (void)snprintf(text, size, "unknown");
    if (peer->family != 0) {
        memcpy(network, peer->address, peer->family == 4 ? 4 : 8);
        (void)inet_ntop(peer->family == 4 ? AF_INET : AF_INET6, network, text, (socklen_t)size);
    }
}

void clinux_reset_on_close(int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

int clinux_exchange(const char *one, const char *other) {
    return renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0 ? 0 : -errno;
}

int clinux_reserve(int fd, off_t from, off_t size) {
    int result;
    do result = fallocate(fd, FALLOC_FL_KEEP_SIZE, from, size); while (result == -1 && errno == EINTR);
    return result == 0 ? 0 : -errno;
}

int clinux_try_lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno; }

uint32_t clinux_major(dev_t device) { return major(device); }

uint32_t clinux_minor(dev_t device) { return minor(device); }

int clinux_hide_memory(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return -errno;
    return 0;
}

int clinux_private_tmpfs(const char *directory) {
    if (unshare(CLONE_NEWNS) != 0) return -errno;
    // What is mounted outside later is seen in here as well, and nothing of ours outside.
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) return -errno;
    return mount("swiftlet", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0 ? 0 : -errno;
}

int clinux_may_load_from_memory(const char *directory) {
    struct statfs info;
    if (statfs(directory, &info) != 0) return -errno;
    return info.f_type == TMPFS_MAGIC && (info.f_flags & ST_NOEXEC) == 0;
}
