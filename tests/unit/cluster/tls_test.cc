// TLS between nodes over bytes in memory: who is accepted, who is not and why, sessions that
// resume, and bytes of every size.
#include "net/tls.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/support/certificates.h"

using namespace ursula;
using net::TlsContext;
using net::TlsFiles;
using net::TlsSession;
using test_support::Authority;

namespace {

std::unique_ptr<TlsContext> context_of(const TlsFiles& files) {
    auto made = TlsContext::make(files);
    REQUIRE_MESSAGE(made.has_value(), made.error().message);
    return std::move(*made);
}

// Two sessions whose output is each other's input.
struct Wire {
    Wire(TlsContext& dialler, TlsContext& acceptor, const std::string& name = "peer")
        : one(dialler, true, name), two(acceptor, false, "") {
        pump();
    }
    void pump() {
        for (int round = 0; round < 10; ++round) {
            move(one, two);
            move(two, one);
            read(one, one_got);
            read(two, two_got);
        }
    }
    static void move(TlsSession& from, TlsSession& to) {
        std::vector<std::byte> bytes;
        from.take_output(bytes);
        // In pieces, as a network may.
        for (std::size_t at = 0; at < bytes.size(); at += 1000) {
            to.feed(base::Bytes(bytes).subspan(at, std::min<std::size_t>(1000, bytes.size() - at)));
        }
    }
    static void read(TlsSession& from, std::vector<std::byte>& got) {
        std::vector<std::byte> buffer(5000);
        while (const std::size_t size = from.read(buffer)) {
            got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<long>(size));
        }
    }

    TlsSession one;
    TlsSession two;
    std::vector<std::byte> one_got;
    std::vector<std::byte> two_got;
};

}  // namespace

TEST_CASE("two members of a cluster know each other, and bytes of every size arrive") {
    const Authority authority;
    const auto first = context_of(authority.issue({"prod", 1}));
    const auto second = context_of(authority.issue({"prod", 2}));
    CHECK(first->own_identity() == net::TlsIdentity{"prod", 1});
    CHECK(first->expires_at() > 0);
    Wire wire(*first, *second);
    REQUIRE(wire.one.ready());
    REQUIRE(wire.two.ready());
    CHECK(wire.one.peer() == net::TlsIdentity{"prod", 2});
    CHECK(wire.two.peer() == net::TlsIdentity{"prod", 1});
    base::Random random(4);
    std::vector<std::byte> sent;
    for (const std::size_t size : {1u, 100u, 16384u, 16385u, 300'000u}) {
        std::vector<std::byte> bytes(size);
        for (std::byte& byte : bytes) {
            byte = static_cast<std::byte>(random.below(256));
        }
        wire.one.write(bytes);
        wire.two.write(bytes);
        sent.insert(sent.end(), bytes.begin(), bytes.end());
        wire.pump();
    }
    CHECK(wire.one_got == sent);
    CHECK(wire.two_got == sent);
}

TEST_CASE("a second connection resumes the session of the first, and proves as much") {
    const Authority authority;
    const auto first = context_of(authority.issue({"prod", 1}));
    const auto second = context_of(authority.issue({"prod", 2}));
    { const Wire wire(*first, *second); }
    CHECK(first->resumed() == 0);
    for (int again = 1; again <= 3; ++again) {
        const Wire wire(*first, *second);
        CHECK(wire.one.peer() == net::TlsIdentity{"prod", 2});
        CHECK(wire.two.peer() == net::TlsIdentity{"prod", 1});
        CHECK(first->resumed() == static_cast<std::uint64_t>(again));
        CHECK(second->resumed() == static_cast<std::uint64_t>(again));
    }
    // To somebody else no session is offered.
    const Wire wire(*first, *second, "other");
    CHECK(first->resumed() == 3);
    // A peer that restarted does not know the session: a whole handshake, and all is well.
    const auto restarted = context_of(authority.issue({"prod", 2}));
    const Wire after(*first, *restarted);
    CHECK(after.one.ready());
    CHECK(after.two.ready());
    CHECK(first->resumed() == 3);
}

TEST_CASE("who is not accepted, and why") {
    const Authority authority;
    const Authority stranger;
    const auto member = context_of(authority.issue({"prod", 1}));
    TlsFiles files;
    const char* why = "";
    SUBCASE("another authority's") {
        files = stranger.issue({"prod", 2});
        files.authority = authority.pem();
        why = "its certificate is not accepted";
    }
    SUBCASE("over") {
        files = authority.issue({"prod", 2}, -7200);
        why = "certificate has expired";
    }
    SUBCASE("not yet begun") {
        files = authority.issue({"prod", 2}, 3000);
        why = "certificate is not yet valid";
    }
    const auto other = context_of(files);
    for (const bool member_dials : {true, false}) {
        Wire wire(member_dials ? *member : *other, member_dials ? *other : *member);
        const TlsSession& ours = member_dials ? wire.one : wire.two;
        CHECK_FALSE(ours.ready());
        CHECK(ours.failure().find(why) != std::string::npos);
    }
}

TEST_CASE("certificates that name no node of a cluster, or two, are none") {
    const Authority authority;
    for (const std::string names :
         {"", "DNS:node1", "URI:urn:ursula:prod:node:0", "URI:urn:ursula:prod:node:1x",
          "URI:urn:ursula::node:1", "URI:urn:other:prod:node:1", "URI:urn:ursula:prod:node:65536",
          "URI:urn:ursula:prod:node:1, URI:urn:ursula:prod:node:2"}) {
        CAPTURE(names);
        const auto made = TlsContext::make(authority.issue_names(names));
        REQUIRE_FALSE(made.has_value());
        CHECK(made.error().message ==
              "the node's certificate has no subjectAltName URI urn:ursula:CLUSTER:node:1");
    }
    CHECK(TlsContext::make(authority.issue_names("DNS:a, URI:urn:ursula:p.q:node:7, IP:10.0.0.1"))
              .has_value());
}

TEST_CASE("files that are none") {
    const Authority authority;
    const TlsFiles good = authority.issue({"prod", 1});
    TlsFiles bad = good;
    bad.authority = "x";
    CHECK(TlsContext::make(bad).error().message.find("the authority's file") == 0);
    bad = good;
    bad.certificate.clear();
    CHECK(TlsContext::make(bad).error().message.find("the node's file") == 0);
    bad = good;
    bad.key = good.certificate;
    CHECK(TlsContext::make(bad).error().message.find("the node's key is no PEM key") == 0);
    bad = good;
    bad.key = authority.issue({"prod", 1}).key;
    CHECK(TlsContext::make(bad).error().message.find("cannot be used") != std::string::npos);
}

TEST_CASE("nonsense instead of TLS fails at once and quietly") {
    const Authority authority;
    const auto member = context_of(authority.issue({"prod", 1}));
    base::Random random(8);
    for (int i = 0; i < 2000; ++i) {
        TlsSession session(*member, i % 2 == 0, "");
        std::vector<std::byte> bytes(random.between(1, 600));
        for (std::byte& byte : bytes) {
            byte = static_cast<std::byte>(random.below(256));
        }
        if (i % 3 == 0) {
            bytes[0] = std::byte{22};  // a handshake record
            bytes.resize(std::max<std::size_t>(bytes.size(), 5));
            bytes[1] = std::byte{3};
            bytes[2] = std::byte{1};
            bytes[3] = std::byte{0};
        }
        session.feed(bytes);
        CHECK_FALSE(session.ready());
        std::vector<std::byte> out;
        session.take_output(out);
        std::vector<std::byte> got(100);
        CHECK(session.read(got) == 0);
    }
}
