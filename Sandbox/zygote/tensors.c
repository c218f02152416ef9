// Serves the two operations on named tensors: what a model takes and gives, and running it.
#include "operation.h"

#include <stdlib.h>
#include <string.h>

static size_t padding(size_t size) {
    return -size & 7;
}

/// Bytes of one element; 0: elements of different sizes.
static size_t element_size(uint32_t type) {
    switch (type) {
    case SWIFTLET_BOOL:
    case SWIFTLET_U8:
    case SWIFTLET_I8: return 1;
    case SWIFTLET_U16:
    case SWIFTLET_I16:
    case SWIFTLET_F16:
    case SWIFTLET_BF16: return 2;
    case SWIFTLET_U32:
    case SWIFTLET_I32:
    case SWIFTLET_F32: return 4;
    case SWIFTLET_U64:
    case SWIFTLET_I64:
    case SWIFTLET_F64: return 8;
    default: return 0;
    }
}

// ---- requests: every engine gets tensors whose numbers agree -----------------------------------------------------------------

static bool is_whole(const swiftlet_tensor *t) {
    if (t->type < SWIFTLET_BOOL || t->type > SWIFTLET_STRING) return false;
    uint64_t count = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        if (t->shape[i] < 0 || __builtin_mul_overflow(count, (uint64_t)t->shape[i], &count)) return false;
    size_t size = element_size(t->type);
    if (size > 0) return !__builtin_mul_overflow(count, size, &count) && count == t->data.size;
    const uint8_t *at = t->data.data;
    size_t left = t->data.size;
    for (; count > 0; count--) {
        uint32_t length;
        if (left < sizeof length) return false;
        memcpy(&length, at, sizeof length);
        if (length > left - sizeof length) return false;
        at += sizeof length + length;
        left -= sizeof length + length;
    }
    return left == 0;
}

/// Points the tensor into the request. False when it is cut short or its numbers disagree.
static bool read_tensor(request *r, swiftlet_tensor *t) {
    const void *at = take(r, sizeof(wire_tensor));
    wire_tensor head;
    if (at == NULL) return false;
    memcpy(&head, at, sizeof head);
    if (head.rank > WIRE_RANK_MAX || head.name_size == 0 || head.name_size > WIRE_TENSOR_NAME_MAX) return false;
    if (head.data_size > REQUEST_MAX) return false;
    size_t size = (size_t)head.data_size;
    *t = (swiftlet_tensor){.rank = head.rank, .type = head.type};
    t->shape = take(r, head.rank * sizeof *t->shape);
    t->name = (swiftlet_bytes){.data = take(r, head.name_size), .size = head.name_size};
    if (t->shape == NULL || t->name.data == NULL || take(r, padding(head.name_size)) == NULL) return false;
    t->data = (swiftlet_bytes){.data = take(r, size), .size = size};
    return t->data.data != NULL && take(r, padding(size)) != NULL && is_whole(t);
}

// ---- results -----------------------------------------------------------------------------------------------------------------

static void pad(size_t size) {
    static const uint8_t ZEROS[8];
    result_put(ZEROS, padding(size));
}

static void put_tensor(const swiftlet_tensor *t, bool with_data) {
    size_t size = with_data && t->data.data != NULL ? t->data.size : 0;
    wire_tensor head = {.name_size = (uint32_t)t->name.size, .type = t->type, .rank = t->rank, .data_size = size};
    result_put(&head, sizeof head);
    result_put(t->shape, t->rank * sizeof *t->shape);
    result_put(t->name.data, t->name.size);
    pad(t->name.size);
    if (size > 0) result_put(t->data.data, size);
    pad(size);
}

/// What an engine lends must fit a result: it may be wrong about anything, and the host looks at the rest.
static int32_t check(const swiftlet_tensor *tensors, size_t count) {
    size_t total = 0;
    if (count > WIRE_TENSORS_MAX || (count > 0 && tensors == NULL)) return SWIFTLET_FAILED;
    for (size_t i = 0; i < count; i++) {
        const swiftlet_tensor *t = &tensors[i];
        if (t->rank > WIRE_RANK_MAX || (t->rank > 0 && t->shape == NULL)) return SWIFTLET_FAILED;
        if (t->name.data == NULL || t->name.size > WIRE_TENSOR_NAME_MAX) return SWIFTLET_FAILED;
        if (t->data.data != NULL && t->data.size > RESULT_MAX) return SWIFTLET_LIMIT;
        total += t->data.data == NULL ? 0 : t->data.size;
        if (total > RESULT_MAX - (1u << 20)) return SWIFTLET_LIMIT;
    }
    return SWIFTLET_OK;
}

// ---- the operations ----------------------------------------------------------------------------------------------------------

int32_t operate_infer(const swiftlet_backend_v1 *table, void *model, request *r) {
    uint32_t count, unused;
    if (!HAS(table, infer)) return SWIFTLET_UNSUPPORTED;
    if (!take_u32(r, &count) || !take_u32(r, &unused) || count > WIRE_TENSORS_MAX) return SWIFTLET_INVALID;
    swiftlet_tensor *inputs = calloc(count + 1u, sizeof *inputs);
    if (inputs == NULL) return SWIFTLET_FAILED;
    int32_t status = SWIFTLET_OK;
    for (uint32_t i = 0; status == SWIFTLET_OK && i < count; i++)
        if (!read_tensor(r, &inputs[i])) status = SWIFTLET_INVALID;
    if (status == SWIFTLET_OK) {
        const swiftlet_tensor *outputs = NULL;
        size_t output_count = 0;
        uint64_t begin = now_ns();
        status = table->infer(model, inputs, count, &outputs, &output_count);
        uint64_t infer_ns = now_ns() - begin;
        if (status == SWIFTLET_OK) status = check(outputs, output_count);
        if (status == SWIFTLET_OK) {
            result_put_u32((uint32_t)output_count);
            result_put_u32(0);
            result_put(&infer_ns, sizeof infer_ns);
            for (size_t i = 0; i < output_count; i++) put_tensor(&outputs[i], true);
        }
    }
    free(inputs);
    return status;
}

int32_t operate_tensors(const swiftlet_backend_v1 *table, void *model) {
    const swiftlet_tensor *inputs = NULL, *outputs = NULL;
    size_t input_count = 0, output_count = 0;
    if (!HAS(table, tensors)) return SWIFTLET_UNSUPPORTED;
    int32_t status = table->tensors(model, &inputs, &input_count, &outputs, &output_count);
    if (status == SWIFTLET_OK) status = check(inputs, input_count);
    if (status == SWIFTLET_OK) status = check(outputs, output_count);
    if (status != SWIFTLET_OK) return status;
    result_put_u32((uint32_t)input_count);
    result_put_u32((uint32_t)output_count);
    for (size_t i = 0; i < input_count; i++) put_tensor(&inputs[i], false);
    for (size_t i = 0; i < output_count; i++) put_tensor(&outputs[i], false);
    return status;
}
