// What a handler may do: answer, stream, log, call the host, be cancelled.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static void test_echo(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    for (uint64_t id = 7; id < 10; id++) { // one worker serves many
        send_invoke(w.channel, id, "/echo", "hello", 5, true);
        packet p = receive_type(w.channel, WIRE_RESPONSE);
        uint32_t status;
        size_t size;
        wire_finished finished;
        const uint8_t *body = response_body(&p, &status, &size, &finished);
        CHECK(!p.ended && p.head.id == id, "type %u: %s", p.head.type, text_of(&p));
        CHECK(status == 201 && size == 5 && memcmp(body, "hello", 5) == 0, "status %u size %zu", status, size);
        CHECK(finished.status == 0, "one packet carries the answer and its end, got flags %u", p.head.flags);
    }
    leave(h, w);
}

/// Two whole invocations come while the first still waits for its body.
static void test_in_turn(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 1, "/echo", "a", 1, false);
    send_invoke(w.channel, 2, "/echo", "bb", 2, true);
    send_invoke(w.channel, 3, "/nothing", "", 0, true);
    send_frame(w.channel, (wire_head){.type = WIRE_BODY, .id = 1, .flags = WIRE_FLAG_END}, "aa", 2);
    static const size_t SIZES[] = {3, 2, 0};
    for (uint32_t id = 1; id <= 3; id++) {
        packet p = receive_type(w.channel, WIRE_RESPONSE);
        uint32_t status;
        size_t size;
        wire_finished finished;
        response_body(&p, &status, &size, &finished);
        CHECK(!p.ended && p.head.id == id && size == SIZES[id - 1], "answer %u of %u, %zu bytes", p.head.id, id, size);
        CHECK(finished.status == 0, "one packet carries the answer and its end, got flags %u", p.head.flags);
    }
    leave(h, w);
}

static void test_ready(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    packet p = receive(w.channel, 5000);
    wire_ready ready;
    memcpy(&ready, p.bytes, sizeof ready);
    CHECK(p.head.type == WIRE_READY && ready.abi == 1 && ready.kind == WIRE_KIND_HANDLER, "type %u", p.head.type);
    CHECK(ready.name_size == 7 && memcmp(p.bytes + sizeof ready, "subject1.0", 10) == 0, "name %u", ready.name_size);
    CHECK(ready.pid > 1, "pid %d", ready.pid);
    leave(h, w);
}

static void test_empty_answer(host *h) {
    worker w;
    packet p = ask(h, &w, "subject.so", "/nothing");
    uint32_t status = 0;
    size_t size = 1;
    wire_finished finished;
    response_body(&p, &status, &size, &finished);
    CHECK(status == 200 && size == 0 && finished.status == 0, "status %u size %zu", status, size);
    leave(h, w);
}

/// Sends 400 KB in frames and gets them back, more than a socket holds.
static void test_long_body(host *h) {
    enum { PART = 50000, PARTS = 8 };
    static uint8_t part[PART];
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 1, "/echo", "", 0, false);
    size_t got = 0, wrong = 0;
    int sent = 0;
    for (bool over = false; !over;) {
        if (sent < PARTS) {
            memset(part, 'a' + sent, PART);
            wire_head head = {.type = WIRE_BODY, .id = 1, .flags = ++sent == PARTS ? WIRE_FLAG_END : 0};
            send_frame(w.channel, head, part, PART);
        }
        for (packet p; !over && !(p = receive(w.channel, sent < PARTS ? 20 : 5000)).late;) {
            if (p.ended) break;
            size_t size = p.size, at = 0;
            uint32_t status;
            wire_finished finished;
            const uint8_t *bytes = p.bytes;
            if (p.head.type == WIRE_RESPONSE) bytes = response_body(&p, &status, &size, &finished);
            else if (p.head.type != WIRE_DATA) continue;
            else if ((p.head.flags & WIRE_FLAG_FINISHED) != 0) size -= sizeof finished;
            for (; at < size; at++, got++) wrong += bytes[at] != 'a' + got / PART;
            over = (p.head.flags & WIRE_FLAG_FINISHED) != 0;
        }
    }
    CHECK(got == (size_t)PART * PARTS && wrong == 0, "got %zu, %zu wrong", got, wrong);
    leave(h, w);
}

static void test_host_call(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 3, "/call", "{\"x\":1}", 7, true);
    packet p = receive_type(w.channel, WIRE_CALL);
    uint32_t name_size = 0;
    memcpy(&name_size, p.bytes, sizeof name_size);
    CHECK(name_size == 9 && memcmp(p.bytes + 4, "test.call{\"x\":1}", 16) == 0, "%u %.20s", name_size, p.bytes + 4);
    CHECK((p.head.flags & WIRE_FLAG_END) != 0 && p.head.id == 3, "flags %u id %u", p.head.flags, p.head.id);
    // An answer to a call nobody made, then ours in two parts.
    send_frame(w.channel, (wire_head){.type = WIRE_HOST_REPLY, .id = 3, .call = 99, .flags = WIRE_FLAG_END}, "no", 2);
    send_frame(w.channel, (wire_head){.type = WIRE_HOST_REPLY, .id = 3, .call = p.head.call}, "one", 3);
    send_frame(w.channel, (wire_head){.type = WIRE_HOST_REPLY, .id = 3, .call = p.head.call, .flags = WIRE_FLAG_END}, "two", 3);
    p = receive(w.channel, 5000);
    CHECK(p.head.type == WIRE_RESPONSE && memcmp(p.bytes + 8, "one", 3) == 0, "type %u", p.head.type);
    p = receive(w.channel, 5000);
    CHECK(p.head.type == WIRE_DATA && memcmp(p.bytes, "two", 3) == 0, "type %u", p.head.type);
    p = receive(w.channel, 5000);
    CHECK(p.head.type == WIRE_DATA && (p.head.flags & WIRE_FLAG_FINISHED) != 0, "type %u flags %u", p.head.type, p.head.flags);
    leave(h, w);
}

static void test_timeout(host *h) {
    worker w;
    packet p = ask(h, &w, "subject.so", "/wait");
    uint32_t status;
    size_t size = 0;
    wire_finished finished;
    const uint8_t *body = response_body(&p, &status, &size, &finished);
    CHECK(size == 7 && memcmp(body, "timeout", 7) == 0, "size %zu", size);
    leave(h, w);
}

/// The handler writes for ever to a host that does not read, and then says stop.
static void test_cancel_while_writing(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 5, "/endless", "", 0, true);
    receive_type(w.channel, WIRE_RESPONSE);
    usleep(20000);
    send_frame(w.channel, (wire_head){.type = WIRE_CANCEL, .id = 5}, NULL, 0);
    packet p;
    do p = receive(w.channel, 5000);
    while (!p.ended && p.head.type == WIRE_DATA);
    wire_finished finished = {0};
    memcpy(&finished, p.bytes, sizeof finished);
    CHECK(p.head.type == WIRE_FINISHED && finished.status == -2, "type %u status %d", p.head.type, finished.status);
    send_invoke(w.channel, 6, "/echo", "again", 5, true); // the worker lives on
    p = receive_type(w.channel, WIRE_RESPONSE);
    CHECK(!p.ended && p.head.id == 6, "type %u", p.head.type);
    leave(h, w);
}

static void test_logs(host *h) {
    static const char *const EXPECTED[] = {"four", "one", "two", "three"}; // log at once; what is printed, at the end
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 2, "/print", "", 0, true);
    receive_type(w.channel, WIRE_READY);
    for (size_t i = 0; i < 4; i++) {
        packet p = receive(w.channel, 5000);
        CHECK(p.head.type == WIRE_LOG && strcmp(text_of(&p), EXPECTED[i]) == 0, "type %u %s", p.head.type, text_of(&p));
        CHECK(p.head.call == (i == 0 ? 2u : 1u) && p.head.id == 2, "level %u id %u", p.head.call, p.head.id);
    }
    leave(h, w);
}

static void test_failure_text(host *h) {
    worker w = host_worker(h, job_default(), "subject.so", "{}");
    send_invoke(w.channel, 2, "/fail", "", 0, true);
    packet p = receive_type(w.channel, WIRE_FINISHED);
    wire_finished finished;
    memcpy(&finished, p.bytes, sizeof finished);
    CHECK(finished.status == -1 && strcmp(text_of(&p) + sizeof finished, "the soup is cold") == 0, "status %d", finished.status);
    leave(h, w);
}

static void test_probe(host *h) {
    wire_start job = job_default();
    job.kind = WIRE_KIND_PROBE;
    worker w = host_worker(h, job, "init-crashes.so", "crash"); // init must not run
    packet p = receive(w.channel, 5000);
    CHECK(p.head.type == WIRE_READY, "type %u: %s", p.head.type, text_of(&p));
    exited e = host_exited(h, w.number);
    CHECK(e.came && e.told.status == 0, "status %x", e.told.status);
    close(w.channel);
}

static void test_bundled_libraries(host *h) {
    worker w = host_worker(h, job_default(), "bundled.so", "{}");
    packet p = receive(w.channel, 5000);
    CHECK(p.head.type == WIRE_READY, "type %u: %s", p.head.type, text_of(&p));
    leave(h, w);
}

/// Ten at once, more than are prepared.
static void test_burst(host *h) {
    worker w[10];
    for (int i = 0; i < 10; i++) {
        w[i] = host_worker(h, job_default(), "subject.so", "{}");
        send_invoke(w[i].channel, 1, "/echo", "x", 1, true);
    }
    for (int i = 0; i < 10; i++) {
        packet p = receive_type(w[i].channel, WIRE_RESPONSE);
        CHECK(!p.ended, "worker %d: type %u %s", i, p.head.type, text_of(&p));
    }
    for (int i = 0; i < 10; i++) close(w[i].channel);
    for (int i = 0; i < 10; i++) {
        packet p;
        do p = receive(h->zygote, 5000);
        while (!p.ended && p.head.type != WIRE_EXITED);
        CHECK(!p.ended, "exit %d", i);
    }
}

const test HANDLER_TESTS[] = {
    {"echo", test_echo},
    {"in turn", test_in_turn},
    {"ready", test_ready},
    {"empty answer", test_empty_answer},
    {"long body", test_long_body},
    {"host call", test_host_call},
    {"timeout", test_timeout},
    {"cancel while writing", test_cancel_while_writing},
    {"logs", test_logs},
    {"failure text", test_failure_text},
    {"probe", test_probe},
    {"bundled libraries", test_bundled_libraries},
    {"burst", test_burst},
    {NULL, NULL},
};
