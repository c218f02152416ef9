// SHA-256 by EVP, which uses the processor's own instructions where it has them.
#include "CDigest.h"

#include <openssl/evp.h>

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

void cdigest_free(cdigest *digest) {
    EVP_MD_CTX_free((EVP_MD_CTX *)digest);
}
