// The rooms of the zygote program and what each asks of the others; main.c chooses, forker.c and forked.c wait for work.
#ifndef SWIFTLET_ZYGOTE_H
#define SWIFTLET_ZYGOTE_H

#include <stdint.h>
#include <sys/types.h>

#include "launcher.h"
#include "swiftlet_wire.h"

enum {
    ZYGOTES_MAX = 1024,
    /// Workers of one zygote; each has a user id, so this is also the width of a zygote's range.
    WORKERS_MAX = 1280,
    UID_BASE = 0x60000000,
    UID_RANGES = 256,
    /// Room for wire_start and its strings.
    JOB_MAX = 32768,
    WORDS_MAX = 2048,
    /// Exit code of a worker or zygote that could not go on; its last words say why.
    EXIT_CANNOT = 70,
};

/// Command line of all verbs.
typedef struct options {
    int control;
    const char *kit, *rehearsal, *swift_runtime, *cgroup_name;
    uid_t uid_base;
    uint32_t without; ///< layers left out on purpose: tests prove that the others hold
    uint32_t require; ///< `layers` fails when one of them is missing; 0 = all
    // zygote only; written by the forker
    uint32_t have, prepare, cgroup_version;
    uid_t uid_first;
    bool user_namespace;
    cgroup_groups groups;
} options;

int forker_main(options *o);
int forked_main(options *o);
int layers_main(const options *o, bool json);

typedef struct page_range {
    uintptr_t begin, end;
} page_range;

enum { PAGE_RANGES_MAX = 768 };

/// Ranges of pages, in order.
typedef struct page_list {
    uint32_t count;
    page_range range[PAGE_RANGES_MAX];
} page_list;

/// Pages that a first invocation touches; all zero: not known.
typedef struct learned {
    page_list read, inherited; ///< of the latter, forks find their page tables filled
    page_list written;
    page_list heap; ///< written beyond the end of the heap, from which they are counted
} learned;

/// What a zygote knows, and its workers inherit.
typedef struct zygote {
    const options *options;
    int control;
    int pid_namespace;
    int proc; ///< the host's /proc
    int groups[CGROUP_CONTROLLERS];
    int devices_group; ///< v1's, to let adopted devices in; -1: none
    jail jail;
    device_list devices; ///< that came with the adoption: then all workers are backends that may open them
    char dmem_capacity[1024], dmem_region[128]; ///< what the kernel counts, and which of it is the first device's; or empty
    const char *app; ///< where the tenant's directory is: /app, or its own path where there are no mount namespaces
    filter_set filters;
    uint64_t data_base;
    void (*warm_up)(void); ///< SwiftletKit's, or NULL
    learned learned;
    int *tid;              ///< where glibc keeps the thread's number; NULL when the kernel does not say
} zygote;

enum { APP_MAX = 1024 };

/// What a prepared worker says to its zygote, once.
typedef struct parked {
    int32_t pid; ///< in the host's pid namespace
} parked;

/// The worker's life from fork to exit. `park` is its end of the socket on which the job comes.
_Noreturn void worker_main(const zygote *z, uint32_t slot, const cgroup_leaf *leaf, uint32_t kind, int park,
                              int words_read, int words_write);

/// A job as the worker holds it: fixed part and strings in one buffer.
typedef struct job {
    wire_start start;
    char directory[1536]; ///< "/app/…"
    char library[2048];   ///< absolute
    char model[2048];     ///< absolute, or empty
    const char *config;
    size_t config_size;
} job;

/// Checks and takes apart a START payload. Returns NULL, or what is wrong with it.
const char *job_read(job *j, const char *app, const uint8_t *payload, size_t size);

/// Has an invocation of the plugin `library` in a child, and fills `z->learned`. Returns 0 or -errno with the step that failed.
int rehearsal_learn(zygote *z, const char *library, const char **step);

/// Takes the free pieces of the heap for good, so that forks allocate side by side at its end.
void fill_holes(void);

uint64_t now_ns(void);

#endif
