// A worker's life: confined ahead, parked until a job comes, confined for the job, loaded, sealed, serving.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet.h"

static bool has_channel;
static char failure[FAILURE_MAX];
static size_t failure_size;

void failure_set(swiftlet_bytes text) {
    failure_size = text.data == NULL ? 0 : text.size > sizeof failure ? sizeof failure : text.size;
    if (failure_size > 0) memcpy(failure, text.data, failure_size);
}

void failure_clear(void) {
    failure_size = 0;
}

swiftlet_bytes failure_text(void) {
    return (swiftlet_bytes){.data = failure, .size = failure_size};
}

void worker_cannot(const char *step, const char *cause) {
    char text[FAILURE_MAX + 256];
    int length = snprintf(text, sizeof text, "%s: %s", step, cause);
    size_t size = length < 0 ? 0 : (size_t)length >= sizeof text ? sizeof text - 1 : (size_t)length;
    if (has_channel) {
        channel_log_output(0);
        channel_send_copy((wire_head){.type = WIRE_FAILED}, text, size, NULL, 0);
    } else if (write(FD_ERROR, text, size) < 0) {
        _exit(EXIT_CANNOT + 1);
    }
    _exit(EXIT_CANNOT);
}

void worker_not_confined(const confine_failure *f) {
    char step[64], cause[128];
    snprintf(step, sizeof step, "confine: %s", f->step);
    const char *name = strerrorname_np(f->error);
    snprintf(cause, sizeof cause, "%s (%s)", strerror(f->error), name == NULL ? "?" : name);
    worker_cannot(step, cause);
}

/// Everything goes to its number by way of high numbers, so that nothing is overwritten on the way.
static bool place_descriptors(const zygote *z, int park, int words_read, int words_write) {
    int from[] = {STDIN_FILENO, words_write, words_write, park, words_read, z->proc};
    for (int i = 0; i < 6; i++)
        if ((from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 16)) < 0) return false;
    for (int i = 0; i < 6; i++)
        if (dup2(from[i], i) < 0) return false;
    return true;
}

static int32_t host_pid(void) {
    char text[16] = "";
    ssize_t length = readlinkat(FD_PROC, "self", text, sizeof text - 1);
    return length > 0 ? atoi(text) : 0;
}

// ---- the job -------------------------------------------------------------------------------------------------------------

static bool plain(const char *text, size_t size) {
    return memchr(text, 0, size) == NULL;
}

/// No step upwards, nothing absolute: Landlock holds anyway, but the error should say what is wrong.
static bool relative(const char *text, size_t size) {
    if (size > 0 && text[0] == '/') return false;
    for (size_t i = 0; i + 1 < size; i++)
        if (text[i] == '.' && text[i + 1] == '.' && (i == 0 || text[i - 1] == '/') && (i + 2 == size || text[i + 2] == '/'))
            return false;
    return plain(text, size);
}

const char *job_read(job *j, const char *app, const uint8_t *payload, size_t size) {
    *j = (job){0};
    if (size < sizeof j->start || size > JOB_MAX) return "start: the frame is too short or too long";
    memcpy(&j->start, payload, sizeof j->start);
    const wire_start *s = &j->start;
    uint64_t total = (uint64_t)s->directory_size + s->library_size + s->model_size + s->config_size;
    if (total != size - sizeof *s) return "start: sizes disagree";
    if (s->kind < WIRE_KIND_HANDLER || s->kind > WIRE_KIND_JIT) return "start: unknown kind of worker";
    if (s->device_count > WIRE_DEVICES_MAX) return "start: too many devices";
    if (s->kind != WIRE_KIND_BACKEND && (s->device_count > 0 || s->device_bytes > 0)) return "start: only a backend may have devices";
    if (s->directory_size > 400 || s->library_size > 400 || s->model_size > 400) return "start: a name is too long";
    const char *directory = (const char *)payload + sizeof *s;
    const char *library = directory + s->directory_size, *model = library + s->library_size;
    if (!relative(directory, s->directory_size) || !relative(library, s->library_size) || !relative(model, s->model_size))
        return "start: a name leads out of the directory";
    if (s->library_size == 0) return "start: no library is named";
    snprintf(j->directory, sizeof j->directory, "%s%s%.*s", app, s->directory_size == 0 ? "" : "/", (int)s->directory_size, directory);
    snprintf(j->library, sizeof j->library, "%s/%.*s", j->directory, (int)s->library_size, library);
    if (s->model_size > 0) snprintf(j->model, sizeof j->model, "%s/%.*s", j->directory, (int)s->model_size, model);
    j->config = model + s->model_size;
    j->config_size = s->config_size;
    return NULL;
}

/// Waits for the job and puts the channel in its place. The zygote's end of file is the end. True: the job came by itself,
/// on what is the channel already.
static bool wait_for_job(const char *app, uint8_t *buffer, job *j) {
    int channel;
    ssize_t got = packet_receive(FD_CHANNEL, buffer, JOB_MAX, &channel, 0);
    if (got <= 0) _exit(0);
    const char *wrong = job_read(j, app, buffer, (size_t)got);
    // A template has no caller of its own: what it has to say goes to the zygote, which tells those that wait.
    if (j->start.kind != WIRE_KIND_FRESH) {
        // From the zygote comes a channel; from the host itself, the job came on it.
        if (channel >= 0 && dup2(channel, FD_CHANNEL) < 0) _exit(EXIT_CANNOT);
        if (channel >= 0) close(channel);
    }
    has_channel = true;
    if (wrong != NULL) worker_cannot("start", wrong);
    return channel < 0;
}

/// A handler that has its job ahead loads its plugin when there is work: nothing of a tenant's runs before.
static void wait_for_work(void) {
    frame *first;
    if (channel_receive(UINT64_MAX, &first) != CHANNEL_FRAME) _exit(0);
    channel_keep(first);
}

void worker_ready(const loaded *l, wire_ready *ready, bool with_answer) {
    uint8_t text[2 * 64 + sizeof(wire_model)];
    ready->abi = l->plugin->abi;
    ready->kind = l->plugin->kind;
    ready->name_size = (uint32_t)strnlen(l->plugin->name, 63);
    ready->version_size = (uint32_t)strnlen(l->plugin->version, 63);
    memcpy(text, l->plugin->name, ready->name_size);
    memcpy(text + ready->name_size, l->plugin->version, ready->version_size);
    size_t size = ready->name_size + ready->version_size;
    if (ready->has_model != 0) {
        wire_model model;
        backend_describe(&model);
        memcpy(text + size, &model, sizeof model);
        size += sizeof model;
    }
    ready->at_ns = now_ns();
    wire_head head = {.type = WIRE_READY};
    bool sent = with_answer ? channel_send_with_next(head, ready, sizeof *ready, text, size)
                            : channel_send_copy(head, ready, sizeof *ready, text, size);
    if (!sent) _exit(0);
}

static void seal(const confine *c, wire_ready *ready) {
    confine_failure why;
    uint64_t begin = now_ns();
    if (!confine_serve(c, &why)) worker_not_confined(&why);
    ready->seal_ns = now_ns() - begin;
}

/// The job from the load filter to the last frame.
_Noreturn static void run(const zygote *z, const confine *c, const job *j, bool has_work, wire_ready *ready) {
    uint64_t begin = now_ns();
    loaded l = loader_open(j);
    uint64_t at_load = now_ns();
    ready->load_ns = at_load - begin;
    if (j->start.kind == WIRE_KIND_PROBE) {
        seal(c, ready);
        worker_ready(&l, ready, false);
        _exit(0);
    }
    if (j->start.kind == WIRE_KIND_BACKEND || j->start.kind == WIRE_KIND_JIT) {
        // The model is opened before the seal, since opening reads files and starts threads.
        backend_open(&l, j);
        ready->init_ns = now_ns() - at_load;
        ready->has_model = 1;
        seal(c, ready);
        worker_ready(&l, ready, false);
        backend_serve();
    }
    seal(c, ready);
    uint64_t at_init = now_ns();
    handler_init(&l, j);
    ready->init_ns = now_ns() - at_init;
    bool template = j->start.kind == WIRE_KIND_FRESH;
    worker_ready(&l, ready, !template && (has_work || channel_has_work()));
    if (template) template_serve(z, c, &l, ready);
    handler_serve(&l, false);
}

void worker_main(const zygote *z, uint32_t slot, const cgroup_leaf *leaf, uint32_t kind, int park, int words_read,
                 int words_write) {
    static _Alignas(8) uint8_t buffer[JOB_MAX];
    static job j;
    confine c = {
        .have = z->options->have, .user_namespace = z->options->user_namespace, .uid = z->options->uid_first + slot,
        .leaf = leaf, .filters = &z->filters, .data_base = z->data_base, .swift_runtime = z->options->swift_runtime, .tid = z->tid,
        .devices = &z->devices};
    if (!place_descriptors(z, park, words_read, words_write)) _exit(EXIT_CANNOT);
    parked hello = {.pid = host_pid()};
    confine_failure why;
    if (!confine_ahead(&c, kind, &why)) worker_not_confined(&why);
    prefault(z, true);
    // The pages that a job of usual size is read into.
    memset(buffer, 0, 4096);
    memset(&j, 0, sizeof j);
    if (write(FD_CHANNEL, &hello, sizeof hello) != sizeof hello) _exit(0);
    bool ahead = wait_for_job(z->app, buffer, &j) && j.start.kind == WIRE_KIND_HANDLER;
    uint64_t begin = now_ns();
    c.job = &j.start;
    c.directory = j.directory;
    if (!confine_job(&c, &why)) worker_not_confined(&why);
    wire_ready ready = {.confine_ns = now_ns() - begin, .pid = hello.pid};
    if (ahead) wait_for_work();
    run(z, &c, &j, ahead, &ready);
}
