// One list of all acts, over the tables of the files beside; plugin.c runs them in a real worker.
#include "acts.h"

#include <string.h>

attempt_world WORLD = {.own = "/app/subjects", .neighbour = "/app/neighbour"};

static const attempt *const TABLES[] = {FILE_ATTEMPTS, PROCESS_ATTEMPTS, RIGHT_ATTEMPTS, KERNEL_ATTEMPTS,
                                        MEMORY_ATTEMPTS, TALK_ATTEMPTS, RESOURCE_ATTEMPTS, FRAME_ATTEMPTS};

const attempt *attempt_at(size_t index) {
    for (size_t t = 0; t < sizeof TABLES / sizeof TABLES[0]; t++)
        for (const attempt *a = TABLES[t]; a->name != NULL; a++)
            if (index-- == 0) return a;
    return NULL;
}

const attempt *attempt_find(const char *name, size_t size) {
    const attempt *a;
    for (size_t i = 0; (a = attempt_at(i)) != NULL; i++)
        if (strlen(a->name) == size && memcmp(a->name, name, size) == 0) return a;
    return NULL;
}

bool attempt_is_held_without(const attempt *a, const char *off) {
    char copy[128], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", a->stops);
    for (char *name = strtok_r(copy, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        while (*name == ' ') name++;
        bool is_filter = strstr(name, "filter") != NULL;
        if (off == NULL || strcmp(off, is_filter ? "seccomp" : name) != 0) return true;
    }
    return false;
}
