// What a cluster's own authority makes, as PEM texts: no file, no socket, no clock. Keys are EC
// P-256. What a certificate says comes from the authority alone; of a request only its public key
// is taken.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "net/tls.h"

namespace ursula::ctl {

// Ten years, and two: a node's certificate is renewed many times under one authority. Both begin a
// day early, for clocks that differ.
constexpr std::int64_t authority_days = 3650;
constexpr std::int64_t node_days = 730;
constexpr std::int64_t early_days = 1;

struct CertifiedKey {
    std::string certificate;
    std::string key;
};

// What a joining node makes: the key never leaves it.
struct KeyWithRequest {
    std::string key;
    std::string request;
};

struct NodeCertificate {
    std::string certificate;
    std::string serial;       // in hexadecimal
    std::int64_t ends_s = 0;  // since the epoch
};

// SHA-256 of an authority's public key (its SubjectPublicKeyInfo).
using Fingerprint = std::array<std::byte, 32>;

[[nodiscard]] base::Result<CertifiedKey> make_authority(const std::string& cluster,
                                                        std::int64_t now_s);
[[nodiscard]] base::Result<KeyWithRequest> make_request();
// Refuses what is no request for a P-256 key signed with that key.
[[nodiscard]] base::Result<NodeCertificate> certify(const CertifiedKey& authority,
                                                    const std::string& request,
                                                    const net::TlsIdentity& identity,
                                                    std::int64_t now_s);
// What the authority proves itself with for a day while nodes join. It names no node: peers refuse
// it, and a node's certificate is refused in its place.
[[nodiscard]] base::Result<CertifiedKey> make_issuer(const CertifiedKey& authority,
                                                     const std::string& cluster,
                                                     std::int64_t now_s);
std::string issuer_uri(const std::string& cluster);

[[nodiscard]] base::Result<Fingerprint> fingerprint_of(const std::string& certificate);

}  // namespace ursula::ctl
