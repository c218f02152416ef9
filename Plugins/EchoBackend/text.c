// Text to tokens, tokens to text, and a chat to the prompt that Echo answers.
#include "echo.h"

#include <stdbool.h>
#include <string.h>

static const struct {
    const char *text;
    int32_t token;
} specials[] = {
    {"<|end|>", TOKEN_END}, {"<|role|>", TOKEN_ROLE}, {"<|turn|>", TOKEN_TURN}, {"<|echo|>", TOKEN_ECHO},
};

swiftlet_bytes echo_piece(int32_t token) {
    static char bytes[256];
    if (token < 0 || token > 255) return (swiftlet_bytes){NULL, 0};
    bytes[token] = (char)token;
    return (swiftlet_bytes){&bytes[token], 1};
}

/// The special token that `text` begins with, and its length; 0 when there is none.
static size_t special_at(const char *text, size_t size, int32_t *token) {
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        size_t length = strlen(specials[i].text);
        if (size < length || memcmp(text, specials[i].text, length) != 0) continue;
        *token = specials[i].token;
        return length;
    }
    return 0;
}

int32_t echo_tokenize(void *model, swiftlet_bytes text, uint32_t special, uint32_t start, int32_t *tokens, size_t *count) {
    (void)model;
    (void)start; // Echo wants nothing before a text
    size_t needed = 0;
    const char *bytes = text.data;
    for (size_t at = 0; at < text.size; needed++) {
        int32_t token = (unsigned char)bytes[at];
        size_t length = special ? special_at(bytes + at, text.size - at, &token) : 0;
        if (needed < *count && tokens != NULL) tokens[needed] = token;
        at += length == 0 ? 1 : length;
    }
    bool fits = needed <= *count && (tokens != NULL || needed == 0);
    *count = needed;
    return fits ? SWIFTLET_OK : SWIFTLET_TOO_SMALL;
}

typedef struct writer {
    char *text;
    size_t room;
    size_t length; ///< goes on past `room`, to say how much is needed
} writer;

static void put(writer *w, const void *data, size_t size) {
    if (size > 0 && w->length + size <= w->room) memcpy(w->text + w->length, data, size);
    w->length += size;
}

static void put_text(writer *w, const char *text) { put(w, text, strlen(text)); }

int32_t echo_chat_prompt(void *model, const swiftlet_message *messages, size_t message_count, char *text, size_t *length) {
    (void)model;
    writer w = {text, text == NULL ? 0 : *length, 0};
    for (size_t i = 0; i < message_count; i++) {
        put_text(&w, "<|role|>");
        put(&w, messages[i].role.data, messages[i].role.size);
        put_text(&w, "\n");
        put(&w, messages[i].content.data, messages[i].content.size);
        put_text(&w, "<|turn|>");
    }
    put_text(&w, "<|role|>assistant\n<|echo|>");
    *length = w.length;
    return w.length <= w.room ? SWIFTLET_OK : SWIFTLET_TOO_SMALL;
}
