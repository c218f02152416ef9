// The door to OpenSSL's Ed25519, BLAKE2b-512 and scrypt: what minisign's files need. Signing comes next.
#ifndef CSIGNATURE_H
#define CSIGNATURE_H

#include <stddef.h>
#include <stdint.h>

enum { CSIGNATURE_SEED = 32, CSIGNATURE_PUBLIC = 32, CSIGNATURE_SIGNATURE = 64, CSIGNATURE_HASH = 64 };

/// Every function that returns a number returns 1, or 0 when it could not. No message is larger than 16 MiB.

/// Fills `out` with bytes that nobody can guess.
int csignature_random(unsigned char *_Nonnull out, size_t size);
/// The public half of a key.
int csignature_public(const unsigned char *_Nonnull seed, unsigned char *_Nonnull out);
int csignature_sign(const unsigned char *_Nonnull seed, const void *_Nonnull data, size_t size, unsigned char *_Nonnull out);
/// 1: this key's owner signed exactly these bytes. 0 for everything else, without saying what.
int csignature_verify(const unsigned char *_Nonnull public_key, const void *_Nonnull data, size_t size,
                      const unsigned char *_Nonnull signature);
/// BLAKE2b with 64 bytes of output.
int csignature_hash(const void *_Nonnull data, size_t size, unsigned char *_Nonnull out);
/// scrypt (RFC 7914) with r = 8. Refuses what takes more than 1 GiB of memory, or `p` above 64.
int csignature_scrypt(const void *_Nullable password, size_t password_size, const unsigned char *_Nonnull salt, size_t salt_size,
                      uint64_t n, uint32_t p, unsigned char *_Nonnull out, size_t size);
/// Overwrites a secret, in a way that no compiler takes for useless.
void csignature_wipe(void *_Nonnull secret, size_t size);
/// Compares in a time that says nothing of where they differ.
int csignature_same(const void *_Nonnull a, const void *_Nonnull b, size_t size);

#endif
