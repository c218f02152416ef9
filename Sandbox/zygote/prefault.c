// Pays for page faults before the job comes: after a fork every page of code must be found again, at 2 us a piece.
#include "worker.h"

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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

/// Takes every hole that loading and warming up left in the heap, for good. Workers then allocate from its end: side by
/// side on new pages, where filling holes would copy pages all over the heap, twenty of them in each worker.
void fill_holes(void) {
    enum { LARGEST = 100 << 10, SMALLEST = 24 };
    malloc_trim(0); // joins neighbours first
    void *volatile taken = malloc(LARGEST);
    uintptr_t end = (uintptr_t)taken;
    free(taken);
    for (size_t size = LARGEST; size >= SMALLEST; size -= size > 2048 ? 1024 : 16) {
        while ((taken = malloc(size)) != NULL && (uintptr_t)taken < end) {}
        free(taken);
    }
    malloc_trim(0);
}

void touch_pages(const page_list *list, uintptr_t base, int how) {
    for (uint32_t i = 0; i < list->count; i++) {
        uint8_t *begin = (uint8_t *)base + list->range[i].begin, *end = (uint8_t *)base + list->range[i].end;
        // Not there in this process: nobody's loss.
        if (madvise(begin, (size_t)(end - begin), how) < 0) continue;
        // In earnest, too: under a hypervisor without nested paging the guest's page table is only half of a mapping.
        for (volatile uint8_t *at = begin; at < end; at += PAGE) {
            uint8_t byte = *at;
            if (how == MADV_POPULATE_WRITE) *at = byte;
        }
    }
}

uintptr_t heap_end(void) {
    return ((uintptr_t)sbrk(0) - mallinfo2().keepcost) & ~(uintptr_t)(PAGE - 1);
}

/// What a rehearsal touched. A range that is not there in this process is nobody's loss.
static void touch_learned(const learned *l, bool has_time) {
    uintptr_t end = heap_end();
    if (l->heap.count > 0) free(malloc(l->heap.range[l->heap.count - 1].end)); // so that the heap reaches as far
    touch_pages(&l->heap, end, MADV_POPULATE_WRITE);
    touch_pages(&l->written, 0, MADV_POPULATE_WRITE);
    touch_pages(&l->read, 0, MADV_POPULATE_READ);
    if (has_time) touch_pages(&l->inherited, 0, MADV_POPULATE_READ);
}

/// Without a rehearsal: all code and constants, and whatever a warm-up writes to.
static void touch_all(void (*warm_up)(void)) {
    if (warm_up != NULL) warm_up();
    dl_iterate_phdr(populate_object, NULL);
    volatile char stack[STACK_PAGES * PAGE];
    for (size_t i = 0; i < sizeof stack; i += PAGE) stack[i] = 0;
    // The loader's own data, by way of a small library that nobody needs.
    void *small = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
    if (small != NULL) (void)dlsym(small, SWIFTLET_PLUGIN_ENTRY_NAME);
    (void)dlerror();
}

void prefault(const zygote *z, bool has_time) {
    channel_prefault();
    handler_prefault();
    if (z->learned.written.count > 0) touch_learned(&z->learned, has_time);
    else touch_all(z->warm_up);
}
