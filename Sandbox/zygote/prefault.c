// Pays for page faults before the job comes: after a fork every page of code must be found again, at 2 us a piece.
#include "worker.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGE = 4096, SMALL_DATA = 64 * 1024 };

static void populate(uintptr_t begin, uintptr_t end, int advice) {
    begin &= ~(uintptr_t)(PAGE - 1);
    // Refused before Linux 5.14: then the faults come later, and nothing else changes.
    if (end > begin) madvise((void *)begin, (end - begin + PAGE - 1) & ~(uintptr_t)(PAGE - 1), advice);
}

/// Code is shared, so all of it; data is copied for this worker alone, so only where it is small.
static int populate_object(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)size;
    (void)unused;
    uintptr_t sealed = 0;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            sealed = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr + object->dlpi_phdr[i].p_memsz;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD) continue;
        uintptr_t begin = object->dlpi_addr + part->p_vaddr, end = begin + part->p_filesz;
        if ((part->p_flags & PF_W) == 0) populate(begin, end, MADV_POPULATE_READ);
        else if (sealed > begin) begin = sealed;
        if ((part->p_flags & PF_W) != 0 && end > begin && end - begin <= SMALL_DATA) populate(begin, end, MADV_POPULATE_WRITE);
    }
    return 0;
}

void prefault(void (*warm_up)(void)) {
    if (warm_up != NULL) warm_up();
    dl_iterate_phdr(populate_object, NULL);
    volatile char stack[16 * PAGE];
    for (size_t i = 0; i < sizeof stack; i += PAGE) stack[i] = 0;
    // The loader's own data, by way of a small library that nobody needs.
    void *small = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
    if (small != NULL) (void)dlsym(small, SWIFTLET_PLUGIN_ENTRY_NAME);
    (void)dlerror();
    channel_prefault();
    handler_prefault();
}
