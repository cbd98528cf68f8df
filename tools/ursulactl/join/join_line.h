// The line that lets one node join, as `cluster invite` prints it and `cluster join` takes it:
//
//   ursula-join://10.0.0.1:4440/prod/2#TOKEN-AND-FINGERPRINT
//
// Behind the '#': the one-time token, then the fingerprint of the authority's key, so that the node
// knows who may hear the token before it says it.
#pragma once

#include <cstdint>
#include <string>

#include "config.h"
#include "tools/ursulactl/join/certificates.h"
#include "tools/ursulactl/join/secrets.h"

namespace ursula::ctl {

struct JoinLine {
    ListenAddress issuer;  // where `cluster invite` listens
    std::string cluster;
    std::uint32_t node = 0;
    Token token{};
    Fingerprint authority{};

    bool operator==(const JoinLine&) const = default;
    std::string text() const;
};

// A Failure (exit 2) otherwise, which never repeats the token.
JoinLine parse_join_line(const std::string& text);

// "10.0.0.1:4439", or without the port, which is then `usual_port`; "[::1]" likewise. `option`
// names it in the Failure (exit 2). An address for every interface is refused unless `any_fits`.
ListenAddress parse_node_address(const std::string& option, const std::string& text,
                                 std::uint16_t usual_port, bool any_fits);
// Of [cluster] name.
std::string parse_cluster_name(const std::string& option, const std::string& text);
// "2,3": at least one, at most a cluster's, none twice.
std::vector<std::uint32_t> parse_nodes(const std::string& option, const std::string& text);

}  // namespace ursula::ctl
