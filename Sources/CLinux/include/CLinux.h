// The door to Linux: what Swift can't import from the C library (macros, unions, variadics, raw system calls).
//
// Every function returns a result of 0 or more, or -errno. No policy lives here.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

int clinux_epoll_create(void);
/// A counter that wakes a loop: create, ring, clear.
int clinux_eventfd(void);
void clinux_eventfd_ring(int fd);
void clinux_eventfd_clear(int fd);
/// Opens a pair of connected SOCK_SEQPACKET sockets, close-on-exec; the first does not block.
int clinux_channel(int *_Nonnull ours, int *_Nonnull theirs);
/// epoll_ctl with a plain number as the event's data.
int clinux_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t token);
/// The events of one epoll_event as plain fields.
static inline uint32_t clinux_event_flags(const struct epoll_event *_Nonnull events, size_t index) {
    return events[index].events;
}
static inline uint64_t clinux_event_token(const struct epoll_event *_Nonnull events, size_t index) {
    return events[index].data.u64;
}

/// Sends one packet, with up to 4 descriptors beside it.
ssize_t clinux_send_with_fds(int socket, const void *_Nonnull data, size_t size, const int *_Nullable fds, size_t fd_count);
/// Receives one packet and refuses descriptors: any that came with it are closed. -EMSGSIZE when it was cut.
ssize_t clinux_recv_packet(int socket, void *_Nonnull data, size_t size);
/// The same from a trusted peer: `*fd` is the descriptor that came with it, or -1.
ssize_t clinux_recv_packet_with_fd(int socket, void *_Nonnull data, size_t size, int *_Nonnull fd);

/// Starts a program with just the descriptors in `keep` (which become 3, 4, …) and 2, a clean environment, default
/// signals and its own session. Returns the pid.
int clinux_spawn(const char *_Nonnull path, char *_Nullable const *_Nonnull arguments, char *_Nullable const *_Nonnull environment,
                 const int *_Nonnull keep, size_t keep_count);

int clinux_pidfd_open(pid_t pid);
/// Cores of this process' affinity, or of the machine when the kernel doesn't say.
int clinux_usable_cores(void);
/// Gives up root for good: supplementary groups, group, user, and every capability.
int clinux_drop_privileges(uid_t uid, gid_t gid);
/// Waits for a child without blocking. 1: it ended and `*status` is set; 0: it lives.
int clinux_try_wait(pid_t pid, int *_Nonnull status);
/// Blocks these signals in this thread and returns a descriptor that reads them.
int clinux_signalfd(const int *_Nonnull signals, size_t count);
/// Reads one signal number from such a descriptor; 0 when there is none.
int clinux_signalfd_next(int fd);
int clinux_ignore_sigpipe(void);
/// Binds a listening TCP socket with SO_REUSEPORT; `host` is a numeric address. Stores the port.
int clinux_listen(const char *_Nonnull host, uint16_t port, int backlog, uint16_t *_Nonnull bound_port);
int clinux_accept(int listener);
/// Who is at the other end of a connection: `family` is 4, 6 or 0 (unknown).
struct clinux_peer {
    uint8_t address[16];
    uint16_t port;
    uint8_t family;
};
/// Accepts like clinux_accept and says from whom.
int clinux_accept_from(int listener, struct clinux_peer *_Nonnull peer);
/// 127.0.0.0/8, ::1, and 127.0.0.0/8 mapped into IPv6.
int clinux_peer_is_loopback(const struct clinux_peer *_Nonnull peer);
/// Writes "1.2.3.4:5" or "[::1]:5" with its 0; `size` of 64 is enough.
void clinux_peer_text(const struct clinux_peer *_Nonnull peer, char *_Nonnull text, size_t size);
/// Writes the address alone, of IPv6 the first 64 bits: who may count as one sender.
void clinux_peer_network(const struct clinux_peer *_Nonnull peer, char *_Nonnull text, size_t size);
/// Makes the coming close send RST, so that the peer can't take what it got for the whole.
void clinux_reset_on_close(int fd);
/// The two halves of a device's number.
uint32_t clinux_major(dev_t device);
uint32_t clinux_minor(dev_t device);
/// Takes disk space for a part of a file without making the file longer. 0, or -errno.
int clinux_reserve(int fd, off_t from, off_t size);
/// Exclusive advisory lock without waiting.
int clinux_try_lock(int fd);
/// Each of two paths becomes the other, at once.
int clinux_exchange(const char *_Nonnull one, const char *_Nonnull other);

/// Mounts an empty file system in memory on a directory, seen by this process and its children only. Call it before the first
/// thread.
int clinux_private_tmpfs(const char *_Nonnull directory);
/// 1 when a directory is in memory and libraries may be loaded from there, 0 when it is not.
int clinux_may_load_from_memory(const char *_Nonnull directory);
/// No core file of this process, and no reading of its memory by others of its user. A program that it starts is not bound by it.
int clinux_hide_memory(void);

#endif
