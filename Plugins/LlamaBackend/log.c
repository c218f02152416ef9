// What llama.cpp says, brought to the host: warnings and errors as log lines, the last error as a failure's cause.
#include "llama_backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// llama.cpp's log is one for the process, and so is the model.
static struct {
    void (*log)(int32_t level, swiftlet_bytes text);
    void (*fail)(swiftlet_bytes text);
    char error[256];
    enum ggml_log_level level; ///< of the line that a "continued" piece belongs to
    bool deaf;
} ear;

static size_t trimmed(const char *text) {
    size_t size = strlen(text);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' ')) size--;
    return size;
}

static void take_line(enum ggml_log_level level, const char *text, void *unused) {
    (void)unused;
    if (level != GGML_LOG_LEVEL_CONT) ear.level = level;
    size_t size = trimmed(text);
    if (size == 0 || ear.deaf || ear.level < GGML_LOG_LEVEL_WARN || ear.level > GGML_LOG_LEVEL_ERROR) return;
    bool bad = ear.level == GGML_LOG_LEVEL_ERROR;
    if (bad) snprintf(ear.error, sizeof ear.error, "%.*s", (int)size, text);
    ear.log(bad ? SWIFTLET_LOG_ERROR : SWIFTLET_LOG_WARNING, (swiftlet_bytes){text, size});
}

/// llama.cpp's last words before it aborts the process.
static void take_last_words(const char *text) {
    ear.log(SWIFTLET_LOG_ERROR, (swiftlet_bytes){text, trimmed(text)});
}

void hear(const swiftlet_open_v1 *options) {
    ear.log = options->log;
    ear.fail = options->fail;
    llama_log_set(take_line, NULL);
    ggml_set_abort_callback(take_last_words);
    // Its own backtrace would fork a debugger, which the sandbox answers with a second failure.
    setenv("GGML_NO_BACKTRACE", "1", 1);
}

const char *last_error(void) { return ear.error; }

void set_deaf(bool deaf) { ear.deaf = deaf; }

int32_t refuse(int32_t status, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0) size = 0;
    ear.fail((swiftlet_bytes){text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1});
    return status;
}
