// The authority's folder of a data directory: its key, and to which nodes it gave certificates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/ursulactl/join/certificates.h"
#include "tools/ursulactl/join/folders.h"

namespace ursula::ctl {

// A node that has a certificate of this authority.
struct Issued {
    std::uint32_t node = 0;
    std::string address;      // where its peers reach it: "10.0.0.1:4439"
    std::string serial;       // of its newest certificate
    std::int64_t ends_s = 0;  // of that
};

class AuthorityFolder {
  public:
    // Makes it, with the certificate of the first node in the list. Durable when it returns.
    static void create(const std::string& dir, const std::string& cluster,
                       const CertifiedKey& authority, const Issued& first);

    // Loads and locks it. A Failure when there is none (exit 3), or when another process has it
    // (exit 6).
    explicit AuthorityFolder(const std::string& dir);
    ~AuthorityFolder();
    AuthorityFolder(const AuthorityFolder&) = delete;
    AuthorityFolder& operator=(const AuthorityFolder&) = delete;

    const std::string& cluster() const { return cluster_; }
    const CertifiedKey& authority() const { return authority_; }
    // The node whose directory this is.
    std::uint32_t own_node() const { return own_node_; }
    // By rising node; the own one is among them.
    const std::vector<Issued>& issued() const { return issued_; }
    const Issued* find(std::uint32_t node) const;
    // In place of what the node had. Durable when it returns: before the certificate goes out.
    void record(const Issued& issued);

  private:
    const std::string folder_;
    int lock_ = -1;
    std::string cluster_;
    CertifiedKey authority_;
    std::uint32_t own_node_ = 0;
    std::vector<Issued> issued_;
};

}  // namespace ursula::ctl
