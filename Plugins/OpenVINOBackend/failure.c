// Words for failures, OpenVINO's own among them, brought to the host.
#include "openvino_backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void (*fail)(swiftlet_bytes text);

void failure_open(const swiftlet_open_v1 *options) { fail = options->fail; }

int32_t refuse(int32_t status, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0) size = 0;
    fail((swiftlet_bytes){text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1});
    return status;
}

const char *last_words(void) {
    static char words[600];
    const char *said = ov_get_last_err_msg();
    if (said == NULL || said[0] == 0) return "OpenVINO gave no reason";
    snprintf(words, sizeof words, "%s", said);
    for (char *at = words; *at != 0; at++)
        if (*at == '\n') *at = ' ';
    for (size_t size = strlen(words); size > 0 && words[size - 1] == ' '; size--) words[size - 1] = 0;
    return words;
}
