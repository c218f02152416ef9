// The door to OpenSSL's SHA-256.
#ifndef CDIGEST_H
#define CDIGEST_H

#include <stddef.h>

/// Opaque running digest. Free it with `cdigest_free`.
typedef struct cdigest cdigest;
cdigest *_Nullable cdigest_begin(void);
int cdigest_add(cdigest *_Nonnull digest, const void *_Nullable data, size_t size);
/// Stores the 32 bytes. 1 on success.
int cdigest_finish(cdigest *_Nonnull digest, unsigned char *_Nonnull out);
/// The 32 bytes of something whole. 1 on success.
int cdigest_once(const void *_Nullable data, size_t size, unsigned char *_Nonnull out);
void cdigest_free(cdigest *_Nullable digest);

#endif
