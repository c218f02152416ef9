// The door to simdjson: text goes in, one flat array of nodes comes out; nothing of C++ passes.
//
// A document becomes its values in reading order. A container's children follow it directly; `next` jumps behind the
// whole value. Everything a parser lent is valid until its next parse.
#ifndef CSIMDJSON_H
#define CSIMDJSON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What a node is.
enum {
    CSIMDJSON_NULL = 0,
    CSIMDJSON_FALSE,
    CSIMDJSON_TRUE,
    CSIMDJSON_INTEGER, ///< fits int64; `integer` and `number` are set
    CSIMDJSON_NUMBER,  ///< any other finite number
    CSIMDJSON_STRING,
    CSIMDJSON_ARRAY,
    CSIMDJSON_OBJECT,
};

typedef struct csimdjson_node {
    const char *_Nullable key;  ///< name inside the object around it, unescaped UTF-8; NULL outside of objects
    const char *_Nullable text; ///< of a string, unescaped UTF-8; may hold NUL; of a number, as it was written
    int64_t integer;
    double number;
    uint32_t key_size;
    uint32_t text_size;
    uint32_t kind;
    uint32_t next;   ///< index of the first node behind this value
    uint32_t count;  ///< children of a container
    uint32_t reserved;
} csimdjson_node;

/// What was wrong, and where. `message` is static.
typedef struct csimdjson_failure {
    size_t offset;
    const char *_Nonnull message;
} csimdjson_failure;

typedef struct csimdjson_parser csimdjson_parser;

/// Makes a parser; one thread at a time may use it. NULL: out of memory.
csimdjson_parser *_Nullable csimdjson_new(void);
void csimdjson_free(csimdjson_parser *_Nullable parser);

/// Reads one whole document. `size` must be below 4 GiB.
/// - Returns: the nodes, or NULL with `failure` filled. Beyond `max_depth` or `max_nodes` it fails.
const csimdjson_node *_Nullable csimdjson_parse(
    csimdjson_parser *_Nonnull parser, const uint8_t *_Nullable bytes, size_t size, uint32_t max_depth,
    uint32_t max_nodes, csimdjson_failure *_Nonnull failure);

#ifdef __cplusplus
}
#endif
#endif
