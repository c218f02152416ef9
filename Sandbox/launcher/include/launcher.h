// What the zygote asks of the launcher: find the layers of this machine, build the jail once, confine one worker; next: confine.c.
#ifndef SWIFTLET_LAUNCHER_H
#define SWIFTLET_LAUNCHER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "swiftlet_wire.h"

// ---- layers.c: what this machine gives ---------------------------------------------------------------------------

typedef struct layer {
    uint32_t bit;     ///< WIRE_LAYER_*
    const char *name; ///< "user", "pid", …
    const char *stops;
    const char *fix;  ///< what an operator can do when the machine refuses it
    int error;        ///< errno of the attempt; 0 = in force
} layer;

enum { LAYER_COUNT = 14, LAYERS_ALL = (1 << LAYER_COUNT) - 1 };

/// Steps that every machine gives, and that no operator can do without: a name of their own lets tests leave them out.
enum {
    STEP_SESSION = 1u << 20,
    STEP_SIGNALS = 1u << 21,
    STEP_DESCRIPTORS = 1u << 22,
    STEP_PARENT_DEATH = 1u << 23,
    STEP_NOT_DUMPABLE = 1u << 24,
    STEP_NO_NEW_PRIVS = 1u << 25,
    STEP_SPECULATION = 1u << 26,
    STEP_LOAD_FILTER = 1u << 27,
    STEP_SERVE_FILTER = 1u << 28,
    STEPS_ALL = 0x1ff << 20,
};

struct cgroup_groups;

/// The device nodes of a zygote's backends, as ADOPT brought them; none in every other zygote.
typedef struct device_list {
    uint32_t count;
    wire_device node[WIRE_DEVICES_MAX];
    char address[64]; ///< of the first on its bus, found at the adoption; empty where it can't be told
} device_list;

/// Tries every layer in a throw-away child and stores what came of it. Returns the bits that work.
uint32_t layers_probe(layer found[LAYER_COUNT], const struct cgroup_groups *groups, uid_t uid);
/// Bit of a layer's or a step's name; 0 = there is none.
uint32_t layer_bit(const char *name);
/// A raw clone, so that the flags go in one step; the child must exec or exit, since glibc's thread id is stale in it.
pid_t clone_process(uint64_t flags);
/// Gives the calling process's new user namespace its one user: root inside is the caller outside.
int user_namespace_map(uid_t outside_uid, gid_t outside_gid);

// ---- cgroup.c: resource limits --------------------------------------------------------------------------------------

enum { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_CONTROLLERS };

/// Directories that this program made; every other group is out of bounds. An empty path: no such controller.
typedef struct cgroup_groups {
    uint32_t version; ///< 0 none, 1, 2; on 2 all paths are the same directory
    char path[CGROUP_CONTROLLERS][512];
    int error[CGROUP_CONTROLLERS]; ///< why a path is empty
    char devices[512];             ///< of v1's devices controller; empty on v2, which has a program in its place
} cgroup_groups;

/// One worker's groups. Descriptors of directories, -1 where there is none.
typedef struct cgroup_leaf {
    uint32_t version;
    uint32_t number;
    int dir[CGROUP_CONTROLLERS];
    int attach[CGROUP_CONTROLLERS]; ///< open for writing "0" by the worker itself
    struct limits {
        uint64_t memory_bytes;
        uint32_t pids, cpu_percent, cpu_weight;
    } limits; ///< in force; 0 = none
    int starved_event;  ///< tells that it has no memory left, since the kernel ends nobody there; 0 = the kernel does
    bool starved;       ///< it was ended for that
    uint64_t throttled_before; ///< what counters that can't be set back said when it was last given back
    uint32_t refused_before;
} cgroup_leaf;

typedef struct cgroup_result {
    bool oom;
    bool exhausted; ///< nobody was killed, but what its processes gave back when they ended had reached the limit
    uint64_t memory_peak;
    uint64_t throttled_us;
    uint32_t pids_refused;
} cgroup_result;

/// Finds a place and makes the group `name` in each hierarchy.
void cgroup_make_top(cgroup_groups *groups, const char *name);
int cgroup_make_child(const cgroup_groups *parent, const char *name, cgroup_groups *child);
/// Removes the groups and everything below. Returns 0 or -errno of what stayed.
int cgroup_remove(const cgroup_groups *groups);
/// Opens the zygote's groups, to make leaves in them when no path leads there any more.
int cgroup_open(const cgroup_groups *groups, int dirs[CGROUP_CONTROLLERS]);

/// Only null, zero, full, random and urandom for all processes in these groups; v1's must enter them, too.
int cgroup_restrict_devices(const cgroup_groups *groups);
int cgroup_enter_devices(const char *path);
/// These as well, for a zygote that has adopted them. `directory` is its group: of v1's devices controller, or v2's.
int cgroup_allow_devices(uint32_t version, int directory, const device_list *devices);

int cgroup_leaf_make(uint32_t version, const int dirs[CGROUP_CONTROLLERS], uint32_t number, cgroup_leaf *leaf);
/// Writes only what differs from the limits in force.
int cgroup_leaf_limit(cgroup_leaf *leaf, const wire_start *job);
/// Device memory, where kernel and driver count it (dmem, v2 only). `region` as dmem.capacity names it.
int cgroup_leaf_limit_device(const cgroup_leaf *leaf, const char *region, uint64_t bytes);
/// v1: from now on `poller`, an epoll, tells with `mark` that no memory is left in it, and the kernel kills nobody for that.
/// Where this can't be had, and on v2, the kernel goes on to do it.
void cgroup_leaf_watch(cgroup_leaf *leaf, int poller, void *mark);
/// Ends all its processes if it has no memory left, whoever they are.
void cgroup_leaf_end_starved(cgroup_leaf *leaf);
int cgroup_leaf_attach(const cgroup_leaf *leaf);
cgroup_result cgroup_leaf_result(const cgroup_leaf *leaf);
/// Makes a group that nobody lives in any more as good as new, limits aside; `said` is its result. False: it can't be.
bool cgroup_leaf_renew(cgroup_leaf *leaf, const cgroup_result *said);
int cgroup_leaf_remove(cgroup_leaf *leaf, const int dirs[CGROUP_CONTROLLERS]);

// ---- cgroup_dmem.c: device memory ----------------------------------------------------------------------------------------

/// What the kernel counts, a region and its size a line; empty where it counts no device's memory.
void dmem_capacity(char *text, size_t room);
/// The region in `capacity` of the device at this bus address. False: there is none.
bool dmem_region(const char *capacity, const char *address, char *region, size_t room);

/// A template's fork: the zygote becomes the parent, and glibc's idea of the thread's number stays true.
#define TEMPLATE_FORK_FLAGS (CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)

// ---- filter.c: seccomp ------------------------------------------------------------------------------------------------

typedef struct filter {
    unsigned short length;
    struct sock_filter *code;
} filter;

typedef struct filter_set {
    filter handler_load, handler_serve, handler_seal, backend_load, backend_serve, probe_serve, template_load, template_serve;
    filter fresh_seal; ///< on top of template_serve, for what a template forks
    filter jit_load, jit_serve; ///< of backends that make machine code
    filter device_load, device_serve; ///< of backends that were assigned a device
} filter_set;

/// Compiles every policy; slow, so done once in the zygote. Returns 0 or -errno.
int filters_build(filter_set *set);

// ---- root.c, namespaces.c: the jail that all workers of a zygote share --------------------------------------------------

/// Empty network, own IPC, UTS, cgroup and mount namespaces. Returns 0 or -errno; `*step` names the part that failed.
int namespaces_enter(uint32_t have, const char **step);
/// The new root; `outside` is the namespace that still sees the host's files, until the one adoption is done.
typedef struct jail {
    int outside;
    int inside;
} jail;
int root_build(jail *jail, const char *swift_runtime, const char **step);
/// Mounts the directory at /app, read-only, and the devices below /dev, for all workers present and future; forgets the
/// way out.
int root_adopt(jail *jail, int proc, int directory, device_list *devices, const char **step);
/// Where an open directory is, in the namespace we are in. 0 or -errno.
int root_path(int proc, int directory, char *path, size_t room);
/// Notes which directories hold shared libraries, in the root that workers will see.
void root_find_libraries(void);
/// Those directories, for Landlock; NULL-terminated.
const char *const *root_library_directories(void);
/// What engines read of /proc.
#define PROCESSORS "/proc/cpuinfo"
/// Writes it, in a folder that is there. 0 or -errno.
int root_add_processors(const char *path);

// ---- devices.c: the nodes of a backend's device ------------------------------------------------------------------------

/// NULL, or what is wrong with a list that the host sent.
const char *devices_wrong(const device_list *devices);
/// From a namespace that sees them: whether the nodes are the devices that the list says, and where the first one is.
int devices_check(device_list *devices);
/// Copies of their mounts, checked again.
int devices_open(const device_list *devices, int trees[WIRE_DEVICES_MAX]);
/// Mounts these copies below /dev of the root that workers see, and closes them.
int devices_attach(const device_list *devices, int trees[WIRE_DEVICES_MAX]);

// ---- driver_texts.c: what NVIDIA's library reads beside the nodes ------------------------------------------------------

enum { DRIVER_TEXTS = 8 };
typedef struct driver_texts {
    bool wanted; ///< the devices are NVIDIA's
    char text[DRIVER_TEXTS][4096];
} driver_texts;
/// From a namespace that sees the host's files.
void driver_texts_read(const device_list *devices, driver_texts *texts);
/// Puts them over /proc and below /sys of the root that workers see, and seals both. 0 or -errno.
int driver_texts_attach(const driver_texts *texts);
/// Whether these devices' zygote has them: then /proc and /sys hold nothing else.
bool driver_texts_there(const device_list *devices);

// ---- confine.c: THE ORDER -----------------------------------------------------------------------------------------------

typedef struct confine {
    uint32_t have;       ///< WIRE_LAYER_* that this machine gives
    bool user_namespace; ///< unprivileged: one user, and root only by name
    uid_t uid;           ///< this worker's own user and group
    const cgroup_leaf *leaf;
    const filter_set *filters;
    uint64_t data_base;  ///< bytes of private memory that every worker of this zygote starts with
    const wire_start *job;     ///< from `confine_job` on
    const device_list *devices; ///< a backend's; empty for everybody else
    bool fresh;                ///< forked by a template
    int *tid;                  ///< where glibc keeps the thread's number
    const char *directory;     ///< "/app/…"
    const char *swift_runtime; ///< or NULL
} confine;

typedef struct confine_failure {
    const char *step;
    int error;
} confine_failure;

/// What can be done before the job is known. Descriptors 0 to 5 are in place; 5 is the host's /proc and is closed.
/// `kind` chooses the load filter. Returns false and fills `failure` at the first step that fails.
bool confine_ahead(const confine *c, uint32_t kind, confine_failure *failure);
/// What depends on the job. Tenant code may run after it.
bool confine_job(const confine *c, confine_failure *failure);
/// The last filter: nothing new is opened, nothing new becomes executable.
bool confine_serve(const confine *c, confine_failure *failure);
/// What a process still has to do that a template has forked: descriptors 0 to 4 are in place, `park` carries one byte to
/// the zygote, which learns from the kernel who sent it.
bool confine_fresh(const confine *c, int park, confine_failure *failure);
/// Prints THE ORDER, one step a line.
void confine_print(void);

// ---- the steps, one concern a file; each returns 0 or -errno ---------------------------------------------------------------

enum { FD_NULL = 0, FD_OUT = 1, FD_ERROR = 2, FD_CHANNEL = WIRE_CHANNEL_FD, FD_WORDS = 4, FD_PROC = 5 };

int descriptors_close(const confine *c);
int descriptors_fresh(int park);
int rlimits_fixed(const confine *c);
int rlimits_job(const confine *c);
int rlimits_no_processes(const confine *c);
int creds_user(const confine *c);
int creds_capabilities(const confine *c);
/// The zygote itself keeps only what its work takes; once it has adopted, that is less.
int creds_keep_few(bool adopted);
int process_session(const confine *c);
int process_signals(const confine *c);
int process_parent_death(const confine *c);
int process_not_dumpable(const confine *c);
int process_no_new_privileges(const confine *c);
int process_speculation(const confine *c);
int process_memory_deny_write_execute(const confine *c);
/// Once in the zygote: only its workers, one tenant's, run on the two threads of a core at the same time.
int process_core_group(void);
/// SCHED_BATCH for this process and what it forks: its waking never takes the processor from who runs.
int process_yield_to_host(void);
/// Rules for the libraries, which every job needs; `landlock_confine` adds the job's directory and puts them in force.
int landlock_prepare(const confine *c);
int landlock_confine(const confine *c);
int landlock_abi(void);
int filter_load_handler(const confine *c);
int filter_load_backend(const confine *c);
int filter_load_jit(const confine *c);
int filter_load_template(const confine *c);
int filter_serve(const confine *c);

#endif
