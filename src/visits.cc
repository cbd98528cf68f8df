#include "visits.h"

#include <algorithm>

#include "base/limits.h"
#include "net/listener.h"

namespace ursula {

namespace limits = base::limits;

using Kind = admin::VisitOutcome::Kind;
using Stage = admin::VisitOutcome::Stage;

namespace {

Stage stage_of(storage::ClusterStage stage) {
    switch (stage) {
        case storage::ClusterStage::none:
            return Stage::none;
        case storage::ClusterStage::forming:
            return Stage::forming;
        case storage::ClusterStage::formed:
            return Stage::formed;
    }
    return Stage::none;
}

}  // namespace

Visits::Visits(Standing self, std::string name, net::Ring& ring, net::TlsContext* tls)
    : self_(std::move(self)), name_(std::move(name)), ring_(ring), tls_(tls) {}

void Visits::begin(api::CallId id, const admin::Visit& visit, base::Instant now) {
    Done done{id, visit, {}};
    const auto refuse = [this, &done](Kind kind, std::string why) {
        done.outcome.kind = kind;
        done.outcome.why = std::move(why);
        done_.push_back(std::move(done));
    };
    const auto parsed = net::parse_listen_address(visit.address);
    if (!parsed || parsed->port == 0) {
        refuse(Kind::bad_address, {});
        return;
    }
    const auto address = net::peer_address(parsed->host, parsed->port);
    if (!address) {
        refuse(Kind::bad_address, {});
        return;
    }
    if (under_way_.size() >= limits::visits_max) {
        refuse(Kind::too_many, {});
        return;
    }
    UnderWay next;
    next.socket = std::make_unique<net::PeerSocket>(ring_, tls_);
    if (auto dialled = next.socket->dial(*address, net::target_control); !dialled) {
        refuse(Kind::unreachable, dialled.error().message);
        return;
    }
    if (visit.admits) {
        Admission admission;
        admission.cluster = self_.cluster.id;
        admission.incarnation = visit.incarnation;
        admission.node = visit.node;
        admission.groups = self_.groups;
        admission.by = self_.node;
        admission.name = name_;
        next.socket->write(encode_admission(admission));
    } else {
        next.socket->write(encode_standing(self_));
    }
    next.until = now + base::milliseconds(limits::visit_timeout_ms);
    next.done = std::move(done);
    under_way_.push_back(std::move(next));
}

void Visits::begin_turn(base::Instant now) {
    for (Socket& socket : ending_) {
        socket->begin_turn();
    }
    std::erase_if(ending_, [](const Socket& socket) {
        return socket->state() == net::PeerSocket::State::closed;
    });
    std::erase_if(under_way_, [this, now](UnderWay& visit) {
        if (!look_at(visit, now)) {
            return false;
        }
        visit.socket->close();
        ending_.push_back(std::move(visit.socket));
        done_.push_back(std::move(visit.done));
        return true;
    });
}

// True: it has its outcome.
bool Visits::look_at(UnderWay& visit, base::Instant now) {
    net::PeerSocket& socket = *visit.socket;
    socket.begin_turn();
    admin::VisitOutcome& outcome = visit.done.outcome;
    base::Bytes block;
    switch (socket.next_block(standing_kinds, block)) {
        case net::PeerSocket::Next::block:
            on_answer(visit, block);
            return true;
        case net::PeerSocket::Next::malformed:
            outcome.kind = Kind::unreachable;
            outcome.why = "what answers there is no node of ours";
            return true;
        case net::PeerSocket::Next::none:
            break;
    }
    const net::PeerSocket::State state = socket.state();
    const bool ended =
        state == net::PeerSocket::State::ending || state == net::PeerSocket::State::closed;
    if (!ended && now < visit.until) {
        return false;
    }
    outcome.kind = Kind::unreachable;
    outcome.why = !socket.tls_failure().empty() ? std::string(socket.tls_failure())
                  : ended                       ? socket.why()
                                                : "it did not answer in time";
    return true;
}

void Visits::on_answer(UnderWay& visit, base::Bytes block) const {
    admin::VisitOutcome& outcome = visit.done.outcome;
    outcome.kind = Kind::refused;
    if (net::magic_of(block) == refusal_magic) {
        outcome.why = decode_refusal(block);
        return;
    }
    Standing theirs;
    outcome.why = decode_standing(block, theirs);
    if (outcome.why.empty() && !visit.socket->proves(theirs.node.value)) {
        outcome.why = not_proved(theirs.node);
    }
    if (!outcome.why.empty()) {
        return;
    }
    outcome.node = theirs.node;
    outcome.incarnation = theirs.incarnation;
    outcome.shards = theirs.shards;
    outcome.groups = theirs.groups;
    outcome.stage = stage_of(theirs.cluster.stage);
    outcome.cluster = theirs.cluster.id;
    const bool is_other = outcome.stage == Stage::formed && theirs.cluster.id != self_.cluster.id;
    outcome.kind = is_other ? Kind::other_cluster : Kind::answered;
}

void Visits::take(std::vector<Done>& done) {
    std::move(done_.begin(), done_.end(), std::back_inserter(done));
    done_.clear();
}

void Visits::flush() {
    for (UnderWay& visit : under_way_) {
        visit.socket->flush();
    }
    for (Socket& socket : ending_) {
        socket->flush();
    }
}

base::Instant Visits::deadline() const {
    base::Instant at = base::Instant::never();
    for (const UnderWay& visit : under_way_) {
        at = std::min(at, visit.until);
    }
    return at;
}

void Visits::close() {
    for (UnderWay& visit : under_way_) {
        visit.socket->close();
        ending_.push_back(std::move(visit.socket));
    }
    under_way_.clear();
}

}  // namespace ursula
