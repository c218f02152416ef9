// The door to OpenSSL: server side TLS on sockets that do not block. TLSContext.swift comes next.
#ifndef COPENSSL_H
#define COPENSSL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ssl_ctx_st copenssl_context;
typedef struct ssl_st copenssl_session;
typedef struct copenssl_names copenssl_names;

/// A context for TLS 1.2 and 1.3 that offers h2 and http/1.1. NULL and words in `problem` when the files are no pair of
/// certificate (PEM chain) and key. With `client_ca` (PEM) clients are asked for a certificate of it, and with `client_crl`
/// (PEM, one list for each authority of the chain) a revoked one is refused as well.
copenssl_context *_Nullable copenssl_server_context(const char *_Nonnull certificate, const char *_Nonnull key,
                                                    const char *_Nullable client_ca, const char *_Nullable client_crl,
                                                    char *_Nonnull problem, size_t size);
void copenssl_context_free(copenssl_context *_Nonnull context);

/// Contexts by server name. `*.rest` stands for one label; an exact name goes first.
copenssl_names *_Nullable copenssl_names_create(size_t count);
/// Adds the next of `count` names, in lower case; the set keeps the context alive. False when memory is out.
bool copenssl_names_add(copenssl_names *_Nonnull names, const char *_Nonnull name, copenssl_context *_Nonnull context);
/// Has sessions of `context` choose from the set, which must outlive them. Nothing may be added from here on.
void copenssl_names_use(copenssl_names *_Nonnull names, copenssl_context *_Nonnull context);
void copenssl_names_free(copenssl_names *_Nonnull names);

/// A session on a socket, which stays the caller's; it keeps the context alive. NULL when memory is out.
copenssl_session *_Nullable copenssl_accept(copenssl_context *_Nonnull context, int socket);
void copenssl_session_free(copenssl_session *_Nonnull session);

/// What a call needs before it can go on.
enum { COPENSSL_END = 0, COPENSSL_WANTS_INPUT = -1, COPENSSL_WANTS_OUTPUT = -2, COPENSSL_FAILED = -3 };

/// 1: done. Otherwise one of the above.
int copenssl_handshake(copenssl_session *_Nonnull session);
/// True when h2 was agreed.
bool copenssl_agreed_h2(const copenssl_session *_Nonnull session);
/// The name that the client asked for, in lower case. False when it named none, or one that is no name.
bool copenssl_server_name(const copenssl_session *_Nonnull session, char *_Nonnull name, size_t size);
/// Why the client's certificate was refused; NULL when that isn't what ended the handshake.
const char *_Nullable copenssl_client_refused(const copenssl_session *_Nonnull session);

/// Who the client is, by a certificate that was verified.
typedef struct copenssl_client {
    /// Of the certificate in DER.
    uint8_t sha256[32];
    /// The subject's CN (empty when there is none, or several), then the URIs of subjectAltName; NUL after each.
    char text[4096];
    size_t size;
} copenssl_client;

/// False when the client showed no certificate.
bool copenssl_client_of(const copenssl_session *_Nonnull session, copenssl_client *_Nonnull client);

/// A count above 0, or one of the above.
ssize_t copenssl_read(copenssl_session *_Nonnull session, void *_Nonnull data, size_t size);
ssize_t copenssl_write(copenssl_session *_Nonnull session, const void *_Nonnull data, size_t size);
/// Says goodbye without waiting for the answer.
void copenssl_goodbye(copenssl_session *_Nonnull session);

/// What one may want to know of a server's certificate.
typedef struct copenssl_facts {
    /// Of the certificate in DER, and of its public key as curl pins it.
    uint8_t fingerprint[32], pin[32];
    /// Seconds of the wall clock.
    int64_t not_after;
    bool is_self_signed;
} copenssl_facts;

bool copenssl_facts_of(const copenssl_context *_Nonnull context, copenssl_facts *_Nonnull facts);
/// True when the certificate is for this host name or numeric address.
bool copenssl_covers(const copenssl_context *_Nonnull context, const char *_Nonnull name);

/// Makes a certificate that is signed by its own key: `old`'s (PEM), or a new ECDSA P-256 one when that is NULL.
/// `names` are what it is for, as in "DNS:host,IP:127.0.0.1". `pem` gets the key and then the certificate, ended by NUL.
bool copenssl_self_sign(const char *_Nullable old, const char *_Nonnull common_name, const char *_Nonnull names, int days,
                        char *_Nonnull pem, size_t pem_size, char *_Nonnull problem, size_t size);

#endif
