// The worker's end of the channel: frames in, frames out, and what the plugin prints as log frames.
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    /// Frames held at once. At the bound a waiting send stops receiving: the host's own sends then wait.
    FRAMES_MAX = 96,
    LOG_LINE_MAX = 8192,
};

void (*channel_sink)(frame *f);
static queue spare;
static unsigned held;
static uint8_t copied[WIRE_FRAME_MAX]; ///< for frames that are copied together

// ---- frames --------------------------------------------------------------------------------------------------------------

void queue_add(queue *q, frame *f) {
    f->next = NULL;
    if (q->last == NULL) q->first = f;
    else q->last->next = f;
    q->last = f;
}

frame *queue_take(queue *q) {
    frame *f = q->first;
    if (f == NULL) return NULL;
    q->first = f->next;
    if (q->first == NULL) q->last = NULL;
    return f;
}

void queue_clear(queue *q) {
    for (frame *f; (f = queue_take(q)) != NULL;) frame_drop(f);
}

void frame_drop(frame *f) {
    if (f == NULL) return;
    held--;
    // The first few are used again and again; a burst gives its memory back.
    if (held >= 4) free(f);
    else queue_add(&spare, f);
}

static frame *frame_new(void) {
    frame *f = queue_take(&spare);
    if (f == NULL) f = malloc(sizeof *f);
    if (f != NULL) held++;
    return f;
}

/// The pages that the first frames touch.
void channel_prefault(void) {
    enum { FIRST = 1 };
    frame *frames[FIRST];
    for (int i = 0; i < FIRST; i++)
        if ((frames[i] = frame_new()) != NULL) memset(frames[i], 0, 2 * 4096);
    for (int i = 0; i < FIRST; i++) frame_drop(frames[i]);
    *(volatile uint8_t *)copied = 0;
}

// ---- receiving -----------------------------------------------------------------------------------------------------------

/// Receives what is there. `flags` MSG_DONTWAIT or 0.
static int receive(int flags, frame **out) {
    frame *f = frame_new();
    if (f == NULL) return CHANNEL_BROKEN;
    ssize_t got;
    while ((got = recv(FD_CHANNEL, f->packet, sizeof f->packet, flags)) < 0 && errno == EINTR) {}
    if (got >= (ssize_t)sizeof f->head) {
        memcpy(&f->head, f->packet, sizeof f->head);
        f->payload = f->packet + sizeof f->head;
        *out = f;
        if (f->head.size == (size_t)got - sizeof f->head) return CHANNEL_FRAME;
    }
    bool nothing_yet = got < 0 && errno == EAGAIN;
    frame_drop(f);
    return nothing_yet ? CHANNEL_TIMEOUT : CHANNEL_BROKEN;
}

static frame *kept;

void channel_keep(frame *f) {
    kept = f;
}

int channel_receive(uint64_t timeout_ns, frame **out) {
    if (kept != NULL) {
        *out = kept;
        kept = NULL;
        return CHANNEL_FRAME;
    }
    if (timeout_ns == UINT64_MAX) return receive(0, out);
    int status = receive(MSG_DONTWAIT, out);
    if (status != CHANNEL_TIMEOUT || timeout_ns == 0) return status;
    struct pollfd watched = {.fd = FD_CHANNEL, .events = POLLIN};
    struct timespec wait = {.tv_sec = (time_t)(timeout_ns / 1000000000u), .tv_nsec = (long)(timeout_ns % 1000000000u)};
    if (ppoll(&watched, 1, &wait, NULL) <= 0) return CHANNEL_TIMEOUT;
    return receive(MSG_DONTWAIT, out);
}

// ---- sending -------------------------------------------------------------------------------------------------------------

/// The channel is full: waits for room, and takes frames in meanwhile, so that a cancellation is seen.
static bool wait_for_room(void) {
    for (;;) {
        struct pollfd watched = {.fd = FD_CHANNEL, .events = POLLOUT};
        if (channel_sink != NULL && held < FRAMES_MAX) watched.events |= POLLIN;
        if (poll(&watched, 1, -1) < 0) {
            if (errno == EINTR) continue;
            return false;
        }
        if ((watched.revents & POLLIN) != 0 && channel_sink != NULL) {
            frame *f;
            int status = receive(MSG_DONTWAIT, &f);
            if (status == CHANNEL_BROKEN) return false;
            if (status == CHANNEL_FRAME) channel_sink(f);
        }
        if ((watched.revents & POLLOUT) != 0) return true;
        if ((watched.revents & (POLLERR | POLLHUP)) != 0) return false;
    }
}

static bool send_packet(const uint8_t *packet, size_t size) {
    for (;;) {
        if (send(FD_CHANNEL, packet, size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return true;
        if (errno == EINTR) continue;
        if (errno != EAGAIN || !wait_for_room()) return false;
    }
}

static uint8_t held_back[2048]; ///< READY, until the first answer makes it one packet with itself
static size_t held_back_size;

bool channel_send(uint8_t *packet, wire_head head) {
    memcpy(packet, &head, sizeof head);
    size_t size = sizeof head + head.size, before = held_back_size;
    if (before == 0) return send_packet(packet, size);
    held_back_size = 0;
    // Two packets would wake the host twice, which on a shared core stops us between them.
    if (before + size > sizeof held_back) return send_packet(held_back, before) && send_packet(packet, size);
    memcpy(held_back + before, packet, size);
    return send_packet(held_back, before + size);
}

bool channel_send_with_next(wire_head head, const void *payload, size_t size, const void *more, size_t more_size) {
    head.size = (uint32_t)(size + more_size);
    if (sizeof head + head.size > sizeof held_back || held_back_size > 0)
        return channel_send_copy(head, payload, size, more, more_size);
    memcpy(held_back, &head, sizeof head);
    memcpy(held_back + sizeof head, payload, size);
    memcpy(held_back + sizeof head + size, more, more_size);
    held_back_size = sizeof head + head.size;
    return true;
}

bool channel_has_work(void) {
    char byte;
    return recv(FD_CHANNEL, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool channel_send_copy(wire_head head, const void *payload, size_t size, const void *more, size_t more_size) {
    if (size + more_size > WIRE_PAYLOAD_MAX) return false;
    if (size > 0) memcpy(copied + WIRE_HEAD_SIZE, payload, size);
    if (more_size > 0) memcpy(copied + WIRE_HEAD_SIZE + size, more, more_size);
    head.size = (uint32_t)(size + more_size);
    return channel_send(copied, head);
}

// ---- logs ----------------------------------------------------------------------------------------------------------------

void channel_log(uint32_t id, int32_t level, swiftlet_bytes text) {
    if (text.data == NULL || text.size == 0) return;
    if (level < SWIFTLET_LOG_DEBUG || level > SWIFTLET_LOG_ERROR) level = SWIFTLET_LOG_INFO;
    size_t size = text.size > LOG_LINE_MAX ? LOG_LINE_MAX : text.size;
    channel_send_copy((wire_head){.type = WIRE_LOG, .id = id, .call = (uint32_t)level}, text.data, size, NULL, 0);
}

void channel_log_output(uint32_t id) {
    static char chunk[LOG_LINE_MAX];
    size_t have = 0;
    // At most what the pipe holds, so that a plugin with a printing thread can't keep us here.
    for (int rounds = 0; rounds < 32; rounds++) {
        ssize_t got = read(FD_WORDS, chunk + have, sizeof chunk - have);
        if (got <= 0) break;
        have += (size_t)got;
        size_t begin = 0;
        for (char *end; (end = memchr(chunk + begin, '\n', have - begin)) != NULL;) {
            size_t size = (size_t)(end - chunk) - begin;
            channel_log(id, SWIFTLET_LOG_INFO, (swiftlet_bytes){.data = chunk + begin, .size = size});
            begin += size + 1;
        }
        if (begin == 0 && have == sizeof chunk) {
            channel_log(id, SWIFTLET_LOG_INFO, (swiftlet_bytes){.data = chunk, .size = have});
            begin = have;
        }
        memmove(chunk, chunk + begin, have - begin);
        have -= begin;
    }
    channel_log(id, SWIFTLET_LOG_INFO, (swiftlet_bytes){.data = chunk, .size = have});
}
