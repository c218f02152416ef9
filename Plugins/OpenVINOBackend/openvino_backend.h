// Models in ONNX and OpenVINO's own files, on named tensors, run by OpenVINO on the processor; entry.c is where it starts.
#ifndef SWIFTLET_OPENVINO_BACKEND_H
#define SWIFTLET_OPENVINO_BACKEND_H

#include "swiftlet_backend.h"

#include <openvino/c/openvino.h>
#include <stdbool.h>

enum { RANK_MAX = 16, TENSORS_MAX = 256 };

/// One thing that the model takes or gives.
typedef struct port {
    char *name;
    ov_element_type_e type;
    int64_t shape[RANK_MAX]; ///< -1: any extent
} port;

typedef struct openvino_model {
    int64_t threads; ///< that compute
    ov_core_t *core;
    ov_compiled_model_t *compiled;
    ov_infer_request_t *request;
    port *ports;              ///< of the inputs, then of the outputs
    swiftlet_tensor *tensors; ///< what the host is told of the ports, in their order
    size_t input_count, output_count;
    uint64_t file_bytes;
    swiftlet_tensor *results; ///< lent by the last `infer`, with what they point to below
    ov_tensor_t **result_tensors;
    ov_shape_t *result_shapes;
} openvino_model;

// failure.c
void failure_open(const swiftlet_open_v1 *options);
/// Gives formatted words for a failure to the host and returns `status`. Usable once `failure_open` was called.
int32_t refuse(int32_t status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/// OpenVINO's own words for its last failure, on one line.
const char *last_words(void);

// load.c
int32_t model_open(const swiftlet_open_v1 *options, void **model);
void model_close(void *model);

// ports.c
/// Asks the compiled model what it takes and gives.
int32_t ports_read(openvino_model *m);
void ports_free(openvino_model *m);
/// SWIFTLET_* of an element type; 0: the host has no such type.
uint32_t type_of(ov_element_type_e type);
const char *type_name(uint32_t type);

// infer.c
int32_t model_tensors(
    void *model, const swiftlet_tensor **inputs, size_t *input_count, const swiftlet_tensor **outputs, size_t *output_count);
int32_t model_infer(
    void *model, const swiftlet_tensor *inputs, size_t input_count, const swiftlet_tensor **outputs, size_t *output_count);
/// Runs once on zeros, so that what OpenVINO loads late is loaded before the sandbox closes. What it gives does not matter.
void warm_up(openvino_model *m);
/// Gives back what the last `infer` lent.
void results_free(openvino_model *m);

#endif
