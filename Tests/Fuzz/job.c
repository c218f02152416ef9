// job_read in the zygote's own code: the START payload that a worker takes apart, after the fork and before it is sealed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"

static void require(bool holds, const char *promise) {
    if (holds) return;
    fprintf(stderr, "BROKEN: %s\n", promise);
    abort();
}

static bool below(const char *path, const char *folder) {
    size_t size = strlen(folder);
    return strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == 0);
}

/// True when no part of the path is "..".
static bool stays(const char *path) {
    for (const char *at = path; (at = strstr(at, "..")) != NULL; at += 2)
        if ((at == path || at[-1] == '/') && (at[2] == 0 || at[2] == '/')) return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static job j;
    char app[APP_MAX];
    // The longest that the zygote gives, and the usual one.
    memset(app, 'a', sizeof app);
    memcpy(app, "/app", 4);
    app[size % 2 == 0 ? 4 : sizeof app - 1] = 0;
    if (job_read(&j, app, data, size) != NULL) return 0;
    require(j.start.kind >= WIRE_KIND_HANDLER && j.start.kind <= WIRE_KIND_JIT, "the kind is known");
    require(j.start.device_count <= WIRE_DEVICES_MAX, "there is room for the devices");
    require(j.start.kind == WIRE_KIND_BACKEND || (j.start.device_count == 0 && j.start.device_bytes == 0), "only a backend has devices");
    require(below(j.directory, app) && stays(j.directory + strlen(app)), "the directory is the tenant's");
    require(below(j.library, j.directory) && stays(j.library + strlen(app)), "the library is in it");
    require(strlen(j.library) == strlen(j.directory) + 1 + j.start.library_size, "no name is cut");
    require(j.model[0] == 0 || below(j.model, j.directory), "so is the model");
    require((const uint8_t *)j.config + j.config_size == data + size, "the configuration is the rest");
    return 0;
}
