// Packets on control sockets; the frames are in swiftlet_wire.h.
#include "packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int packet_send(int socket, uint16_t type, const void *payload, size_t size, const void *more, size_t more_size) {
    wire_head head = {.type = type, .size = (uint32_t)(size + more_size)};
    struct iovec parts[] = {
        {.iov_base = &head, .iov_len = sizeof head},
        {.iov_base = (void *)payload, .iov_len = size},
        {.iov_base = (void *)more, .iov_len = more_size},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) return -errno;
    return 0;
}

typedef union descriptor_room {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
} descriptor_room;

int packet_pass(int socket, const void *payload, size_t size, int descriptor) {
    descriptor_room control = {0};
    struct iovec part = {.iov_base = (void *)payload, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    struct cmsghdr *passed = CMSG_FIRSTHDR(&message);
    passed->cmsg_level = SOL_SOCKET;
    passed->cmsg_type = SCM_RIGHTS;
    passed->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(passed), &descriptor, sizeof descriptor);
    while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) return -errno;
    return 0;
}

ssize_t packet_receive(int socket, void *buffer, size_t room, int *descriptor, int flags) {
    descriptor_room control;
    struct iovec part = {.iov_base = buffer, .iov_len = room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    ssize_t got;
    *descriptor = -1;
    while ((got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR) return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(descriptor, CMSG_DATA(c), sizeof *descriptor);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        if (*descriptor >= 0) close(*descriptor);
        *descriptor = -1;
        return -EMSGSIZE;
    }
    return got;
}

bool packet_open(const void *buffer, ssize_t size, wire_head *head, const uint8_t **payload) {
    if (size < (ssize_t)sizeof *head) return false;
    memcpy(head, buffer, sizeof *head);
    *payload = (const uint8_t *)buffer + sizeof *head;
    return head->size == (size_t)size - sizeof *head;
}
