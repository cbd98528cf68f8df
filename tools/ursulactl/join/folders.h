// What lies in a data directory before a server starts there, and how certificates get into it:
//
//   DIR/tls/              ca.pem, node.pem, node.key: what the server reads (src/cluster_tls.h)
//   DIR/tls-authority/    ca.pem, ca.key, issued.json: on the one node where the cluster began
//
// A folder is written beside its place (NAME.new), synced, and then takes it in one step, so a
// power cut leaves the old one or the new one. Failures say what to do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/tls.h"
#include "storage/node_file.h"

namespace ursula::ctl {

constexpr const char* tls_folder = "tls";
constexpr const char* authority_folder = "tls-authority";

// What `cluster init` and `cluster join` have to know of a directory, which may not be there.
struct DirectoryFacts {
    bool is_foreign = false;  // it holds something, and is no data directory
    bool has_tls = false;
    bool has_authority = false;
    bool has_data = false;   // of a node that ran here
    std::uint32_t node = 0;  // whose data it is; 0: of none in a cluster
    storage::ClusterStage stage = storage::ClusterStage::none;
};
DirectoryFacts look_at_directory(const std::string& dir);

// For the owner alone, with what is missing above it.
void make_directory(const std::string& dir);

struct FileText {
    const char* name;
    const std::string* text;
    bool is_secret;  // mode 0600, else 0644
};
// DIR/NAME becomes a folder with exactly these files. An old one goes when `replaces`, else it is a
// Failure (exit 6). Root gives the files to whom the directory belongs when `for_server`.
void place_folder(const std::string& dir, const std::string& name,
                  const std::vector<FileText>& files, bool replaces, bool for_server);
// The same for one file of a folder that is there.
void replace_file(const std::string& path, const FileText& file);

// Its three files. A Failure when one is not there.
net::TlsFiles read_tls_folder(const std::string& dir);

// The whole text. A Failure when it is not there, or a secret that others may read.
std::string read_file(const std::string& path, bool is_secret);

}  // namespace ursula::ctl
