// The test's host: sockets, frames and the life of a forker; tests.c and bench.c use it.
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *PROGRAM, *APP, *KIT;

_Noreturn static void broken(const char *what) {
    fprintf(stderr, "test host: %s: %s (in %s)\n", what, strerror(errno), check_current);
    exit(2);
}

uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int patience(void) {
    const char *factor = getenv("SWIFTLET_TEST_PATIENCE");
    int number = factor == NULL ? 1 : atoi(factor);
    return number < 1 ? 1 : number;
}

/// The frame that came behind READY in one packet, and on which socket.
static struct {
    int socket;
    size_t size;
    uint8_t bytes[WIRE_FRAME_MAX];
} behind = {.socket = -1};

packet receive(int socket, int timeout_ms) {
    // Short ones say "nothing more now"; long ones only keep a broken test from hanging.
    if (timeout_ms >= 1000) timeout_ms *= patience();
    packet p = {0};
    ssize_t got;
    if (behind.socket == socket) {
        got = (ssize_t)behind.size;
        memcpy(p.bytes, behind.bytes, behind.size);
        behind.socket = -1;
    } else {
        struct pollfd watched = {.fd = socket, .events = POLLIN};
        p.late = poll(&watched, 1, timeout_ms) <= 0;
        got = p.late ? 0 : recv(socket, p.bytes, sizeof p.bytes, 0);
    }
    p.ended = got < (ssize_t)sizeof p.head;
    if (p.ended) return p;
    memcpy(&p.head, p.bytes, sizeof p.head);
    p.size = (uint32_t)got - WIRE_HEAD_SIZE;
    memmove(p.bytes, p.bytes + WIRE_HEAD_SIZE, p.size);
    if (p.head.type == WIRE_READY && p.head.size < p.size) {
        behind.socket = socket;
        behind.size = p.size - p.head.size;
        memcpy(behind.bytes, p.bytes + p.head.size, behind.size);
        p.size = p.head.size;
    }
    if (p.size != p.head.size) p.ended = true;
    return p;
}

static bool send_with(int socket, wire_head head, const void *payload, size_t size, int descriptor) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    head.size = (uint32_t)size;
    struct iovec parts[] = {{&head, sizeof head}, {(void *)payload, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (descriptor >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) >= 0;
}

bool send_frame(int socket, wire_head head, const void *payload, size_t size) {
    return send_with(socket, head, payload, size, -1);
}

static void pair(int ends[2]) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) broken("socketpair");
}

host host_start(const char *without) {
    static unsigned count;
    host h = {.zygote = -1};
    int ends[2];
    pair(ends);
    snprintf(h.cgroup, sizeof h.cgroup, "swiftlet-test%u-%d", count++, getpid());
    char *words[16] = {(char *)PROGRAM, "forker", "--control", "3", "--cgroup-name", h.cgroup};
    int at = 6;
    if (KIT != NULL) {
        words[at++] = "--kit";
        words[at++] = (char *)KIT;
        words[at++] = "--swift-runtime";
        words[at++] = getenv("SWIFT_RUNTIME");
    }
    if (without != NULL) {
        words[at++] = "--without";
        words[at++] = (char *)without;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 3);
    char *environment[] = {NULL};
    if (posix_spawn(&h.forker, PROGRAM, &actions, NULL, words, environment) != 0) broken("posix_spawn");
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    h.forker_socket = ends[0];
    packet p = receive(h.forker_socket, 5000);
    if (p.ended || p.head.type != WIRE_FORKER_READY) {
        fprintf(stderr, "forker says %u: %s\n", p.head.type, text_of(&p));
        broken("the forker did not start");
    }
    wire_layers layers;
    memcpy(&layers, p.bytes, sizeof layers);
    h.have = layers.have;
    return h;
}

void host_zygote(host *h, uint32_t number, uint32_t prepare) {
    int ends[2];
    pair(ends);
    wire_spawn wanted = {.zygote = number, .prepare = prepare};
    send_with(h->forker_socket, (wire_head){.type = WIRE_SPAWN}, &wanted, sizeof wanted, ends[1]);
    close(ends[1]);
    h->zygote = ends[0];
    packet p = receive(h->zygote, 10000);
    if (p.ended || p.head.type != WIRE_ZYGOTE_READY) {
        fprintf(stderr, "zygote says %u: %s\n", p.head.type, text_of(&p));
        broken("the zygote did not start");
    }
    wire_layers layers;
    memcpy(&layers, p.bytes, sizeof layers);
    h->zygote_pid = layers.pid;
}

static void adopt_with(host *h, uint32_t give) {
    int directory = open(APP, O_PATH | O_DIRECTORY | O_CLOEXEC);
    wire_adopt adopt = {.version = WIRE_VERSION, .give = give};
    send_with(h->zygote, (wire_head){.type = WIRE_ADOPT}, &adopt, sizeof adopt, directory);
    close(directory);
    packet p = receive(h->zygote, 5000);
    if (p.ended || p.head.type != WIRE_ADOPTED) {
        fprintf(stderr, "zygote says %u: %s\n", p.head.type, text_of(&p));
        broken("the zygote did not adopt");
    }
}

bool host_adopt_devices(host *h, const wire_device *devices, uint32_t count, packet *answer) {
    struct {
        wire_adopt adopt;
        wire_device devices[WIRE_DEVICES_MAX + 1];
    } payload = {.adopt = {.version = WIRE_VERSION, .device_count = count}};
    memcpy(payload.devices, devices, count * sizeof *devices);
    int directory = open(APP, O_PATH | O_DIRECTORY | O_CLOEXEC);
    send_with(h->zygote, (wire_head){.type = WIRE_ADOPT}, &payload, sizeof payload.adopt + count * sizeof *devices, directory);
    close(directory);
    *answer = receive(h->zygote, 5000);
    return !answer->ended && answer->head.type == WIRE_ADOPTED;
}

void host_adopt(host *h) {
    adopt_with(h, 0);
}

void host_adopt_giving(host *h) {
    adopt_with(h, 1);
}

prepared host_prepared(host *h) {
    prepared p = {.channel = -1};
    struct {
        wire_head head;
        wire_prepared body;
    } frame;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {&frame, sizeof frame};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    struct pollfd watched = {.fd = h->zygote, .events = POLLIN};
    do {
        message.msg_controllen = sizeof control.room; // each call shortens it
        if (poll(&watched, 1, 5000 * patience()) != 1 || recvmsg(h->zygote, &message, MSG_CMSG_CLOEXEC) != sizeof frame) return p;
    } while (frame.head.type == WIRE_EXITED);
    struct cmsghdr *passed = CMSG_FIRSTHDR(&message);
    if (frame.head.type != WIRE_PREPARED || passed == NULL) return p;
    memcpy(&p.channel, CMSG_DATA(passed), sizeof p.channel);
    p.told = frame.body;
    return p;
}

void host_drop_zygote(host *h) {
    close(h->zygote);
    h->zygote = -1;
    packet p = receive(h->forker_socket, 5000);
    if (p.ended || p.head.type != WIRE_ZYGOTE_GONE) broken("the zygote did not go");
}

int host_stop(host *h) {
    if (h->zygote >= 0) close(h->zygote);
    close(h->forker_socket);
    int status = -1;
    waitpid(h->forker, &status, 0);
    return status;
}

wire_start job_default(void) {
    return (wire_start){.kind = WIRE_KIND_HANDLER, .memory_bytes = 64u << 20, .pids = 1, .cpu_percent = 100, .files = 32};
}

static size_t job_payload(uint8_t *payload, wire_start job, const char *library, const char *config) {
    static const char DIRECTORY[] = "subjects";
    const struct {
        const void *bytes;
        size_t size;
    } parts[] = {{&job, sizeof job}, {DIRECTORY, sizeof DIRECTORY - 1}, {library, strlen(library)}, {config, strlen(config)}};
    job.directory_size = (uint32_t)parts[1].size;
    job.library_size = (uint32_t)parts[2].size;
    job.config_size = (uint32_t)parts[3].size;
    size_t size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        memcpy(payload + size, parts[i].bytes, parts[i].size);
        size += parts[i].size;
    }
    return size;
}

worker host_worker(host *h, wire_start job, const char *library, const char *config) {
    int ends[2];
    pair(ends);
    uint8_t payload[4096];
    job.worker = ++h->workers;
    size_t size = job_payload(payload, job, library, config);
    if (!send_with(h->zygote, (wire_head){.type = WIRE_START}, payload, size, ends[1])) broken("START");
    close(ends[1]);
    return (worker){.number = job.worker, .channel = ends[0]};
}

void host_start_prepared(const prepared *p, wire_start job, const char *library) {
    uint8_t payload[4096];
    size_t size = job_payload(payload, job, library, "{}");
    if (send(p->channel, payload, size, MSG_NOSIGNAL) != (ssize_t)size) broken("START to a worker");
}

void host_take(host *h, uint32_t which, uint32_t number, wire_start job, const char *library) {
    uint8_t payload[4096];
    wire_taken taken = {.worker = which, .job = number};
    memcpy(payload, &taken, sizeof taken);
    size_t size = number == 0 ? 0 : job_payload(payload + sizeof taken, job, library, "{}");
    send_frame(h->zygote, (wire_head){.type = WIRE_TAKEN}, payload, sizeof taken + size);
}

void send_invoke(int channel, uint64_t id, const char *path, const void *body, size_t size, bool whole) {
    static uint8_t payload[WIRE_PAYLOAD_MAX];
    static const char METHOD[] = "POST", TENANT[] = "acme", FUNCTION[] = "subject", REQUEST[] = "r-1", NAME[] = "x-test",
                      VALUE[] = "yes";
    wire_invoke head = {.id = id, .method_size = 4, .path_size = (uint32_t)strlen(path), .tenant_size = 4,
                        .function_size = 7, .request_id_size = 3, .header_count = 1};
    uint32_t sizes[2] = {sizeof NAME - 1, sizeof VALUE - 1};
    const struct {
        const void *bytes;
        size_t size;
    } parts[] = {{&head, sizeof head}, {METHOD, 4}, {path, strlen(path)}, {TENANT, 4}, {FUNCTION, 7}, {REQUEST, 3},
                 {sizes, sizeof sizes}, {NAME, sizeof NAME - 1}, {VALUE, sizeof VALUE - 1}, {body, size}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].size > 0) memcpy(payload + at, parts[i].bytes, parts[i].size);
        at += parts[i].size;
    }
    wire_head frame = {.type = WIRE_INVOKE, .flags = whole ? WIRE_FLAG_END : 0, .id = (uint32_t)id};
    send_frame(channel, frame, payload, at);
}

exited host_exited(host *h, uint32_t number) {
    exited e = {0};
    for (;;) {
        packet p = receive(h->zygote, 5000);
        if (!p.ended && (p.head.type == WIRE_STARTED || p.head.type == WIRE_PREPARED)) continue;
        if (p.ended || p.head.type != WIRE_EXITED) {
            if (!p.ended) fprintf(stderr, "zygote says %u: %s\n", p.head.type, text_of(&p));
            return e;
        }
        memcpy(&e.told, p.bytes, sizeof e.told);
        if (e.told.worker != number) continue;
        memcpy(e.words, p.bytes + sizeof e.told, p.size - sizeof e.told);
        e.words[p.size - sizeof e.told] = 0;
        e.came = true;
        return e;
    }
}

const char *text_of(packet *p) {
    p->bytes[p->size < WIRE_FRAME_MAX ? p->size : WIRE_FRAME_MAX - 1] = 0;
    return (const char *)p->bytes;
}

packet receive_type(int channel, uint16_t type) {
    for (;;) {
        packet p = receive(channel, 5000);
        if (p.ended || p.head.type == type) return p;
        if (p.head.type != WIRE_LOG && p.head.type != WIRE_READY) {
            p.ended = true;
            return p;
        }
    }
}

const uint8_t *response_body(const packet *p, uint32_t *status, size_t *size, wire_finished *finished) {
    wire_response head;
    *status = 0;
    *size = 0;
    *finished = (wire_finished){.status = 1};
    if (p->ended || p->head.type != WIRE_RESPONSE) return p->bytes;
    memcpy(&head, p->bytes, sizeof head);
    *status = head.status;
    size_t at = sizeof head;
    for (uint32_t i = 0; i < head.header_count; i++) {
        uint32_t sizes[2];
        memcpy(sizes, p->bytes + at, sizeof sizes);
        at += sizeof sizes + sizes[0] + sizes[1];
    }
    size_t end = p->size;
    if ((p->head.flags & WIRE_FLAG_FINISHED) != 0) {
        end -= sizeof *finished;
        memcpy(finished, p->bytes + end, sizeof *finished);
    }
    *size = end - at;
    return p->bytes + at;
}
