// Memory: turning data into code, sharing with others, holding on to the machine's, finding what others left.
#include "acts.h"

#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>

enum { ONE = 4096 };

static int map_write_execute(void) {
    return mapped(mmap(NULL, ONE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ONE);
}
static int map_execute(void) {
    return mapped(mmap(NULL, ONE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ONE);
}
/// A page of our own, with a call that is made on it.
static int on_page(int (*act)(void *page)) {
    void *page = mmap(NULL, ONE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return errno;
    memset(page, 0xc3, ONE); // ret
    int result = act(page);
    munmap(page, ONE);
    return result;
}
static int turn_executable(void *page) { return answer(mprotect(page, ONE, PROT_READ | PROT_EXEC)); }
static int turn_by_key(void *page) { return answer(syscall(SYS_pkey_mprotect, page, ONE, PROT_READ | PROT_EXEC, -1)); }
static int lock_page(void *page) { return answer(mlock(page, ONE)); }
static int merge_page(void *page) { return answer(madvise(page, ONE, MADV_MERGEABLE)); }
static int bind_page(void *page) { return answer(syscall(SYS_mbind, page, ONE, 0, NULL, 0, 0)); }
static int sync_page(void *page) { return answer(msync(page, ONE, MS_ASYNC)); }
static int poison_page(void *page) {
    // An advice that nobody may give with this length: reached when the kernel looks at the arguments first.
    int result = answer(madvise((char *)page + 1, ONE, 100 /* HWPOISON */));
    return result == EINVAL ? 0 : result;
}
static int make_executable(void) { return on_page(turn_executable); }
static int make_executable_by_key(void) { return on_page(turn_by_key); }
static int lock_one(void) { return on_page(lock_page); }
static int merge_one(void) { return on_page(merge_page); }
static int bind_one(void) { return on_page(bind_page); }
static int sync_one(void) { return on_page(sync_page); }
static int poison_one(void) { return on_page(poison_page); }
static int stack_executable(void) {
    char here;
    void *page = (void *)((uintptr_t)&here & ~(uintptr_t)(ONE - 1));
    int result = answer(mprotect(page, ONE, PROT_READ | PROT_WRITE | PROT_EXEC));
    if (result == 0) mprotect(page, ONE, PROT_READ | PROT_WRITE);
    return result;
}
static int code_writable(void) {
    void *page = (void *)((uintptr_t)code_writable & ~(uintptr_t)(ONE - 1));
    int result = answer(mprotect(page, ONE, PROT_READ | PROT_WRITE | PROT_EXEC));
    if (result == 0) mprotect(page, ONE, PROT_READ | PROT_EXEC);
    return result;
}
static int share_memory(void) {
    return mapped(mmap(NULL, ONE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), ONE);
}
static int map_null(void) {
    return mapped(mmap(NULL, ONE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), ONE);
}
static int map_locked(void) {
    return mapped(mmap(NULL, ONE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0), ONE);
}
static int lock_all(void) {
    int result = answer(mlockall(MCL_CURRENT));
    if (result == 0) munlockall();
    return result;
}
static int merge_all(void) { return answer(prctl(67 /* SET_MEMORY_MERGE */, 1, 0, 0, 0)); }
static int system_v_memory(void) {
    int made = shmget(IPC_PRIVATE, ONE, 0600);
    if (made >= 0) shmctl(made, IPC_RMID, NULL);
    return answer(made);
}
static int attach_shared(void) {
    // Any segment that exists is a number away.
    for (int i = 0; i < 64; i++) {
        void *at = shmat(i, NULL, SHM_RDONLY);
        if (at != (void *)-1) {
            shmdt(at);
            return 0;
        }
    }
    return errno;
}
static int set_policy(void) { return answer(syscall(SYS_set_mempolicy, 0, NULL, 0)); }
static int allocate_key(void) {
    int key = (int)syscall(SYS_pkey_alloc, 0, 0);
    if (key >= 0) syscall(SYS_pkey_free, key);
    return answer(key);
}
static int read_leftovers(void) {
    enum { SIZE = 8 << 20 };
    char *fresh = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) return errno;
    int result = ENODATA;
    for (size_t i = 0; i < SIZE; i += 64)
        if (fresh[i] != 0) result = 0;
    munmap(fresh, SIZE);
    return result;
}
static int page_cache_of_library(void) {
    // Which pages of a library another tenant has touched: told to those who may write it, since Linux 5.2.
    unsigned char present[64];
    uintptr_t at = (uintptr_t)memcpy & ~(uintptr_t)(ONE - 1);
    if (mincore((void *)at, 64 * ONE, present) < 0) return errno;
    for (int i = 0; i < 64; i++)
        if ((present[i] & 1) == 0) return 0;
    return ENODATA; // all there, or so it says
}

const attempt MEMORY_ATTEMPTS[] = {
    {"map-rwx", map_write_execute, REFUSED, "mdwe, filter", 0, NULL},
    {"map-rx", map_execute, REFUSED, "serve filter", HARMLESS_WHILE_LOADING, NULL},
    {"mprotect-rx", make_executable, REFUSED, "mdwe, filter", 0, NULL},
    {"pkey-mprotect", make_executable_by_key, REFUSED, "mdwe, filter", 0, NULL},
    {"stack-rwx", stack_executable, REFUSED, "mdwe, filter", 0, NULL},
    {"code-writable", code_writable, REFUSED, "filter, mdwe", 0, NULL},
    {"share-memory", share_memory, REFUSED, "filter", 0, NULL},
    {"map-null", map_null, REFUSED, "caps", 0, NULL},
    {"map-locked", map_locked, REFUSED, "rlimits", 0, NULL},
    {"mlock", lock_one, REFUSED, "filter, rlimits", 0, NULL},
    {"mlockall", lock_all, REFUSED, "filter, rlimits", 0, NULL},
    {"merge-page", merge_one, REFUSED, "filter", 0, "CONFIG_KSM"},
    {"merge-all", merge_all, REFUSED, "filter", 0, "CONFIG_KSM, CAP_SYS_RESOURCE"},
    {"poison-page", poison_one, REFUSED, "filter", 0, NULL},
    {"mbind", bind_one, REFUSED, "filter", 0, "CONFIG_NUMA"},
    {"msync", sync_one, REFUSED, "filter", 0, NULL},
    {"set-mempolicy", set_policy, REFUSED, "filter", 0, "CONFIG_NUMA"},
    {"pkey-alloc", allocate_key, REFUSED, "filter", 0, "a processor with protection keys"},
    {"shmget", system_v_memory, REFUSED, "filter", 0, NULL},
    {"shmat", attach_shared, REFUSED, "filter, ipc", 0, "somebody's segment"},
    {"read-leftovers", read_leftovers, REFUSED, "kernel", 0, "a kernel that hands out pages as they are"},
    {"page-cache", page_cache_of_library, REFUSED, "kernel", 0, "a library of which pages are not in memory"},
    END_OF_TABLE,
};
