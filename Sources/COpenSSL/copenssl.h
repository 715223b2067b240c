// OpenSSL 3.0: what is used of it, and functions in place of macros that Swift can't call.
#ifndef FLEET_COPENSSL_H
#define FLEET_COPENSSL_H
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static inline int fleet_ctx_tls13_only(SSL_CTX *ctx) {
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
}
static inline long fleet_ctx_set_mode(SSL_CTX *ctx, long mode) { return SSL_CTX_set_mode(ctx, mode); }
static inline void fleet_ctx_session_cache_off(SSL_CTX *ctx) { SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); }
static inline int fleet_ctx_add_chain(SSL_CTX *ctx, X509 *cert) { return (int)SSL_CTX_add1_chain_cert(ctx, cert); }
static inline int fleet_ssl_set_host_name(SSL *ssl, const char *name) { return (int)SSL_set_tlsext_host_name(ssl, name); }
static inline long fleet_bio_mem_data(BIO *bio, char **data) { return BIO_get_mem_data(bio, data); }
static inline int fleet_chain_count(STACK_OF(X509) *chain) { return chain ? sk_X509_num(chain) : 0; }
static inline X509 *fleet_chain_at(STACK_OF(X509) *chain, int i) { return sk_X509_value(chain, i); }
static inline EVP_PKEY *fleet_generate_p256(void) { return EVP_EC_gen("P-256"); }
static inline EVP_PKEY *fleet_generate_ed25519(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }
static inline int fleet_let_ended_in(int good, X509_STORE_CTX *check) {
    return good || (X509_STORE_CTX_get_error(check) == X509_V_ERR_CERT_HAS_EXPIRED && X509_STORE_CTX_get_error_depth(check) == 0);
}
static inline void fleet_ctx_verify_but_end(SSL_CTX *ctx) { SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, fleet_let_ended_in); }
static inline const char *fleet_verify_error(long code) { return X509_verify_cert_error_string(code); }
#endif
