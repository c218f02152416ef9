// Loads the plugin and checks what it says it is, before anything of it is used; next: handler.c or backend.c.
#include "worker.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

_Noreturn static void refuse(const char *format, uint32_t theirs, uint32_t ours) {
    char cause[256];
    snprintf(cause, sizeof cause, format, theirs, ours);
    worker_cannot("load", cause);
}

static void check_plugin(const swiftlet_plugin *p) {
    if (p == NULL)
        refuse("the plugin's entry refused this host's ABI %u (it returned NULL); build it for ABI %u or older",
               SWIFTLET_ABI_VERSION, SWIFTLET_ABI_VERSION);
    if (p->size < sizeof(swiftlet_plugin))
        refuse("swiftlet_plugin has %u bytes, this host needs %u; build the plugin with the headers of ABI 1", p->size,
               (uint32_t)sizeof(swiftlet_plugin));
    if (p->abi == 0 || p->abi > SWIFTLET_ABI_VERSION)
        refuse("the plugin asks for ABI %u, this host has ABI %u; update the host or build with older headers", p->abi,
               SWIFTLET_ABI_VERSION);
    if (p->name == NULL || p->version == NULL || p->table == NULL)
        worker_cannot("load", "name, version or table of swiftlet_plugin is NULL; fill all of them");
}

static void check_handler(const swiftlet_handler_v1 *t) {
    uint32_t needed = (uint32_t)(offsetof(swiftlet_handler_v1, invoke) + sizeof t->invoke);
    if (t->version != 1) refuse("the handler table has version %u, this host reads version %u", t->version, 1);
    if (t->size < needed) refuse("the handler table has %u bytes, this host needs %u", t->size, needed);
    if (t->invoke == NULL) worker_cannot("load", "the handler table has no invoke; fill it");
}

static void check_backend(const swiftlet_backend_v1 *t) {
    uint32_t needed = (uint32_t)(offsetof(swiftlet_backend_v1, describe) + sizeof t->describe);
    if (t->version != 1) refuse("the backend table has version %u, this host reads version %u", t->version, 1);
    if (t->size < needed) refuse("the backend table has %u bytes, this host needs %u", t->size, needed);
    if (t->open == NULL || t->describe == NULL) worker_cannot("load", "the backend table has no open or describe; fill both");
}

loaded loader_open(const job *j) {
    void *library = dlopen(j->library, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) worker_cannot("load", dlerror());
    swiftlet_plugin_entry_fn entry;
    *(void **)&entry = dlsym(library, SWIFTLET_PLUGIN_ENTRY_NAME);
    if (entry == NULL)
        worker_cannot("load", "the library exports no " SWIFTLET_PLUGIN_ENTRY_NAME "; declare it with SWIFTLET_EXPORT");
    loaded l = {.plugin = entry(SWIFTLET_ABI_VERSION)};
    check_plugin(l.plugin);
    uint32_t kind = l.plugin->kind, wanted = j->start.kind == WIRE_KIND_FRESH ? WIRE_KIND_HANDLER
        : j->start.kind == WIRE_KIND_JIT                                    ? WIRE_KIND_BACKEND
                                                                            : j->start.kind;
    if (kind != SWIFTLET_KIND_HANDLER && kind != SWIFTLET_KIND_BACKEND)
        refuse("the plugin is of kind %u; this host knows kinds 1 and %u", kind, SWIFTLET_KIND_BACKEND);
    if (wanted != WIRE_KIND_PROBE && kind != wanted)
        refuse("the plugin is of kind %u, the manifest says %u (1 handler, 2 backend)", kind, wanted);
    if (kind == SWIFTLET_KIND_HANDLER) check_handler(l.handler = l.plugin->table);
    else check_backend(l.backend = l.plugin->table);
    return l;
}
