// A backend on tensors that gives back what it gets, and says how many rows a run had; or breaks its contract as told.
#include "../../../Plugins/Shared/config.h"
#include "swiftlet_backend.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NUMBERS, NAMES, FLAGS, HALVES, WHOLE, INPUTS, ROWS = INPUTS, OUTPUTS };
enum { HONEST, SHORT, NEGATIVE, NO_TYPE, OTHER_NAME, MANY, CRASH, HANG, PICKY, OTHER_ROWS, ANONYMOUS };

static int64_t behaviour, step_us;
static void (*fail)(swiftlet_bytes text);
static const int64_t PAIRS[] = {-1, 2}, ANY[] = {-1};
#define NAME(text) {text, sizeof text - 1}
static const swiftlet_tensor INPUT[INPUTS] = {
    {.name = NAME("numbers"), .shape = PAIRS, .rank = 2, .type = SWIFTLET_F32},
    {.name = NAME("names"), .shape = ANY, .rank = 1, .type = SWIFTLET_STRING},
    {.name = NAME("flags"), .shape = ANY, .rank = 1, .type = SWIFTLET_BOOL},
    {.name = NAME("halves"), .shape = ANY, .rank = 1, .type = SWIFTLET_F16},
    {.name = NAME("whole"), .shape = PAIRS, .rank = 2, .type = SWIFTLET_U64},
};
static const swiftlet_tensor OUTPUT[OUTPUTS] = {
    {.name = NAME("numbers_out"), .shape = PAIRS, .rank = 2, .type = SWIFTLET_F32},
    {.name = NAME("names_out"), .shape = ANY, .rank = 1, .type = SWIFTLET_STRING},
    {.name = NAME("flags_out"), .shape = ANY, .rank = 1, .type = SWIFTLET_BOOL},
    {.name = NAME("halves_out"), .shape = ANY, .rank = 1, .type = SWIFTLET_F16},
    {.name = NAME("whole_out"), .shape = PAIRS, .rank = 2, .type = SWIFTLET_U64},
    {.name = NAME("rows"), .shape = ANY, .rank = 1, .type = SWIFTLET_I64},
};

static int32_t open_model(const swiftlet_open_v1 *options, void **model) {
    const config_key keys[] = {{"behaviour", 0, ANONYMOUS, &behaviour}, {"step_us", 0, 10000000, &step_us}};
    char why[512];
    *model = NULL;
    fail = options->fail;
    if (config_read(options->config, keys, 2, why, sizeof why) == SWIFTLET_OK) return SWIFTLET_OK;
    fail((swiftlet_bytes){why, strlen(why)});
    return SWIFTLET_FAILED;
}

static int32_t describe(void *model, swiftlet_model_info_v1 *info) {
    (void)model;
    info->capabilities = SWIFTLET_CAN_INFER;
    return SWIFTLET_OK;
}

static int32_t tensors(
    void *model, const swiftlet_tensor **inputs, size_t *input_count, const swiftlet_tensor **outputs, size_t *output_count) {
    (void)model;
    *inputs = INPUT;
    *input_count = INPUTS;
    *outputs = OUTPUT;
    *output_count = behaviour == ANONYMOUS ? 0 : OUTPUTS;
    return SWIFTLET_OK;
}

static void misbehave(swiftlet_tensor *outputs, size_t *count) {
    static const int64_t NOWHERE[] = {-7, 2}, ONE[] = {1};
    switch (behaviour) {
    case SHORT: outputs[NUMBERS].data.size -= 4; break;
    case NEGATIVE: outputs[NUMBERS].shape = NOWHERE; break;
    case NO_TYPE: outputs[NUMBERS].type = 99; break;
    case OTHER_NAME: outputs[NUMBERS].name = (swiftlet_bytes)NAME("\xff\xfe"); break;
    case MANY: *count = 100000; break;
    case CRASH: abort();
    case HANG:
        for (;;) nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    case OTHER_ROWS: outputs[ROWS].shape = ONE, outputs[ROWS].data.size = 8; break;
    default: break;
    }
}

static int32_t infer(
    void *model, const swiftlet_tensor *inputs, size_t input_count, const swiftlet_tensor **outputs, size_t *output_count) {
    static swiftlet_tensor given[OUTPUTS];
    static int64_t rows[1024];
    (void)model;
    if (input_count != INPUTS || inputs[NUMBERS].shape[0] > 1024) return SWIFTLET_INVALID;
    if (step_us > 0) nanosleep(&(struct timespec){step_us / 1000000, step_us % 1000000 * 1000}, NULL);
    for (size_t i = 0; i < INPUTS; i++) {
        given[i] = inputs[i];
        given[i].name = OUTPUT[i].name;
    }
    int64_t count = inputs[NUMBERS].shape[0];
    for (int64_t i = 0; i < count; i++) {
        float first;
        memcpy(&first, (const char *)inputs[NUMBERS].data.data + i * 8, sizeof first);
        rows[i] = count;
        if (behaviour != PICKY || first != 666) continue;
        fail((swiftlet_bytes)NAME("it does not like 666"));
        return SWIFTLET_FAILED;
    }
    given[ROWS] = OUTPUT[ROWS];
    given[ROWS].shape = inputs[NUMBERS].shape;
    given[ROWS].data = (swiftlet_bytes){rows, (size_t)count * sizeof *rows};
    *outputs = given;
    *output_count = OUTPUTS;
    misbehave(given, output_count);
    return SWIFTLET_OK;
}

SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_backend_v1 TABLE = {
        .size = sizeof TABLE, .version = 1, .open = open_model, .describe = describe, .infer = infer, .tensors = tensors};
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = 1, .kind = SWIFTLET_KIND_BACKEND, .name = "tensors", .version = "1", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
