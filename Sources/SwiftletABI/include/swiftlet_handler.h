// What a tenant's handler offers and what the host lends it; swiftlet_abi.h comes first.
//
// A handler serves one invocation at a time. It reads the request from `swiftlet_invocation_v1`, answers through the
// functions of `swiftlet_host_v1`, and returns. The same process may serve many invocations, one after the other.
#ifndef SWIFTLET_HANDLER_H
#define SWIFTLET_HANDLER_H

#include "swiftlet_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/// One request, lent to `invoke` for the time of that call. Every view in it dies when `invoke` returns.
typedef struct swiftlet_invocation_v1 {
    uint32_t size;    ///< sizeof(swiftlet_invocation_v1) of the host
    uint32_t version; ///< 1
    uint64_t id;      ///< unique within this host process
    uint64_t deadline_ns; ///< CLOCK_MONOTONIC nanoseconds at which the host ends this worker; 0 = none
    swiftlet_bytes method;     ///< "GET", "POST", …
    swiftlet_bytes path;       ///< what follows /fn/{tenant}/{function}; starts with "/", percent-encoding untouched
    swiftlet_bytes query;      ///< what follows "?", or empty
    swiftlet_bytes tenant;     ///< the tenant that owns the handler
    swiftlet_bytes function;   ///< the function's name
    swiftlet_bytes request_id; ///< the id that the caller sees and every log line carries
    const swiftlet_header *SWIFTLET_NULLABLE headers; ///< request header fields, names in lower case
    size_t header_count;
    swiftlet_bytes body;    ///< the first bytes of the body; all of it when `body_complete` is 1
    uint32_t body_complete; ///< 0: read the rest with `read_body`
    uint32_t reserved;      ///< 0
} swiftlet_invocation_v1;

/// What `next` found.
enum {
    /// Bytes of the answer to host call `call`; more may follow.
    SWIFTLET_EVENT_DATA = 1,
    /// Host call `call` is answered; `data` holds the last bytes, often none.
    SWIFTLET_EVENT_DONE = 2,
    /// Host call `call` failed; `data` is the error as JSON `{"error":{"type":…,"message":…}}`.
    SWIFTLET_EVENT_FAILED = 3,
};

/// One event of a host call; `data` stays valid until the next call of any host function.
typedef struct swiftlet_event_v1 {
    uint32_t size;    ///< set by the caller to sizeof(swiftlet_event_v1)
    uint32_t version; ///< set by the caller to 1
    uint32_t kind;    ///< SWIFTLET_EVENT_*
    uint32_t call;    ///< which host call
    swiftlet_bytes data;
} swiftlet_event_v1;

/// What the host lends to a handler. Static for the life of the process; call it on the worker's thread only,
/// and (but for `log` and `fail`, which `init` may use too) only between entry to and return from `invoke`.
typedef struct swiftlet_host_v1 {
    uint32_t size;    ///< sizeof(swiftlet_host_v1) of the host
    uint32_t version; ///< 1

    /// Writes one line to the function's log. Lines over 8 KiB are cut.
    void (*SWIFTLET_NONNULL log)(int32_t level, swiftlet_bytes text);

    /// Gives the words for the failure that `init` or `invoke` is about to return. The last call wins; 4 KiB at most.
    void (*SWIFTLET_NONNULL fail)(swiftlet_bytes text);

    /// Copies the next bytes of the request body into `buffer`, waiting for them if it must.
    /// `*got` is 0 at the end of the body. Returns OK, CANCELLED or BROKEN.
    int32_t (*SWIFTLET_NONNULL read_body)(void *SWIFTLET_NONNULL buffer, size_t capacity, size_t *SWIFTLET_NONNULL got);

    /// Starts the answer: status 200 to 599 and header fields. `content-length`, `transfer-encoding`, `connection`
    /// and `date` belong to the host and are ignored. Call it once, before `write`; without it the status is 200.
    /// Returns OK, INVALID (bad status, bad field, second call) or CANCELLED.
    int32_t (*SWIFTLET_NONNULL respond)(
        int32_t status, const swiftlet_header *SWIFTLET_NULLABLE headers, size_t header_count);

    /// Sends bytes of the answer. Waits while the client reads slowly. Small writes are gathered until `flush`,
    /// the end of `invoke`, or 32 KiB. Returns OK, CANCELLED, LIMIT or BROKEN.
    int32_t (*SWIFTLET_NONNULL write)(swiftlet_bytes data);

    /// Sends at once what `write` gathered; what a stream does after each event. Returns like `write`.
    int32_t (*SWIFTLET_NONNULL flush)(void);

    /// Starts a host call, such as "model.chat", with a JSON payload; stores its number in `*call`.
    /// The answer comes by `next`. Returns OK, LIMIT (64 calls are open), CANCELLED or BROKEN.
    int32_t (*SWIFTLET_NONNULL call)(swiftlet_bytes name, swiftlet_bytes payload, uint32_t *SWIFTLET_NONNULL call);

    /// Waits at most `timeout_ns` (0 = look only, UINT64_MAX = no limit) for an event of any open host call.
    /// Returns OK, TIMEOUT, CANCELLED or BROKEN.
    int32_t (*SWIFTLET_NONNULL next)(uint64_t timeout_ns, swiftlet_event_v1 *SWIFTLET_NONNULL event);

    /// Gives up a host call; no event of it follows. Returns OK or BROKEN.
    int32_t (*SWIFTLET_NONNULL cancel)(uint32_t call);
} swiftlet_host_v1;

/// What a handler plugin offers.
typedef struct swiftlet_handler_v1 {
    uint32_t size;    ///< sizeof(swiftlet_handler_v1) of the header the plugin was built with
    uint32_t version; ///< 1

    /// Prepares the handler; called once before the first invocation. May be NULL.
    /// `config` is the manifest's `config` object as JSON, lent for the call. `*state` is handed to the others.
    /// Returns OK, or FAILED after `fail`.
    int32_t (*SWIFTLET_NULLABLE init)(
        const swiftlet_host_v1 *SWIFTLET_NONNULL host, swiftlet_bytes config, void *SWIFTLET_NULLABLE *SWIFTLET_NONNULL state);

    /// Serves one invocation. Returns OK when the answer is complete (what was not flushed is sent then),
    /// or a failure: the caller gets a 502 that carries the text given to `fail`.
    int32_t (*SWIFTLET_NONNULL invoke)(
        void *SWIFTLET_NULLABLE state, const swiftlet_invocation_v1 *SWIFTLET_NONNULL invocation,
        const swiftlet_host_v1 *SWIFTLET_NONNULL host);

    /// Called once before the process ends in an orderly way. May be NULL.
    void (*SWIFTLET_NULLABLE shutdown)(void *SWIFTLET_NULLABLE state);
} swiftlet_handler_v1;

#ifdef __cplusplus
}
#endif
#endif
