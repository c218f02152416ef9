// The door to llhttp, the HTTP/1 request parser: strict, pausing at each head and at each end. HTTP1Session.swift comes next.
#ifndef CLLHTTP_H
#define CLLHTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cllhttp cllhttp;

/// What the parser found, a piece at a time; one name or value may come in several pieces. `owner` is the one set by
/// cllhttp_set_owner. A call that returns false stops the parser for good (CLLHTTP_STOPPED).
typedef struct cllhttp_calls {
    bool (*_Nonnull target)(void *_Nonnull owner, const char *_Nonnull at, size_t size);
    bool (*_Nonnull name)(void *_Nonnull owner, const char *_Nonnull at, size_t size);
    bool (*_Nonnull value)(void *_Nonnull owner, const char *_Nonnull at, size_t size);
    bool (*_Nonnull field_end)(void *_Nonnull owner);
    bool (*_Nonnull body)(void *_Nonnull owner, const char *_Nonnull at, size_t size);
} cllhttp_calls;

typedef enum __attribute__((enum_extensibility(closed))) cllhttp_result {
    CLLHTTP_MORE,     ///< everything was read and the message goes on
    CLLHTTP_HEAD,     ///< paused: the head is complete
    CLLHTTP_END,      ///< paused: the message is complete
    CLLHTTP_STOPPED,  ///< a call returned false
    CLLHTTP_BAD       ///< not HTTP; cllhttp_problem says why
} cllhttp_result;

/// What a complete head says about its message.
typedef struct cllhttp_head {
    uint8_t method;
    uint8_t major, minor;
    bool chunked, has_length, keep_alive, connect;
    uint64_t length;
} cllhttp_head;

/// NULL when memory is out. `calls` must outlive the parser.
cllhttp *_Nullable cllhttp_create(const cllhttp_calls *_Nonnull calls);
/// Before the first execute.
void cllhttp_set_owner(cllhttp *_Nonnull parser, void *_Nonnull owner);
void cllhttp_free(cllhttp *_Nullable parser);
/// Parses up to the next pause; a paused parser goes on by being called again. Trailers are parsed and dropped.
cllhttp_result cllhttp_execute(cllhttp *_Nonnull parser, const void *_Nonnull data, size_t size, size_t *_Nonnull used);
/// Valid after CLLHTTP_HEAD.
cllhttp_head cllhttp_head_of(const cllhttp *_Nonnull parser);
const char *_Nonnull cllhttp_problem(const cllhttp *_Nonnull parser);
/// NULL past the last method.
const char *_Nullable cllhttp_method_name(uint8_t method);

#endif
