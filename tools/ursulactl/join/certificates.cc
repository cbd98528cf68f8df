#include "tools/ursulactl/join/certificates.h"

#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <ctime>

#include "base/limits.h"
#include "tools/ursulactl/join/join_openssl.h"

namespace ursula::ctl {

namespace {

constexpr const char* curve = "P-256";
constexpr std::size_t serial_bytes = 16;
constexpr std::size_t text_bytes_max = 64 * base::limits::kib;

BioPointer memory_of(const std::string& text) {
    return BioPointer(BIO_new_mem_buf(
        text.data(), static_cast<int>(text.size() > text_bytes_max ? 0 : text.size())));
}

template <class Write>
base::Result<std::string> pem_of(Write write) {
    const BioPointer out(BIO_new(BIO_s_mem()));
    if (!out || write(out.get()) != 1) {
        return base::fail("a PEM text cannot be written: " + openssl_reason());
    }
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    std::string text(data, static_cast<std::size_t>(size));
    OPENSSL_cleanse(data, static_cast<std::size_t>(size));
    return text;
}

base::Result<std::string> pem_of(X509* certificate) {
    return pem_of([certificate](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}

base::Result<std::string> pem_of(EVP_PKEY* key) {
    return pem_of([key](BIO* out) {
        return PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
}

// What a certificate says beside its key.
struct Contents {
    std::string common_name;
    std::string cluster;
    std::int64_t days = 0;
    bool is_authority = false;
    const char* usage = nullptr;           // X509v3 Key Usage, in OpenSSL's words
    const char* extended_usage = nullptr;  // null: none
    std::string uri;                       // subjectAltName; empty: none
};

bool add_name(X509_NAME* name, const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC,
                                      reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1,
                                      0) == 1;
}

bool add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

// Random, positive and never short, so that no two are alike and none can be foreseen.
bool set_serial(X509* certificate) {
    std::array<unsigned char, serial_bytes> bytes{};
    if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
        return false;
    }
    bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3fu) | 0x40u);
    BIGNUM* number = BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr);
    const bool set =
        number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return set;
}

bool set_times(X509* certificate, std::int64_t now_s, std::int64_t days) {
    time_t now = static_cast<time_t>(now_s);
    return X509_time_adj_ex(X509_getm_notBefore(certificate), -static_cast<int>(early_days), 0,
                            &now) != nullptr &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), static_cast<int>(days), 0, &now) !=
               nullptr;
}

// `issuer` null: signed with `key` itself.
CertificatePointer build(EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                         const Contents& contents, std::int64_t now_s) {
    CertificatePointer made(X509_new());
    X509* certificate = made.get();
    X509* signer = issuer == nullptr ? certificate : issuer;
    const bool named = certificate != nullptr &&
                       X509_set_version(certificate, X509_VERSION_3) == 1 &&
                       set_serial(certificate) && set_times(certificate, now_s, contents.days) &&
                       X509_set_pubkey(certificate, key) == 1 &&
                       add_name(X509_get_subject_name(certificate), "O", contents.cluster) &&
                       add_name(X509_get_subject_name(certificate), "CN", contents.common_name) &&
                       X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1;
    const bool extended =
        named &&
        add_extension(certificate, signer, NID_basic_constraints,
                      contents.is_authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
        add_extension(certificate, signer, NID_key_usage, contents.usage) &&
        add_extension(certificate, signer, NID_subject_key_identifier, "hash") &&
        add_extension(certificate, signer, NID_authority_key_identifier, "keyid:always") &&
        (contents.extended_usage == nullptr ||
         add_extension(certificate, signer, NID_ext_key_usage, contents.extended_usage)) &&
        (contents.uri.empty() ||
         add_extension(certificate, signer, NID_subject_alt_name, ("URI:" + contents.uri).c_str()));
    if (!extended ||
        X509_sign(certificate, issuer == nullptr ? key : issuer_key, EVP_sha256()) <= 0) {
        made.reset();
    }
    return made;
}

base::Result<CertifiedKey> texts_of(X509* certificate, EVP_PKEY* key) {
    CertifiedKey texts;
    auto certificate_text = pem_of(certificate);
    if (!certificate_text) {
        return tl::unexpected(std::move(certificate_text.error()));
    }
    auto key_text = pem_of(key);
    if (!key_text) {
        return tl::unexpected(std::move(key_text.error()));
    }
    texts.certificate = std::move(*certificate_text);
    texts.key = std::move(*key_text);
    return texts;
}

struct Signer {
    CertificatePointer certificate;
    KeyPointer key;
};

base::Result<Signer> signer_of(const CertifiedKey& authority) {
    ERR_clear_error();
    Signer signer;
    signer.certificate = read_certificate(authority.certificate);
    signer.key = read_key(authority.key);
    if (!signer.certificate || !signer.key ||
        X509_check_private_key(signer.certificate.get(), signer.key.get()) != 1) {
        return base::fail("the authority's certificate and key cannot be used: " +
                          openssl_reason());
    }
    return signer;
}

bool is_on_curve(EVP_PKEY* key) {
    char name[32] = {};
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof name,
                                          nullptr) == 1 &&
           std::string(name) == SN_X9_62_prime256v1;
}

std::string serial_of(const X509* certificate) {
    BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
    char* text = number == nullptr ? nullptr : BN_bn2hex(number);
    std::string serial = text == nullptr ? "" : text;
    OPENSSL_free(text);
    BN_free(number);
    return serial;
}

}  // namespace

std::string openssl_reason() {
    const unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    return reason == nullptr ? "no reason given" : reason;
}

CertificatePointer read_certificate(const std::string& pem) {
    const BioPointer text = memory_of(pem);
    return CertificatePointer(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
}

KeyPointer read_key(const std::string& pem) {
    const BioPointer text = memory_of(pem);
    return KeyPointer(PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr, nullptr));
}

base::Result<CertifiedKey> make_authority(const std::string& cluster, std::int64_t now_s) {
    ERR_clear_error();
    Contents contents;
    contents.common_name = "ursula authority";
    contents.cluster = cluster;
    contents.days = authority_days;
    contents.is_authority = true;
    contents.usage = "critical,keyCertSign";
    const KeyPointer key(EVP_EC_gen(curve));
    const CertificatePointer made =
        key ? build(key.get(), nullptr, nullptr, contents, now_s) : nullptr;
    if (!made) {
        return base::fail("the authority's certificate cannot be made: " + openssl_reason());
    }
    return texts_of(made.get(), key.get());
}

base::Result<KeyWithRequest> make_request() {
    ERR_clear_error();
    const KeyPointer key(EVP_EC_gen(curve));
    const RequestPointer request(X509_REQ_new());
    if (!key || !request || X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
        X509_REQ_sign(request.get(), key.get(), EVP_sha256()) <= 0) {
        return base::fail("a key and its request cannot be made: " + openssl_reason());
    }
    auto request_text =
        pem_of([&request](BIO* out) { return PEM_write_bio_X509_REQ(out, request.get()); });
    if (!request_text) {
        return tl::unexpected(std::move(request_text.error()));
    }
    auto key_text = pem_of(key.get());
    if (!key_text) {
        return tl::unexpected(std::move(key_text.error()));
    }
    KeyWithRequest made;
    made.key = std::move(*key_text);
    made.request = std::move(*request_text);
    return made;
}

base::Result<NodeCertificate> certify(const CertifiedKey& authority, const std::string& request,
                                      const net::TlsIdentity& identity, std::int64_t now_s) {
    auto signer = signer_of(authority);
    if (!signer) {
        return tl::unexpected(std::move(signer.error()));
    }
    const BioPointer text = memory_of(request);
    const RequestPointer asked(PEM_read_bio_X509_REQ(text.get(), nullptr, nullptr, nullptr));
    EVP_PKEY* key = asked ? X509_REQ_get0_pubkey(asked.get()) : nullptr;
    if (key == nullptr || !is_on_curve(key) || X509_REQ_verify(asked.get(), key) != 1) {
        ERR_clear_error();
        return base::fail("it is no request for a P-256 key, signed with that key");
    }
    Contents contents;
    contents.common_name = "node " + std::to_string(identity.node);
    contents.cluster = identity.cluster;
    contents.days = node_days;
    contents.usage = "critical,digitalSignature";
    contents.extended_usage = "serverAuth,clientAuth";
    contents.uri = net::tls_identity_uri(identity);
    const CertificatePointer made =
        build(key, signer->certificate.get(), signer->key.get(), contents, now_s);
    if (!made) {
        return base::fail("the node's certificate cannot be made: " + openssl_reason());
    }
    auto pem = pem_of(made.get());
    if (!pem) {
        return tl::unexpected(std::move(pem.error()));
    }
    NodeCertificate issued;
    issued.certificate = std::move(*pem);
    issued.serial = serial_of(made.get());
    issued.ends_s = now_s + node_days * 24 * 3600;
    return issued;
}

std::string issuer_uri(const std::string& cluster) {
    return "urn:ursula:" + cluster + ":authority";
}

base::Result<CertifiedKey> make_issuer(const CertifiedKey& authority, const std::string& cluster,
                                       std::int64_t now_s) {
    auto signer = signer_of(authority);
    if (!signer) {
        return tl::unexpected(std::move(signer.error()));
    }
    Contents contents;
    contents.common_name = "ursulactl cluster invite";
    contents.cluster = cluster;
    contents.days = early_days;
    contents.usage = "critical,digitalSignature";
    contents.extended_usage = "serverAuth";
    contents.uri = issuer_uri(cluster);
    const KeyPointer key(EVP_EC_gen(curve));
    const CertificatePointer made =
        key ? build(key.get(), signer->certificate.get(), signer->key.get(), contents, now_s)
            : nullptr;
    if (!made) {
        return base::fail("the issuer's certificate cannot be made: " + openssl_reason());
    }
    return texts_of(made.get(), key.get());
}

base::Result<Fingerprint> fingerprint_of(const std::string& certificate) {
    ERR_clear_error();
    const CertificatePointer read = read_certificate(certificate);
    if (!read) {
        return base::fail("it is no PEM certificate: " + openssl_reason());
    }
    return key_fingerprint(read.get());
}

Fingerprint key_fingerprint(X509* certificate) {
    Fingerprint fingerprint{};
    unsigned char* encoded = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &encoded);
    if (size > 0) {
        SHA256(encoded, static_cast<std::size_t>(size),
               reinterpret_cast<unsigned char*>(fingerprint.data()));
    }
    OPENSSL_free(encoded);
    return fingerprint;
}

}  // namespace ursula::ctl
