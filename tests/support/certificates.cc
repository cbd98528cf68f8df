#include "tests/support/certificates.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/verify.h"

namespace ursula::test_support {

namespace {

constexpr long lifetime_s = 3600;

template <class Write>
std::string pem_of(Write write) {
    BIO* out = BIO_new(BIO_s_mem());
    VERIFY(write(out) == 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    std::string text(data, static_cast<std::size_t>(size));
    BIO_free(out);
    return text;
}

std::string pem_of(X509* certificate) {
    return pem_of([certificate](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}

void add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    VERIFY(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

X509* begin_certificate(EVP_PKEY* key, const std::string& name, long begins_s) {
    static long serial = 1;
    X509* certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), begins_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate), begins_s + lifetime_s);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    return certificate;
}

}  // namespace

struct Authority::Keys {
    EVP_PKEY* key = nullptr;
    X509* certificate = nullptr;
};

Authority::Authority(const std::string& name) : keys_(std::make_unique<Keys>()) {
    keys_->key = EVP_EC_gen("P-256");
    keys_->certificate = begin_certificate(keys_->key, name, -120);
    X509* own = keys_->certificate;
    X509_set_issuer_name(own, X509_get_subject_name(own));
    add_extension(own, own, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(own, own, NID_key_usage, "critical,keyCertSign");
    VERIFY(X509_sign(own, keys_->key, EVP_sha256()) > 0);
    pem_ = pem_of(own);
}

Authority::~Authority() {
    X509_free(keys_->certificate);
    EVP_PKEY_free(keys_->key);
}

net::TlsFiles Authority::issue(const net::TlsIdentity& identity, long begins_s) const {
    return issue_names("URI:" + net::tls_identity_uri(identity), begins_s);
}

net::TlsFiles Authority::issue_names(const std::string& names, long begins_s) const {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = begin_certificate(key, "node", begins_s);
    X509_set_issuer_name(certificate, X509_get_subject_name(keys_->certificate));
    add_extension(certificate, keys_->certificate, NID_ext_key_usage, "serverAuth,clientAuth");
    if (!names.empty()) {
        add_extension(certificate, keys_->certificate, NID_subject_alt_name, names);
    }
    VERIFY(X509_sign(certificate, keys_->key, EVP_sha256()) > 0);
    net::TlsFiles files;
    files.authority = pem_;
    files.certificate = pem_of(certificate);
    files.key = pem_of([key](BIO* out) {
        return PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
    X509_free(certificate);
    EVP_PKEY_free(key);
    return files;
}

}  // namespace ursula::test_support
