// A cluster's own authority for tests, made through OpenSSL: certificates as net/tls.h wants them,
// and such that it must not accept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "net/tls.h"

namespace ursula::test_support {

class Authority {
  public:
    explicit Authority(const std::string& name = "test authority");
    ~Authority();
    Authority(const Authority&) = delete;
    Authority& operator=(const Authority&) = delete;

    // Good for an hour from `begins_s` seconds from now.
    net::TlsFiles issue(const net::TlsIdentity& identity, long begins_s = -60) const;
    // With this subjectAltName in the words of OpenSSL ("URI:a, DNS:b"), or none.
    net::TlsFiles issue_names(const std::string& names, long begins_s = -60) const;
    const std::string& pem() const { return pem_; }

  private:
    struct Keys;
    std::unique_ptr<Keys> keys_;
    std::string pem_;
};

}  // namespace ursula::test_support
