// The operations of a backend worker, driven frame by frame against a small engine.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static worker backend_of(host *h, uint32_t kind, const char *config) {
    wire_start job = job_default();
    job.kind = kind;
    job.pids = 4;
    job.threads = 2;
    job.max_sequences = 4;
    job.max_step_tokens = 64;
    return host_worker(h, job, "engine.so", config);
}

static worker backend(host *h, const char *config) {
    return backend_of(h, WIRE_KIND_BACKEND, config);
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

    uint32_t follows[] = {1, 0, 2, 3, 1, WIRE_ITEM_SAMPLE | WIRE_ITEM_FOLLOWS};
    p = operate(w, 8, WIRE_OP_STEP, follows, sizeof follows);
    memcpy(&out, p.bytes + 8 + 16, sizeof out);
    CHECK(status_of(&p) == 0 && out.status == 0 && out.token == 'z', "it goes on with what was picked: %d, %d", out.status, out.token);

    send_frame(w.channel, (wire_head){.type = WIRE_OP, .id = 4, .call = WIRE_OP_SEQ_DROP, .flags = WIRE_FLAG_END}, start, 4);
    p = operate(w, 5, WIRE_OP_SEQ_COPY, start, 12);
    CHECK(p.head.id == 5 && status_of(&p) == -5, "a drop has no result; id %u status %d", p.head.id, status_of(&p));
    p = operate(w, 9, WIRE_OP_STEP, follows, sizeof follows);
    memcpy(&out, p.bytes + 8 + 16, sizeof out);
    CHECK(status_of(&p) == 0 && out.sequence == 2 && out.status == -3, "nothing to follow after a drop: %d", out.status);
    follows[2] = 77;
    p = operate(w, 10, WIRE_OP_STEP, follows, sizeof follows);
    CHECK(status_of(&p) == -3, "no such sequence: %d", status_of(&p));
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

/// The words with which opening failed.
static const char *open_words(host *h, uint32_t kind, const char *config) {
    static packet p;
    worker w = backend_of(h, kind, config);
    p = receive_type(w.channel, WIRE_FAILED);
    host_exited(h, w.number);
    close(w.channel);
    return p.ended ? "nothing" : text_of(&p);
}

typedef struct __attribute__((packed)) one_tensor {
    uint32_t count, unused;
    wire_tensor head;
    int64_t extent;
    char name[8];
    uint8_t data[8];
} one_tensor;

static one_tensor a_tensor(const char *name, uint32_t type, int64_t extent, uint64_t size) {
    one_tensor t = {.count = 1, .head = {.name_size = (uint32_t)strlen(name), .type = type, .rank = 1, .data_size = size}, .extent = extent};
    memcpy(t.name, name, strlen(name));
    return t;
}

static void test_tensors(host *h) {
    worker w = backend(h, "{}");
    packet p = operate(w, 1, WIRE_OP_TENSORS, NULL, 0);
    uint32_t counts[2] = {0};
    memcpy(counts, p.bytes + 8, sizeof counts);
    CHECK(status_of(&p) == 0 && counts[0] == 1 && counts[1] == 1 && p.size == 8 + 8 + 2 * 40, "status %d size %u", status_of(&p), p.size);
    one_tensor good = a_tensor("x", 12, 2, 8);
    p = operate(w, 2, WIRE_OP_INFER, &good, sizeof good);
    CHECK(status_of(&p) == 0 && p.size == 8 + 8 + sizeof good, "status %d size %u", status_of(&p), p.size);
    CHECK(memcmp(p.bytes + 8 + 16, (char *)&good + 8, sizeof good - 8) == 0, "the tensor comes back as it went");
    leave(h, w);
}

/// No engine sees a tensor whose numbers disagree.
static void test_tensors_that_lie(host *h) {
    worker w = backend(h, "{}");
    one_tensor wrong[] = {
        a_tensor("x", 12, 3, 8), a_tensor("x", 12, -1, 8), a_tensor("x", 12, INT64_MAX, 8), a_tensor("x", 0, 2, 8),
        a_tensor("x", 15, 2, 8), a_tensor("x", 12, 2, UINT64_MAX), a_tensor("x", 12, 2, 16), a_tensor("", 12, 2, 8),
        a_tensor("x", 14, 1, 8), // a string whose length is 0, and four bytes behind it
        a_tensor("x", 12, 2, 8), a_tensor("x", 12, 2, 8), a_tensor("x", 12, 2, 8)};
    wrong[9].head.rank = 17;
    wrong[10].head.name_size = 4000;
    wrong[11].count = 2;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        packet p = operate(w, (uint32_t)i, WIRE_OP_INFER, &wrong[i], sizeof wrong[i]);
        CHECK(status_of(&p) == -3, "lie %zu: status %d", i, status_of(&p));
    }
    one_tensor good = a_tensor("x", 12, 2, 8);
    for (size_t size = 0; size < sizeof good; size++) {
        packet p = operate(w, 99, WIRE_OP_INFER, &good, size);
        CHECK(status_of(&p) == -3, "cut at %zu: status %d", size, status_of(&p));
    }
    leave(h, w);
}

static void test_code(host *h) {
    CHECK(strstr(open_words(h, WIRE_KIND_JIT, "code"), "code 42") != NULL, "an engine that may make code");
    CHECK(strstr(open_words(h, WIRE_KIND_BACKEND, "code"), "code refused") != NULL, "an engine that may not");
    one_tensor ask = a_tensor("code", 12, 2, 8);
    const struct { uint32_t kind; const char *words; } CASES[] = {{WIRE_KIND_JIT, "code 42"}, {WIRE_KIND_BACKEND, "code refused"}};
    for (size_t i = 0; i < 2; i++) {
        worker w = backend_of(h, CASES[i].kind, "{}");
        packet p = operate(w, 1, WIRE_OP_INFER, &ask, sizeof ask);
        CHECK(memmem(p.bytes, p.size, CASES[i].words, strlen(CASES[i].words)) != NULL, "while serving: %u", CASES[i].kind);
        leave(h, w);
    }
}

static void test_processors(host *h) {
    char expected[64];
    snprintf(expected, sizeof expected, "processors %ld, self absent", sysconf(_SC_NPROCESSORS_ONLN));
    const char *words = open_words(h, WIRE_KIND_BACKEND, "processors");
    if ((h->have & WIRE_LAYER_MOUNT) != 0) CHECK(strstr(words, expected) != NULL, "%s", words);
}

const test BACKEND_TESTS[] = {
    {"open", test_open},
    {"open fails", test_open_fails},
    {"operations", test_operations},
    {"long request, long result", test_long},
    {"tensors", test_tensors},
    {"tensors that lie", test_tensors_that_lie},
    {"code", test_code},
    {"processors", test_processors},
    {NULL, NULL},
};
