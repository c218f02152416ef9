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

enum { PAGE = 4096, STACK_PAGES = 6 };

static void populate(uintptr_t begin, uintptr_t end) {
    begin &= ~(uintptr_t)(PAGE - 1);
    // Refused before Linux 5.14: then the faults come later, and nothing else changes.
    madvise((void *)begin, (end - begin + PAGE - 1) & ~(uintptr_t)(PAGE - 1), MADV_POPULATE_READ);
}

/// Code and constants are shared, so all of them. Data would be copied for this worker alone: what a handler writes is
/// written by the warm-up too, and the rest stays the zygote's.
static int populate_object(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)size;
    (void)unused;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t begin = object->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_W) == 0) populate(begin, begin + part->p_filesz);
    }
    return 0;
}

/// Writes to the pages that a rehearsal wrote to. One that is not there in this process is nobody's loss.
static void write_ahead(const learned *l) {
    size_t heap = (size_t)l->heap_pages * PAGE;
    free(malloc(heap)); // the heap's end then lies beyond them
    uintptr_t end = heap_end();
    if (heap > 0) madvise((void *)end, heap, MADV_POPULATE_WRITE);
    for (uint32_t i = 0, next; i < l->count; i = next) {
        for (next = i + 1; next < l->count && l->page[next] == l->page[next - 1] + PAGE;) next++;
        madvise((void *)l->page[i], (next - i) * PAGE, MADV_POPULATE_WRITE);
    }
}

void prefault(const zygote *z) {
    if (z->warm_up != NULL) z->warm_up();
    dl_iterate_phdr(populate_object, NULL);
    volatile char stack[STACK_PAGES * PAGE];
    for (size_t i = 0; i < sizeof stack; i += PAGE) stack[i] = 0;
    // The loader's own data, by way of a small library that nobody needs.
    void *small = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
    if (small != NULL) (void)dlsym(small, SWIFTLET_PLUGIN_ENTRY_NAME);
    (void)dlerror();
    channel_prefault();
    handler_prefault();
    write_ahead(&z->learned);
}
