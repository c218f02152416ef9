// The operations of a backend worker, driven frame by frame against a small engine.
#include <string.h>
#include <unistd.h>

#include "check.h"

static worker backend(host *h, const char *config) {
    wire_start job = job_default();
    job.kind = WIRE_KIND_BACKEND;
    job.pids = 4;
    job.threads = 2;
    job.max_sequences = 4;
    job.max_step_tokens = 64;
    return host_worker(h, job, "engine.so", config);
}

static packet operate(worker w, uint32_t id, uint32_t code, const void *bytes, size_t size) {
    send_frame(w.channel, (wire_head){.type = WIRE_OP, .id = id, .call = code, .flags = WIRE_FLAG_END}, bytes, size);
    return receive_type(w.channel, WIRE_OP_RESULT);
}

static int32_t status_of(const packet *p) {
    wire_op_result head = {.status = 1};
    if (p->size >= sizeof head) memcpy(&head, p->bytes, sizeof head);
    return head.status;
}

static void test_open(host *h) {
    worker w = backend(h, "{}");
    packet p = receive(w.channel, 5000);
    wire_ready ready = {0};
    wire_model model = {0};
    memcpy(&ready, p.bytes, sizeof ready);
    CHECK(p.head.type == WIRE_READY && ready.has_model == 1, "type %u: %s", p.head.type, text_of(&p));
    memcpy(&model, p.bytes + sizeof ready + ready.name_size + ready.version_size, sizeof model);
    CHECK(model.vocabulary == 256 && model.max_sequences == 4, "vocabulary %u", model.vocabulary);
    leave(h, w);
}

static void test_open_fails(host *h) {
    worker w = backend(h, "fail");
    packet p = receive_type(w.channel, WIRE_FAILED);
    CHECK(!p.ended && strstr(text_of(&p), "open: no model here") != NULL, "type %u: %s", p.head.type, text_of(&p));
    host_exited(h, w.number);
    close(w.channel);
}

static void test_operations(host *h) {
    worker w = backend(h, "{}");
    packet p = operate(w, 1, WIRE_OP_TOKENIZE, "\0\0\0\0\1\0\0\0abc", 11);
    int32_t tokens[4] = {0};
    memcpy(tokens, p.bytes + sizeof(wire_op_result), p.size - sizeof(wire_op_result) < 16 ? p.size - sizeof(wire_op_result) : 16);
    CHECK(status_of(&p) == 0 && p.size == 8 + 16 && tokens[0] == 1 && tokens[1] == 'a', "size %u", p.size);

    uint32_t start[1 + 14] = {2};
    p = operate(w, 2, WIRE_OP_SEQ_START, start, sizeof start);
    CHECK(status_of(&p) == 0 && p.size == 8, "status %d", status_of(&p));

    uint32_t step[] = {1, 0, 2, 0, 3, 1, 'x', 'y', 'z'};
    p = operate(w, 3, WIRE_OP_STEP, step, sizeof step);
    wire_output out = {0};
    memcpy(&out, p.bytes + 8 + 16, sizeof out);
    CHECK(status_of(&p) == 0 && out.sequence == 2 && out.token == 'z' && out.piece_size == 1 && out.top_count == 1,
          "status %d token %d", status_of(&p), out.token);
    CHECK(p.size == 8 + 16 + sizeof out + 1 + 12 + 1, "size %u", p.size);

    send_frame(w.channel, (wire_head){.type = WIRE_OP, .id = 4, .call = WIRE_OP_SEQ_DROP, .flags = WIRE_FLAG_END}, start, 4);
    p = operate(w, 5, WIRE_OP_SEQ_COPY, start, 12);
    CHECK(p.head.id == 5 && status_of(&p) == -5, "a drop has no result; id %u status %d", p.head.id, status_of(&p));
    p = operate(w, 6, WIRE_OP_STEP, step, 20); // cut inside an item
    CHECK(status_of(&p) == -3 && p.size > 8, "status %d", status_of(&p));
    p = operate(w, 7, 77, NULL, 0);
    CHECK(status_of(&p) == -5, "status %d", status_of(&p));
    leave(h, w);
}

/// A request and a result of several frames each.
static void test_long(host *h) {
    enum { SIZE = 150000, PART = 50000 };
    static uint8_t text[8 + SIZE];
    worker w = backend(h, "{}");
    memset(text + 8, 'q', SIZE);
    for (size_t at = 0; at < sizeof text; at += PART) {
        size_t part = sizeof text - at < PART ? sizeof text - at : PART;
        wire_head head = {.type = WIRE_OP, .id = 9, .call = WIRE_OP_TOKENIZE, .flags = at + part == sizeof text ? WIRE_FLAG_END : 0};
        send_frame(w.channel, head, text + at, part);
    }
    size_t got = 0;
    for (;;) {
        packet p = receive_type(w.channel, WIRE_OP_RESULT);
        CHECK(!p.ended, "after %zu", got);
        got += p.size;
        if (p.ended || (p.head.flags & WIRE_FLAG_END) != 0) break;
    }
    CHECK(got == 8 + SIZE * 4, "got %zu", got);
    leave(h, w);
}

const test BACKEND_TESTS[] = {
    {"open", test_open},
    {"open fails", test_open_fails},
    {"operations", test_operations},
    {"long request, long result", test_long},
    {NULL, NULL},
};
