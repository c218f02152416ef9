// THE ORDER: how a worker loses everything it does not need, one step a line; the steps are in the files beside it.
//
// dlopen runs tenant code (constructors, IFUNC resolvers, Swift registration), so all of AHEAD and JOB comes first.
// The zygote has made a group for core scheduling, where the kernel has it: its workers inherit that.
// A step that fails ends the worker. A layer that the machine does not give was reported at start, and is left out here.
#include "launcher.h"

#include <stdio.h>

static int attach(const confine *c) {
    return cgroup_leaf_attach(c->leaf);
}

typedef struct step {
    const char *name;
    uint32_t layer; ///< left out when none of these bits is in force
    int (*run)(const confine *c);
    const char *why;
} step;

enum { ANY_CGROUP = WIRE_LAYER_CGROUP_MEMORY | WIRE_LAYER_CGROUP_PIDS | WIRE_LAYER_CGROUP_CPU };

// The namespaces (pid by the zygote's fork; net, ipc, uts, mount once in the zygote) are in force before the first step.
static const step AHEAD[] = {
    {"cgroup", ANY_CGROUP, attach, "first, while still root: everything after it is charged to this worker's own group"},
    {"session", STEP_SESSION, process_session, "no terminal to type into, no group of processes to signal"},
    {"signals", STEP_SIGNALS, process_signals, "pid 1 ignores its own signals: abort and CPU limit must still end it"},
    {"descriptors", STEP_DESCRIPTORS, descriptors_close, "the zygote's cgroup, namespace and control descriptors must not leak; proved by listing"},
    {"rlimits", WIRE_LAYER_RLIMITS, rlimits_fixed, "hard limits, before the user changes, so that they count for the new user"},
    {"user", WIRE_LAYER_USER, creds_user, "a user of its own: other workers' processes are a stranger's, and NPROC counts it alone"},
    {"capabilities", WIRE_LAYER_CAPS, creds_capabilities, "after the user change, which needed them: root's last powers go"},
    {"parent-death", STEP_PARENT_DEATH, process_parent_death, "after the user change, which clears it: no worker outlives its zygote"},
    {"not-dumpable", STEP_NOT_DUMPABLE, process_not_dumpable, "after the user change, which resets it: nobody of the same user looks inside"},
    {"no-new-privs", STEP_NO_NEW_PRIVS, process_no_new_privileges, "nothing executed gains rights; Landlock and filters need it"},
    {"speculation", STEP_SPECULATION, process_speculation, "indirect branches are not steered by a neighbour on the same core"},
    {"landlock-rules", WIRE_LAYER_LANDLOCK, landlock_prepare, "those for libraries, which are every job's; nothing is confined by them yet"},
    {"mdwe", WIRE_LAYER_MDWE, process_memory_deny_write_execute, "memory that was written never becomes code; left out for an engine that makes machine code"},
};
static const step LOAD_HANDLER = {
    "load-filter", STEP_LOAD_FILTER, filter_load_handler, "last before tenant code: only what dlopen needs, and no process or thread"};
static const step LOAD_BACKEND = {
    "load-filter", STEP_LOAD_FILTER, filter_load_backend, "last before the engine: only what opening a model needs; threads, no processes"};

static const step LOAD_JIT = {
    "load-filter", STEP_LOAD_FILTER, filter_load_jit, "last before the engine: as a backend's, and code may be made"};

static const step LOAD_TEMPLATE = {
    "load-filter", STEP_LOAD_FILTER, filter_load_template, "last before tenant code: as a handler's, and the one kind of fork that a template makes"};

static const step JOB[] = {
    {"job-rlimits", WIRE_LAYER_RLIMITS, rlimits_job, "the function's own limits on CPU time, files and (without cgroup) memory"},
    {"landlock", WIRE_LAYER_LANDLOCK, landlock_confine, "reads the function's own directory and the libraries, opens the devices it was assigned, nothing else; no net, no signals out"},
};
static const step SERVE = {
    "serve-filter", STEP_SERVE_FILTER, filter_serve, "after loading: nothing is opened, nothing becomes executable"};

static bool run(const step *s, const confine *c, confine_failure *failure) {
    if ((s->layer & c->have) == 0) return true;
    int status = s->run(c);
    if (status == 0) return true;
    *failure = (confine_failure){.step = s->name, .error = -status};
    return false;
}

bool confine_ahead(const confine *c, uint32_t kind, confine_failure *failure) {
    for (size_t i = 0; i < sizeof AHEAD / sizeof AHEAD[0]; i++)
        if (!(kind == WIRE_KIND_JIT && AHEAD[i].layer == WIRE_LAYER_MDWE) && !run(&AHEAD[i], c, failure)) return false;
    switch (kind) {
    case WIRE_KIND_BACKEND: return run(&LOAD_BACKEND, c, failure);
    case WIRE_KIND_JIT: return run(&LOAD_JIT, c, failure);
    case WIRE_KIND_FRESH: return run(&LOAD_TEMPLATE, c, failure);
    default: return run(&LOAD_HANDLER, c, failure);
    }
}

bool confine_job(const confine *c, confine_failure *failure) {
    for (size_t i = 0; i < sizeof JOB / sizeof JOB[0]; i++)
        if (!run(&JOB[i], c, failure)) return false;
    return true;
}

bool confine_serve(const confine *c, confine_failure *failure) {
    return run(&SERVE, c, failure);
}

/// All other steps were inherited from the template.
static const step FRESH[] = {
    {"cgroup", ANY_CGROUP, attach, "the invocation's own group, not the template's"},
    {"parent-death", STEP_PARENT_DEATH, process_parent_death, "a fork clears it"},
    {"no-processes", WIRE_LAYER_RLIMITS, rlimits_no_processes, "the template forks, this one must not"},
};

bool confine_fresh(const confine *c, int park, confine_failure *failure) {
    for (size_t i = 0; i < sizeof FRESH / sizeof FRESH[0]; i++)
        if (!run(&FRESH[i], c, failure)) return false;
    int status = descriptors_fresh(park);
    if (status == 0) return run(&SERVE, c, failure);
    *failure = (confine_failure){.step = "descriptors", .error = -status};
    return false;
}

void confine_print(void) {
    int number = 1;
    for (size_t i = 0; i < sizeof AHEAD / sizeof AHEAD[0]; i++)
        printf("%2d ahead %-14s %s\n", number++, AHEAD[i].name, AHEAD[i].why);
    printf("%2d ahead %-14s %s\n", number++, LOAD_HANDLER.name, LOAD_HANDLER.why);
    for (size_t i = 0; i < sizeof JOB / sizeof JOB[0]; i++)
        printf("%2d job   %-14s %s\n", number++, JOB[i].name, JOB[i].why);
    printf("%2d job   %-14s %s\n", number++, "dlopen", "tenant code runs from here on");
    printf("%2d job   %-14s %s\n", number++, SERVE.name, SERVE.why);
    for (size_t i = 0; i < sizeof FRESH / sizeof FRESH[0]; i++)
        printf("%2d fresh %-14s %s\n", number++, FRESH[i].name, FRESH[i].why);
    printf("%2d fresh %-14s %s\n", number, SERVE.name, "in a process forked for one invocation, as above");
}
