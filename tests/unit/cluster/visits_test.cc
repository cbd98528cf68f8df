// Visits to a node's control target over loopback sockets: what is answered, refused, or not at
// all; each has an outcome in time.
#include "visits.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "formation.h"
#include "net/listener.h"
#include "net/ring.h"
#include "peer_gate.h"
#include "tests/support/certificates.h"
#include "tests/unit/cluster/real_time.h"

using namespace ursula;
using Kind = admin::VisitOutcome::Kind;
namespace limits = base::limits;

namespace {

Standing standing_of(std::uint32_t node, std::uint64_t cluster) {
    Standing standing;
    standing.node = base::NodeId(node);
    standing.incarnation = 100 + node;
    standing.shards = 2;
    standing.groups = 8;
    if (cluster != 0) {
        standing.cluster = {storage::ClusterStage::formed, cluster, {}};
    }
    return standing;
}

// Node 1 of cluster 77 visits node 4, which is what `host` says.
class Scene {
  public:
    Scene() {
        base::set_log_descriptor(-1);
        ring_ = std::move(*net::Ring::open());
        listeners_ = *net::open_listeners({.host = "127.0.0.1", .port = 0}, 1);
    }
    ~Scene() {
        visits->close();
        if (gate_ != nullptr) {
            gate_->close();
        }
        CHECK(run([this] { return visits->idle() && (gate_ == nullptr || gate_->idle()); }));
        ::close(listeners_.sockets.front());
    }
    void start(bool listens = true) {
        visits = std::make_unique<Visits>(standing_of(1, 77), "prod", *ring_, own_tls.get());
        if (listens) {
            gate_ = std::make_unique<PeerGate>(*ring_, listeners_.sockets.front(), host_tls.get());
        }
    }
    std::string address() const { return "127.0.0.1:" + std::to_string(listeners_.port); }
    admin::Visit visit() const { return {address(), false, {}, 0}; }
    admin::Visit admission(std::uint64_t incarnation = 104) const {
        return {address(), true, base::NodeId(4), incarnation};
    }
    void begin(std::uint64_t id, const admin::Visit& visit) {
        visits->begin(api::CallId(id), visit, mono_now());
    }
    admin::VisitOutcome outcome_of(const admin::Visit& visit) {
        begin(1, visit);
        REQUIRE(run([this] { return !done.empty(); }));
        CHECK(done.size() == 1);
        CHECK(done.front().id == api::CallId(1));
        admin::VisitOutcome outcome = done.front().outcome;
        done.clear();
        return outcome;
    }
    template <class Done>
    bool run(Done until) {
        return turn_until(until, [this] { turn(); });
    }

    Standing host = standing_of(4, 0);
    std::unique_ptr<net::TlsContext> own_tls;
    std::unique_ptr<net::TlsContext> host_tls;
    std::unique_ptr<Visits> visits;
    std::vector<Visits::Done> done;
    std::optional<PeerRequest> asked;

  private:
    void turn() {
        const base::Instant now = mono_now();
        ring_->reap();
        if (gate_ != nullptr) {
            gate_->begin_turn(now);
            PeerRequest request;
            while (gate_->next_request(request)) {
                asked = request;
                const std::string refusal =
                    request.admits ? refusal_of(request.admission, host, "prod") : std::string();
                gate_->answer(refusal.empty() ? encode_standing(host) : encode_refusal(refusal));
            }
            gate_->flush();
        }
        visits->begin_turn(now);
        visits->take(done);
        visits->flush();
        REQUIRE(ring_->submit_and_wait(base::milliseconds(5)).has_value());
    }

    std::unique_ptr<net::Ring> ring_;
    net::Listeners listeners_;
    std::unique_ptr<PeerGate> gate_;
};

}  // namespace

TEST_CASE("a node that waits says what it is, and is told whose it is") {
    Scene scene;
    SUBCASE("plain") {}
    SUBCASE("with TLS") {
        const test_support::Authority authority;
        scene.own_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 1})));
        scene.host_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 4})));
    }
    scene.start();
    const admin::VisitOutcome seen = scene.outcome_of(scene.visit());
    CHECK(seen.kind == Kind::answered);
    CHECK(seen.node == base::NodeId(4));
    CHECK(seen.incarnation == 104);
    CHECK(seen.shards == 2);
    CHECK(seen.groups == 8);
    CHECK(seen.stage == admin::VisitOutcome::Stage::none);
    CHECK(seen.cluster == 0);
    REQUIRE(scene.asked);
    CHECK(!scene.asked->admits);
    CHECK(scene.asked->standing == standing_of(1, 77));

    CHECK(scene.outcome_of(scene.admission()).kind == Kind::answered);
    CHECK(scene.asked->admits);
    CHECK(scene.asked->admission ==
          Admission{77, 104, base::NodeId(4), 8, base::NodeId(1), "prod"});
    const admin::VisitOutcome refused = scene.outcome_of(scene.admission(105));
    CHECK(refused.kind == Kind::refused);
    CHECK(refused.why.find("node 4 has other storage than was visited") == 0);

    scene.host = standing_of(4, 78);
    CHECK(scene.outcome_of(scene.visit()).kind == Kind::other_cluster);
    CHECK(scene.outcome_of(scene.admission()).kind == Kind::refused);
}

TEST_CASE("with TLS nobody is visited, and visits, who is not of the cluster") {
    Scene scene;
    const test_support::Authority authority;
    const test_support::Authority elsewhere;
    SUBCASE("the visitor") {
        net::TlsFiles files = elsewhere.issue({"prod", 1});
        files.authority = authority.pem();
        scene.own_tls = std::move(*net::TlsContext::make(files));
        scene.host_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 4})));
    }
    SUBCASE("another node's certificate") {
        scene.own_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 2})));
        scene.host_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 4})));
    }
    SUBCASE("the host") {
        scene.own_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 1})));
        scene.host_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 5})));
    }
    SUBCASE("the host, without any") {
        scene.own_tls = std::move(*net::TlsContext::make(authority.issue({"prod", 1})));
    }
    scene.start();
    const admin::VisitOutcome outcome = scene.outcome_of(scene.admission());
    CHECK((outcome.kind == Kind::refused || outcome.kind == Kind::unreachable));
    CHECK(!outcome.why.empty());
}

TEST_CASE("where nobody answers, and addresses that are none") {
    Scene scene;
    scene.start(false);
    for (const char* address : {"", "somewhere:1", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000"}) {
        CAPTURE(address);
        CHECK(scene.outcome_of({address, false, {}, 0}).kind == Kind::bad_address);
    }
    const admin::VisitOutcome refused = scene.outcome_of({"127.0.0.1:1", false, {}, 0});
    CHECK(refused.kind == Kind::unreachable);
    CHECK(!refused.why.empty());

    // The kernel connects, nobody speaks: so many at a time, and each ends.
    for (std::uint64_t id = 1; id <= limits::visits_max + 1; ++id) {
        scene.begin(id, scene.visit());
    }
    REQUIRE(scene.run([&] { return scene.done.size() == 1; }));
    CHECK(scene.done.front().id == api::CallId(limits::visits_max + 1));
    CHECK(scene.done.front().outcome.kind == Kind::too_many);
    REQUIRE(scene.run([&] { return scene.done.size() == limits::visits_max + 1; }));
    for (std::size_t i = 1; i < scene.done.size(); ++i) {
        CHECK(scene.done[i].outcome.kind == Kind::unreachable);
        CHECK(scene.done[i].outcome.why == "it did not answer in time");
    }
}
