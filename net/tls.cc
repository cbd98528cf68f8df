#include "net/tls.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <string_view>

#include "base/limits.h"
#include "base/verify.h"

namespace ursula::net {

namespace {

constexpr std::string_view uri_prefix = "urn:ursula:";
constexpr std::string_view uri_middle = ":node:";
// The key is changed long before the bound on what one AES-GCM key may protect (RFC 8446 5.5: about
// 2^24.5 full records).
constexpr std::uint64_t key_bytes_max = std::uint64_t{1} << 36;
constexpr int chain_depth_max = 3;
constexpr unsigned char session_context[] = "ursula peers";

template <class T, void (*free_it)(T*)>
struct Freed {
    void operator()(T* it) const { free_it(it); }
};
using BioPointer = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;
using X509Pointer = std::unique_ptr<X509, Freed<X509, X509_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;

// The newest reason OpenSSL gives, and the queue is empty again.
std::string openssl_reason() {
    const unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    return reason == nullptr ? "no reason given" : reason;
}

BioPointer memory_of(const std::string& text) {
    return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

bool parse_identity(std::string_view uri, TlsIdentity& out) {
    if (!uri.starts_with(uri_prefix)) {
        return false;
    }
    uri.remove_prefix(uri_prefix.size());
    const std::size_t middle = uri.find(uri_middle);
    if (middle == std::string_view::npos || middle == 0 ||
        middle > base::limits::cluster_name_bytes_max) {
        return false;
    }
    const std::string_view digits = uri.substr(middle + uri_middle.size());
    std::uint32_t node = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), node);
    if (error != std::errc{} || end != digits.data() + digits.size() || node == 0 ||
        node > base::limits::node_id_max) {
        return false;
    }
    out = {std::string(uri.substr(0, middle)), node};
    return true;
}

// The one identity in a certificate; none when there are several, or none.
TlsIdentity identity_in(X509* certificate) {
    auto* names = static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
    TlsIdentity found;
    int count = 0;
    for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI) {
            continue;
        }
        const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
        TlsIdentity identity;
        if (parse_identity({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                            static_cast<std::size_t>(ASN1_STRING_length(text))},
                           identity)) {
            found = std::move(identity);
            ++count;
        }
    }
    GENERAL_NAMES_free(names);
    return count == 1 ? found : TlsIdentity{};
}

bool load(SSL_CTX* context, X509* authority, X509* certificate, EVP_PKEY* key) {
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
           X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority) == 1 &&
           SSL_CTX_use_certificate(context, certificate) == 1 &&
           SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1 &&
           SSL_CTX_set_session_id_context(context, session_context, sizeof session_context) == 1;
}

}  // namespace

std::string tls_identity_uri(const TlsIdentity& identity) {
    return fmt::format("{}{}{}{}", uri_prefix, identity.cluster, uri_middle, identity.node);
}

base::Result<std::unique_ptr<TlsContext>> TlsContext::make(const TlsFiles& files) {
    ERR_clear_error();
    const BioPointer authority_text = memory_of(files.authority);
    const X509Pointer authority(PEM_read_bio_X509(authority_text.get(), nullptr, nullptr, nullptr));
    if (!authority) {
        return base::fail("the authority's file is no PEM certificate: " + openssl_reason());
    }
    const BioPointer certificate_text = memory_of(files.certificate);
    const X509Pointer certificate(
        PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
    if (!certificate) {
        return base::fail("the node's file is no PEM certificate: " + openssl_reason());
    }
    const BioPointer key_text = memory_of(files.key);
    const KeyPointer key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
    if (!key) {
        return base::fail("the node's key is no PEM key without a passphrase: " + openssl_reason());
    }
    std::unique_ptr<TlsContext> made(new TlsContext);
    made->own_ = identity_in(certificate.get());
    if (made->own_.node == 0) {
        return base::fail(fmt::format("the node's certificate has no subjectAltName URI {}",
                                      tls_identity_uri({"CLUSTER", 1})));
    }
    tm ends{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &ends) == 1) {
        made->expires_at_ = ::timegm(&ends);
    }
    made->dialling_ = SSL_CTX_new(TLS_client_method());
    made->accepting_ = SSL_CTX_new(TLS_server_method());
    for (SSL_CTX* context : {made->dialling_, made->accepting_}) {
        if (context == nullptr || !load(context, authority.get(), certificate.get(), key.get())) {
            return base::fail("the node's certificate and key cannot be used: " + openssl_reason());
        }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        SSL_CTX_set_verify_depth(context, chain_depth_max);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    }
    // A session is kept by whom it leads to; nothing is ever sent before the handshake (0-RTT could
    // be replayed).
    SSL_CTX_set_session_cache_mode(made->dialling_,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(made->dialling_, on_new_session);
    SSL_CTX_set_session_cache_mode(made->accepting_, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(made->accepting_, 1);
    return made;
}

TlsContext::~TlsContext() {
    for (const Kept& one : kept_) {
        SSL_SESSION_free(one.session);
    }
    SSL_CTX_free(dialling_);
    SSL_CTX_free(accepting_);
}

int TlsContext::on_new_session(ssl_st* ssl, ssl_session_st* session) {
    auto* connection = static_cast<TlsSession*>(SSL_get_app_data(ssl));
    connection->context_.keep(connection->peer_name_, session);
    return 1;  // the reference is ours
}

void TlsContext::keep(const std::string& peer, ssl_session_st* session) {
    const auto found = std::find_if(kept_.begin(), kept_.end(),
                                    [&peer](const Kept& one) { return one.peer == peer; });
    if (found != kept_.end()) {
        SSL_SESSION_free(found->session);
        found->session = session;
    } else if (kept_.size() < kept_max && !peer.empty()) {
        Kept kept;
        kept.peer = peer;
        kept.session = session;
        kept_.push_back(std::move(kept));
    } else {
        SSL_SESSION_free(session);
    }
}

ssl_session_st* TlsContext::find(const std::string& peer) const {
    const auto found = std::find_if(kept_.begin(), kept_.end(),
                                    [&peer](const Kept& one) { return one.peer == peer; });
    return found == kept_.end() ? nullptr : found->session;
}

TlsSession::TlsSession(TlsContext& context, bool dials, std::string peer)
    : context_(context), peer_name_(std::move(peer)) {
    ERR_clear_error();
    ssl_ = SSL_new(dials ? context.dialling_ : context.accepting_);
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    VERIFY(ssl_ != nullptr && in_ != nullptr && out_ != nullptr);
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_app_data(ssl_, this);
    if (dials) {
        SSL_set_connect_state(ssl_);
        if (SSL_SESSION* session = context.find(peer_name_);
            session != nullptr && SSL_SESSION_is_resumable(session) == 1) {
            SSL_set_session(ssl_, session);
        }
        shake_hands();
    } else {
        SSL_set_accept_state(ssl_);
    }
}

TlsSession::~TlsSession() {
    // Connections end by their sockets; without this OpenSSL takes the session for a broken one,
    // not to be resumed.
    if (ready_) {
        SSL_set_quiet_shutdown(ssl_, 1);
        SSL_shutdown(ssl_);
    }
    SSL_free(ssl_);
}

void TlsSession::fail(const char* what) {
    const long verified = SSL_get_verify_result(ssl_);
    failure_ = verified == X509_V_OK ? fmt::format("{}: {}", what, openssl_reason())
                                     : fmt::format("{}: its certificate is not accepted: {}", what,
                                                   X509_verify_cert_error_string(verified));
    ERR_clear_error();
    ready_ = false;
}

void TlsSession::shake_hands() {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    if (result != 1) {
        const int error = SSL_get_error(ssl_, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            fail("the TLS handshake failed");
        }
        return;
    }
    X509* certificate = SSL_get0_peer_certificate(ssl_);
    identity_ = certificate == nullptr ? TlsIdentity{} : identity_in(certificate);
    if (identity_.node == 0) {
        failure_ = "its certificate names no node of a cluster";
        return;
    }
    ready_ = true;
    ++context_.handshakes_;
    context_.resumed_ += SSL_session_reused(ssl_) == 1 ? 1 : 0;
}

void TlsSession::feed(base::Bytes cipher) {
    if (!failure_.empty() || cipher.empty()) {
        return;
    }
    VERIFY(BIO_write(in_, cipher.data(), static_cast<int>(cipher.size())) ==
           static_cast<int>(cipher.size()));
    if (!ready_) {
        shake_hands();
    }
}

std::size_t TlsSession::read(base::MutableBytes out) {
    if (!ready_ || out.empty()) {
        return 0;
    }
    ERR_clear_error();
    std::size_t size = 0;
    if (SSL_read_ex(ssl_, out.data(), out.size(), &size) == 1) {
        return size;
    }
    const int error = SSL_get_error(ssl_, 0);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        fail("TLS ended");
    }
    return 0;
}

void TlsSession::write(base::Bytes plain) {
    VERIFY(ready_);
    ERR_clear_error();
    written_ += plain.size();
    if (written_ >= key_bytes_max) {
        written_ = 0;
        SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED);
    }
    while (!plain.empty()) {
        std::size_t size = 0;
        if (SSL_write_ex(ssl_, plain.data(), plain.size(), &size) != 1) {
            fail("TLS could not write");
            return;
        }
        plain = plain.subspan(size);
    }
}

void TlsSession::take_output(std::vector<std::byte>& out) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    if (size > 0) {
        const auto* bytes = reinterpret_cast<const std::byte*>(data);
        out.insert(out.end(), bytes, bytes + size);
        BIO_reset(out_);
    }
}

}  // namespace ursula::net
