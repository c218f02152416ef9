// Makes a certificate that is signed by its own key, and says what there is to know of one.
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "COpenSSL.h"
#include "problem.h"

bool copenssl_facts_of(const copenssl_context *context, copenssl_facts *facts) {
    X509 *certificate = SSL_CTX_get0_certificate(context);
    memset(facts, 0, sizeof *facts);
    if (certificate == NULL || X509_digest(certificate, EVP_sha256(), facts->fingerprint, NULL) != 1) return false;
    unsigned char *key = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
    bool isPinned = size > 0 && EVP_Digest(key, (size_t)size, facts->pin, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(key);
    struct tm end;
    if (!isPinned || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) return false;
    facts->not_after = timegm(&end);
    facts->is_self_signed = X509_self_signed(certificate, 0) == 1;
    return true;
}

bool copenssl_covers(const copenssl_context *context, const char *name) {
    X509 *certificate = SSL_CTX_get0_certificate(context);
    if (certificate == NULL) return false;
    return X509_check_ip_asc(certificate, name, 0) == 1
           || X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static EVP_PKEY *old_key(const char *pem) {
    BIO *input = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = input != NULL ? PEM_read_bio_PrivateKey(input, NULL, NULL, NULL) : NULL;
    BIO_free(input);
    return key;
}

static bool add_extension(X509 *certificate, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool isAdded = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return isAdded;
}

static bool set_serial(X509 *certificate) {
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
    // Positive, and never zero.
    bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40);
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool isSet = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return isSet;
}

static bool fill(X509 *certificate, EVP_PKEY *key, const char *common_name, const char *names, int days) {
    X509_NAME *subject = X509_get_subject_name(certificate);
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate)
           // Clocks differ: an hour back, so that nobody finds it not yet valid.
           && X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL
           && X509_time_adj_ex(X509_getm_notAfter(certificate), days, -3600, NULL) != NULL
           && X509_set_pubkey(certificate, key) == 1
           && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1
           && X509_set_issuer_name(certificate, subject) == 1
           && add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE")
           && add_extension(certificate, NID_key_usage, "critical,digitalSignature")
           && add_extension(certificate, NID_ext_key_usage, "serverAuth")
           && add_extension(certificate, NID_subject_key_identifier, "hash")
           && add_extension(certificate, NID_subject_alt_name, names);
}

bool copenssl_self_sign(const char *old, const char *common_name, const char *names, int days, char *pem, size_t pem_size,
                        char *problem, size_t size) {
    ERR_clear_error();
    bool isDone = false;
    const char *step = old != NULL ? "TLS: read the old key" : "TLS: make a key";
    BIO *output = NULL;
    X509 *certificate = NULL;
    EVP_PKEY *key = old != NULL ? old_key(old) : EVP_EC_gen("P-256");
    if (key == NULL) goto done;
    step = "TLS: make a certificate";
    certificate = X509_new();
    if (certificate == NULL || !fill(certificate, key, common_name, names, days)) goto done;
    step = "TLS: sign the certificate";
    if (X509_sign(certificate, key, EVP_sha256()) == 0) goto done;
    step = "TLS: write the certificate";
    output = BIO_new(BIO_s_secmem());
    if (output == NULL || PEM_write_bio_PrivateKey(output, key, NULL, NULL, 0, NULL, NULL) != 1) goto done;
    if (PEM_write_bio_X509(output, certificate) != 1) goto done;
    int length = BIO_read(output, pem, (int)pem_size - 1);
    if (length <= 0 || BIO_pending(output) > 0) goto done;
    pem[length] = 0;
    isDone = true;
done:
    if (!isDone) copenssl_describe(problem, size, step);
    BIO_free(output);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return isDone;
}
