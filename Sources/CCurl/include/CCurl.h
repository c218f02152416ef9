// The door to libcurl: one whole request a call, because curl's options are variadic.
#ifndef CCURL_H
#define CCURL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*ccurl_receive)(void *_Nullable context, const void *_Nonnull data, size_t size);

/// Bytes of an upload that are sent, and of all of it.
typedef void (*ccurl_progress)(void *_Nullable context, uint64_t sent, uint64_t size);

/// Runs one HTTP request and waits for it. `body` or the file `upload` is sent when it is not NULL.
/// `authorities` is a PEM file of certificates to trust instead of the system's, or NULL.
/// `pin` is "sha256//" and the Base64 digest of the only public key to talk to, or NULL; without `authorities` it is enough.
/// Answer bytes go to `receive` as they come; `progress` hears of an upload several times a second.
/// Returns the HTTP status, or 0 with words in `error` (256 bytes).
long ccurl_perform(const char *_Nonnull method, const char *_Nonnull url, const char *_Nullable const *_Nullable headers,
                   size_t header_count, const void *_Nullable body, size_t body_size, const char *_Nullable upload,
                   const char *_Nullable authorities, const char *_Nullable pin,
                   ccurl_receive _Nonnull receive, ccurl_receive _Nullable receive_header, ccurl_progress _Nullable progress,
                   void *_Nullable context, char *_Nonnull error);

/// True: the transfer is given up.
typedef bool (*ccurl_stop)(void *_Nullable context);

/// GETs `url` by https or http, following no redirect, with at most `most` bytes of answer, in `milliseconds`; `stop` is asked
/// at least once a second. Otherwise like `ccurl_perform`.
long ccurl_fetch(const char *_Nonnull url, size_t most, long milliseconds, const char *_Nullable authorities,
                 ccurl_receive _Nonnull receive, ccurl_receive _Nonnull receive_header, ccurl_stop _Nonnull stop,
                 void *_Nullable context, char *_Nonnull error);

#endif
