// Serves invocations with a handler: lends it the request, gives it the host's functions, sends what it answers.
#include "worker.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    GATHER_MAX = 32768,  ///< bytes that `write` gathers
    HEADER_SIZE_MAX = 16384, ///< one field's name and value together; also of all fields of an answer
    FINISHED_SIZE = sizeof(wire_finished),
};

/// The one invocation that runs. The host's functions have no argument to carry it in.
static struct invocation {
    bool running, cancelled, broken;
    uint64_t id;
    uint32_t short_id;
    frame *request;     ///< what the views of the invocation point into
    queue body, replies;
    frame *body_now;    ///< partly read
    size_t body_at;
    bool body_ended;
    bool responded;     ///< the answer's head stands in `out`, or is sent
    bool sent;          ///< RESPONSE has left
    size_t out_size;    ///< payload bytes in `out`
    frame *event_now;   ///< lent by the last event
    uint32_t calls_made, calls_open;
    uint32_t open[WIRE_CALLS_MAX];
} I;
static queue in_turn; ///< invocations that came while another ran
static uint8_t out[WIRE_FRAME_MAX];
static void *state;
static const swiftlet_handler_v1 *table;
static uint64_t counted_cpu; ///< up to `counted_at`, the end of an invocation
static uint64_t counted_at;

// ---- frames that come while an invocation runs ------------------------------------------------------------------------------

static void sort(frame *f) {
    bool ours = I.running && f->head.id == I.short_id;
    if (ours && f->head.type == WIRE_BODY && !I.body_ended) queue_add(&I.body, f);
    else if (ours && f->head.type == WIRE_HOST_REPLY) queue_add(&I.replies, f);
    else if (f->head.type == WIRE_INVOKE) queue_add(&in_turn, f);
    else {
        if (ours && f->head.type == WIRE_CANCEL) I.cancelled = true;
        frame_drop(f); // of an invocation that is over, or of a call that was given up
    }
}

/// Receives one frame and sorts it. Returns OK, TIMEOUT, CANCELLED or BROKEN.
static int32_t receive_one(uint64_t timeout_ns) {
    frame *f;
    int status = channel_receive(timeout_ns, &f);
    if (status == CHANNEL_TIMEOUT) return SWIFTLET_TIMEOUT;
    if (status == CHANNEL_BROKEN) {
        I.broken = true;
        return SWIFTLET_BROKEN;
    }
    sort(f);
    return I.cancelled ? SWIFTLET_CANCELLED : SWIFTLET_OK;
}

/// What every host function checks first.
static int32_t standing(void) {
    frame_drop(I.event_now);
    I.event_now = NULL;
    if (!I.running) return SWIFTLET_INVALID;
    return I.broken ? SWIFTLET_BROKEN : I.cancelled ? SWIFTLET_CANCELLED : SWIFTLET_OK;
}

static int32_t after_send(bool sent) {
    if (!sent) I.broken = true;
    return I.broken ? SWIFTLET_BROKEN : I.cancelled ? SWIFTLET_CANCELLED : SWIFTLET_OK;
}

// ---- log, fail -----------------------------------------------------------------------------------------------------------

static void host_log(int32_t level, swiftlet_bytes text) {
    channel_log(I.short_id, level, text);
}

// ---- the answer ----------------------------------------------------------------------------------------------------------

static int32_t host_respond(int32_t status, const swiftlet_header *headers, size_t count) {
    int32_t stand = standing();
    if (stand != SWIFTLET_OK) return stand;
    if (I.responded || status < 200 || status > 599 || count > WIRE_HEADERS_MAX || (count > 0 && headers == NULL))
        return SWIFTLET_INVALID;
    wire_response head = {.status = (uint32_t)status, .header_count = (uint32_t)count};
    size_t at = sizeof head;
    uint8_t *payload = out + WIRE_HEAD_SIZE;
    memcpy(payload, &head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        swiftlet_bytes name = headers[i].name, value = headers[i].value;
        if (name.size == 0 || name.data == NULL || (value.size > 0 && value.data == NULL)) return SWIFTLET_INVALID;
        if (name.size > HEADER_SIZE_MAX || value.size > HEADER_SIZE_MAX || at + 8 + name.size + value.size > HEADER_SIZE_MAX)
            return SWIFTLET_INVALID;
        uint32_t sizes[] = {(uint32_t)name.size, (uint32_t)value.size};
        memcpy(payload + at, sizes, sizeof sizes);
        memcpy(payload + at + sizeof sizes, name.data, name.size);
        if (value.size > 0) memcpy(payload + at + sizeof sizes + name.size, value.data, value.size);
        at += sizeof sizes + name.size + value.size;
    }
    I.out_size = at;
    I.responded = true;
    return SWIFTLET_OK;
}

/// Sends what stands in `out`.
static int32_t send_gathered(uint16_t flags) {
    uint16_t type = I.sent ? WIRE_DATA : WIRE_RESPONSE;
    wire_head head = {.type = type, .flags = flags, .size = (uint32_t)I.out_size, .id = I.short_id};
    bool sent = channel_send(out, head);
    I.sent = true;
    I.out_size = 0;
    return after_send(sent);
}

static int32_t host_flush(void) {
    int32_t stand = standing();
    if (stand != SWIFTLET_OK) return stand;
    if (!I.responded) host_respond(200, NULL, 0);
    return I.sent && I.out_size == 0 ? SWIFTLET_OK : send_gathered(0);
}

static int32_t host_write(swiftlet_bytes data) {
    int32_t stand = standing();
    if (stand != SWIFTLET_OK) return stand;
    if (data.size > 0 && data.data == NULL) return SWIFTLET_INVALID;
    if (!I.responded) host_respond(200, NULL, 0);
    const uint8_t *bytes = data.data;
    for (size_t left = data.size; left > 0;) {
        // The trailer's room stays free, so that the last bytes can always carry it.
        size_t room = WIRE_PAYLOAD_MAX - FINISHED_SIZE - I.out_size;
        size_t part = left < room ? left : room;
        memcpy(out + WIRE_HEAD_SIZE + I.out_size, bytes, part);
        I.out_size += part;
        bytes += part;
        left -= part;
        if (I.out_size >= GATHER_MAX && (stand = send_gathered(0)) != SWIFTLET_OK) return stand;
    }
    return SWIFTLET_OK;
}

// ---- the request's body --------------------------------------------------------------------------------------------------

static int32_t host_read_body(void *buffer, size_t capacity, size_t *got) {
    *got = 0;
    int32_t stand = standing();
    if (stand != SWIFTLET_OK) return stand;
    while (capacity > 0 && !(I.body_ended && I.body_now == NULL)) {
        if (I.body_now == NULL) {
            I.body_now = queue_take(&I.body);
            I.body_at = 0;
            if (I.body_now == NULL) {
                stand = receive_one(UINT64_MAX);
                if (stand != SWIFTLET_OK) return stand;
                continue;
            }
            I.body_ended = (I.body_now->head.flags & WIRE_FLAG_END) != 0;
        }
        size_t left = I.body_now->head.size - I.body_at, part = left < capacity ? left : capacity;
        memcpy(buffer, I.body_now->payload + I.body_at, part);
        I.body_at += part;
        if (I.body_at == I.body_now->head.size) {
            frame_drop(I.body_now);
            I.body_now = NULL;
        }
        if (part > 0) {
            *got = part;
            break;
        }
    }
    return SWIFTLET_OK;
}

// ---- host calls ----------------------------------------------------------------------------------------------------------

static int find_call(uint32_t call) {
    for (uint32_t i = 0; i < I.calls_open; i++)
        if (I.open[i] == call) return (int)i;
    return -1;
}

static void close_call(uint32_t call) {
    int at = find_call(call);
    if (at >= 0) I.open[at] = I.open[--I.calls_open];
}

static int32_t host_call(swiftlet_bytes name, swiftlet_bytes payload, uint32_t *call) {
    *call = 0;
    int32_t stand = standing();
    if (stand != SWIFTLET_OK) return stand;
    if (name.data == NULL || name.size == 0 || name.size > 255 || (payload.size > 0 && payload.data == NULL))
        return SWIFTLET_INVALID;
    if (I.calls_open == WIRE_CALLS_MAX) return SWIFTLET_LIMIT;
    uint32_t number = ++I.calls_made;
    uint8_t front[4 + 255];
    uint32_t name_size = (uint32_t)name.size;
    memcpy(front, &name_size, sizeof name_size);
    memcpy(front + sizeof name_size, name.data, name.size);
    size_t front_size = sizeof name_size + name.size;
    const uint8_t *bytes = payload.data;
    size_t left = payload.size;
    for (uint16_t type = WIRE_CALL;; type = WIRE_CALL_DATA) {
        size_t room = WIRE_PAYLOAD_MAX - (type == WIRE_CALL ? front_size : 0), part = left < room ? left : room;
        wire_head head = {.type = type, .flags = part == left ? WIRE_FLAG_END : 0, .id = I.short_id, .call = number};
        bool sent = channel_send_copy(head, front, type == WIRE_CALL ? front_size : 0, bytes, part);
        stand = after_send(sent);
        if (stand != SWIFTLET_OK) return stand;
        left -= part;
        if (left == 0) break;
        bytes += part;
    }
    I.open[I.calls_open++] = number;
    *call = number;
    return SWIFTLET_OK;
}

static void lend_event(frame *f, swiftlet_event_v1 *event) {
    bool failed = (f->head.flags & WIRE_FLAG_ERROR) != 0, ended = failed || (f->head.flags & WIRE_FLAG_END) != 0;
    event->kind = failed ? SWIFTLET_EVENT_FAILED : ended ? SWIFTLET_EVENT_DONE : SWIFTLET_EVENT_DATA;
    event->call = f->head.call;
    event->data = (swiftlet_bytes){.data = f->payload, .size = f->head.size};
    if (ended) close_call(f->head.call);
    I.event_now = f;
}

static int32_t host_next(uint64_t timeout_ns, swiftlet_event_v1 *event) {
    int32_t stand = standing();
    if (stand != SWIFTLET_OK) return stand;
    uint64_t begin = timeout_ns == 0 || timeout_ns == UINT64_MAX ? 0 : now_ns();
    for (;;) {
        for (frame *f; (f = queue_take(&I.replies)) != NULL;) {
            if (find_call(f->head.call) < 0) {
                frame_drop(f);
                continue;
            }
            lend_event(f, event);
            return SWIFTLET_OK;
        }
        uint64_t left = timeout_ns;
        if (begin != 0) {
            uint64_t gone = now_ns() - begin;
            left = gone < timeout_ns ? timeout_ns - gone : 0;
        }
        stand = receive_one(left);
        if (stand != SWIFTLET_OK) return stand;
    }
}

static int32_t host_cancel(uint32_t call) {
    int32_t stand = standing();
    if (stand == SWIFTLET_BROKEN || stand == SWIFTLET_INVALID) return stand;
    if (find_call(call) < 0) return SWIFTLET_OK;
    close_call(call);
    wire_head head = {.type = WIRE_CALL_CANCEL, .id = I.short_id, .call = call};
    if (!channel_send_copy(head, NULL, 0, NULL, 0)) I.broken = true;
    return I.broken ? SWIFTLET_BROKEN : SWIFTLET_OK;
}

static const swiftlet_host_v1 HOST = {
    .size = sizeof HOST, .version = 1, .log = host_log, .fail = failure_set, .read_body = host_read_body,
    .respond = host_respond, .write = host_write, .flush = host_flush, .call = host_call, .next = host_next,
    .cancel = host_cancel};

// ---- one invocation ------------------------------------------------------------------------------------------------------

/// Cuts `size` bytes off the front. Returns false when they are not there.
static bool cut(swiftlet_bytes *rest, size_t size, swiftlet_bytes *part) {
    if (size > rest->size) return false;
    *part = (swiftlet_bytes){.data = rest->data, .size = size};
    rest->data = (const uint8_t *)rest->data + size;
    rest->size -= size;
    return true;
}

/// Lends the frame's bytes as an invocation. Returns false when the frame breaks a rule.
static bool lend_request(const frame *f, swiftlet_invocation_v1 *v) {
    static swiftlet_header headers[WIRE_HEADERS_MAX];
    wire_invoke head;
    swiftlet_bytes rest = {.data = f->payload, .size = f->head.size}, part;
    if (!cut(&rest, sizeof head, &part)) return false;
    memcpy(&head, part.data, sizeof head);
    *v = (swiftlet_invocation_v1){
        .size = sizeof *v, .version = 1, .id = head.id, .deadline_ns = head.deadline_ns, .headers = headers,
        .header_count = head.header_count, .body_complete = (f->head.flags & WIRE_FLAG_END) != 0};
    bool whole = head.header_count <= WIRE_HEADERS_MAX && cut(&rest, head.method_size, &v->method) &&
        cut(&rest, head.path_size, &v->path) && cut(&rest, head.query_size, &v->query) &&
        cut(&rest, head.tenant_size, &v->tenant) && cut(&rest, head.function_size, &v->function) &&
        cut(&rest, head.request_id_size, &v->request_id);
    for (uint32_t i = 0; whole && i < head.header_count; i++) {
        uint32_t sizes[2];
        if (!cut(&rest, sizeof sizes, &part)) return false;
        memcpy(sizes, part.data, sizeof sizes);
        whole = cut(&rest, sizes[0], &headers[i].name) && cut(&rest, sizes[1], &headers[i].value);
    }
    v->body = rest;
    if (head.limit_ms > 0) v->deadline_ns = now_ns() + head.limit_ms * (uint64_t)1000000;
    return whole;
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/// This clock is a call: read at most once a millisecond, so that it counts all of the time and costs short invocations none.
static void count_cpu(uint64_t now, wire_finished *finished) {
    enum { OFTEN_NS = 1000000 };
    now += finished->run_ns;
    if (now - counted_at < OFTEN_NS) return;
    uint64_t cpu = cpu_ns();
    finished->cpu_ns = cpu - counted_cpu;
    counted_cpu = cpu;
    counted_at = now;
}

/// The last frame. A success rides on the answer's last bytes; a failure has a frame of its own, with its words.
static bool finish(wire_finished finished) {
    channel_log_output(I.short_id);
    if (finished.status == SWIFTLET_OK && !I.broken) {
        I.cancelled = false; // too late: the answer is there
        if (!I.responded) host_respond(200, NULL, 0);
        memcpy(out + WIRE_HEAD_SIZE + I.out_size, &finished, sizeof finished);
        I.out_size += sizeof finished;
        return send_gathered(WIRE_FLAG_END | WIRE_FLAG_FINISHED) == SWIFTLET_OK;
    }
    swiftlet_bytes words = failure_text();
    wire_head head = {.type = WIRE_FINISHED, .id = I.short_id};
    return channel_send_copy(head, &finished, sizeof finished, words.data, words.size);
}

static void forget(void) {
    frame_drop(I.request);
    frame_drop(I.body_now);
    frame_drop(I.event_now);
    queue_clear(&I.body);
    queue_clear(&I.replies);
    I = (struct invocation){0};
}

static bool serve_one(frame *request) {
    swiftlet_invocation_v1 invocation;
    failure_clear();
    I = (struct invocation){.running = true, .request = request, .short_id = request->head.id};
    if (!lend_request(request, &invocation)) worker_cannot("invoke", "the host's frame breaks its own rules");
    I.id = invocation.id;
    I.body_ended = invocation.body_complete != 0;
    uint64_t begin = now_ns();
    wire_finished finished = {.status = table->invoke(state, &invocation, &HOST)};
    finished.run_ns = now_ns() - begin;
    count_cpu(begin, &finished);
    // A positive number is no answer of this contract.
    if (finished.status > SWIFTLET_OK) finished.status = SWIFTLET_FAILED;
    bool alive = finish(finished);
    forget();
    return alive;
}

void handler_prefault(void) {
    *(volatile uint8_t *)out = 0;
    I = (struct invocation){0};
    counted_cpu = cpu_ns();
    failure_clear();
}

void handler_init(const loaded *l, const job *j) {
    table = l->handler;
    channel_sink = sort;
    if (!HAS(table, init)) return;
    swiftlet_bytes config = {.data = j->config, .size = j->config_size};
    int32_t status = table->init(&HOST, config, &state);
    if (status == SWIFTLET_OK) return;
    char cause[FAILURE_MAX + 1];
    swiftlet_bytes words = failure_text();
    memcpy(cause, words.data, words.size);
    cause[words.size] = 0;
    worker_cannot("init", words.size > 0 ? cause : "the handler's init failed and gave no reason (call host->fail)");
}

bool handler_serve_next(void) {
    frame *next = queue_take(&in_turn);
    if (next != NULL) return serve_one(next);
    for (frame *f; channel_receive(UINT64_MAX, &f) == CHANNEL_FRAME; frame_drop(f))
        if (f->head.type == WIRE_INVOKE) return serve_one(f);
    return false;
}

void handler_serve(const loaded *l, bool once) {
    counted_at = now_ns();
    channel_log_output(0);
    while (handler_serve_next() && !once) {}
    // A template's init ran elsewhere; so does its shutdown, with its process.
    if (!once && HAS(l->handler, shutdown)) l->handler->shutdown(state);
    channel_log_output(0);
    _exit(0);
}
