// Where the worker comes in: the table of functions, and what the open model is.
#include "openvino_backend.h"

static int32_t model_describe(void *model, swiftlet_model_info_v1 *info) {
    const openvino_model *m = model;
    if (info->size < sizeof *info) return refuse(SWIFTLET_INVALID, "describe: the table is shorter than version 1");
    info->architecture = (swiftlet_bytes){"openvino", 8};
    info->capabilities = SWIFTLET_CAN_INFER;
    info->model_bytes = m->file_bytes;
    return SWIFTLET_OK;
}

static const swiftlet_backend_v1 table = {
    .size = sizeof(swiftlet_backend_v1),
    .version = 1,
    .open = model_open,
    .describe = model_describe,
    .infer = model_infer,
    .close = model_close,
    .tensors = model_tensors,
};

static const swiftlet_plugin plugin = {
    .size = sizeof(swiftlet_plugin),
    .abi = SWIFTLET_ABI_VERSION,
    .kind = SWIFTLET_KIND_BACKEND,
    .name = "openvino",
    .version = "1.0.0",
    .table = &table,
};

const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    return host_abi >= SWIFTLET_ABI_VERSION ? &plugin : NULL;
}
