// What a model takes and gives: names, types and shapes of its ports, as OpenVINO and as the host call them.
#include "openvino_backend.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    ov_element_type_e theirs;
    uint32_t ours;
    const char *name;
} TYPES[] = {
    {BOOLEAN, SWIFTLET_BOOL, "BOOL"}, {U8, SWIFTLET_U8, "UINT8"},    {U16, SWIFTLET_U16, "UINT16"},
    {U32, SWIFTLET_U32, "UINT32"},    {U64, SWIFTLET_U64, "UINT64"}, {I8, SWIFTLET_I8, "INT8"},
    {I16, SWIFTLET_I16, "INT16"},     {I32, SWIFTLET_I32, "INT32"},  {I64, SWIFTLET_I64, "INT64"},
    {F16, SWIFTLET_F16, "FP16"},      {BF16, SWIFTLET_BF16, "BF16"}, {F32, SWIFTLET_F32, "FP32"},
    {F64, SWIFTLET_F64, "FP64"},
};

uint32_t type_of(ov_element_type_e type) {
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++)
        if (TYPES[i].theirs == type) return TYPES[i].ours;
    return 0;
}

const char *type_name(uint32_t type) {
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++)
        if (TYPES[i].ours == type) return TYPES[i].name;
    return type == SWIFTLET_STRING ? "BYTES" : "of no known type";
}

static int32_t read_shape(const ov_output_const_port_t *from, port *to, uint32_t *rank) {
    ov_partial_shape_t shape;
    if (ov_port_get_partial_shape(from, &shape) != OK) return refuse(SWIFTLET_FAILED, "open: %s", last_words());
    int64_t extents = ov_rank_is_dynamic(shape.rank) ? -1 : shape.rank.max;
    for (int64_t i = 0; i < extents && i < RANK_MAX; i++)
        to->shape[i] = ov_dimension_is_dynamic(shape.dims[i]) ? -1 : shape.dims[i].max;
    ov_partial_shape_free(&shape);
    if (extents < 0) return refuse(SWIFTLET_FAILED, "open: %s has no fixed rank; export the model with one", to->name);
    if (extents > RANK_MAX) return refuse(SWIFTLET_FAILED, "open: %s has rank %lld, the limit is %d", to->name,
        (long long)extents, RANK_MAX);
    *rank = (uint32_t)extents;
    return SWIFTLET_OK;
}

static int32_t read_port(const ov_output_const_port_t *from, port *to, swiftlet_tensor *tensor) {
    char *name = NULL;
    if (ov_port_get_any_name(from, &name) != OK || name == NULL || name[0] == 0) {
        return refuse(SWIFTLET_FAILED, "open: an input or output of the model has no name: %s; give it one", last_words());
    }
    to->name = strdup(name);
    ov_free(name);
    if (to->name == NULL) return refuse(SWIFTLET_FAILED, "open: no memory; raise limits.memory_mb");
    if (ov_port_get_element_type(from, &to->type) != OK) return refuse(SWIFTLET_FAILED, "open: %s", last_words());
    uint32_t rank = 0;
    int32_t status = read_shape(from, to, &rank);
    if (status != SWIFTLET_OK) return status;
    if (type_of(to->type) == 0) {
        return refuse(SWIFTLET_FAILED, "open: %s has element type %d of OpenVINO, which is not offered; convert the model",
            to->name, (int)to->type);
    }
    *tensor = (swiftlet_tensor){.name = {to->name, strlen(to->name)}, .shape = to->shape, .rank = rank, .type = type_of(to->type)};
    return SWIFTLET_OK;
}

int32_t ports_read(openvino_model *m) {
    if (ov_compiled_model_inputs_size(m->compiled, &m->input_count) != OK
        || ov_compiled_model_outputs_size(m->compiled, &m->output_count) != OK) {
        return refuse(SWIFTLET_FAILED, "open: %s", last_words());
    }
    size_t count = m->input_count + m->output_count;
    if (m->input_count > TENSORS_MAX || m->output_count > TENSORS_MAX || m->output_count == 0) {
        return refuse(SWIFTLET_FAILED, "open: the model has %zu inputs and %zu outputs; up to %d each are offered, and one output is needed",
            m->input_count, m->output_count, TENSORS_MAX);
    }
    m->ports = calloc(count, sizeof *m->ports);
    m->tensors = calloc(count, sizeof *m->tensors);
    m->results = calloc(m->output_count, sizeof *m->results);
    m->result_tensors = calloc(m->output_count, sizeof(ov_tensor_t *));
    m->result_shapes = calloc(m->output_count, sizeof *m->result_shapes);
    if (!m->ports || !m->tensors || !m->results || !m->result_tensors || !m->result_shapes) {
        return refuse(SWIFTLET_FAILED, "open: no memory; raise limits.memory_mb");
    }
    int32_t status = SWIFTLET_OK;
    for (size_t i = 0; i < count && status == SWIFTLET_OK; i++) {
        ov_output_const_port_t *from = NULL;
        ov_status_e found = i < m->input_count ? ov_compiled_model_input_by_index(m->compiled, i, &from)
                                               : ov_compiled_model_output_by_index(m->compiled, i - m->input_count, &from);
        status = found == OK ? read_port(from, &m->ports[i], &m->tensors[i]) : refuse(SWIFTLET_FAILED, "open: %s", last_words());
        if (from != NULL) ov_output_const_port_free(from);
    }
    return status;
}

void ports_free(openvino_model *m) {
    for (size_t i = 0; m->ports != NULL && i < m->input_count + m->output_count; i++) free(m->ports[i].name);
    free(m->ports);
    free(m->tensors);
    free(m->results);
    free(m->result_tensors);
    free(m->result_shapes);
}
