// One run of the model: inputs are held to what it takes, copied in, and its outputs are lent until the next run.
#include "openvino_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t model_tensors(
    void *model, const swiftlet_tensor **inputs, size_t *input_count, const swiftlet_tensor **outputs, size_t *output_count) {
    const openvino_model *m = model;
    *inputs = m->tensors;
    *input_count = m->input_count;
    *outputs = m->tensors + m->input_count;
    *output_count = m->output_count;
    return SWIFTLET_OK;
}

static size_t find_input(const openvino_model *m, swiftlet_bytes name) {
    for (size_t i = 0; i < m->input_count; i++) {
        swiftlet_bytes known = m->tensors[i].name;
        if (known.size == name.size && memcmp(known.data, name.data, name.size) == 0) return i;
    }
    return m->input_count;
}

static void write_shape(const int64_t *shape, uint32_t rank, char *text, size_t room) {
    size_t used = (size_t)snprintf(text, room, "[");
    for (uint32_t i = 0; i < rank && used < room; i++)
        used += (size_t)snprintf(text + used, room - used, i == 0 ? "%lld" : ",%lld", (long long)shape[i]);
    if (used < room) snprintf(text + used, room - used, "]");
}

static int32_t check_input(const swiftlet_tensor *wanted, const swiftlet_tensor *given) {
    if (given->type != wanted->type) {
        return refuse(SWIFTLET_INVALID, "input '%s' is %s and must be %s", (const char *)wanted->name.data, type_name(given->type),
            type_name(wanted->type));
    }
    bool fits = given->rank == wanted->rank;
    for (uint32_t i = 0; fits && i < given->rank; i++) fits = wanted->shape[i] < 0 || wanted->shape[i] == given->shape[i];
    if (fits) return SWIFTLET_OK;
    char must[200], is[200];
    write_shape(wanted->shape, wanted->rank, must, sizeof must);
    write_shape(given->shape, given->rank, is, sizeof is);
    return refuse(SWIFTLET_INVALID, "input '%s' has shape %s and must have %s (-1 is any)", (const char *)wanted->name.data, is, must);
}

/// Copies, because OpenVINO may want more alignment than the request has. `data` NULL: zeros.
static int32_t set_input(openvino_model *m, size_t index, const int64_t *shape, const void *data, size_t size) {
    const swiftlet_tensor *wanted = &m->tensors[index];
    // The library only reads a shape that it is given.
    ov_shape_t extents = {.rank = wanted->rank, .dims = (int64_t *)shape};
    ov_tensor_t *tensor = NULL;
    void *room = NULL;
    size_t bytes = 0;
    int32_t status = SWIFTLET_OK;
    if (ov_tensor_create(m->ports[index].type, extents, &tensor) != OK || ov_tensor_get_byte_size(tensor, &bytes) != OK
        || (bytes > 0 && ov_tensor_data(tensor, &room) != OK)) {
        status = refuse(SWIFTLET_FAILED, "input '%s': %s", m->ports[index].name, last_words());
    } else if (data != NULL && bytes != size) {
        status = refuse(SWIFTLET_INVALID, "input '%s' has %zu bytes and its shape needs %zu", m->ports[index].name, size, bytes);
    } else {
        if (bytes > 0 && data != NULL) memcpy(room, data, bytes);
        else if (bytes > 0) memset(room, 0, bytes);
        if (ov_infer_request_set_input_tensor_by_index(m->request, index, tensor) != OK)
            status = refuse(SWIFTLET_INVALID, "input '%s': %s", m->ports[index].name, last_words());
    }
    if (tensor != NULL) ov_tensor_free(tensor);
    return status;
}

static int32_t set_inputs(openvino_model *m, const swiftlet_tensor *inputs, size_t count) {
    bool given[TENSORS_MAX] = {false};
    for (size_t i = 0; i < count; i++) {
        const swiftlet_tensor *input = &inputs[i];
        size_t index = find_input(m, input->name);
        if (index == m->input_count) {
            return refuse(SWIFTLET_INVALID, "input '%.*s' is not one of this model's", (int)(input->name.size < 200 ? input->name.size : 200),
                (const char *)input->name.data);
        }
        if (given[index]) return refuse(SWIFTLET_INVALID, "input '%s' is given twice", m->ports[index].name);
        given[index] = true;
        int32_t status = check_input(&m->tensors[index], input);
        if (status == SWIFTLET_OK) status = set_input(m, index, input->shape, input->data.data, input->data.size);
        if (status != SWIFTLET_OK) return status;
    }
    for (size_t i = 0; i < m->input_count; i++)
        if (!given[i]) return refuse(SWIFTLET_INVALID, "input '%s' is missing", m->ports[i].name);
    return SWIFTLET_OK;
}

/// A run that failed may leave the request in a state that nobody describes.
static void renew_request(openvino_model *m) {
    ov_infer_request_t *fresh = NULL;
    if (ov_compiled_model_create_infer_request(m->compiled, &fresh) != OK) return;
    ov_infer_request_free(m->request);
    m->request = fresh;
}

void results_free(openvino_model *m) {
    for (size_t i = 0; m->result_tensors != NULL && i < m->output_count; i++) {
        if (m->result_tensors[i] != NULL) ov_tensor_free(m->result_tensors[i]);
        if (m->result_shapes[i].dims != NULL) ov_shape_free(&m->result_shapes[i]);
        m->result_tensors[i] = NULL;
        m->result_shapes[i] = (ov_shape_t){0};
    }
}

static int32_t lend_output(openvino_model *m, size_t index) {
    const swiftlet_tensor *port = &m->tensors[m->input_count + index];
    ov_tensor_t **tensor = &m->result_tensors[index];
    ov_shape_t *shape = &m->result_shapes[index];
    size_t bytes = 0;
    void *data = NULL;
    if (ov_infer_request_get_output_tensor_by_index(m->request, index, tensor) != OK || ov_tensor_get_shape(*tensor, shape) != OK
        || ov_tensor_get_byte_size(*tensor, &bytes) != OK || (bytes > 0 && ov_tensor_data(*tensor, &data) != OK)) {
        return refuse(SWIFTLET_FAILED, "output '%s': %s", (const char *)port->name.data, last_words());
    }
    m->results[index] = (swiftlet_tensor){
        .name = port->name, .shape = shape->dims, .rank = (uint32_t)shape->rank, .type = port->type, .data = {data, bytes}};
    return SWIFTLET_OK;
}

int32_t model_infer(
    void *model, const swiftlet_tensor *inputs, size_t input_count, const swiftlet_tensor **outputs, size_t *output_count) {
    openvino_model *m = model;
    results_free(m);
    int32_t status = set_inputs(m, inputs, input_count);
    if (status != SWIFTLET_OK) return status;
    if (ov_infer_request_infer(m->request) != OK) {
        status = refuse(SWIFTLET_FAILED, "infer: %s", last_words());
        renew_request(m);
        return status;
    }
    for (size_t i = 0; i < m->output_count && status == SWIFTLET_OK; i++) status = lend_output(m, i);
    *outputs = m->results;
    *output_count = m->output_count;
    return status;
}

void warm_up(openvino_model *m) {
    bool ready = true;
    for (size_t i = 0; ready && i < m->input_count; i++) {
        int64_t shape[RANK_MAX];
        for (uint32_t d = 0; d < m->tensors[i].rank; d++) shape[d] = m->ports[i].shape[d] < 0 ? 1 : m->ports[i].shape[d];
        ready = set_input(m, i, shape, NULL, 0) == SWIFTLET_OK;
    }
    // Zeros of extent 1 may be nothing that the model can work on: that is no reason not to serve it.
    if (!ready || ov_infer_request_infer(m->request) != OK) renew_request(m);
}
