// TLS 1.3 between nodes, over bytes: no socket, no clock. A TlsContext holds what a node proves
// itself with; a TlsSession is one connection, fed with what came in and asked what is to go out.
//
// Who is at the other end is in its certificate, signed by the cluster's own authority: a
// subjectAltName of type URI, `urn:ursula:CLUSTER:node:ID`. Names and addresses prove nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;
struct bio_st;

namespace ursula::net {

struct TlsIdentity {
    std::string cluster;     // its name
    std::uint32_t node = 0;  // 0: none
    bool operator==(const TlsIdentity&) const = default;
};

// PEM texts. The authority signs the members' certificates and nothing else is trusted.
struct TlsFiles {
    std::string authority;
    std::string certificate;
    std::string key;
};

class TlsContext {
  public:
    // The error's sentence names what is wrong with which of the three.
    [[nodiscard]] static base::Result<std::unique_ptr<TlsContext>> make(const TlsFiles& files);
    ~TlsContext();
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    const TlsIdentity& own_identity() const { return own_; }
    // Seconds since the epoch at which the certificate ends.
    std::int64_t expires_at() const { return expires_at_; }
    std::uint64_t resumed() const { return resumed_; }
    std::uint64_t handshakes() const { return handshakes_; }

  private:
    friend class TlsSession;
    struct Kept {
        std::string peer;
        ssl_session_st* session = nullptr;
    };
    TlsContext() = default;
    static int on_new_session(ssl_st* ssl, ssl_session_st* session);
    void keep(const std::string& peer, ssl_session_st* session);
    ssl_session_st* find(const std::string& peer) const;

    ssl_ctx_st* dialling_ = nullptr;
    ssl_ctx_st* accepting_ = nullptr;
    TlsIdentity own_;
    std::int64_t expires_at_ = 0;
    std::vector<Kept> kept_;  // the newest session of each peer, at most kept_max
    std::uint64_t resumed_ = 0;
    std::uint64_t handshakes_ = 0;

    static constexpr std::size_t kept_max = 1024;
};

class TlsSession {
  public:
    // `peer` names whom is dialled, so that the next connection resumes this one's session; empty
    // on the accepting side. The context outlives it.
    TlsSession(TlsContext& context, bool dials, std::string peer);
    ~TlsSession();
    TlsSession(const TlsSession&) = delete;
    TlsSession& operator=(const TlsSession&) = delete;

    // Both have proved who they are: bytes may be written and read.
    bool ready() const { return ready_; }
    // Empty, or why it is over.
    const std::string& failure() const { return failure_; }
    // Of the other side, once ready.
    const TlsIdentity& peer() const { return identity_; }

    // What came from the connection.
    void feed(base::Bytes cipher);
    // Bytes of what came, into `out`; 0: no more for now.
    std::size_t read(base::MutableBytes out);
    void write(base::Bytes plain);
    // Appends what is to be sent.
    void take_output(std::vector<std::byte>& out);

  private:
    friend class TlsContext;
    void shake_hands();
    void fail(const char* what);

    TlsContext& context_;
    const std::string peer_name_;
    ssl_st* ssl_ = nullptr;
    bio_st* in_ = nullptr;   // the ssl's
    bio_st* out_ = nullptr;  // the ssl's
    bool ready_ = false;
    std::string failure_;
    TlsIdentity identity_;
    std::uint64_t written_ = 0;  // with the present key
};

// The identity as it stands in a certificate.
std::string tls_identity_uri(const TlsIdentity& identity);

}  // namespace ursula::net
