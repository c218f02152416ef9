// The zygote's table of processes, which forked.c keeps and templates.c uses.
#ifndef SWIFTLET_WORKERS_H
#define SWIFTLET_WORKERS_H

#include <sys/resource.h>

#include "zygote.h"

/// GIVEN: the host may start it by itself.
enum worker_state { FREE, PREPARING, READY, GIVEN, WORKING, TEMPLATE };

typedef struct template template;

/// A job that a worker gets ahead: its limits are in force then, and its directory is open to it; it has yet to load.
typedef struct known_job {
    uint32_t number; ///< the host's; 0: this place is free
    size_t size;
    uint8_t payload[JOB_MAX];
} known_job;

typedef struct worker {
    enum worker_state state;
    bool counted; ///< belongs to the prepared ones
    pid_t pid;    ///< in our namespace; 0 while a template has still to fork it
    int host_pid;
    uint32_t number; ///< once it is GIVEN or WORKING
    wire_start limits; ///< those it was prepared with
    known_job *meant_for; ///< the job that it gets before it is given away; or NULL
    uint32_t job; ///< what the host calls the job that it has; 0: it waits for one
    int park;  ///< our end, until the job is handed over; a template's for good
    int words; ///< what the worker writes
    cgroup_leaf leaf;
    template *of; ///< the template it is, or that forks it
    uint32_t place; ///< in `live`
} worker;

// ---- forked.c ------------------------------------------------------------------------------------------------------------

extern zygote Z;
/// Those that are not free, in no order.
extern worker *live[WORKERS_MAX];
extern uint32_t live_count;

worker *worker_free(void);
/// Fills a free one; from now on it is among `live`.
void worker_enlist(worker *w, const worker *as);
/// Forks a worker that waits for its job. `inside`: a pid namespace that it joins, -1: one of its own. NULL: errno.
worker *worker_fork(uint32_t kind, int inside);
/// A fork into a new pid namespace, or into `inside`.
pid_t worker_fork_process(int inside);
/// Tells the host how it ended, and frees all it had. `words`: in place of its own when it wrote none.
void worker_bury(worker *w, int status, const struct rusage *used, const char *words);
/// Tells the host which process it is.
void worker_tell_started(const worker *w);
/// An EXITED for a worker that never was.
void worker_never_started(uint32_t number, const char *why);

// ---- starved.c -----------------------------------------------------------------------------------------------------------

/// Readable when a worker may have no memory left; -1: the kernel ends those by itself.
int starved_poller(void);
/// Has it told of this one, before any process is in its group.
void starved_watch(worker *w);
/// Ends those that have none left.
void starved_end(void);

// ---- leaves.c --------------------------------------------------------------------------------------------------------------

/// Gives `w` a control group with nobody in it. Returns 0 or -errno.
int leaf_get(worker *w);
/// Takes the group of a worker that has ended; `said`: its result, NULL when nobody lived there.
void leaf_give_back(worker *w, const cgroup_result *said);

// ---- templates.c ---------------------------------------------------------------------------------------------------------

/// START of a fresh worker: from its template, which is made when there is none. Takes `channel`.
void templates_start(const job *checked, const uint8_t *payload, size_t size, int channel);
/// Something to read from a template, or from a process that it has forked.
void templates_hear(worker *w);
/// `w`, a template, has ended; `words` are its last. What waited for it has ended, too.
void templates_ended(worker *w, int status, const char *words);
/// One of its processes was buried.
void templates_child_ended(template *t);
/// Ends those that nobody has used for a while. Returns milliseconds until it should be asked again, -1: never.
int templates_sweep(void);
/// The first process of a template's pid namespace: true when `pid` was one.
bool templates_reaped(pid_t pid);

#endif
