// Join lines, tokens and messages: values that people and strangers hand in.
#include <doctest/doctest.h>

#include <set>

#include "base/base64url.h"
#include "base/random.h"
#include "tools/ursulactl/command.h"
#include "tools/ursulactl/join/invitations.h"
#include "tools/ursulactl/join/join_line.h"
#include "tools/ursulactl/join/messages.h"

namespace ursula::ctl {

namespace {

using Instant = Invitations::Instant;
using Verdict = Invitations::Verdict;

JoinLine some_line() {
    JoinLine line;
    line.issuer = parse_node_address("x", "10.0.0.1:4440", 1, false);
    line.cluster = "prod";
    line.node = 2;
    line.token = random_token();
    line.authority.fill(std::byte{0xa5});
    return line;
}

// What is wrong with the line; "" when it is taken.
std::string refused(const std::string& text) {
    try {
        parse_join_line(text);
    } catch (const Failure& failure) {
        CHECK(failure.exit_code == exit_usage);
        return failure.what();
    }
    return "";
}

}  // namespace

TEST_CASE("base64 for URLs: back and forth, and one spelling for each") {
    base::Random random(1);
    for (std::size_t size = 0; size < 70; ++size) {
        std::vector<std::byte> bytes;
        for (std::size_t i = 0; i < size; ++i) {
            bytes.push_back(static_cast<std::byte>(random.below(256)));
        }
        const std::string text = base::to_base64url(bytes);
        CHECK(text.size() == (size * 4 + 2) / 3);
        CHECK(base::from_base64url(text) == bytes);
    }
    CHECK(base::to_base64url(base::as_bytes("\xfb\xff")) == "-_8");
    CHECK(!base::from_base64url("-_9"));  // a bit that no byte has
    CHECK(!base::from_base64url("A"));
    CHECK(!base::from_base64url("AA=="));
    CHECK(!base::from_base64url("A+/A"));
}

TEST_CASE("a join line says where, who and what, and survives the way") {
    const JoinLine line = some_line();
    const std::string text = line.text();
    CHECK(text.starts_with("ursula-join://10.0.0.1:4440/prod/2#"));
    CHECK(text.size() == 35 + 67);
    CHECK(parse_join_line(text) == line);
    CHECK(parse_join_line(text + "\r\n") == line);
    JoinLine six = line;
    six.issuer = parse_node_address("x", "[fd00::1]:4440", 1, false);
    CHECK(parse_join_line(six.text()) == six);
}

TEST_CASE("what is no join line is refused without its secret") {
    const JoinLine line = some_line();
    const std::string text = line.text();
    const std::string secret = text.substr(text.find('#') + 1);
    const std::string start = "ursula-join://10.0.0.1:4440/prod/2#";
    CHECK(refused("http://10.0.0.1") != "");
    CHECK(refused("") != "");
    CHECK(refused(text.substr(0, text.find('#'))) != "");
    CHECK(refused(start) != "");
    CHECK(refused(text.substr(0, text.size() - 1)).find("cut off") != std::string::npos);
    CHECK(refused(text + "A").find("cut off") != std::string::npos);
    CHECK(refused("ursula-join://10.0.0.1:4440/prod#" + secret) != "");
    CHECK(refused("ursula-join://10.0.0.1:4440/prod/0#" + secret) != "");
    CHECK(refused("ursula-join://10.0.0.1:4440/prod/02#" + secret) != "");
    CHECK(refused("ursula-join://10.0.0.1:4440/prod/65536#" + secret) != "");
    CHECK(refused("ursula-join://10.0.0.1:4440/prod/2/3#" + secret) != "");
    CHECK(refused("ursula-join://10.0.0.1:4440/a b/2#" + secret) != "");
    CHECK(refused("ursula-join://10.0.0.1:0/prod/2#" + secret) != "");
    CHECK(refused("ursula-join://0.0.0.0:4440/prod/2#" + secret) != "");
    CHECK(refused("ursula-join://name:4440/prod/2#" + secret) != "");
    for (std::size_t size = 0; size < text.size(); ++size) {
        const std::string why = refused(text.substr(0, size));
        CHECK(why != "");
        CHECK(why.find(secret.substr(0, 8)) == std::string::npos);
    }
}

TEST_CASE("addresses with and without their port; lists of nodes") {
    CHECK(parse_node_address("--advertise", "10.0.0.1", 4439, false).text() == "10.0.0.1:4439");
    CHECK(parse_node_address("--advertise", "10.0.0.1:1", 4439, false).text() == "10.0.0.1:1");
    CHECK(parse_node_address("--advertise", "[::1]", 4439, false).text() == "[::1]:4439");
    CHECK(parse_node_address("--listen", "0.0.0.0:7", 4439, true).text() == "0.0.0.0:7");
    CHECK_THROWS_AS(parse_node_address("--advertise", "0.0.0.0", 4439, false), Failure);
    CHECK_THROWS_AS(parse_node_address("--advertise", "host", 4439, false), Failure);
    CHECK_THROWS_AS(parse_node_address("--advertise", "", 4439, false), Failure);
    CHECK(parse_nodes("NODES", "2,3") == std::vector<std::uint32_t>{2, 3});
    for (const char* bad : {"", ",", "2,", "2,2", "0", "a", "2 3", "1,2,3,4,5,6,7,8"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS(parse_nodes("NODES", bad), Failure);
    }
}

TEST_CASE("a token is good once, for its time, and only itself") {
    const Instant start{};
    const Instant end = start + std::chrono::minutes(30);
    Invitations invitations(end);
    const Token two = invitations.invite(2);
    const Token three = invitations.invite(3);
    CHECK(two != three);
    CHECK(invitations.open() == std::vector<std::uint32_t>{2, 3});
    CHECK(invitations.look(two, start).verdict == Verdict::good);
    CHECK(invitations.look(two, start).node == 2);
    CHECK(invitations.look(three, end - std::chrono::nanoseconds(1)).node == 3);
    CHECK(invitations.look(three, end).verdict == Verdict::expired);
    invitations.burn(2);
    CHECK(invitations.look(two, start).verdict == Verdict::used);
    CHECK(invitations.look(two, end).verdict == Verdict::used);
    CHECK(invitations.look(three, start).verdict == Verdict::good);
    CHECK(invitations.open() == std::vector<std::uint32_t>{3});
    for (std::size_t i = 0; i < three.size() * 8; ++i) {
        Token near = three;
        near[i / 8] ^= static_cast<std::byte>(1u << i % 8);
        Invitations fresh(end);
        fresh.invite(3);
        CHECK(fresh.look(near, start).verdict == Verdict::unknown);
    }
    CHECK(invitations.look({}, start).verdict == Verdict::unknown);
    CHECK(invitations.look(base::Bytes(three).subspan(1), start).verdict == Verdict::unknown);
}

TEST_CASE("guesses are counted, good tokens are not") {
    Invitations invitations(Instant::max());
    const Token good = invitations.invite(2);
    for (std::uint32_t i = 0; i < Invitations::unknown_max; ++i) {
        CHECK(!invitations.guessed());
        CHECK(invitations.look(random_token(), {}).verdict == Verdict::unknown);
        CHECK(invitations.look(good, {}).verdict == Verdict::good);
    }
    CHECK(invitations.guessed());
}

TEST_CASE("tokens are never alike") {
    std::set<std::string> seen;
    for (int i = 0; i < 1000; ++i) {
        seen.insert(base::to_base64url(random_token()));
    }
    CHECK(seen.size() == 1000);
}

TEST_CASE("messages back and forth; any other bytes are none") {
    JoinRequest request;
    request.token = {std::byte{1}, std::byte{2}, std::byte{3}};
    request.node = 2;
    request.address = "10.0.0.2:4439";
    request.request = "-----BEGIN\n\"\\";
    const auto read = read_request(text_of(request));
    REQUIRE(read);
    CHECK(read->token == request.token);
    CHECK(read->node == 2);
    CHECK(read->address == request.address);
    CHECK(read->request == request.request);
    CHECK(text_of(request).find('\n') == std::string::npos);

    JoinReply reply;
    reply.certificate = "c\n";
    reply.authority = "a\n";
    reply.members = {{1, "10.0.0.1:4439"}, {2, "10.0.0.2:4439"}};
    reply.awaited = {3};
    reply.formed = true;
    reply.again = true;
    const auto back = read_reply(text_of(reply));
    REQUIRE(back);
    CHECK(back->certificate == "c\n");
    CHECK(back->members == reply.members);
    CHECK(back->awaited == reply.awaited);
    CHECK(back->formed);
    CHECK(back->again);
    CHECK(back->refusal == Refusal::none);

    for (const Refusal refusal :
         {Refusal::unknown_token, Refusal::used_token, Refusal::expired_token, Refusal::bad_request,
          Refusal::conflict, Refusal::failed}) {
        JoinReply no;
        no.refusal = refusal;
        no.why = "so";
        const auto told = read_reply(text_of(no));
        REQUIRE(told);
        CHECK(told->refusal == refusal);
        CHECK(told->why == "so");
    }

    const std::string whole = text_of(request);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CHECK(!read_request(whole.substr(0, size)));
    }
    for (const char* bad :
         {"", "null", "[]", "{}", "1", "{\"version\":2}", "{\"version\":1}",
          R"({"version":1,"token":1,"node":2,"address":"","request":""})",
          R"({"version":1,"token":"?","node":2,"address":"","request":""})",
          R"({"version":1,"token":"AAAA","node":0,"address":"","request":""})",
          R"({"version":1,"token":"AAAA","node":-1,"address":"","request":""})",
          R"({"version":1,"token":"AAAA","node":4294967298,"address":"","request":""})",
          R"({"version":1,"token":"AAAA","node":2,"address":[],"request":""})",
          R"({"version":1,"refusal":"other","why":"x"})",
          R"({"version":1,"certificate":"","authority":"","members":[1],"awaited":[],)"
          R"("formed":true})"}) {
        CAPTURE(bad);
        CHECK(!read_request(bad));
        CHECK(!read_reply(bad));
    }
    CHECK(!read_request(std::string(message_bytes_max + 1, ' ')));
    CHECK(!read_request(std::string(message_bytes_max, '[')));
    base::Random random(7);
    for (int i = 0; i < 20'000; ++i) {
        std::string changed = i % 2 == 0 ? whole : text_of(reply);
        for (std::uint64_t k = random.between(1, 4); k > 0; --k) {
            changed[random.below(changed.size())] = static_cast<char>(random.below(256));
        }
        (void)read_request(changed);
        (void)read_reply(changed);
    }
}

}  // namespace ursula::ctl
