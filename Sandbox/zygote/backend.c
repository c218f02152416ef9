// Serves the host's operations on one model: takes requests apart, calls the engine, puts results together.
#include "operation.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const swiftlet_backend_v1 *table;
static void *model;
static swiftlet_model_info_v1 info;
enum { SEQUENCES_MAX = 4096 };
static queue waiting; ///< operations that came while a result was sent

// ---- results: a growing buffer with room for the head in front -----------------------------------------------------------

static struct {
    uint8_t *bytes;
    size_t size, room; ///< of the payload, behind the head
} result;

void *result_grow(size_t size) {
    if (result.size + size > result.room) {
        size_t room = result.room == 0 ? 65536 : result.room;
        while (room < result.size + size) room *= 2;
        uint8_t *bytes = room > RESULT_MAX ? NULL : realloc(result.bytes, WIRE_HEAD_SIZE + room);
        if (bytes == NULL) worker_cannot("result", "no memory for it; lower the step or the state size");
        result.bytes = bytes;
        result.room = room;
    }
    void *at = result.bytes + WIRE_HEAD_SIZE + result.size;
    result.size += size;
    return at;
}

void result_put(const void *bytes, size_t size) {
    void *at = result_grow(size);
    if (size > 0) memcpy(at, bytes, size);
}

void result_put_u32(uint32_t number) {
    result_put(&number, sizeof number);
}

void result_put_bytes(swiftlet_bytes text) {
    result_put(text.data, text.data == NULL ? 0 : text.size);
}

/// Sends the result in parts; each further part's head stands on bytes that have left already.
static bool result_send(uint32_t id) {
    for (size_t at = 0;;) {
        size_t left = result.size - at, part = left < WIRE_PAYLOAD_MAX ? left : WIRE_PAYLOAD_MAX;
        wire_head head = {.type = WIRE_OP_RESULT, .flags = part == left ? WIRE_FLAG_END : 0, .size = (uint32_t)part, .id = id};
        if (!channel_send(result.bytes + at, head)) return false;
        at += part;
        if (at == result.size) return true;
    }
}

// ---- requests ------------------------------------------------------------------------------------------------------------

const void *take(request *r, size_t size) {
    if (size > r->size) return NULL;
    const void *at = r->bytes;
    r->bytes += size;
    r->size -= size;
    return at;
}

bool take_u32(request *r, uint32_t *number) {
    const void *at = take(r, sizeof *number);
    if (at != NULL) memcpy(number, at, sizeof *number);
    return at != NULL;
}

// ---- operations: each returns a status and has put its data behind it -----------------------------------------------------

/// Tokens of `text` go to the end of the result.
static int32_t put_tokens(swiftlet_bytes text, uint32_t special, uint32_t start) {
    if (!HAS(table, tokenize)) return SWIFTLET_UNSUPPORTED;
    size_t count = text.size + 16;
    int32_t status = SWIFTLET_TOO_SMALL;
    for (int attempt = 0; attempt < 2 && status == SWIFTLET_TOO_SMALL; attempt++) {
        size_t room = count;
        int32_t *tokens = room > REQUEST_MAX ? NULL : malloc(room * sizeof *tokens);
        if (tokens == NULL) return SWIFTLET_LIMIT;
        status = table->tokenize(model, text, special, start, tokens, &count);
        if (status == SWIFTLET_OK && count <= room) result_put(tokens, count * sizeof *tokens);
        free(tokens);
    }
    return status;
}

static int32_t tokenize(request *r) {
    uint32_t special, start;
    if (!take_u32(r, &special) || !take_u32(r, &start)) return SWIFTLET_INVALID;
    return put_tokens((swiftlet_bytes){.data = r->bytes, .size = r->size}, special, start);
}

/// The chat as text and as tokens goes to the end of the result.
static int32_t put_prompt(const swiftlet_message *messages, size_t count, size_t size) {
    size_t length = size * 2 + count * 64 + 1024;
    int32_t status = SWIFTLET_TOO_SMALL;
    for (int attempt = 0; attempt < 2 && status == SWIFTLET_TOO_SMALL; attempt++) {
        size_t room = length;
        char *text = room > REQUEST_MAX ? NULL : malloc(room);
        if (text == NULL) return SWIFTLET_LIMIT;
        status = table->chat_prompt(model, messages, count, text, &length);
        if (status == SWIFTLET_OK && length <= room) {
            result_put_u32((uint32_t)length);
            result_put(text, length);
            status = put_tokens((swiftlet_bytes){.data = text, .size = length}, 1, 1);
        }
        free(text);
    }
    return status;
}

static int32_t chat(request *r) {
    enum { MESSAGES_MAX = 4096 };
    uint32_t count;
    if (!HAS(table, chat_prompt)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &count) || count > MESSAGES_MAX) return SWIFTLET_INVALID;
    swiftlet_message *messages = calloc(count + 1u, sizeof *messages);
    if (messages == NULL) return SWIFTLET_FAILED;
    size_t size = r->size;
    bool whole = true;
    for (uint32_t i = 0; whole && i < count; i++) {
        uint32_t role, content;
        whole = take_u32(r, &role) && take_u32(r, &content);
        if (!whole) break;
        messages[i].role = (swiftlet_bytes){.data = take(r, role), .size = role};
        messages[i].content = (swiftlet_bytes){.data = take(r, content), .size = content};
        whole = messages[i].role.data != NULL && messages[i].content.data != NULL;
    }
    int32_t status = whole ? put_prompt(messages, count, size) : SWIFTLET_INVALID;
    free(messages);
    return status;
}

static int32_t seq_start(request *r) {
    uint32_t sequence;
    swiftlet_sampling_v1 sampling = {0};
    if (!HAS(table, seq_start)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &sequence)) return SWIFTLET_INVALID;
    const void *fixed = take(r, SWIFTLET_SAMPLING_V1_FIRST_SIZE);
    if (fixed == NULL) return SWIFTLET_INVALID;
    memcpy(&sampling, fixed, SWIFTLET_SAMPLING_V1_FIRST_SIZE);
    sampling.size = sizeof sampling;
    sampling.version = 1;
    // An engine that knows no grammar would answer with anything: nobody may get that in place of what was asked for.
    if (r->size > 0 && !(info.capabilities & SWIFTLET_CAN_GRAMMAR)) return SWIFTLET_UNSUPPORTED;
    sampling.grammar = (swiftlet_bytes){.data = r->bytes, .size = r->size};
    return table->seq_start(model, sequence, &sampling);
}

static void put_output(const swiftlet_step_output *o) {
    uint32_t tops = o->top == NULL ? 0 : o->top_count;
    wire_output out = {
        .sequence = o->sequence, .status = o->status, .end = o->end, .token = o->picked.token,
        .logprob = o->picked.logprob, .piece_size = o->picked.piece.data == NULL ? 0 : (uint32_t)o->picked.piece.size,
        .top_count = tops};
    result_put(&out, sizeof out);
    result_put_bytes(o->picked.piece);
    for (uint32_t i = 0; i < tops; i++) {
        const swiftlet_token_logprob *t = &o->top[i];
        result_put(&t->token, sizeof t->token);
        result_put(&t->logprob, sizeof t->logprob);
        result_put_u32(t->piece.data == NULL ? 0 : (uint32_t)t->piece.size);
        result_put_bytes(t->piece);
    }
}

// ---- steps ---------------------------------------------------------------------------------------------------------------

/// What the last step picked for each sequence, so that a step can come before the host has seen the one before it.
static struct picked {
    int32_t token;
    bool good; ///< the sequence goes on with it
} *picked;

static void forget_picked(uint32_t sequence) {
    if (sequence < info.max_sequences) picked[sequence].good = false;
}

static void note_picked(const swiftlet_step_item *item, const swiftlet_step_output *o) {
    if (item->sequence >= info.max_sequences) return;
    picked[item->sequence] = (struct picked){.token = o->picked.token, .good = item->sample && o->status == SWIFTLET_OK && !o->end};
}

/// Points one item into the request, or at what the last step picked. Returns false when it is cut short.
static bool read_item(request *r, swiftlet_step_item *item, bool *runs) {
    uint32_t how;
    bool whole = take_u32(r, &item->sequence) && take_u32(r, &item->position) && take_u32(r, &item->count) && take_u32(r, &how);
    if (!whole || item->count == 0 || item->count > REQUEST_MAX / sizeof(int32_t)) return false;
    item->sample = how & WIRE_ITEM_SAMPLE;
    *runs = true;
    if (!(how & WIRE_ITEM_FOLLOWS)) {
        item->tokens = take(r, item->count * sizeof(int32_t));
        return item->tokens != NULL;
    }
    if (item->count != 1 || item->sequence >= info.max_sequences) return false;
    item->tokens = &picked[item->sequence].token;
    *runs = picked[item->sequence].good;
    return true;
}

typedef struct step_request {
    swiftlet_step_item *items; ///< those that run
    swiftlet_step_output *outputs;
    uint32_t *places; ///< for each item of the request: its sequence, and in `runs` whether it is among those
    bool *runs;
    uint32_t count, running;
} step_request;

static bool read_step(request *r, step_request *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        swiftlet_step_item *item = &s->items[s->running];
        if (!read_item(r, item, &s->runs[i])) return false;
        s->places[i] = item->sequence;
        if (s->runs[i]) s->running++;
    }
    return true;
}

static void put_step(const step_request *s, uint64_t step_ns) {
    result_put_u32(s->count);
    result_put_u32(0);
    result_put(&step_ns, sizeof step_ns);
    for (uint32_t i = 0, ran = 0; i < s->count; i++) {
        if (s->runs[i]) put_output(&s->outputs[ran++]);
        else put_output(&(swiftlet_step_output){.sequence = s->places[i], .status = SWIFTLET_INVALID});
    }
}

static int32_t run_step(const step_request *s) {
    for (uint32_t i = 0; i < s->running; i++) forget_picked(s->items[i].sequence);
    uint64_t begin = now_ns(), step_ns = 0;
    if (s->running > 0) {
        int32_t status = table->step(model, s->items, s->running, s->outputs);
        step_ns = now_ns() - begin;
        if (status != SWIFTLET_OK) return status;
    }
    for (uint32_t i = 0; i < s->running; i++) note_picked(&s->items[i], &s->outputs[i]);
    put_step(s, step_ns);
    return SWIFTLET_OK;
}

static int32_t step(request *r) {
    uint32_t unused;
    step_request s = {0};
    if (!HAS(table, step)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &s.count) || !take_u32(r, &unused) || s.count == 0 || s.count > SEQUENCES_MAX) return SWIFTLET_INVALID;
    s.items = calloc(s.count, sizeof *s.items);
    s.outputs = calloc(s.count, sizeof *s.outputs);
    s.places = calloc(s.count, sizeof *s.places);
    s.runs = calloc(s.count, sizeof *s.runs);
    int32_t status = s.items == NULL || s.outputs == NULL || s.places == NULL || s.runs == NULL ? SWIFTLET_FAILED
        : !read_step(r, &s) ? SWIFTLET_INVALID
                            : run_step(&s);
    free(s.items);
    free(s.outputs);
    free(s.places);
    free(s.runs);
    return status;
}

static int32_t seq_drop(request *r) {
    uint32_t sequence;
    if (!take_u32(r, &sequence)) return SWIFTLET_INVALID;
    forget_picked(sequence);
    return HAS(table, seq_drop) ? table->seq_drop(model, sequence) : SWIFTLET_OK;
}

static int32_t seq_copy(request *r) {
    uint32_t from, to, tokens;
    if (!HAS(table, seq_copy)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &from) || !take_u32(r, &to) || !take_u32(r, &tokens)) return SWIFTLET_INVALID;
    return table->seq_copy(model, from, to, tokens);
}

static int32_t embed(request *r) {
    if (!HAS(table, embed) || info.embedding_size == 0) return SWIFTLET_UNSUPPORTED;
    size_t begin = result.size;
    float *vector = result_grow(info.embedding_size * sizeof *vector);
    int32_t status = table->embed(model, (const int32_t *)(const void *)r->bytes, r->size / sizeof(int32_t), vector);
    if (status != SWIFTLET_OK) result.size = begin;
    return status;
}

static int32_t seq_save(request *r) {
    uint32_t sequence;
    swiftlet_bytes saved = {0};
    if (!HAS(table, seq_save)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &sequence)) return SWIFTLET_INVALID;
    int32_t status = table->seq_save(model, sequence, &saved);
    if (status == SWIFTLET_OK && saved.size > RESULT_MAX / 2) return SWIFTLET_LIMIT;
    if (status == SWIFTLET_OK) result_put_bytes(saved);
    return status;
}

static int32_t seq_restore(request *r) {
    uint32_t sequence;
    if (!HAS(table, seq_restore)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &sequence)) return SWIFTLET_INVALID;
    return table->seq_restore(model, sequence, (swiftlet_bytes){.data = r->bytes, .size = r->size});
}

static int32_t seq_restore_prefix(request *r) {
    uint32_t sequence, tokens;
    if (!HAS(table, seq_restore_prefix)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &sequence) || !take_u32(r, &tokens)) return SWIFTLET_INVALID;
    return table->seq_restore_prefix(model, sequence, (swiftlet_bytes){.data = r->bytes, .size = r->size}, tokens);
}

static int32_t operate(request *r) {
    switch (r->operation) {
    case WIRE_OP_TOKENIZE: return tokenize(r);
    case WIRE_OP_CHAT: return chat(r);
    case WIRE_OP_SEQ_START: return seq_start(r);
    case WIRE_OP_STEP: return step(r);
    case WIRE_OP_SEQ_DROP: return seq_drop(r);
    case WIRE_OP_SEQ_COPY: return seq_copy(r);
    case WIRE_OP_EMBED: return embed(r);
    case WIRE_OP_SEQ_SAVE: return seq_save(r);
    case WIRE_OP_SEQ_RESTORE: return seq_restore(r);
    case WIRE_OP_SEQ_RESTORE_PREFIX: return seq_restore_prefix(r);
    case WIRE_OP_INFER: return operate_infer(table, model, r);
    case WIRE_OP_TENSORS: return operate_tensors(table, model);
    default: return SWIFTLET_UNSUPPORTED;
    }
}

static const char *reason(int32_t status) {
    switch (status) {
    case SWIFTLET_UNSUPPORTED: return "the engine does not offer this operation";
    case SWIFTLET_INVALID: return "the request breaks the rules of this operation";
    case SWIFTLET_LIMIT: return "a limit of the model is reached";
    default: return "the engine failed and gave no reason (call fail)";
    }
}

static bool answer(request *r) {
    failure_clear();
    result.size = 0;
    result_grow(sizeof(wire_op_result));
    wire_op_result head = {.status = operate(r)};
    if (head.status != SWIFTLET_OK) {
        swiftlet_bytes words = failure_text();
        result.size = sizeof head;
        if (words.size > 0) result_put_bytes(words);
        else result_put(reason(head.status), strlen(reason(head.status)));
    }
    head.size = (uint32_t)(result.size - sizeof head);
    memcpy(result.bytes + WIRE_HEAD_SIZE, &head, sizeof head);
    channel_log_output(r->id);
    return r->operation == WIRE_OP_SEQ_DROP || result_send(r->id);
}

// ---- the loop ------------------------------------------------------------------------------------------------------------

static bool next_frame(frame **f) {
    *f = queue_take(&waiting);
    return *f != NULL || channel_receive(UINT64_MAX, f) == CHANNEL_FRAME;
}

static void keep_waiting(frame *f) {
    queue_add(&waiting, f);
}

/// Gathers a request of several frames and answers it.
static bool answer_long(frame *first) {
    static uint8_t *gathered;
    static size_t room;
    size_t size = 0;
    request r = {.id = first->head.id, .operation = first->head.call};
    for (frame *f = first;;) {
        if (f->head.type != WIRE_OP || f->head.id != r.id || size + f->head.size > REQUEST_MAX)
            worker_cannot("operation", "a request of several frames is interrupted, or over 64 MiB");
        if (size + f->head.size > room) {
            room = (size + f->head.size) * 2;
            gathered = realloc(gathered, room);
            if (gathered == NULL) worker_cannot("operation", "no memory for the request");
        }
        memcpy(gathered + size, f->payload, f->head.size);
        size += f->head.size;
        bool last = (f->head.flags & WIRE_FLAG_END) != 0;
        frame_drop(f);
        if (last) break;
        if (!next_frame(&f)) return false;
    }
    r.bytes = gathered;
    r.size = size;
    return answer(&r);
}

static bool serve_one(frame *f) {
    if (f->head.type != WIRE_OP) {
        frame_drop(f);
        return true;
    }
    if ((f->head.flags & WIRE_FLAG_END) == 0) return answer_long(f);
    request r = {.id = f->head.id, .operation = f->head.call, .bytes = f->payload, .size = f->head.size};
    bool alive = answer(&r);
    frame_drop(f);
    return alive;
}

void backend_serve(void) {
    channel_log_output(0);
    for (frame *f; next_frame(&f) && serve_one(f);) {}
    if (HAS(table, close)) table->close(model);
    _exit(0);
}

// ---- opening -------------------------------------------------------------------------------------------------------------

static void log_line(int32_t level, swiftlet_bytes text) {
    channel_log(0, level, text);
}

void backend_open(const loaded *l, const job *j) {
    table = l->backend;
    channel_sink = keep_waiting;
    const wire_start *s = &j->start;
    swiftlet_open_v1 how = {
        .size = sizeof how, .version = 1, .model_path = {.data = j->model, .size = strlen(j->model)},
        .config = {.data = j->config, .size = j->config_size}, .memory_budget = s->memory_bytes,
        .device_budget = s->device_bytes, .context_tokens = s->context_tokens, .max_sequences = s->max_sequences,
        .max_step_tokens = s->max_step_tokens, .threads = s->threads, .log = log_line, .fail = failure_set};
    int32_t status = table->open(&how, &model);
    info = (swiftlet_model_info_v1){.size = sizeof info, .version = 1};
    if (status == SWIFTLET_OK) status = table->describe(model, &info);
    if (info.max_sequences > SEQUENCES_MAX) worker_cannot("describe", "the engine says that it holds more than 4096 sequences");
    if (status == SWIFTLET_OK) picked = calloc(info.max_sequences + 1u, sizeof *picked);
    if (status == SWIFTLET_OK && picked != NULL) return;
    char cause[FAILURE_MAX + 1];
    swiftlet_bytes words = failure_text();
    memcpy(cause, words.data, words.size);
    cause[words.size] = 0;
    worker_cannot("open", words.size > 0 ? cause : "the engine could not open the model and gave no reason (call fail)");
}

void backend_describe(wire_model *out) {
    *out = (wire_model){
        .capabilities = info.capabilities, .vocabulary = info.vocabulary, .context_tokens = info.context_tokens,
        .sequence_tokens = info.sequence_tokens, .max_sequences = info.max_sequences,
        .max_step_tokens = info.max_step_tokens, .embedding_size = info.embedding_size,
        .bytes_per_token = info.bytes_per_token, .model_bytes = info.model_bytes};
}
