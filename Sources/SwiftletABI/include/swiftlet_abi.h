// The words every Swiftlet plugin and the worker that loads it share; next: swiftlet_handler.h or swiftlet_backend.h.
//
// Rules of this contract
//   * Plain C, little-endian, 64-bit Linux. A plugin is one shared object that exports `swiftlet_plugin_entry`.
//   * Every table starts with its size in bytes and its version. Tables only grow at the end; a field never moves,
//     changes type or changes meaning. A reader looks at a field only when `size` says that it is there.
//   * A plugin built for version N runs on every later host. A plugin that asks for a newer version than the host
//     has is refused, with both numbers named.
//   * A plugin is called from one thread only: the thread that loaded it. It may start threads of its own only in a
//     backend whose manifest asks for them.
//   * Memory: the caller of a function owns what it passes in, and lends it for the time of that call. What a
//     function returns by pointer belongs to the callee, and stays valid until the next call into the same table,
//     unless the function says otherwise.
//   * A plugin is never unloaded. Its process ends.
#ifndef SWIFTLET_ABI_H
#define SWIFTLET_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The version of this contract. A host of version V accepts plugins of versions 1 to V.
#define SWIFTLET_ABI_VERSION 1u

#if defined(__clang__) || defined(__GNUC__)
#define SWIFTLET_EXPORT __attribute__((visibility("default")))
#else
#define SWIFTLET_EXPORT
#endif

#if defined(__clang__)
#define SWIFTLET_NONNULL _Nonnull
#define SWIFTLET_NULLABLE _Nullable
#else
#define SWIFTLET_NONNULL
#define SWIFTLET_NULLABLE
#endif

/// What a call answers. Zero is success; every failure is negative. Numbers are never reused.
enum {
    SWIFTLET_OK = 0,
    /// The plugin failed in its own way; the text is what it gave to `fail`.
    SWIFTLET_FAILED = -1,
    /// The caller went away or the deadline passed: stop, nothing more will be read or delivered.
    SWIFTLET_CANCELLED = -2,
    /// An argument breaks the contract of the function.
    SWIFTLET_INVALID = -3,
    /// A limit of this invocation or model is reached.
    SWIFTLET_LIMIT = -4,
    /// The function is not offered by this plugin or host.
    SWIFTLET_UNSUPPORTED = -5,
    /// `next` waited for its whole timeout and nothing came.
    SWIFTLET_TIMEOUT = -6,
    /// The buffer is too small; the size that is needed was stored.
    SWIFTLET_TOO_SMALL = -7,
    /// The channel to the host broke: end the process.
    SWIFTLET_BROKEN = -8,
};

/// What a plugin is.
enum { SWIFTLET_KIND_HANDLER = 1, SWIFTLET_KIND_BACKEND = 2 };

/// How much a log line matters.
enum { SWIFTLET_LOG_DEBUG = 0, SWIFTLET_LOG_INFO = 1, SWIFTLET_LOG_WARNING = 2, SWIFTLET_LOG_ERROR = 3 };

/// A run of bytes that somebody else owns; text is UTF-8 and not NUL-terminated. `data` may be NULL when `size` is 0.
typedef struct swiftlet_bytes {
    const void *SWIFTLET_NULLABLE data;
    size_t size;
} swiftlet_bytes;

/// One header field or trailer; names arrive in lower case.
typedef struct swiftlet_header {
    swiftlet_bytes name;
    swiftlet_bytes value;
} swiftlet_header;

/// What a plugin says it is. Returned by `swiftlet_plugin_entry`; static for the life of the process.
typedef struct swiftlet_plugin {
    uint32_t size;     ///< sizeof(swiftlet_plugin) of the header the plugin was built with
    uint32_t abi;      ///< SWIFTLET_ABI_VERSION of the header the plugin was built with
    uint32_t kind;     ///< SWIFTLET_KIND_HANDLER or SWIFTLET_KIND_BACKEND
    uint32_t reserved; ///< 0
    const char *SWIFTLET_NONNULL name;    ///< short name for logs, at most 63 bytes
    const char *SWIFTLET_NONNULL version; ///< the plugin's own version, for people, at most 63 bytes
    /// swiftlet_handler_v1 or swiftlet_backend_v1, as `kind` says; static for the life of the process.
    const void *SWIFTLET_NONNULL table;
} swiftlet_plugin;

/// The one symbol a plugin exports. Called once, on the worker's thread, inside the sandbox, after dlopen.
///
/// - `host_abi`: the host's SWIFTLET_ABI_VERSION. A plugin that can serve several versions picks its table by it.
/// - Returns what the plugin is, or NULL when it can't serve that host.
typedef const swiftlet_plugin *SWIFTLET_NULLABLE (*swiftlet_plugin_entry_fn)(uint32_t host_abi);
SWIFTLET_EXPORT const swiftlet_plugin *SWIFTLET_NULLABLE swiftlet_plugin_entry(uint32_t host_abi);
#define SWIFTLET_PLUGIN_ENTRY_NAME "swiftlet_plugin_entry"

#ifdef __cplusplus
}
#endif
#endif
