// Device memory that the kernel itself counts: the dmem controller (Linux 6.14, v2), for drivers that tell it of their regions.
//
// NVIDIA's own driver has none; there the host watches instead (Sources/Inference/Devices).
#include "cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool dmem_region(const char *capacity, const char *address, char *region, size_t room) {
    if (address[0] == 0) return false;
    for (const char *line = capacity; *line != 0;) {
        size_t length = strcspn(line, "\n"), name = strcspn(line, " \n");
        // "drm/0000:03:00.0/vram0 8514437120"
        const char *first = memchr(line, '/', name), *second = first == NULL ? NULL : memchr(first + 1, '/', name - (size_t)(first + 1 - line));
        size_t size = second == NULL ? 0 : (size_t)(second - first - 1);
        if (size == strlen(address) && strncmp(first + 1, address, size) == 0 && name < room) {
            memcpy(region, line, name);
            region[name] = 0;
            return true;
        }
        line += length + (line[length] == '\n');
    }
    return false;
}

int cgroup_leaf_limit_device(const cgroup_leaf *leaf, const char *region, uint64_t bytes) {
    char text[160];
    if (leaf->version != 2 || leaf->dir[CGROUP_MEMORY] < 0) return -ENOENT;
    snprintf(text, sizeof text, "%s %llu", region, (unsigned long long)bytes);
    return cgroup_write(leaf->dir[CGROUP_MEMORY], "dmem.max", text);
}
