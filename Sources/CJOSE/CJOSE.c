// Public keys and their signatures by EVP of OpenSSL 3; the header says what for.
#include "CJOSE.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

typedef enum signature_kind { RSA_SHA256, P256_SHA256, ED25519 } signature_kind;

struct cjose_key {
    EVP_PKEY *public_key;
    signature_kind kind;
};

enum { MODULUS = 1024, EXPONENT = 8, POINT = 1 + 2 * CJOSE_COORDINATE, DER = 80 };

/// Takes over the key. What failed must not stay in the thread's queue of errors: TLS on the same thread would read it.
static cjose_key *wrap(EVP_PKEY *public_key, signature_kind kind) {
    ERR_clear_error();
    if (public_key == NULL) return NULL;
    cjose_key *key = malloc(sizeof *key);
    if (key == NULL) {
        EVP_PKEY_free(public_key);
        return NULL;
    }
    *key = (cjose_key){public_key, kind};
    return key;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM *params) {
    EVP_PKEY *made = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (c != NULL && EVP_PKEY_fromdata_init(c) == 1 && EVP_PKEY_fromdata(c, &made, EVP_PKEY_PUBLIC_KEY, params) != 1) made = NULL;
    EVP_PKEY_CTX_free(c);
    return made;
}

cjose_key *cjose_rsa(const unsigned char *n, size_t n_size, const unsigned char *e, size_t e_size) {
    if (n_size == 0 || n_size > MODULUS || e_size == 0 || e_size > EXPONENT) return NULL;
    BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL), *exponent = BN_bin2bn(e, (int)e_size, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    EVP_PKEY *made = NULL;
    if (modulus != NULL && exponent != NULL && builder != NULL && BN_is_odd(modulus) && BN_is_odd(exponent) && !BN_is_one(exponent)
        && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1
        && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        params = OSSL_PARAM_BLD_to_param(builder);
    if (params != NULL) made = from_params("RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return wrap(made, RSA_SHA256);
}

cjose_key *cjose_p256(const unsigned char *x, const unsigned char *y) {
    unsigned char point[POINT] = {POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, x, CJOSE_COORDINATE);
    memcpy(point + 1 + CJOSE_COORDINATE, y, CJOSE_COORDINATE);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"prime256v1", 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *made = from_params("EC", params);
    EVP_PKEY_CTX *c = made == NULL ? NULL : EVP_PKEY_CTX_new_from_pkey(NULL, made, NULL);
    if (made != NULL && (c == NULL || EVP_PKEY_public_check(c) != 1)) {
        EVP_PKEY_free(made);
        made = NULL;
    }
    EVP_PKEY_CTX_free(c);
    return wrap(made, P256_SHA256);
}

cjose_key *cjose_ed25519(const unsigned char *x) {
    return wrap(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, CJOSE_COORDINATE), ED25519);
}

void cjose_free(cjose_key *key) {
    if (key == NULL) return;
    EVP_PKEY_free(key->public_key);
    free(key);
}

int cjose_bits(const cjose_key *key) { return EVP_PKEY_get_bits(key->public_key); }

/// The pair r, s in the form that OpenSSL reads; returns its size, 0 when it can't be.
static size_t pair_to_der(const unsigned char *pair, unsigned char *der) {
    ECDSA_SIG *both = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(pair, CJOSE_COORDINATE, NULL);
    BIGNUM *s = BN_bin2bn(pair + CJOSE_COORDINATE, CJOSE_COORDINATE, NULL);
    int size = 0;
    if (both != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(both, r, s) == 1) {
        // They belong to the pair from here on.
        r = s = NULL;
        size = i2d_ECDSA_SIG(both, NULL);
        if (size > 0 && size <= DER) size = i2d_ECDSA_SIG(both, &der);
        else size = 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(both);
    return size > 0 ? (size_t)size : 0;
}

int cjose_verify(const cjose_key *key, const void *data, size_t size, const unsigned char *signature, size_t signature_size) {
    unsigned char der[DER];
    if (key->kind == P256_SHA256) {
        if (signature_size != 2 * CJOSE_COORDINATE) return 0;
        signature_size = pair_to_der(signature, der);
        signature = der;
        if (signature_size == 0) return 0;
    }
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL;
    const EVP_MD *digest = key->kind == ED25519 ? NULL : EVP_sha256();
    int good = c != NULL && EVP_DigestVerifyInit(c, &options, digest, NULL, key->public_key) == 1
        && (key->kind != RSA_SHA256 || EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PADDING) == 1)
        && EVP_DigestVerify(c, signature, signature_size, data, size) == 1;
    EVP_MD_CTX_free(c);
    ERR_clear_error();
    return good;
}
