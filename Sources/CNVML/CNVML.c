// NVML's few functions that we call, as NVIDIA documents them; its header is not needed to build, since the ABI is stable.
#include "CNVML.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct nvml_device *device;

enum { SUCCESS = 0, INSUFFICIENT_SIZE = 7, ROOM_FOR_MORE = 16 };
#define NOT_AVAILABLE UINT64_MAX

typedef struct memory {
    unsigned long long total, free, used;
} memory;

/// What _v3 and _v2 of the call fill in; the call without a version has a shorter one, and drivers before 470.
typedef struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} process;
_Static_assert(sizeof(process) == 24, "as nvml.h lays it out");

struct cnvml {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int);
    int (*count)(unsigned *);
    int (*handle)(unsigned, device *);
    int (*minor)(device, unsigned *);
    int (*memory)(device, memory *);
    int (*processes)(device, unsigned *, process *);
};

static bool find(cnvml *door, void **function, const char *name, const char *older, char *why, size_t room) {
    *function = dlsym(door->library, name);
    if (*function == NULL && older != NULL) *function = dlsym(door->library, older);
    if (*function == NULL) snprintf(why, room, "it has no %s: the driver is too old", name);
    return *function != NULL;
}

static bool find_all(cnvml *d, char *why, size_t room) {
    return find(d, (void **)&d->init, "nvmlInit_v2", NULL, why, room) &&
        find(d, (void **)&d->shutdown, "nvmlShutdown", NULL, why, room) &&
        find(d, (void **)&d->error_string, "nvmlErrorString", NULL, why, room) &&
        find(d, (void **)&d->count, "nvmlDeviceGetCount_v2", NULL, why, room) &&
        find(d, (void **)&d->handle, "nvmlDeviceGetHandleByIndex_v2", NULL, why, room) &&
        find(d, (void **)&d->minor, "nvmlDeviceGetMinorNumber", NULL, why, room) &&
        find(d, (void **)&d->memory, "nvmlDeviceGetMemoryInfo", NULL, why, room) &&
        find(d, (void **)&d->processes, "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2", why, room);
}

static int failed(const cnvml *door, const char *call, int code, char *why, size_t room) {
    const char *words = door->error_string(code);
    snprintf(why, room, "%s: %s", call, words == NULL ? "an error without words" : words);
    return CNVML_FAILED;
}

int cnvml_open(const char *library, cnvml **door, char *why, size_t room) {
    *door = NULL;
    cnvml *made = calloc(1, sizeof *made);
    if (made == NULL) return snprintf(why, room, "no memory"), CNVML_FAILED;
    made->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (made->library == NULL) {
        snprintf(why, room, "%s", dlerror());
        free(made);
        return CNVML_ABSENT;
    }
    int status = find_all(made, why, room) ? 0 : CNVML_ABSENT, code = 0;
    if (status == 0 && (code = made->init()) != SUCCESS) status = failed(made, "nvmlInit_v2", code, why, room);
    if (status == 0) return *door = made, 0;
    dlclose(made->library);
    free(made);
    return status;
}

void cnvml_close(cnvml *door) {
    door->shutdown();
    dlclose(door->library);
    free(door);
}

/// By its minor number, because NVML counts devices in an order of its own.
static int find_device(cnvml *door, uint32_t minor, device *found, char *why, size_t room) {
    unsigned count = 0;
    int code = door->count(&count);
    if (code != SUCCESS) return failed(door, "nvmlDeviceGetCount_v2", code, why, room);
    for (unsigned i = 0; i < count; i++) {
        unsigned number;
        // One that is broken, or not ours to see, must not hide the others.
        if (door->handle(i, found) == SUCCESS && door->minor(*found, &number) == SUCCESS && number == minor) return 0;
    }
    snprintf(why, room, "find the device: none of %u has the node /dev/nvidia%u", count, minor);
    return CNVML_FAILED;
}

int cnvml_memory(cnvml *door, uint32_t minor, uint64_t *total, uint64_t *used, char *why, size_t room) {
    device found;
    memory told;
    int status = find_device(door, minor, &found, why, room);
    if (status != 0) return status;
    int code = door->memory(found, &told);
    if (code != SUCCESS) return failed(door, "nvmlDeviceGetMemoryInfo", code, why, room);
    *total = told.total;
    *used = told.used;
    return 0;
}

/// As many as there are at this moment. The caller frees `*all`.
static int list(cnvml *door, device d, process **all, unsigned *count, char *why, size_t room) {
    *all = NULL;
    *count = 0;
    int code = door->processes(d, count, NULL);
    // Others may come between the question how many and the question who.
    for (int attempt = 0; code == INSUFFICIENT_SIZE && attempt < 4; attempt++) {
        *count += ROOM_FOR_MORE;
        free(*all);
        *all = calloc(*count, sizeof **all);
        if (*all == NULL) return snprintf(why, room, "no memory"), CNVML_FAILED;
        code = door->processes(d, count, *all);
    }
    return code == SUCCESS ? 0 : failed(door, "nvmlDeviceGetComputeRunningProcesses", code, why, room);
}

int cnvml_processes(cnvml *door, uint32_t minor, cnvml_use *uses, uint32_t *count, char *why, size_t room) {
    device found;
    process *all = NULL;
    unsigned listed = 0;
    uint32_t space = *count, taken = 0;
    int status = find_device(door, minor, &found, why, room);
    if (status == 0) status = list(door, found, &all, &listed, why, room);
    for (unsigned i = 0; status == 0 && all != NULL && i < listed && taken < space; i++)
        if (all[i].used != NOT_AVAILABLE) uses[taken++] = (cnvml_use){.pid = all[i].pid, .bytes = all[i].used};
    free(all);
    *count = taken;
    return status;
}
