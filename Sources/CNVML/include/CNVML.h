// The door to NVIDIA's management library, which comes with the driver and not with us: found at run time, or absent.
//
// Calls block, for milliseconds as a rule: never on a loop. One handle belongs to one thread at a time.
#ifndef CNVML_H
#define CNVML_H

#include <stddef.h>
#include <stdint.h>

/// Where it is looked for: by the loader's own rules.
#define CNVML_LIBRARY "libnvidia-ml.so.1"

/// Every function returns 0, or one of these with words in `why`.
enum {
    CNVML_ABSENT = -1, ///< no such library, or not one that can be used
    CNVML_FAILED = -2, ///< the driver said no
};

typedef struct cnvml cnvml;

/// What one process holds of a device's memory.
typedef struct cnvml_use {
    uint32_t pid; ///< in the pid namespace that the driver was loaded in: the machine's first
    uint64_t bytes;
} cnvml_use;

int cnvml_open(const char *_Nonnull library, cnvml *_Nullable *_Nonnull door, char *_Nonnull why, size_t room);
void cnvml_close(cnvml *_Nonnull door);
/// The memory of the device whose node is /dev/nvidia`minor`.
int cnvml_memory(cnvml *_Nonnull door, uint32_t minor, uint64_t *_Nonnull total, uint64_t *_Nonnull used, char *_Nonnull why, size_t room);
/// Who computes on it. `*count` holds the room in `uses` on entry and the number on return; processes whose memory the driver
/// does not tell are left out.
int cnvml_processes(cnvml *_Nonnull door, uint32_t minor, cnvml_use *_Nonnull uses, uint32_t *_Nonnull count, char *_Nonnull why, size_t room);

#endif
