// Visits: one question to another node's control target for each, on the loop that serves the
// admin plane: dial, say this node's Standing or an Admission, hear a Standing or a refusal, end.
// Each has an outcome within limits::visit_timeout_ms.
#pragma once

#include <memory>
#include <vector>

#include "admin/visit.h"
#include "api/call.h"
#include "base/time.h"
#include "net/peer_socket.h"
#include "peer_greeting.h"

namespace ursula {

class Visits {
  public:
    struct Done {
        api::CallId id;
        admin::Visit visit;
        admin::VisitOutcome outcome;
    };

    // `self` of a formed cluster, `name` the cluster's; `tls` may be null, and outlives this as the
    // ring does.
    Visits(Standing self, std::string name, net::Ring& ring, net::TlsContext* tls);

    // Once a turn: begin_turn, begin for what is asked, take what is done, flush.
    void begin_turn(base::Instant now);
    void begin(api::CallId id, const admin::Visit& visit, base::Instant now);
    void take(std::vector<Done>& done);
    void flush();
    base::Instant deadline() const;
    void close();
    bool idle() const { return under_way_.empty() && ending_.empty(); }

  private:
    using Socket = std::unique_ptr<net::PeerSocket>;
    struct UnderWay {
        Done done;
        Socket socket;
        base::Instant until;
    };

    bool look_at(UnderWay& visit, base::Instant now);
    void on_answer(UnderWay& visit, base::Bytes block) const;

    const Standing self_;
    const std::string name_;
    net::Ring& ring_;
    net::TlsContext* tls_;
    std::vector<UnderWay> under_way_;
    std::vector<Socket> ending_;
    std::vector<Done> done_;
};

}  // namespace ursula
