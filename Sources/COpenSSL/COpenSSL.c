// Thin calls into OpenSSL; the header says what each is for.
#include "COpenSSL.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "clients.h"
#include "problem.h"

static int choose_protocol(SSL *session, const unsigned char **out, unsigned char *out_size, const unsigned char *in,
                           unsigned int in_size, void *unused) {
    (void)session;
    (void)unused;
    static const unsigned char offered[] = "\x02h2\x08http/1.1";
    unsigned char *chosen = NULL;
    int result = SSL_select_next_proto(&chosen, out_size, offered, sizeof offered - 1, in, in_size);
    if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

void copenssl_describe(char *problem, size_t size, const char *step) {
    char reason[200] = "no reason given";
    unsigned long code = ERR_peek_last_error();
    if (code != 0) ERR_error_string_n(code, reason, sizeof reason);
    (void)snprintf(problem, size, "%s: %s", step, reason);
    ERR_clear_error();
}

copenssl_context *copenssl_server_context(const char *certificate, const char *key, const char *client_ca,
                                          const char *client_crl, char *problem, size_t size) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    const char *step = "TLS: make a context";
    if (context == NULL) goto failed;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    // Writes may be partial and their bytes may move: the output queue grows between tries. Idle connections hold no buffers.
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // Nothing is resumed: a ticket would outlive a revoked client certificate, and its key the secrecy of what was said.
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    // TLS 1.2 with forward secrecy and authenticated encryption only; 1.3 has nothing else.
    step = "TLS: choose ciphers";
    if (SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) goto failed;
    step = "TLS: choose curves";
    if (SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") != 1) goto failed;
    step = "TLS: read the certificate";
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) goto failed;
    step = "TLS: read the key";
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) goto failed;
    step = "TLS: match key and certificate";
    if (SSL_CTX_check_private_key(context) != 1) goto failed;
    if (client_ca != NULL && (step = copenssl_ask_clients(context, client_ca, client_crl)) != NULL) goto failed;
    return context;
failed:
    copenssl_describe(problem, size, step);
    SSL_CTX_free(context);
    return NULL;
}

void copenssl_context_free(copenssl_context *context) { SSL_CTX_free(context); }

copenssl_session *copenssl_accept(copenssl_context *context, int socket) {
    SSL *session = SSL_new(context);
    if (session == NULL) return NULL;
    if (SSL_set_fd(session, socket) != 1) {
        SSL_free(session);
        return NULL;
    }
    SSL_set_accept_state(session);
    return session;
}

void copenssl_session_free(copenssl_session *session) { SSL_free(session); }

static int outcome(SSL *session, int result) {
    switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ: return COPENSSL_WANTS_INPUT;
    case SSL_ERROR_WANT_WRITE: return COPENSSL_WANTS_OUTPUT;
    case SSL_ERROR_ZERO_RETURN: return COPENSSL_END;
    default:
        // The error queue belongs to the thread: what one connection leaves there would be blamed on the next.
        ERR_clear_error();
        return COPENSSL_FAILED;
    }
}

int copenssl_handshake(copenssl_session *session) {
    int result = SSL_do_handshake(session);
    return result == 1 ? 1 : outcome(session, result);
}

bool copenssl_agreed_h2(const copenssl_session *session) {
    const unsigned char *name = NULL;
    unsigned int size = 0;
    SSL_get0_alpn_selected(session, &name, &size);
    return size == 2 && memcmp(name, "h2", 2) == 0;
}

ssize_t copenssl_read(copenssl_session *session, void *data, size_t size) {
    size_t got = 0;
    int result = SSL_read_ex(session, data, size, &got);
    return result == 1 ? (ssize_t)got : outcome(session, result);
}

ssize_t copenssl_write(copenssl_session *session, const void *data, size_t size) {
    size_t sent = 0;
    int result = SSL_write_ex(session, data, size, &sent);
    return result == 1 ? (ssize_t)sent : outcome(session, result);
}

void copenssl_goodbye(copenssl_session *session) {
    if (SSL_is_init_finished(session)) (void)SSL_shutdown(session);
    ERR_clear_error();
}
