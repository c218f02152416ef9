// seccomp filters: compiled from Sandbox/policies once a zygote, loaded by each worker with one call.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policies/backend.h"
#include "../policies/handler.h"
#include "../policies/probe.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define PTHREAD_FLAGS \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

// ---- compiling ---------------------------------------------------------------------------------------------------------

static int add(scmp_filter_ctx f, int call, unsigned count, struct scmp_arg_cmp a, struct scmp_arg_cmp b) {
    const struct scmp_arg_cmp both[] = {a, b};
    return seccomp_rule_add_array(f, SCMP_ACT_ALLOW, call, count, both);
}

/// Stands in a compiled filter for the process's own number, which is known when it is loaded.
enum { OWN_PID = 0x51e1f1d };

#define MASKED(n, mask, value) SCMP_CMP64(n, SCMP_CMP_MASKED_EQ, (mask), (value))
#define EQUAL(n, value) SCMP_CMP64(n, SCMP_CMP_EQ, (value), 0)

/// Left out: merging pages with other processes (a clock to read them by), poisoning, paging out what others share.
static int allow_advice(scmp_filter_ctx f, int call) {
    static const unsigned ADVICE[] = {
        MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
        22, 23, // POPULATE_READ, POPULATE_WRITE
        102, 103, // GUARD_INSTALL, GUARD_REMOVE: stacks of threads, in later versions of glibc
    };
    int status = 0;
    for (size_t i = 0; status == 0 && i < COUNT(ADVICE); i++)
        status = add(f, call, 1, EQUAL(2, ADVICE[i]), (struct scmp_arg_cmp){0});
    return status;
}

static int allow_when(scmp_filter_ctx f, int call, enum when when) {
    struct scmp_arg_cmp unused = {0};
    int status = 0;
    switch (when) {
    case ALWAYS: return add(f, call, 0, unused, unused);
    case READ_ONLY: return add(f, call, 1, MASKED(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY), unused);
    case NOT_CREATING: return add(f, call, 1, MASKED(2, O_CREAT | O_TRUNC, 0), unused);
    case AS_FOPEN_WRITES: return add(f, call, 1, EQUAL(2, O_WRONLY | O_CREAT | O_TRUNC), unused);
    case NOT_WAITING: return add(f, call, 2, EQUAL(1, F_SETFL), EQUAL(2, O_NONBLOCK));
    case SEQPACKET_LOCAL: return add(f, call, 2, EQUAL(0, AF_UNIX), EQUAL(1, SOCK_SEQPACKET | SOCK_CLOEXEC));
    case PRIVATE_NOT_WRITE_EXEC:
        status = add(f, call, 2, MASKED(2, PROT_EXEC, 0), MASKED(3, MAP_TYPE, MAP_PRIVATE));
        return status < 0 ? status : add(f, call, 2, MASKED(2, PROT_WRITE | PROT_EXEC, PROT_EXEC), MASKED(3, MAP_TYPE, MAP_PRIVATE));
    case NOT_EXEC:
    case NOT_EXEC_FILE_OK: return add(f, call, 1, MASKED(2, PROT_EXEC, 0), unused);
    case PRIVATE_NOT_EXEC: return add(f, call, 2, MASKED(2, PROT_EXEC, 0), MASKED(3, MAP_TYPE, MAP_PRIVATE));
    case ON_CHANNEL: return add(f, call, 1, EQUAL(0, FD_CHANNEL), unused);
    case ON_CHANNEL_UNADDRESSED: return add(f, call, 2, EQUAL(0, FD_CHANNEL), EQUAL(4, 0));
    case SELF_GROUP: return add(f, call, 1, EQUAL(0, OWN_PID), unused);
    case SELF_PID_0: return add(f, call, 1, EQUAL(0, 0), unused);
    case SELF_QUERY: return add(f, call, 2, EQUAL(0, 0), EQUAL(2, 0));
    case THREAD_ONLY: return add(f, call, 1, EQUAL(0, PTHREAD_FLAGS), unused);
    case FORK_ONLY: return add(f, call, 1, EQUAL(0, TEMPLATE_FORK_FLAGS), unused);
    case FILTER_ONLY:
        return add(f, call, 2, EQUAL(0, SECCOMP_SET_MODE_FILTER), MASKED(1, ~(uint64_t)SECCOMP_FILTER_FLAG_TSYNC, 0));
    case PARENT_DEATH: return add(f, call, 2, EQUAL(0, PR_SET_PDEATHSIG), EQUAL(1, SIGKILL));
    case NAME_ONLY:
        status = add(f, call, 1, EQUAL(0, PR_SET_NAME), unused);
        return status < 0 ? status : add(f, call, 1, EQUAL(0, PR_SET_VMA), unused);
    case DESCRIPTOR_QUERY:
        status = add(f, call, 1, EQUAL(1, F_GETFD), unused);
        if (status == 0) status = add(f, call, 1, EQUAL(1, F_SETFD), unused);
        return status < 0 ? status : add(f, call, 1, EQUAL(1, F_GETFL), unused);
    case OWN_ADVICE: return allow_advice(f, call);
    case EMPTY_PATH: return add(f, call, 1, MASKED(3, AT_EMPTY_PATH, AT_EMPTY_PATH), unused);
    }
    return -EINVAL;
}

static int add_line(scmp_filter_ctx f, const policy_line *line) {
    if (line->act == KILL) return seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, line->call, 0);
    if (line->act == ABSENT) return seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), line->call, 0);
    return allow_when(f, line->call, line->when);
}

/// An unconditional line swallows a conditional one of the same call, in whatever order they come.
static bool widened(const policy_line *line, const policy_line *const tables[], const size_t counts[], size_t count) {
    for (size_t t = 0; line->when != ALWAYS && t < count; t++)
        for (size_t i = 0; i < counts[t]; i++)
            if (tables[t][i].call == line->call && tables[t][i].when == ALWAYS) return true;
    return false;
}

// ---- the seal ------------------------------------------------------------------------------------------------------------
//
// The load filter stays in force, so the seal need only refuse what serving loses. That is a seventh of the instructions,
// and the kernel takes a microsecond for each four of them, on the path of every cold start.

typedef struct policy {
    const policy_line *const *tables;
    const size_t *counts;
    size_t count;
} policy;

/// The line that decides over `call`: an unconditional one before others.
static const policy_line *find(const policy *p, int call) {
    const policy_line *found = NULL;
    for (size_t t = 0; t < p->count; t++)
        for (size_t i = 0; i < p->counts[t]; i++) {
            const policy_line *line = &p->tables[t][i];
            if (line->call == call && (found == NULL || line->when == ALWAYS)) found = line;
        }
    return found;
}

/// Refuses what `wide` allowed and `tight` does not; the filter with `wide` stays below. A pair that no policy has is
/// EINVAL, at the start.
static int refuse_between(scmp_filter_ctx f, int call, enum when wide, enum when tight) {
    const uint32_t refusal = SCMP_ACT_ERRNO(EPERM);
    if (wide == PRIVATE_NOT_WRITE_EXEC && tight == PRIVATE_NOT_EXEC) tight = NOT_EXEC; // shared memory is refused already
    switch (tight) {
    case NOT_EXEC: return seccomp_rule_add(f, refusal, call, 1, SCMP_CMP32(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    case SELF_QUERY: return seccomp_rule_add(f, refusal, call, 1, SCMP_CMP64(2, SCMP_CMP_NE, 0, 0));
    case SELF_GROUP: return seccomp_rule_add(f, refusal, call, 1, SCMP_CMP64(0, SCMP_CMP_NE, OWN_PID, 0));
    case NAME_ONLY: return wide == PARENT_DEATH ? seccomp_rule_add(f, refusal, call, 1, EQUAL(0, PR_SET_PDEATHSIG)) : -EINVAL;
    default: return -EINVAL;
    }
}

static int add_refusals(scmp_filter_ctx f, const policy *load, const policy *serve) {
    int status = 0;
    for (size_t t = 0; t < load->count; t++)
        for (size_t i = 0; status == 0 && i < load->counts[t]; i++) {
            const policy_line *wide = &load->tables[t][i], *tight = find(serve, wide->call);
            if (wide->act != ALLOW || find(load, wide->call) != wide) continue;
            if (tight == NULL) status = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), wide->call, 0);
            else if (tight->when != ALWAYS && tight->when != wide->when)
                status = refuse_between(f, wide->call, wide->when, tight->when);
        }
    return status;
}

static int export(scmp_filter_ctx f, filter *out) {
    int file = memfd_create("filter", MFD_CLOEXEC);
    if (file < 0) return -errno;
    struct stat info;
    int status = seccomp_export_bpf(f, file);
    if (status == 0 && fstat(file, &info) < 0) status = -errno;
    if (status == 0) {
        out->code = malloc((size_t)info.st_size);
        out->length = (unsigned short)((size_t)info.st_size / sizeof(struct sock_filter));
        if (out->code == NULL) status = -ENOMEM;
        else if (pread(file, out->code, (size_t)info.st_size, 0) != info.st_size) status = -EIO;
    }
    close(file);
    return status;
}

static int begin(scmp_filter_ctx *f, uint32_t otherwise) {
    *f = seccomp_init(otherwise);
    if (*f == NULL) return -ENOMEM;
    // Another architecture's calls (i386 by int 0x80, x32) have no innocent use. A tree instead of a list: loading a
    // filter costs the kernel 2 us for each instruction on the longest path.
    int status = seccomp_attr_set(*f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    return status == 0 ? seccomp_attr_set(*f, SCMP_FLTATR_CTL_OPTIMIZE, 2) : status;
}

static int build(filter *out, const policy_line *const tables[], const size_t counts[], size_t count) {
    scmp_filter_ctx f = NULL;
    int status = begin(&f, SCMP_ACT_ERRNO(EPERM));
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; status == 0 && i < counts[t]; i++)
            if (!widened(&tables[t][i], tables, counts, count)) status = add_line(f, &tables[t][i]);
    if (status == 0) status = export(f, out);
    seccomp_release(f);
    return status;
}

static int build_seal(filter *out, const policy *load, const policy *serve) {
    scmp_filter_ctx f = NULL;
    int status = begin(&f, SCMP_ACT_ALLOW);
    if (status == 0) status = add_refusals(f, load, serve);
    if (status == 0) status = export(f, out);
    seccomp_release(f);
    return status;
}

int filters_build(filter_set *set) {
    const policy_line *handler_load[] = {LOADING, CORE, PROBED, FORBIDDEN};
    const size_t handler_load_counts[] = {COUNT(LOADING), COUNT(CORE), COUNT(PROBED), COUNT(FORBIDDEN)};
    const policy_line *handler_serve[] = {HANDLER_SERVING, CORE, PROBED};
    const size_t handler_serve_counts[] = {COUNT(HANDLER_SERVING), COUNT(CORE), COUNT(PROBED)};
    const policy_line *backend_load[] = {BACKEND_LOADING, LOADING, CORE, PROBED, FORBIDDEN};
    const size_t backend_load_counts[] = {
        COUNT(BACKEND_LOADING), COUNT(LOADING), COUNT(CORE), COUNT(PROBED), COUNT(FORBIDDEN)};
    const policy_line *backend_serve[] = {BACKEND_SERVING, CORE, PROBED};
    const size_t backend_serve_counts[] = {COUNT(BACKEND_SERVING), COUNT(CORE), COUNT(PROBED)};
    const policy_line *device_load[] = {DEVICE_USING, BACKEND_LOADING, LOADING, CORE, PROBED, FORBIDDEN};
    const size_t device_load_counts[] = {
        COUNT(DEVICE_USING), COUNT(BACKEND_LOADING), COUNT(LOADING), COUNT(CORE), COUNT(PROBED), COUNT(FORBIDDEN)};
    const policy_line *device_serve[] = {DEVICE_USING, BACKEND_SERVING, CORE, PROBED};
    const size_t device_serve_counts[] = {COUNT(DEVICE_USING), COUNT(BACKEND_SERVING), COUNT(CORE), COUNT(PROBED)};
    const policy_line *probe_serve[] = {PROBE_SERVING};
    const size_t probe_serve_counts[] = {COUNT(PROBE_SERVING)};
    const policy_line *template_load[] = {TEMPLATE_SERVING, LOADING, CORE, PROBED, FORBIDDEN};
    const size_t template_load_counts[] = {
        COUNT(TEMPLATE_SERVING), COUNT(LOADING), COUNT(CORE), COUNT(PROBED), COUNT(FORBIDDEN)};
    const policy_line *template_serve[] = {TEMPLATE_SERVING, HANDLER_SERVING, CORE, PROBED};
    const size_t template_serve_counts[] = {COUNT(TEMPLATE_SERVING), COUNT(HANDLER_SERVING), COUNT(CORE), COUNT(PROBED)};
    const policy_line *jit_load[] = {JIT_USING, BACKEND_LOADING, LOADING, CORE, PROBED, FORBIDDEN};
    const size_t jit_load_counts[] = {
        COUNT(JIT_USING), COUNT(BACKEND_LOADING), COUNT(LOADING), COUNT(CORE), COUNT(PROBED), COUNT(FORBIDDEN)};
    const policy_line *jit_serve[] = {JIT_USING, BACKEND_SERVING, CORE, PROBED};
    const size_t jit_serve_counts[] = {COUNT(JIT_USING), COUNT(BACKEND_SERVING), COUNT(CORE), COUNT(PROBED)};
    int status = build(&set->handler_load, handler_load, handler_load_counts, COUNT(handler_load));
    if (status == 0) status = build(&set->handler_serve, handler_serve, handler_serve_counts, COUNT(handler_serve));
    if (status == 0) status = build(&set->backend_load, backend_load, backend_load_counts, COUNT(backend_load));
    if (status == 0) status = build(&set->backend_serve, backend_serve, backend_serve_counts, COUNT(backend_serve));
    if (status == 0) status = build(&set->probe_serve, probe_serve, probe_serve_counts, COUNT(probe_serve));
    if (status == 0) status = build(&set->template_load, template_load, template_load_counts, COUNT(template_load));
    if (status == 0) status = build(&set->template_serve, template_serve, template_serve_counts, COUNT(template_serve));
    if (status == 0) status = build(&set->device_load, device_load, device_load_counts, COUNT(device_load));
    if (status == 0) status = build(&set->device_serve, device_serve, device_serve_counts, COUNT(device_serve));
    if (status == 0) status = build(&set->jit_load, jit_load, jit_load_counts, COUNT(jit_load));
    if (status == 0) status = build(&set->jit_serve, jit_serve, jit_serve_counts, COUNT(jit_serve));
    const policy load = {handler_load, handler_load_counts, COUNT(handler_load)};
    const policy serve = {handler_serve, handler_serve_counts, COUNT(handler_serve)};
    const policy template = {template_serve, template_serve_counts, COUNT(template_serve)};
    if (status == 0) status = build_seal(&set->handler_seal, &load, &serve);
    if (status == 0) status = build_seal(&set->fresh_seal, &template, &serve);
    return status;
}

// ---- loading -----------------------------------------------------------------------------------------------------------

static int load(const filter *f, unsigned flags) {
    uint32_t own = (uint32_t)getpid();
    for (unsigned short i = 0; i < f->length; i++)
        if (f->code[i].k == OWN_PID) f->code[i].k = own;
    struct sock_fprog program = {.len = f->length, .filter = f->code};
    long status = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (status > 0) return -ESRCH; // TSYNC names the thread that could not follow
    return status < 0 ? -errno : 0;
}

int filter_load_handler(const confine *c) {
    return load(&c->filters->handler_load, 0);
}

int filter_load_backend(const confine *c) {
    return load(c->devices->count > 0 ? &c->filters->device_load : &c->filters->backend_load, 0);
}

int filter_load_jit(const confine *c) {
    return load(&c->filters->jit_load, 0);
}

int filter_load_template(const confine *c) {
    return load(&c->filters->template_load, 0);
}

int filter_serve(const confine *c) {
    if (c->job->kind == WIRE_KIND_FRESH && !c->fresh) return load(&c->filters->template_serve, 0);
    if (c->job->kind == WIRE_KIND_PROBE) return load(&c->filters->probe_serve, 0);
    // An engine has started threads by now; none of them may stay behind on the wider filter.
    if (c->job->kind == WIRE_KIND_BACKEND)
        return load(c->devices->count > 0 ? &c->filters->device_serve : &c->filters->backend_serve, SECCOMP_FILTER_FLAG_TSYNC);
    if (c->job->kind == WIRE_KIND_JIT) return load(&c->filters->jit_serve, SECCOMP_FILTER_FLAG_TSYNC);
    if (c->fresh) return load(&c->filters->fresh_seal, 0); // on top of its template's serve filter
    // Without the load filter below it, the seal alone would allow the rest.
    bool loaded = (c->have & STEP_LOAD_FILTER) != 0;
    return load(loaded ? &c->filters->handler_seal : &c->filters->handler_serve, 0);
}
