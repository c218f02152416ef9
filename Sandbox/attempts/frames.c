// Frames that no honest worker sends, straight into the channel: the host must disown whoever sent them.
#include "acts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "swiftlet_wire.h"

static uint8_t packet[2 * WIRE_FRAME_MAX];

/// Sends a frame that says `said` and carries `size` bytes.
static int forge(uint16_t type, uint16_t flags, uint32_t said, uint32_t id, uint32_t call, const void *payload, size_t size) {
    wire_head head = {.type = type, .flags = flags, .size = said, .id = id, .call = call};
    memcpy(packet, &head, sizeof head);
    if (size > 0 && payload != NULL) memcpy(packet + sizeof head, payload, size);
    while (send(3, packet, sizeof head + size, MSG_NOSIGNAL) < 0)
        if (errno != EINTR && errno != EAGAIN) return errno;
    return 0;
}

static uint32_t own(void) { return (uint32_t)WORLD.invocation; }

/// An honest head with this payload.
static int say(uint16_t type, uint16_t flags, const void *payload, size_t size) {
    return forge(type, flags, (uint32_t)size, own(), 0, payload, size);
}

/// The host had time enough to end us, and has not.
static int swallowed(void) {
    struct timespec moment = {0, 20000000};
    for (int i = 0; i < 40; i++) nanosleep(&moment, NULL);
    return 0;
}

static int after(int status) { return status != 0 ? status : swallowed(); }

// ---- lengths --------------------------------------------------------------------------------------------------------------

static int too_long(void) { return after(forge(WIRE_DATA, 0, 4000, own(), 0, "abc", 3)); }
static int too_short(void) { return after(forge(WIRE_DATA, 0, 1, own(), 0, "abc", 3)); }
static int enormous(void) { return after(forge(WIRE_DATA, 0, 0xffffffffu, own(), 0, "abc", 3)); }
static int half_head(void) { return after(send(3, "halfhead", 8, MSG_NOSIGNAL) < 0 ? errno : 0); }
static int one_byte(void) { return after(send(3, "x", 1, MSG_NOSIGNAL) < 0 ? errno : 0); }
static int nothing(void) { return after(send(3, "", 0, MSG_NOSIGNAL) < 0 ? errno : 0); } // reads like an end of file
static int over_the_bound(void) { return after(forge(WIRE_DATA, 0, WIRE_FRAME_MAX, own(), 0, NULL, WIRE_FRAME_MAX)); }

// ---- types and identities -------------------------------------------------------------------------------------------------

static int typed(uint16_t type) { return after(forge(type, 0, 0, own(), 0, NULL, 0)); }
static int type_zero(void) { return typed(0); }
static int type_unknown(void) { return typed(7777); }
static int type_invoke(void) { return typed(WIRE_INVOKE); }
static int type_host_reply(void) { return typed(WIRE_HOST_REPLY); }
static int type_cancel(void) { return typed(WIRE_CANCEL); }
static int type_kill(void) { return typed(WIRE_KILL); }
static int type_exited(void) { return typed(WIRE_EXITED); }
static int type_spawn(void) { return typed(WIRE_SPAWN); }
static int type_zygote_gone(void) { return typed(WIRE_ZYGOTE_GONE); }
static int type_ready(void) {
    wire_ready again = {.abi = 1, .kind = 1};
    return after(say(WIRE_READY, 0, &again, sizeof again));
}
static int type_failed(void) { return after(say(WIRE_FAILED, 0, "x: y", 4)); }
static int type_result(void) {
    wire_op_result done = {0};
    return after(say(WIRE_OP_RESULT, WIRE_FLAG_END, &done, sizeof done));
}
static int answer_for(uint32_t id) {
    wire_response head = {.status = 200};
    return after(forge(WIRE_RESPONSE, WIRE_FLAG_END, sizeof head, id, 0, &head, sizeof head));
}
static int answer_for_next(void) { return answer_for(own() + 1); }
static int answer_for_former(void) { return answer_for(own() - 1); }
static int answer_for_nobody(void) { return answer_for(0); }
static int answer_for_high(void) { return answer_for(own() ^ 0x80000000u); }
static int finish_for_next(void) {
    wire_finished done = {0};
    return after(forge(WIRE_FINISHED, 0, sizeof done, own() + 1, 0, &done, sizeof done));
}

// ---- answers ----------------------------------------------------------------------------------------------------------------

static int head_of(uint32_t status, uint32_t fields) {
    wire_response head = {.status = status, .header_count = fields};
    return after(say(WIRE_RESPONSE, 0, &head, sizeof head));
}
static int status_zero(void) { return head_of(0, 0); }
static int status_hundred(void) { return head_of(101, 0); }
static int status_enormous(void) { return head_of(0xffffffffu, 0); }
static int fields_missing(void) { return head_of(200, 3); }
static int fields_too_many(void) { return head_of(200, WIRE_HEADERS_MAX + 1); }
static int fields_enormous(void) { return head_of(200, 0xffffffffu); }
static int field_sizes(uint32_t name, uint32_t value) {
    struct {
        wire_response head;
        uint32_t sizes[2];
        char text[8];
    } wrong = {{200, 1}, {name, value}, "x-a: 1"};
    return after(say(WIRE_RESPONSE, 0, &wrong, sizeof wrong));
}
static int field_too_long(void) { return field_sizes(4, 5000); }
static int field_wraps(void) { return field_sizes(0xfffffff0u, 0x20); }
static int half_response(void) { return after(say(WIRE_RESPONSE, 0, "\310\0\0\0", 4)); }
static int data_first(void) { return after(say(WIRE_DATA, 0, "early", 5)); }
static int heads_twice(void) {
    wire_response head = {.status = 200};
    int status = say(WIRE_RESPONSE, 0, &head, sizeof head);
    return status != 0 ? status : after(say(WIRE_RESPONSE, 0, &head, sizeof head));
}
static int half_finished(void) { return after(say(WIRE_FINISHED, 0, "\0\0\0\0", 4)); }
static int half_trailer(void) {
    wire_response head = {.status = 200};
    return after(say(WIRE_RESPONSE, WIRE_FLAG_END | WIRE_FLAG_FINISHED, &head, sizeof head));
}

// ---- host calls -----------------------------------------------------------------------------------------------------------

static int call_of(uint32_t name_size, uint32_t call, uint16_t flags, size_t size) {
    static uint8_t payload[WIRE_PAYLOAD_MAX];
    memcpy(payload, &name_size, sizeof name_size);
    return forge(WIRE_CALL, flags, (uint32_t)size, own(), call, payload, size);
}
static int call_name_too_long(void) { return after(call_of(5000, 1, WIRE_FLAG_END, 8)); }
static int call_name_wraps(void) { return after(call_of(0xfffffffeu, 1, WIRE_FLAG_END, 8)); }
static int call_half(void) { return after(forge(WIRE_CALL, WIRE_FLAG_END, 2, own(), 1, "ab", 2)); }
static int call_same_twice(void) {
    int status = call_of(2, 7, 0, 8);
    return status != 0 ? status : after(call_of(2, 7, 0, 8));
}
static int call_too_many(void) {
    for (uint32_t i = 1; i <= 2 * WIRE_CALLS_MAX; i++) {
        int status = call_of(2, i, 0, 8);
        if (status != 0) return status;
    }
    return swallowed();
}
static int call_data_first(void) { return after(forge(WIRE_CALL_DATA, 0, 3, own(), 9, "abc", 3)); }
static int call_data_flood(void) {
    // Sixty-four halves of calls, each as long as one may be: memory of the host's that nobody counts.
    static uint8_t block[WIRE_PAYLOAD_MAX];
    for (uint32_t i = 1; i <= WIRE_CALLS_MAX; i++) {
        int status = call_of(2, i, 0, 8);
        for (int part = 0; part < 60 && status == 0; part++)
            status = forge(WIRE_CALL_DATA, 0, WIRE_PAYLOAD_MAX, own(), i, block, sizeof block);
        if (status != 0) return status;
    }
    return swallowed();
}
static int call_flood(void) {
    // Whole calls of something that does not exist, without ever reading the answers.
    for (uint32_t i = 1; i < 200000; i++) {
        int status = call_of(2, i, WIRE_FLAG_END, 6);
        if (status != 0) return status;
    }
    return swallowed();
}

// ---- floods, and leaving ----------------------------------------------------------------------------------------------------

static int flood_of_logs(void) {
    static char text[8192];
    memset(text, 'x', sizeof text);
    for (;;) forge(WIRE_LOG, 0, sizeof text, 0, 1, text, sizeof text);
    return 0;
}
static int flood_of_long_logs(void) {
    // One letter and thousands of marks above it: a single character, and as many bytes as a frame holds.
    static char text[WIRE_PAYLOAD_MAX];
    for (size_t i = 0; i + 2 < sizeof text; i += 2) memcpy(text + i, "\314\201", 2);
    text[0] = 'e', text[1] = 'e';
    for (;;) forge(WIRE_LOG, 0, sizeof text, 0, 0xffffffffu, text, sizeof text);
    return 0;
}
static int flood_of_nothing(void) {
    for (;;) forge(WIRE_LOG, 0, 0, 0, 0, NULL, 0);
    return 0;
}
static int endless_answer(void) {
    static char block[32768];
    wire_response head = {.status = 200};
    say(WIRE_RESPONSE, 0, &head, sizeof head);
    for (;;)
        if (say(WIRE_DATA, 0, block, sizeof block) != 0) return EPIPE;
    return 0;
}
static int close_channel(void) {
    close(3);
    return swallowed();
}
static int leave_silently(void) { _exit(0); }

const attempt FRAME_ATTEMPTS[] = {
    {"frame-too-long", too_long, DISOWNED, "host", 0, NULL},
    {"frame-too-short", too_short, DISOWNED, "host", 0, NULL},
    {"frame-enormous", enormous, DISOWNED, "host", 0, NULL},
    {"frame-half-head", half_head, DISOWNED, "host", 0, NULL},
    {"frame-one-byte", one_byte, DISOWNED, "host", 0, NULL},
    {"frame-empty", nothing, DISOWNED, "host", 0, NULL},
    {"frame-over-bound", over_the_bound, DISOWNED, "host", 0, NULL},
    {"frame-type-zero", type_zero, DISOWNED, "host", 0, NULL},
    {"frame-type-unknown", type_unknown, DISOWNED, "host", 0, NULL},
    {"frame-invoke", type_invoke, DISOWNED, "host", 0, NULL},
    {"frame-host-reply", type_host_reply, DISOWNED, "host", 0, NULL},
    {"frame-cancel", type_cancel, DISOWNED, "host", 0, NULL},
    {"frame-kill", type_kill, DISOWNED, "host", 0, NULL},
    {"frame-exited", type_exited, DISOWNED, "host", 0, NULL},
    {"frame-spawn", type_spawn, DISOWNED, "host", 0, NULL},
    {"frame-zygote-gone", type_zygote_gone, DISOWNED, "host", 0, NULL},
    {"frame-ready-again", type_ready, DISOWNED, "host", 0, NULL},
    {"frame-failed", type_failed, DISOWNED, "host", 0, NULL},
    {"frame-op-result", type_result, DISOWNED, "host", 0, NULL},
    {"answer-for-next", answer_for_next, DISOWNED, "host", 0, NULL},
    {"answer-for-former", answer_for_former, DISOWNED, "host", 0, NULL},
    {"answer-for-nobody", answer_for_nobody, DISOWNED, "host", 0, NULL},
    {"answer-for-high", answer_for_high, DISOWNED, "host", 0, NULL},
    {"finish-for-next", finish_for_next, DISOWNED, "host", 0, NULL},
    {"answer-status-zero", status_zero, DISOWNED, "host", 0, NULL},
    {"answer-status-101", status_hundred, DISOWNED, "host", 0, NULL},
    {"answer-status-enormous", status_enormous, DISOWNED, "host", 0, NULL},
    {"answer-fields-missing", fields_missing, DISOWNED, "host", 0, NULL},
    {"answer-fields-too-many", fields_too_many, DISOWNED, "host", 0, NULL},
    {"answer-fields-enormous", fields_enormous, DISOWNED, "host", 0, NULL},
    {"answer-field-too-long", field_too_long, DISOWNED, "host", 0, NULL},
    {"answer-field-wraps", field_wraps, DISOWNED, "host", 0, NULL},
    {"answer-half", half_response, DISOWNED, "host", 0, NULL},
    {"answer-data-first", data_first, DISOWNED, "host", 0, NULL},
    {"answer-twice", heads_twice, DISOWNED, "host", 0, NULL},
    {"answer-half-finished", half_finished, DISOWNED, "host", 0, NULL},
    {"answer-half-trailer", half_trailer, DISOWNED, "host", 0, NULL},
    {"call-name-too-long", call_name_too_long, DISOWNED, "host", 0, NULL},
    {"call-name-wraps", call_name_wraps, DISOWNED, "host", 0, NULL},
    {"call-half", call_half, DISOWNED, "host", 0, NULL},
    {"call-same-twice", call_same_twice, DISOWNED, "host", 0, NULL},
    {"call-too-many", call_too_many, DISOWNED, "host", 0, NULL},
    {"call-data-first", call_data_first, DISOWNED, "host", 0, NULL},
    {"call-data-flood", call_data_flood, DISOWNED, "host", 0, NULL},
    {"call-flood", call_flood, DISOWNED, "host", 0, NULL},
    {"log-flood", flood_of_logs, DISOWNED, "host", WITHOUT_ANSWER, NULL},
    {"log-flood-marks", flood_of_long_logs, DISOWNED, "host", WITHOUT_ANSWER, NULL},
    {"log-flood-empty", flood_of_nothing, DISOWNED, "host", WITHOUT_ANSWER, NULL},
    {"answer-endless", endless_answer, DISOWNED, "host", WITHOUT_ANSWER, NULL},
    {"close-channel", close_channel, DISOWNED, "host", 0, NULL},
    {"leave", leave_silently, DISOWNED, "host", 0, NULL},
    END_OF_TABLE,
};
