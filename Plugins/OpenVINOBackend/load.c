// Opening a model file and compiling it for the processor, and giving everything back.
#include "openvino_backend.h"

#include "../Shared/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/// Looks at the file before OpenVINO does, because its own words for a missing one are long and name no remedy.
static int32_t check_file(openvino_model *m, const char *path) {
    struct stat info;
    if (stat(path, &info) < 0) {
        return refuse(SWIFTLET_FAILED, "open model file %s: %s; put the file that the manifest's `model` names beside it",
            path, strerror(errno));
    }
    m->file_bytes = (uint64_t)info.st_size;
    return SWIFTLET_OK;
}

static int32_t read_config(openvino_model *m, const swiftlet_open_v1 *options) {
    m->threads = 1;
    const config_key keys[] = {{"threads", 1, 256, &m->threads}};
    char why[512];
    if (config_read(options->config, keys, 1, why, sizeof why) != SWIFTLET_OK) return refuse(SWIFTLET_FAILED, "%s", why);
    if (options->threads == 0 || (uint64_t)m->threads <= options->threads) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED, "config: \"threads\" is %lld and limits.threads is %u; raise limits.threads",
        (long long)m->threads, options->threads);
}

/// One stream, so that a request gets all compute threads. No pinning: whoever owns the cores decides that. Single
/// precision: half of it, which OpenVINO takes where the processor has it, makes results differ between machines.
static int32_t compile(openvino_model *m, const char *path) {
    char threads[24];
    snprintf(threads, sizeof threads, "%lld", (long long)m->threads);
    const ov_property_t properties[] = {
        {ov_property_key_inference_num_threads, threads},      {ov_property_key_num_streams, "1"},
        {ov_property_key_hint_performance_mode, "LATENCY"},    {ov_property_key_hint_enable_cpu_pinning, "NO"},
        {ov_property_key_hint_inference_precision, "f32"},     {ov_property_key_hint_num_requests, "1"},
    };
    ov_model_t *model = NULL;
    if (ov_core_read_model(m->core, path, NULL, &model) != OK) {
        return refuse(SWIFTLET_FAILED, "read model file %s: %s; it must be ONNX, or OpenVINO's .xml beside its .bin", path, last_words());
    }
    ov_status_e status = ov_core_compile_model_props(
        m->core, model, "CPU", sizeof properties / sizeof properties[0], properties, &m->compiled);
    ov_model_free(model);
    if (status == OK) return SWIFTLET_OK;
    return refuse(SWIFTLET_FAILED,
        "compile model file %s: %s; the engine makes machine code and starts threads: the manifest needs jit: true and limits.threads of %lld or more",
        path, last_words(), (long long)m->threads + 7);
}

int32_t model_open(const swiftlet_open_v1 *options, void **model) {
    failure_open(options);
    if (options->model_path.size == 0) return refuse(SWIFTLET_FAILED, "open: the manifest names no `model`; name an ONNX file");
    if (options->device_budget > 0) return refuse(SWIFTLET_FAILED, "open: this engine computes on the processor; remove `device`");
    openvino_model *m = calloc(1, sizeof *m);
    if (m == NULL) return refuse(SWIFTLET_FAILED, "open: no memory; raise limits.memory_mb");
    const char *path = options->model_path.data;
    int32_t status = read_config(m, options);
    if (status == SWIFTLET_OK) status = check_file(m, path);
    if (status == SWIFTLET_OK && ov_core_create(&m->core) != OK) status = refuse(SWIFTLET_FAILED, "open: %s", last_words());
    if (status == SWIFTLET_OK) status = compile(m, path);
    if (status == SWIFTLET_OK) status = ports_read(m);
    if (status == SWIFTLET_OK && ov_compiled_model_create_infer_request(m->compiled, &m->request) != OK)
        status = refuse(SWIFTLET_FAILED, "open: %s", last_words());
    if (status != SWIFTLET_OK) return model_close(m), status;
    warm_up(m);
    *model = m;
    return SWIFTLET_OK;
}

void model_close(void *model) {
    openvino_model *m = model;
    results_free(m);
    if (m->request != NULL) ov_infer_request_free(m->request);
    if (m->compiled != NULL) ov_compiled_model_free(m->compiled);
    if (m->core != NULL) ov_core_free(m->core);
    ports_free(m);
    free(m);
}
