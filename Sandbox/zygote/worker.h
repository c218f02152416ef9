// The rooms of the worker: the channel to the host, the loader, and the two ways to serve.
#ifndef SWIFTLET_WORKER_H
#define SWIFTLET_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "swiftlet_backend.h"
#include "swiftlet_handler.h"
#include "swiftlet_wire.h"
#include "zygote.h"

// ---- channel.c --------------------------------------------------------------------------------------------------------------

/// A received frame with its bytes; given back with `frame_drop`.
typedef struct frame {
    struct frame *next;
    wire_head head;
    const uint8_t *payload;
    _Alignas(8) uint8_t packet[WIRE_FRAME_MAX];
} frame;

typedef struct queue {
    frame *first, *last;
} queue;

void queue_add(queue *q, frame *f);
frame *queue_take(queue *q); ///< NULL when empty
void queue_clear(queue *q);
void frame_drop(frame *f);   ///< NULL is fine

/// Gets the frames that come while a send waits for a slow host; it owns them.
extern void (*channel_sink)(frame *f);

enum { CHANNEL_FRAME, CHANNEL_TIMEOUT, CHANNEL_BROKEN };
/// Waits for the next frame; `timeout_ns` 0: look only, UINT64_MAX: no limit.
int channel_receive(uint64_t timeout_ns, frame **out);
/// The next one to be received.
void channel_keep(frame *f);
/// Sends one packet whose payload stands behind room for the head. Waits while the host is slow. False: broken.
bool channel_send(uint8_t *packet, wire_head head);
/// The same for payloads that lie elsewhere; they are copied.
bool channel_send_copy(wire_head head, const void *payload, size_t size, const void *more, size_t more_size);
/// The same, but it goes out with the next frame, which spares the host a wake-up.
bool channel_send_with_next(wire_head head, const void *payload, size_t size, const void *more, size_t more_size);
/// True when a frame of the host's waits.
bool channel_has_work(void);
void channel_log(uint32_t id, int32_t level, swiftlet_bytes text);
void channel_prefault(void);
/// Turns what was written to stdout and stderr into log frames.
void channel_log_output(uint32_t id);

// ---- prefault.c -------------------------------------------------------------------------------------------------------------

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
/// Writes to the pages that serving writes to, and touches those that it reads.
/// `has_time`: also looks at pages whose tables are filled, which a hypervisor without nested paging wants to be told of.
void prefault(const zygote *z, bool has_time);
/// `how`: MADV_POPULATE_READ or _WRITE; ranges count from `base`.
void touch_pages(const page_list *list, uintptr_t base, int how);
/// The page in which the heap ends: what lies there and beyond is free.
uintptr_t heap_end(void);

// ---- worker.c ---------------------------------------------------------------------------------------------------------------

/// Ends the worker with a FAILED frame: "step: cause".
_Noreturn void worker_cannot(const char *step, const char *cause);

_Noreturn void worker_not_confined(const confine_failure *f);

// ---- failure text: what a plugin gave to `fail` ----------------------------------------------------------------------------------

enum { FAILURE_MAX = 4096 };
void failure_set(swiftlet_bytes text);
void failure_clear(void);
swiftlet_bytes failure_text(void);

// ---- loader.c ---------------------------------------------------------------------------------------------------------------

typedef struct loaded {
    const swiftlet_plugin *plugin;
    const swiftlet_handler_v1 *handler;
    const swiftlet_backend_v1 *backend;
} loaded;

/// The one place that calls dlopen for a tenant. Ends the worker when the plugin is not what it must be.
loaded loader_open(const job *j);
/// True when the table that the plugin was built with has the field.
#define HAS(table, field) \
    ((table)->size >= offsetof(__typeof__(*(table)), field) + sizeof (table)->field && (table)->field != NULL)

/// Tells the host that the plugin is loaded; `with_answer`: together with the first frame of an invocation that comes for sure.
void worker_ready(const loaded *l, wire_ready *ready, bool with_answer);

// ---- template.c -------------------------------------------------------------------------------------------------------------

/// Forks a process for each ticket of the zygote; never returns in the template.
_Noreturn void template_serve(const zygote *z, const confine *c, const loaded *l, wire_ready *ready);

// ---- handler.c, backend.c ------------------------------------------------------------------------------------------------------

void handler_prefault(void);
void handler_init(const loaded *l, const job *j);
/// Waits for an invocation and serves it. False: there will be no more.
bool handler_serve_next(void);
/// `once`: one invocation, then the end.
_Noreturn void handler_serve(const loaded *l, bool once);
void backend_open(const loaded *l, const job *j);
void backend_describe(wire_model *out);
_Noreturn void backend_serve(void);

#endif
