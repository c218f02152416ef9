// The door to OpenSSL's sealing: random keys, HMAC-SHA256, AES-256-GCM, wiping. PrefixSeal.swift and Vault come next.
#ifndef CSEAL_H
#define CSEAL_H

#include <stddef.h>

enum { CSEAL_KEY = 32, CSEAL_MAC = 32, CSEAL_NONCE = 12, CSEAL_TAG = 16, CSEAL_OVERHEAD = CSEAL_NONCE + CSEAL_TAG };

/// Every function returns 1, or 0 when it could not.

/// Fills `out` with bytes that nobody can guess.
int cseal_random(unsigned char *_Nonnull out, size_t size);
/// HMAC-SHA256 under a key of CSEAL_KEY bytes, CSEAL_MAC bytes.
int cseal_mac(const unsigned char *_Nonnull key, const void *_Nonnull data, size_t size, unsigned char *_Nonnull out);
/// AES-256-GCM with a random nonce: nonce, ciphertext and tag, `size` + CSEAL_OVERHEAD bytes. `bound` is not stored, and must be
/// the same when it is opened. At most 1 GiB.
int cseal_seal(const unsigned char *_Nonnull key, const void *_Nonnull bound, size_t bound_size, const void *_Nonnull data,
               size_t size, unsigned char *_Nonnull out);
/// Opens what was sealed: `size` - CSEAL_OVERHEAD bytes. 0: it is not what was sealed under this key for this `bound`; then `out`
/// holds nothing to be used.
int cseal_open(const unsigned char *_Nonnull key, const void *_Nonnull bound, size_t bound_size,
               const unsigned char *_Nonnull sealed, size_t size, unsigned char *_Nonnull out);

/// Overwrites what is a secret no longer; never left out by a compiler.
void cseal_wipe(void *_Nullable data, size_t size);
/// Copies the value of an environment variable into `out` and takes the variable away: from the environment that children
/// inherit, and from the memory that /proc/self/environ shows. Returns its length, which may be above `room` (then nothing was
/// copied), or -1 when there is no such variable. Call it before the first thread.
long cseal_take_environment(const char *_Nonnull name, void *_Nonnull out, size_t room);

#endif
