// Packets on control sockets: a frame, and at most one descriptor with it.
#ifndef SWIFTLET_PACKET_H
#define SWIFTLET_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "swiftlet_wire.h"

/// Sends head and payload as one packet; `descriptor` -1: none. Waits while the other side is slow. 0 or -errno.
int packet_send(int socket, uint16_t type, const void *payload, size_t size, const void *more, size_t more_size);
int packet_pass(int socket, const void *payload, size_t size, int descriptor);
/// Receives one packet; `*descriptor` is -1 when none came. Returns bytes, 0 at the end of the socket, or -errno.
ssize_t packet_receive(int socket, void *buffer, size_t room, int *descriptor, int flags);
/// Splits a received packet. Returns false when its size does not fit its head.
bool packet_open(const void *buffer, ssize_t size, wire_head *head, const uint8_t **payload);

#endif
