// SHA-256 by EVP, which uses the processor's own instructions where it has them.
#include "CDigest.h"

#include <openssl/evp.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

// EVP_sha256() is looked up anew each time it is used; one that was fetched is not.
static void fetch(void) { sha256 = EVP_MD_fetch(NULL, "SHA256", NULL); }

cdigest *cdigest_begin(void) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1) return (cdigest *)context;
    EVP_MD_CTX_free(context);
    return NULL;
}

int cdigest_add(cdigest *digest, const void *data, size_t size) {
    return size == 0 || EVP_DigestUpdate((EVP_MD_CTX *)digest, data, size) == 1;
}

int cdigest_finish(cdigest *digest, unsigned char *out) {
    unsigned size = 0;
    int done = EVP_DigestFinal_ex((EVP_MD_CTX *)digest, out, &size);
    return done == 1 && size == 32;
}

int cdigest_once(const void *data, size_t size, unsigned char *out) {
    unsigned made = 0;
    return pthread_once(&once, fetch) == 0 && sha256 != NULL && EVP_Digest(data, size, out, &made, sha256, NULL) == 1 && made == 32;
}

void cdigest_free(cdigest *digest) {
    EVP_MD_CTX_free((EVP_MD_CTX *)digest);
}
