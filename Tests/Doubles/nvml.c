// Stands in for NVIDIA's management library where there is no GPU: answers from a text file, which a test writes.
//
// The file is named by -DFACTS; each of its lines is "MINOR PID BYTES", or "minors A B …" for the devices in NVML's order.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFFER __attribute__((visibility("default")))
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, UNKNOWN = 999, DEVICES = 8 };

typedef struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} process;
typedef struct memory {
    unsigned long long total, free, used;
} memory;

static int minors[DEVICES];
static unsigned device_count;

/// Reads the file anew; returns how many processes `minor` has, and puts the first of them into `out`.
static int read_facts(int minor, process *out, unsigned room, unsigned *found) {
    char line[256];
    FILE *file = fopen(FACTS, "re");
    if (file == NULL) return UNKNOWN;
    *found = 0;
    device_count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        int device;
        unsigned pid;
        unsigned long long used;
        if (strncmp(line, "minors", 6) == 0) {
            char *rest = line + 6, *end;
            for (long number; (number = strtol(rest, &end, 10)), end != rest && device_count < DEVICES; rest = end)
                minors[device_count++] = (int)number;
        } else if (sscanf(line, "%d %u %llu", &device, &pid, &used) == 3 && device == minor) {
            if (*found < room) out[*found] = (process){.pid = pid, .used = used};
            ++*found;
        }
    }
    fclose(file);
    return OK;
}

OFFER const char *nvmlErrorString(int code) {
    return code == NOT_SUPPORTED ? "Not Supported" : code == INVALID ? "Invalid Argument" : "Unknown Error";
}
OFFER int nvmlInit_v2(void) {
    unsigned none;
    return read_facts(-1, NULL, 0, &none);
}
OFFER int nvmlShutdown(void) { return OK; }
OFFER int nvmlDeviceGetCount_v2(unsigned *count) {
    unsigned none;
    int status = read_facts(-1, NULL, 0, &none);
    *count = device_count;
    return status;
}
OFFER int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= device_count) return INVALID;
    *device = &minors[index];
    return OK;
}
OFFER int nvmlDeviceGetMinorNumber(void *device, unsigned *minor) {
    *minor = (unsigned)*(int *)device;
    return OK;
}
OFFER int nvmlDeviceGetMemoryInfo(void *device, memory *told) {
    (void)device;
    *told = (memory){.total = 80ull << 30, .free = 70ull << 30, .used = 10ull << 30};
    return OK;
}
#ifdef OLD
OFFER int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, process *out) {
#else
OFFER int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process *out) {
#endif
    unsigned room = *count;
    int status = read_facts(*(int *)device, out, out == NULL ? 0 : room, count);
    return status != OK ? status : *count > room ? INSUFFICIENT_SIZE : OK;
}
