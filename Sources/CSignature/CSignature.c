// Ed25519, BLAKE2b-512 and scrypt by EVP.
#include "CSignature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { LARGEST = 16 << 20, BLOCK = 8, LARGEST_P = 64, LARGEST_PASSWORD = 4096 };
static const uint64_t LARGEST_N = 1 << 20;

int csignature_random(unsigned char *out, size_t size) { return size <= LARGEST && RAND_bytes(out, (int)size) == 1; }

int csignature_public(const unsigned char *seed, unsigned char *out) {
    size_t size = CSIGNATURE_PUBLIC;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, CSIGNATURE_SEED);
    int good = key != NULL && EVP_PKEY_get_raw_public_key(key, out, &size) == 1 && size == CSIGNATURE_PUBLIC;
    EVP_PKEY_free(key);
    return good;
}

int csignature_sign(const unsigned char *seed, const void *data, size_t size, unsigned char *out) {
    if (size > LARGEST) return 0;
    size_t made = CSIGNATURE_SIGNATURE;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, CSIGNATURE_SEED);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    int good = key != NULL && c != NULL && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1
        && EVP_DigestSign(c, out, &made, data, size) == 1 && made == CSIGNATURE_SIGNATURE;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    return good;
}

int csignature_verify(const unsigned char *public_key, const void *data, size_t size, const unsigned char *signature) {
    if (size > LARGEST) return 0;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, CSIGNATURE_PUBLIC);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    int good = key != NULL && c != NULL && EVP_DigestVerifyInit(c, NULL, NULL, NULL, key) == 1
        && EVP_DigestVerify(c, signature, CSIGNATURE_SIGNATURE, data, size) == 1;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    return good;
}

int csignature_hash(const void *data, size_t size, unsigned char *out) {
    unsigned made = 0;
    return size <= LARGEST && EVP_Digest(data, size, out, &made, EVP_blake2b512(), NULL) == 1 && made == CSIGNATURE_HASH;
}

int csignature_scrypt(const void *password, size_t password_size, const unsigned char *salt, size_t salt_size, uint64_t n,
                      uint32_t p, unsigned char *out, size_t size) {
    if (n > LARGEST_N || p > LARGEST_P || password_size > LARGEST_PASSWORD || size > LARGEST) return 0;
    // OpenSSL counts the table, the blocks and two more; the bound above is the real one.
    uint64_t memory = 128 * BLOCK * (n + p + 4);
    return EVP_PBE_scrypt(password, password_size, salt, salt_size, n, BLOCK, p, memory, out, size) == 1;
}

void csignature_wipe(void *secret, size_t size) { OPENSSL_cleanse(secret, size); }

int csignature_same(const void *a, const void *b, size_t size) { return CRYPTO_memcmp(a, b, size) == 0; }
