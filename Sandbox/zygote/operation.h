// What the operations of a backend share: the request that is taken apart, the result that is put together.
#ifndef SWIFTLET_OPERATION_H
#define SWIFTLET_OPERATION_H

#include "worker.h"

enum { REQUEST_MAX = 64 << 20, RESULT_MAX = 256 << 20 };

typedef struct request {
    uint32_t id, operation;
    const uint8_t *bytes; ///< aligned to 8
    size_t size;
} request;

/// Takes `size` bytes off the front; NULL when they are not there.
const void *take(request *r, size_t size);
bool take_u32(request *r, uint32_t *number);

/// Room for `size` more bytes of the result. Ends the worker beyond RESULT_MAX.
void *result_grow(size_t size);
void result_put(const void *bytes, size_t size);
void result_put_u32(uint32_t number);
void result_put_bytes(swiftlet_bytes text);

// ---- tensors.c: each returns a status and has put its data behind it -------------------------------------------------------

int32_t operate_infer(const swiftlet_backend_v1 *table, void *model, request *r);
int32_t operate_tensors(const swiftlet_backend_v1 *table, void *model);

#endif
