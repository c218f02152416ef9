// Chooses a certificate by the name that the client asked for.
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "COpenSSL.h"

typedef struct entry {
    char *name;
    SSL_CTX *context;
} entry;

struct copenssl_names {
    size_t count, capacity;
    entry entries[];
};

static int by_name(const void *left, const void *right) {
    return strcmp(((const entry *)left)->name, ((const entry *)right)->name);
}

static SSL_CTX *find(const copenssl_names *names, char *name) {
    entry wanted = {name, NULL};
    const entry *found = bsearch(&wanted, names->entries, names->count, sizeof(entry), by_name);
    return found != NULL ? found->context : NULL;
}

/// In lower case. False for what is longer than any name, or holds what no name does.
static bool normalized(const char *raw, char *name, size_t size) {
    size_t length = 0;
    for (; raw[length] != 0; length++) {
        unsigned char byte = (unsigned char)raw[length];
        if (length + 1 >= size || byte <= ' ' || byte >= 0x7f) return false;
        name[length] = (char)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
    }
    name[length] = 0;
    return length > 0;
}

static int choose_context(SSL *session, int *alert, void *raw) {
    (void)alert;
    const copenssl_names *names = raw;
    char name[256];
    if (!copenssl_server_name(session, name, sizeof name)) return SSL_TLSEXT_ERR_NOACK;
    SSL_CTX *context = find(names, name);
    char *dot = strchr(name, '.');
    if (context == NULL && dot != NULL && dot > name) {
        // One label: "*" in its place, so that the star of the pattern is found like any other name.
        dot[-1] = '*';
        context = find(names, dot - 1);
    }
    if (context == NULL) return SSL_TLSEXT_ERR_NOACK;
    return SSL_set_SSL_CTX(session, context) != NULL ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

copenssl_names *copenssl_names_create(size_t count) {
    copenssl_names *names = calloc(1, sizeof *names + count * sizeof(entry));
    if (names != NULL) names->capacity = count;
    return names;
}

bool copenssl_names_add(copenssl_names *names, const char *name, copenssl_context *context) {
    if (names->count == names->capacity) return false;
    char *copy = strdup(name);
    if (copy == NULL) return false;
    SSL_CTX_up_ref(context);
    names->entries[names->count++] = (entry){copy, context};
    return true;
}

void copenssl_names_use(copenssl_names *names, copenssl_context *context) {
    qsort(names->entries, names->count, sizeof(entry), by_name);
    SSL_CTX_set_tlsext_servername_callback(context, choose_context);
    SSL_CTX_set_tlsext_servername_arg(context, names);
}

void copenssl_names_free(copenssl_names *names) {
    for (size_t i = 0; i < names->count; i++) {
        free(names->entries[i].name);
        SSL_CTX_free(names->entries[i].context);
    }
    free(names);
}

bool copenssl_server_name(const copenssl_session *session, char *name, size_t size) {
    const char *raw = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name);
    return raw != NULL && normalized(raw, name, size);
}
