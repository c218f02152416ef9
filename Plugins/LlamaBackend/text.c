// Text to tokens, tokens to bytes, and a chat to the prompt that the model was trained on.
#include "llama_backend.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

int32_t model_tokenize(void *model, swiftlet_bytes text, uint32_t special, uint32_t start, int32_t *tokens, size_t *count) {
    const llama_backend_model *m = model;
    if (text.size > INT32_MAX / 2) return refuse(SWIFTLET_FAILED, "tokenize: a text of %zu bytes; send less", text.size);
    int32_t room = tokens == NULL ? 0 : *count > INT32_MAX ? INT32_MAX : (int32_t)*count;
    const char *bytes = text.size == 0 ? "" : text.data;
    int32_t got = llama_tokenize(m->vocabulary, bytes, (int32_t)text.size, tokens, room, start != 0, special != 0);
    if (got == INT32_MIN) return refuse(SWIFTLET_FAILED, "tokenize: more tokens than can be counted; send less text");
    *count = (size_t)(got < 0 ? -got : got);
    return got < 0 ? SWIFTLET_TOO_SMALL : SWIFTLET_OK;
}

static char *zero_ended(swiftlet_bytes text) {
    char *copy = malloc(text.size + 1);
    if (copy == NULL) return NULL;
    if (text.size > 0) memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    return copy;
}

static bool has_zero(swiftlet_bytes text) { return text.size > 0 && memchr(text.data, 0, text.size) != NULL; }

/// Copies the messages with the zero that llama.cpp wants at the end. NULL: no memory.
static llama_chat_message *copy_messages(const swiftlet_message *messages, size_t count) {
    llama_chat_message *copies = calloc(count + 1, sizeof *copies);
    for (size_t i = 0; copies != NULL && i < count; i++) {
        copies[i].role = zero_ended(messages[i].role);
        copies[i].content = zero_ended(messages[i].content);
    }
    return copies;
}

static bool complete(const llama_chat_message *copies, size_t count) {
    for (size_t i = 0; copies != NULL && i < count; i++) {
        if (copies[i].role == NULL || copies[i].content == NULL) return false;
    }
    return copies != NULL;
}

static void free_messages(llama_chat_message *copies, size_t count) {
    for (size_t i = 0; copies != NULL && i < count; i++) {
        free((void *)copies[i].role);
        free((void *)copies[i].content);
    }
    free(copies);
}

int32_t model_chat_prompt(void *model, const swiftlet_message *messages, size_t message_count, char *text, size_t *length) {
    const llama_backend_model *m = model;
    if (m->chat_template == NULL) {
        return refuse(SWIFTLET_UNSUPPORTED, "chat: this model has no chat template that llama.cpp knows; send a plain prompt");
    }
    for (size_t i = 0; i < message_count; i++) {
        if (has_zero(messages[i].role) || has_zero(messages[i].content)) {
            return refuse(SWIFTLET_INVALID, "chat: message %zu holds a zero byte; take it out", i);
        }
    }
    int32_t room = text == NULL ? 0 : *length > INT32_MAX ? INT32_MAX : (int32_t)*length, needed = -1;
    llama_chat_message *copies = copy_messages(messages, message_count);
    if (complete(copies, message_count)) {
        needed = llama_chat_apply_template(m->chat_template, copies, message_count, true, text, room);
    }
    free_messages(copies, message_count);
    if (needed < 0) return refuse(SWIFTLET_FAILED, "chat: the template could not be applied; send fewer or shorter messages");
    *length = (size_t)needed;
    return needed <= room ? SWIFTLET_OK : SWIFTLET_TOO_SMALL;
}

swiftlet_bytes piece_of(llama_backend_model *m, llama_token token) {
    swiftlet_bytes *piece = &m->pieces[token];
    if (piece->data != NULL) return *piece;
    char first[64];
    int32_t size = llama_token_to_piece(m->vocabulary, token, first, sizeof first, 0, false);
    size_t room = (size_t)(size < 0 ? -size : size);
    char *bytes = malloc(room + 1);
    if (bytes == NULL) return (swiftlet_bytes){NULL, 0};
    if (size < 0) {
        llama_token_to_piece(m->vocabulary, token, bytes, -size, 0, false);
    } else {
        memcpy(bytes, first, room);
    }
    *piece = (swiftlet_bytes){bytes, room};
    return *piece;
}
