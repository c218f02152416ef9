// Has a context ask its clients for certificates.
#ifndef COPENSSL_CLIENTS_H
#define COPENSSL_CLIENTS_H

#include <openssl/ssl.h>

/// NULL when done, else the step that failed.
const char *copenssl_ask_clients(SSL_CTX *context, const char *authorities, const char *revoked);

#endif
