// The door to OpenSSL: server side TLS on sockets that do not block. TLSContext.swift comes next.
#ifndef COPENSSL_H
#define COPENSSL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct ssl_ctx_st copenssl_context;
typedef struct ssl_st copenssl_session;

/// A context for TLS 1.2 and 1.3 that offers h2 and http/1.1. NULL and words in `problem` when the files are no pair of
/// certificate (PEM chain) and key.
copenssl_context *_Nullable copenssl_server_context(const char *_Nonnull certificate, const char *_Nonnull key,
                                                    char *_Nonnull problem, size_t size);
void copenssl_context_free(copenssl_context *_Nonnull context);

/// A session on a socket, which stays the caller's; it keeps the context alive. NULL when memory is out.
copenssl_session *_Nullable copenssl_accept(copenssl_context *_Nonnull context, int socket);
void copenssl_session_free(copenssl_session *_Nonnull session);

/// What a call needs before it can go on.
enum { COPENSSL_END = 0, COPENSSL_WANTS_INPUT = -1, COPENSSL_WANTS_OUTPUT = -2, COPENSSL_FAILED = -3 };

/// 1: done. Otherwise one of the above.
int copenssl_handshake(copenssl_session *_Nonnull session);
/// True when h2 was agreed.
bool copenssl_agreed_h2(const copenssl_session *_Nonnull session);
/// A count above 0, or one of the above.
ssize_t copenssl_read(copenssl_session *_Nonnull session, void *_Nonnull data, size_t size);
ssize_t copenssl_write(copenssl_session *_Nonnull session, const void *_Nonnull data, size_t size);
/// Says goodbye without waiting for the answer.
void copenssl_goodbye(copenssl_session *_Nonnull session);

#endif
