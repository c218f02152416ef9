// Talking: networks, the kernel's own sockets, descriptors by message, queues, terminals, and clocks that ring.
#include "acts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>

// ---- sockets --------------------------------------------------------------------------------------------------------------

static int socket_of(int family, int type, int protocol) { return opened(socket(family, type | SOCK_CLOEXEC, protocol)); }
static int internet(void) { return socket_of(AF_INET, SOCK_STREAM, 0); }
static int internet_packets(void) { return socket_of(AF_INET, SOCK_DGRAM, 0); }
static int internet6(void) { return socket_of(AF_INET6, SOCK_STREAM, 0); }
static int raw(void) { return socket_of(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static int ping(void) { return socket_of(AF_INET, SOCK_DGRAM, IPPROTO_ICMP); }
static int local(void) { return socket_of(AF_UNIX, SOCK_STREAM, 0); }
static int netlink(void) { return socket_of(AF_NETLINK, SOCK_RAW, 0); }
static int packets(void) { return socket_of(AF_PACKET, SOCK_RAW, 0); }
static int vsock(void) { return socket_of(AF_VSOCK, SOCK_STREAM, 0); }
static int cipher(void) { return socket_of(AF_ALG, SOCK_SEQPACKET, 0); }
static int express(void) { return socket_of(AF_XDP, SOCK_RAW, 0); }
static int bluetooth(void) { return socket_of(AF_BLUETOOTH, SOCK_RAW, 1); }
static int can_bus(void) { return socket_of(AF_CAN, SOCK_RAW, 1); }
static int tipc(void) { return socket_of(AF_TIPC, SOCK_STREAM, 0); }
static int rds(void) { return socket_of(AF_RDS, SOCK_SEQPACKET, 0); }
static int smc(void) { return socket_of(AF_SMC, SOCK_STREAM, 0); }
static int connected(int family, const char *to, uint16_t port) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) return errno;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, to, &address.sin_addr);
    int result = answer(connect(fd, (struct sockaddr *)&address, sizeof address));
    close(fd);
    return result == ECONNREFUSED || result == EINPROGRESS ? 0 : result; // somebody's network was reached
}
static int loopback(void) { return connected(AF_INET, "127.0.0.1", 9); }
static int metadata(void) { return connected(AF_INET, "169.254.169.254", 80); }
static int packet_to_loopback(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) return errno;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int result = answer(sendto(fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to));
    close(fd);
    return result;
}
static int listen_on_port(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return errno;
    struct sockaddr_in any = {.sin_family = AF_INET};
    int result = answer(bind(fd, (struct sockaddr *)&any, sizeof any));
    close(fd);
    return result;
}
static int abstract(int (*act)(int, const struct sockaddr *, socklen_t)) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) return errno;
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0swiftlet-attempt"};
    int result = answer(act(fd, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 17));
    close(fd);
    return result;
}
static int abstract_bind(void) { return abstract(bind); }
static int abstract_connect(void) {
    int result = abstract(connect);
    return result == ECONNREFUSED ? 0 : result; // nobody there, but the room of all names was searched
}
static int pair(void) {
    int ends[2];
    int result = answer(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    if (result == 0) close(ends[0]), close(ends[1]);
    return result;
}

// ---- the channel as more than a pipe for frames --------------------------------------------------------------------------

typedef union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
} control;
static char byte[16];
static struct iovec part = {byte, 1};

static struct msghdr with_descriptor(control *c) {
    *c = (control){.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    return (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c->room};
}
static int pass_descriptor(void) {
    control c;
    struct msghdr message = with_descriptor(&c);
    return answer(sendmsg(3, &message, MSG_DONTWAIT));
}
static int pass_by_many(void) {
    control c;
    struct mmsghdr message = {.msg_hdr = with_descriptor(&c)};
    return answer(sendmmsg(3, &message, 1, MSG_DONTWAIT));
}
static int pass_credentials(void) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } c = {.head = {.cmsg_len = CMSG_LEN(sizeof(struct ucred)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS}};
    *(struct ucred *)CMSG_DATA(&c.head) = (struct ucred){getpid(), getuid(), getgid()};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c.room};
    return answer(sendmsg(3, &message, MSG_DONTWAIT));
}
static int take_descriptor(void) {
    control c;
    struct msghdr message = with_descriptor(&c);
    int result = answer(recvmsg(3, &message, MSG_DONTWAIT | MSG_PEEK));
    return result == 0 && message.msg_controllen == 0 ? ENODATA : result; // a frame, which is ours anyway
}
static int take_by_many(void) {
    control c;
    struct mmsghdr message = {.msg_hdr = with_descriptor(&c)};
    return answer(recvmmsg(3, &message, 1, MSG_DONTWAIT | MSG_PEEK, NULL));
}
static int send_elsewhere(void) {
    // An address is ignored on a connected pair, but looked up first on others: only the form without one is allowed.
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/x"};
    int result = answer(sendto(3, "", 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to));
    return result == EISCONN ? 0 : result;
}
static int bind_channel(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    return answer(bind(3, (struct sockaddr *)&name, sizeof name.sun_family)); // the kernel chooses an abstract name
}
static int who_is_there(void) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return answer(getsockopt(3, SOL_SOCKET, SO_PEERCRED, &peer, &size));
}
static int peer_process(void) {
    int fd = -1;
    socklen_t size = sizeof fd;
    int result = answer(getsockopt(3, SOL_SOCKET, 77 /* SO_PEERPIDFD */, &fd, &size));
    if (fd >= 0) close(fd);
    return result;
}
static int name_of_channel(void) {
    struct sockaddr_un name;
    socklen_t size = sizeof name;
    return answer(getsockname(3, (struct sockaddr *)&name, &size));
}
static int widen_channel(void) {
    int size = 1 << 30;
    return answer(setsockopt(3, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
}
static int filter_channel(void) {
    struct {
        unsigned short size;
        void *code;
    } program = {1, &(struct { unsigned short code; unsigned char t, f; unsigned k; }){6, 0, 0, 0xffffffff}};
    return answer(setsockopt(3, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}
static int cut_channel(void) { return answer(shutdown(3, SHUT_RD)); }
static int ask_channel(void) { return answer(ioctl(3, FIONREAD, byte)); }

// ---- terminals, pipes, queues, clocks ------------------------------------------------------------------------------------

static int type_into_terminal(void) { return answer(ioctl(0, TIOCSTI, "x")); }
static int paste_into_terminal(void) {
    char code = 3;
    return answer(ioctl(0, TIOCLINUX, &code));
}
static int make_pipe(void) {
    int ends[2];
    int result = answer(pipe(ends));
    if (result == 0) close(ends[0]), close(ends[1]);
    return result;
}
static int grow_pipe(void) { return answer(fcntl(4, F_SETPIPE_SZ, 1 << 20)); }
static int duplicate(void) { return opened(fcntl(0, F_DUPFD, 100)); }
static int duplicate_over(void) { return opened(dup3(0, 101, 0)); }
static int event_counter(void) { return opened(eventfd(0, 0)); }
static int event_queue(void) { return opened(epoll_create1(0)); }
static int clock_descriptor(void) { return opened(timerfd_create(CLOCK_MONOTONIC, 0)); }
static int signal_descriptor(void) {
    sigset_t none;
    sigemptyset(&none);
    return opened(signalfd(-1, &none, 0));
}
static int clock_that_rings(void) {
    timer_t made;
    struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
    int result = answer(timer_create(CLOCK_MONOTONIC, &quiet, &made));
    if (result == 0) timer_delete(made);
    return result;
}
static int interval(void) {
    struct itimerval never = {0};
    return answer(setitimer(ITIMER_PROF, &never, NULL));
}
static int host_name(void) { return answer(sethostname("evil", 4)); }
static int domain_name(void) { return answer(setdomainname("evil", 4)); }
static int posix_queue(void) {
    struct mq_attr small = {.mq_maxmsg = 1, .mq_msgsize = 16};
    int made = (int)syscall(SYS_mq_open, "swiftlet-attempt", O_CREAT | O_RDWR, 0600, &small);
    if (made >= 0) syscall(SYS_mq_unlink, "swiftlet-attempt");
    return opened(made);
}
static int message_queue(void) {
    int made = msgget(IPC_PRIVATE, 0600);
    if (made >= 0) msgctl(made, IPC_RMID, NULL);
    return answer(made);
}
static int semaphores(void) {
    int made = semget(IPC_PRIVATE, 1, 0600);
    if (made >= 0) semctl(made, 0, IPC_RMID);
    return answer(made);
}

const attempt TALK_ATTEMPTS[] = {
    {"socket-inet", internet, REFUSED, "filter", 0, NULL},
    {"socket-udp", internet_packets, REFUSED, "filter", 0, NULL},
    {"socket-inet6", internet6, REFUSED, "filter", 0, "CONFIG_IPV6"},
    {"socket-raw", raw, REFUSED, "filter, caps", 0, NULL},
    {"socket-ping", ping, REFUSED, "filter", 0, "a group in net.ipv4.ping_group_range"},
    {"socket-unix", local, REFUSED, "filter", 0, NULL},
    {"socket-netlink", netlink, REFUSED, "filter", 0, NULL},
    {"socket-packet", packets, REFUSED, "filter, caps", 0, "CONFIG_PACKET"},
    {"socket-vsock", vsock, REFUSED, "filter", 0, "CONFIG_VSOCKETS"},
    {"socket-alg", cipher, REFUSED, "filter", 0, "CONFIG_CRYPTO_USER_API"},
    {"socket-xdp", express, REFUSED, "filter, caps", 0, "CONFIG_XDP_SOCKETS"},
    {"socket-bluetooth", bluetooth, REFUSED, "filter", 0, "CONFIG_BT"},
    {"socket-can", can_bus, REFUSED, "filter", 0, "CONFIG_CAN"},
    {"socket-tipc", tipc, REFUSED, "filter", 0, "CONFIG_TIPC"},
    {"socket-rds", rds, REFUSED, "filter", 0, "CONFIG_RDS"},
    {"socket-smc", smc, REFUSED, "filter", 0, "CONFIG_SMC"},
    {"connect-loopback", loopback, REFUSED, "filter, net, landlock", 0, "a network"},
    {"connect-metadata", metadata, REFUSED, "filter, net, landlock", 0, "a network"},
    {"send-to-loopback", packet_to_loopback, REFUSED, "filter, net", 0, NULL},
    {"bind-port", listen_on_port, REFUSED, "filter, landlock", 0, NULL},
    {"abstract-bind", abstract_bind, REFUSED, "filter", 0, NULL},
    {"abstract-connect", abstract_connect, REFUSED, "filter", 0, NULL},
    {"socketpair", pair, REFUSED, "filter", 0, NULL},
    {"send-descriptor", pass_descriptor, REFUSED, "filter", 0, NULL},
    {"send-descriptors", pass_by_many, REFUSED, "filter", 0, NULL},
    {"send-credentials", pass_credentials, REFUSED, "filter", 0, NULL},
    {"receive-descriptor", take_descriptor, REFUSED, "serve filter", 0, NULL},
    {"receive-descriptors", take_by_many, REFUSED, "filter", 0, NULL},
    {"send-elsewhere", send_elsewhere, REFUSED, "filter", 0, NULL},
    {"bind-channel", bind_channel, REFUSED, "filter", 0, NULL},
    {"peer-credentials", who_is_there, REFUSED, "filter", 0, NULL},
    {"peer-pidfd", peer_process, REFUSED, "filter", 0, "Linux 6.5"},
    {"name-of-channel", name_of_channel, REFUSED, "filter", 0, NULL},
    {"setsockopt", widen_channel, REFUSED, "filter", 0, NULL},
    {"filter-channel", filter_channel, REFUSED, "filter", 0, NULL},
    {"shutdown-channel", cut_channel, REFUSED, "filter", 0, NULL},
    {"ioctl-channel", ask_channel, REFUSED, "filter", 0, NULL},
    {"tiocsti", type_into_terminal, REFUSED, "filter, session", 0, "a terminal as standard input"},
    {"tioclinux", paste_into_terminal, REFUSED, "filter, session", 0, "a virtual console as standard input"},
    {"pipe", make_pipe, REFUSED, "filter", 0, NULL},
    {"grow-pipe", grow_pipe, REFUSED, "filter", 0, NULL},
    {"dupfd", duplicate, REFUSED, "filter, rlimits", 0, NULL},
    {"dup3", duplicate_over, REFUSED, "filter, rlimits", 0, NULL},
    {"eventfd", event_counter, REFUSED, "filter", 0, NULL},
    {"epoll", event_queue, REFUSED, "filter", 0, NULL},
    {"timerfd", clock_descriptor, REFUSED, "filter", 0, NULL},
    {"signalfd", signal_descriptor, REFUSED, "filter", 0, NULL},
    {"timer-create", clock_that_rings, REFUSED, "filter", 0, NULL},
    {"setitimer", interval, REFUSED, "filter", 0, NULL},
    {"sethostname", host_name, REFUSED, "filter, ipc, caps", 0, NULL},
    {"setdomainname", domain_name, REFUSED, "filter, ipc, caps", 0, NULL},
    {"mq-open", posix_queue, REFUSED, "filter, rlimits", 0, NULL},
    {"msgget", message_queue, REFUSED, "filter", 0, NULL},
    {"semget", semaphores, REFUSED, "filter", 0, NULL},
    END_OF_TABLE,
};
