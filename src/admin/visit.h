// A visit: a running member asks a node at an address what it is, and may take it in. What an
// operator's request says of it, and the answer it gets; src/visits.h goes there.
//
//   POST /admin/v1/cluster/visit  {"address":"10.0.0.4:4439"}
//   POST /admin/v1/cluster/admit
//   {"address":"10.0.0.4:4439","node":4,"incarnation":"18364758544493064720"}
//
// Numbers of 64 bits are decimal strings: JSON readers lose digits of numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "admin/response.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace ursula::admin {

struct Visit {
    std::string address;  // as given: numeric, with its port
    bool admits = false;
    base::NodeId node;              // admits: who must be there
    std::uint64_t incarnation = 0;  // admits: its storage
};

struct VisitOutcome {
    enum class Kind : std::uint8_t {
        answered,
        alone,  // this node is of no cluster
        bad_address,
        too_many,     // visits at a time
        unreachable,  // `why` says how
        refused,      // by either side; `why` is the sentence
        other_cluster,
    };
    enum class Stage : std::uint8_t { none, forming, formed };
    Kind kind = Kind::answered;
    std::string why;
    // answered, other_cluster
    base::NodeId node;
    std::uint64_t incarnation = 0;
    std::uint32_t shards = 0;
    std::uint32_t groups = 0;
    Stage stage = Stage::none;
    std::uint64_t cluster = 0;  // 0: none
};

// Nothing: the body is not what the path takes.
std::optional<Visit> read_visit(base::Bytes body, bool admits);

Response visit_response(const Visit& visit, const VisitOutcome& outcome);

}  // namespace ursula::admin
