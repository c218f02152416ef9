// AES-256-GCM and HMAC by EVP, which uses the processor's own instructions where it has them.
#include "CSeal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 1 << 30 };

int cseal_random(unsigned char *out, size_t size) { return size <= LARGEST && RAND_bytes(out, (int)size) == 1; }

int cseal_mac(const unsigned char *key, const void *data, size_t size, unsigned char *out) {
    unsigned int made = 0;
    return HMAC(EVP_sha256(), key, CSEAL_KEY, data, size, out, &made) != NULL && made == CSEAL_MAC;
}

int cseal_seal(const unsigned char *key, const void *bound, size_t bound_size, const void *data, size_t size, unsigned char *out) {
    if (size > LARGEST || bound_size > LARGEST || cseal_random(out, CSEAL_NONCE) != 1) return 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int made = 0, last = 0;
    unsigned char *text = out + CSEAL_NONCE;
    int good = c != NULL && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, out) == 1
        && EVP_EncryptUpdate(c, NULL, &made, bound, (int)bound_size) == 1
        && EVP_EncryptUpdate(c, text, &made, data, (int)size) == 1 && EVP_EncryptFinal_ex(c, text + made, &last) == 1
        && (size_t)(made + last) == size && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, CSEAL_TAG, text + size) == 1;
    EVP_CIPHER_CTX_free(c);
    return good;
}

int cseal_open(const unsigned char *key, const void *bound, size_t bound_size, const unsigned char *sealed, size_t size,
               unsigned char *out) {
    if (size < CSEAL_OVERHEAD || size - CSEAL_OVERHEAD > LARGEST || bound_size > LARGEST) return 0;
    size_t inside = size - CSEAL_OVERHEAD;
    unsigned char tag[CSEAL_TAG];
    memcpy(tag, sealed + CSEAL_NONCE + inside, sizeof tag);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int made = 0, last = 0;
    int good = c != NULL && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, sealed) == 1
        && EVP_DecryptUpdate(c, NULL, &made, bound, (int)bound_size) == 1
        && EVP_DecryptUpdate(c, out, &made, sealed + CSEAL_NONCE, (int)inside) == 1
        && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, CSEAL_TAG, tag) == 1 && EVP_DecryptFinal_ex(c, out + made, &last) == 1
        && (size_t)(made + last) == inside;
    EVP_CIPHER_CTX_free(c);
    return good;
}

void cseal_wipe(void *data, size_t size) {
    if (data != NULL) explicit_bzero(data, size);
}

long cseal_take_environment(const char *name, void *out, size_t room) {
    long length = -1;
    // As often as it is there: a second one of the same name would be inherited as well.
    for (char *value = getenv(name); value != NULL; value = getenv(name)) {
        size_t size = strlen(value);
        length = (long)size;
        if (size <= room) memcpy(out, value, size);
        explicit_bzero(value, size);
        if (unsetenv(name) != 0) return -1;
    }
    return length;
}
