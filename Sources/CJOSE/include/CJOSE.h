// The door to OpenSSL's signatures: public keys from the members of a JWK (RFC 7518, RFC 8037), and what they signed.
#ifndef CJOSE_H
#define CJOSE_H

#include <stddef.h>

enum { CJOSE_COORDINATE = 32 };

/// A public key of one kind. It may be used by several threads at once. Free it with `cjose_free`.
typedef struct cjose_key cjose_key;

/// The makers take what base64url held, largest byte first, and give NULL for what is no such key.
cjose_key *_Nullable cjose_rsa(const unsigned char *_Nonnull n, size_t n_size, const unsigned char *_Nonnull e, size_t e_size);
/// A point of P-256; NULL when it is not on the curve.
cjose_key *_Nullable cjose_p256(const unsigned char *_Nonnull x, const unsigned char *_Nonnull y);
cjose_key *_Nullable cjose_ed25519(const unsigned char *_Nonnull x);
void cjose_free(cjose_key *_Nullable key);

/// Bits of an RSA key's modulus, or of the curve.
int cjose_bits(const cjose_key *_Nonnull key);

/// Whether the key's owner signed `data`: RSASSA-PKCS1-v1_5 with SHA-256, ECDSA with SHA-256 (r and s of 32 bytes each) or
/// Ed25519, which the key alone decides. 1: yes. Leaves no error in OpenSSL's queue.
int cjose_verify(const cjose_key *_Nonnull key, const void *_Nonnull data, size_t size, const unsigned char *_Nonnull signature,
                 size_t signature_size);

#endif
