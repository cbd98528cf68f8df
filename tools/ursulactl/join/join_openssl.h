// OpenSSL's objects, each freed by its owner, and why OpenSSL said no.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "tools/ursulactl/join/certificates.h"

namespace ursula::ctl {

template <class T, void (*free_it)(T*)>
struct FreedBy {
    void operator()(T* it) const { free_it(it); }
};
using BioPointer = std::unique_ptr<BIO, FreedBy<BIO, BIO_free_all>>;
using CertificatePointer = std::unique_ptr<X509, FreedBy<X509, X509_free>>;
using RequestPointer = std::unique_ptr<X509_REQ, FreedBy<X509_REQ, X509_REQ_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, FreedBy<EVP_PKEY, EVP_PKEY_free>>;
using SslContextPointer = std::unique_ptr<SSL_CTX, FreedBy<SSL_CTX, SSL_CTX_free>>;
using SslPointer = std::unique_ptr<SSL, FreedBy<SSL, SSL_free>>;

// The newest reason OpenSSL gives; its queue is empty again.
std::string openssl_reason();

// Null when the text is none.
CertificatePointer read_certificate(const std::string& pem);
KeyPointer read_key(const std::string& pem);

// All zero when the key cannot be encoded: no fingerprint is.
Fingerprint key_fingerprint(X509* certificate);

}  // namespace ursula::ctl
