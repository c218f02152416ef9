// Certificates of clients: asked for, verified, and read.
#include "clients.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "COpenSSL.h"

const char *copenssl_ask_clients(SSL_CTX *context, const char *authorities, const char *revoked) {
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(authorities);
    if (names == NULL) return "TLS: read the client authorities";
    SSL_CTX_set_client_CA_list(context, names);
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    if (X509_STORE_load_file(store, authorities) != 1) return "TLS: trust the client authorities";
    // An authority that the file names is trusted, be it a root or not.
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_STORE_set_purpose(store, X509_PURPOSE_SSL_CLIENT) != 1) return "TLS: choose the purpose of clients";
    if (revoked != NULL) {
        X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
        if (lookup == NULL || X509_load_crl_file(lookup, revoked, X509_FILETYPE_PEM) < 1) {
            return "TLS: read the client revocation list";
        }
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    // Asked, not demanded: keys go on working without a certificate. One that is shown must verify.
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_verify_depth(context, 4);
    return NULL;
}

const char *copenssl_client_refused(const copenssl_session *session) {
    long result = SSL_get_verify_result(session);
    return result == X509_V_OK ? NULL : X509_verify_cert_error_string(result);
}

/// Appends a text and NUL. False when it doesn't fit, or holds what a name must not: then it could pass for another.
static bool append(copenssl_client *client, const unsigned char *text, int size) {
    if (size <= 0 || client->size + (size_t)size + 1 > sizeof client->text) return false;
    for (int i = 0; i < size; i++) {
        if (text[i] < ' ' || text[i] == 0x7f) return false;
    }
    memcpy(client->text + client->size, text, (size_t)size);
    client->size += (size_t)size;
    client->text[client->size++] = 0;
    return true;
}

static bool append_common_name(copenssl_client *client, const X509 *certificate) {
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    // Of several none is the name.
    if (index < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, index) >= 0) return false;
    unsigned char *text = NULL;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
    bool fits = append(client, text, size);
    OPENSSL_free(text);
    return fits;
}

bool copenssl_client_of(const copenssl_session *session, copenssl_client *client) {
    X509 *certificate = SSL_get0_peer_certificate(session);
    if (certificate == NULL || SSL_get_verify_result(session) != X509_V_OK) return false;
    memset(client, 0, sizeof *client);
    if (X509_digest(certificate, EVP_sha256(), client->sha256, NULL) != 1) return false;
    if (!append_common_name(client, certificate)) client->text[client->size++] = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI) continue;
        (void)append(client, ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                     ASN1_STRING_length(name->d.uniformResourceIdentifier));
    }
    GENERAL_NAMES_free(names);
    return true;
}
