// What a node proves itself with to its peers: DATA_DIR/tls, written by `ursulactl cluster init`
// and `join` before the node's first start.
//
//   ca.pem    the cluster's own authority
//   node.pem  this node's certificate (net/tls.h says what must stand in it)
//   node.key  its key, readable by its owner alone
#pragma once

#include <string>

#include "base/result.h"
#include "config.h"
#include "net/tls.h"

namespace ursula {

// Empty files when there is no such folder. An error is a sentence for a person.
[[nodiscard]] base::Result<net::TlsFiles> load_tls_files(const std::string& data_dir);

// Whether this certificate is that of the node the configuration describes.
[[nodiscard]] base::Result<void> check_tls_identity(const net::TlsIdentity& identity,
                                                    const Config& config);

}  // namespace ursula
