// Joining itself: certificates that the peers' TLS takes, folders, what the desk answers, and the
// two ends over a loopback socket with strangers in between.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <thread>

#include "base/base64url.h"
#include "tests/support/temp_dir.h"
#include "tools/ursulactl/command.h"
#include "tools/ursulactl/join/authority.h"
#include "tools/ursulactl/join/desk.h"
#include "tools/ursulactl/join/dial.h"
#include "tools/ursulactl/join/join_openssl.h"
#include "tools/ursulactl/join/listener.h"
#include "tools/ursulactl/join/wall_clock.h"

namespace ursula::ctl {

namespace {

using Instant = Invitations::Instant;
using net::TlsContext;
using net::TlsFiles;
using net::TlsIdentity;
using net::TlsSession;
using test_support::TempDir;

constexpr std::int64_t day_s = 24 * 3600;

template <class T>
T good(base::Result<T> result) {
    REQUIRE_MESSAGE(result.has_value(), result.error().message);
    return std::move(*result);
}

TlsFiles issue(const CertifiedKey& authority, const TlsIdentity& identity, std::int64_t at_s) {
    const KeyWithRequest own = good(make_request());
    TlsFiles files;
    files.authority = authority.certificate;
    files.certificate = good(certify(authority, own.request, identity, at_s)).certificate;
    files.key = own.key;
    return files;
}

// "" when both know each other; else what one of them says.
std::string outcome(const TlsFiles& one, const TlsFiles& two) {
    const auto first = good(TlsContext::make(one));
    const auto second = good(TlsContext::make(two));
    TlsSession dials(*first, true, "peer");
    TlsSession accepts(*second, false, "");
    for (int round = 0; round < 10; ++round) {
        std::vector<std::byte> bytes;
        dials.take_output(bytes);
        accepts.feed(bytes);
        bytes.clear();
        accepts.take_output(bytes);
        dials.feed(bytes);
    }
    return dials.ready() && accepts.ready() ? std::string() : dials.failure() + accepts.failure();
}

std::string failure_code(int code, void (*act)(const TempDir&), const TempDir& dir) {
    try {
        act(dir);
    } catch (const Failure& failure) {
        CHECK(failure.exit_code == code);
        return failure.what();
    }
    return "was done";
}

// A cluster whose authority lies in a directory.
struct Begun {
    explicit Begun(const std::string& cluster = "prod") {
        authority = good(make_authority(cluster, wall_seconds()));
        Issued first;
        first.node = 1;
        first.address = "10.0.0.1:4439";
        first.serial = "01";
        AuthorityFolder::create(dir.path(), cluster, authority, first);
        folder = std::make_unique<AuthorityFolder>(dir.path());
    }
    TempDir dir;
    CertifiedKey authority;
    std::unique_ptr<AuthorityFolder> folder;
};

// A desk with one invitation for each of nodes 2 and 3.
struct Desk {
    explicit Desk(Instant until = Instant::max()) : invitations(until) {
        two = invitations.invite(2);
        three = invitations.invite(3);
        desk = std::make_unique<JoinDesk>(
            *begun.folder, invitations, false,
            [this](const std::string& sentence) { told.push_back(sentence); });
    }
    JoinReply ask(const JoinRequest& request, Instant now = {}) {
        auto reply = read_reply(desk->answer(text_of(request), "10.0.0.9", now, wall_seconds()));
        REQUIRE(reply);
        return *reply;
    }
    Begun begun;
    Invitations invitations;
    Token two{};
    Token three{};
    std::vector<std::string> told;
    std::unique_ptr<JoinDesk> desk;
};

JoinRequest request_for(std::uint32_t node, const Token& token, const KeyWithRequest& own) {
    JoinRequest request;
    request.node = node;
    request.token.assign(token.begin(), token.end());
    request.address = "10.0.0." + std::to_string(node) + ":4439";
    request.request = own.request;
    return request;
}

}  // namespace

TEST_CASE("nodes that one authority certified know each other, and who they are") {
    const CertifiedKey authority = good(make_authority("prod", wall_seconds()));
    const CertifiedKey other = good(make_authority("prod", wall_seconds()));
    const TlsFiles one = issue(authority, {"prod", 1}, wall_seconds());
    const TlsFiles two = issue(authority, {"prod", 2}, wall_seconds());
    CHECK(good(TlsContext::make(one))->own_identity() == TlsIdentity{"prod", 1});
    const std::int64_t left_s = good(TlsContext::make(two))->expires_at() - wall_seconds();
    CHECK(left_s <= 730 * day_s);
    CHECK(left_s > 729 * day_s);
    CHECK(outcome(one, two) == "");
    CHECK(outcome(two, one) == "");
    CHECK(outcome(one, issue(other, {"prod", 2}, wall_seconds())).find("not accepted") !=
          std::string::npos);
    // What is over, or begins later.
    CHECK(
        outcome(one, issue(authority, {"prod", 2}, wall_seconds() - 731 * day_s)).find("expired") !=
        std::string::npos);
    CHECK(outcome(one, issue(authority, {"prod", 2}, wall_seconds() + 2 * day_s))
              .find("not yet valid") != std::string::npos);
    CHECK(outcome(one, issue(authority, {"prod", 2}, wall_seconds() + day_s / 2)) == "");
    CHECK(good(fingerprint_of(authority.certificate)) ==
          good(fingerprint_of(authority.certificate)));
    CHECK(good(fingerprint_of(authority.certificate)) != good(fingerprint_of(other.certificate)));
    const std::string longest(64, 'n');
    const CertifiedKey named = good(make_authority(longest, wall_seconds()));
    CHECK(outcome(issue(named, {longest, 1}, wall_seconds()),
                  issue(named, {longest, 65'535}, wall_seconds())) == "");
}

TEST_CASE("what hands certificates out is no peer, and no node can sign") {
    const CertifiedKey authority = good(make_authority("prod", wall_seconds()));
    const CertifiedKey issuer = good(make_issuer(authority, "prod", wall_seconds()));
    TlsFiles files;
    files.authority = authority.certificate;
    files.certificate = issuer.certificate;
    files.key = issuer.key;
    const auto as_peer = TlsContext::make(files);
    CHECK(!as_peer);
    const TlsFiles one = issue(authority, {"prod", 1}, wall_seconds());
    CertifiedKey node;
    node.certificate = one.certificate;
    node.key = one.key;
    const KeyWithRequest own = good(make_request());
    TlsFiles forged;
    forged.authority = authority.certificate;
    forged.certificate = good(certify(node, own.request, {"prod", 2}, wall_seconds())).certificate;
    forged.key = own.key;
    CHECK(outcome(one, forged) != "");
}

TEST_CASE("requests: only a P-256 key that signed it") {
    const CertifiedKey authority = good(make_authority("prod", wall_seconds()));
    std::string request = good(make_request()).request;
    CHECK(certify(authority, request, {"prod", 2}, wall_seconds()));
    for (const std::string& bad : {std::string(), std::string("x"), authority.certificate,
                                   request.substr(0, request.size() / 2)}) {
        const auto made = certify(authority, bad, {"prod", 2}, wall_seconds());
        REQUIRE(!made);
        CHECK(made.error().message.find("no request") != std::string::npos);
    }
    // One character of the signature, which is at its end.
    const std::size_t at = request.find("\n-----END") - 8;
    request[at] = request[at] == 'A' ? 'B' : 'A';
    CHECK(!certify(authority, request, {"prod", 2}, wall_seconds()));
    CertifiedKey mixed = authority;
    mixed.key = good(make_authority("prod", wall_seconds())).key;
    CHECK(!certify(mixed, good(make_request()).request, {"prod", 2}, wall_seconds()));
}

TEST_CASE("a folder is placed whole, with its modes, and replaced only when that is meant") {
    const TempDir dir;
    const CertifiedKey authority = good(make_authority("prod", wall_seconds()));
    const TlsFiles one = issue(authority, {"prod", 1}, wall_seconds());
    const auto place = [&dir](const TlsFiles& files, bool replaces) {
        place_folder(dir.path(), tls_folder,
                     {{"ca.pem", &files.authority, false},
                      {"node.pem", &files.certificate, false},
                      {"node.key", &files.key, true}},
                     replaces, true);
    };
    // What a broken run left.
    REQUIRE(::mkdir((dir / "tls.new").c_str(), 0700) == 0);
    std::ofstream(dir / "tls.new/node.key") << "old";
    CHECK(!look_at_directory(dir.path()).has_tls);
    CHECK(!look_at_directory(dir.path()).is_foreign);
    place(one, false);
    CHECK(read_tls_folder(dir.path()).key == one.key);
    struct stat status {};
    REQUIRE(::stat((dir / "tls/node.key").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    REQUIRE(::stat((dir / "tls").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
    CHECK(::access((dir / "tls.new").c_str(), F_OK) != 0);
    const TlsFiles two = issue(authority, {"prod", 1}, wall_seconds());
    CHECK_THROWS_AS(place(two, false), Failure);
    CHECK(read_tls_folder(dir.path()).key == one.key);
    place(two, true);
    CHECK(read_tls_folder(dir.path()).key == two.key);
    CHECK(::access((dir / "tls.new").c_str(), F_OK) != 0);
    CHECK(look_at_directory(dir.path()).has_tls);
    // A link in the way goes itself, not what it leads to.
    const TempDir elsewhere;
    std::ofstream(elsewhere / "letter.txt") << "mine";
    REQUIRE(::symlink(elsewhere.path().c_str(), (dir / "tls.new").c_str()) == 0);
    place(one, true);
    CHECK(::access((elsewhere / "letter.txt").c_str(), F_OK) == 0);
    CHECK(::access((elsewhere / "node.key").c_str(), F_OK) != 0);
    CHECK(read_tls_folder(dir.path()).key == one.key);
    std::ofstream(dir / "letter.txt") << "mine";
    CHECK(look_at_directory(dir.path()).is_foreign);
    CHECK(!look_at_directory(dir / "nowhere").is_foreign);
}

TEST_CASE("the authority's folder: one user at a time, durable records, a key nobody else reads") {
    Begun begun;
    CHECK(begun.folder->cluster() == "prod");
    CHECK(begun.folder->own_node() == 1);
    CHECK(
        failure_code(
            exit_conflict, [](const TempDir& dir) { AuthorityFolder again(dir.path()); }, begun.dir)
            .find("in use") != std::string::npos);
    for (const std::uint32_t node : {3u, 2u}) {
        Issued issued;
        issued.node = node;
        issued.address = "10.0.0.9:1";
        issued.serial = "0A";
        issued.ends_s = 5;
        begun.folder->record(issued);
    }
    begun.folder.reset();
    {
        const AuthorityFolder again(begun.dir.path());
        REQUIRE(again.issued().size() == 3);
        CHECK(again.issued()[1].node == 2);
        REQUIRE(again.find(3) != nullptr);
        CHECK(again.find(3)->serial == "0A");
        CHECK(again.find(3)->ends_s == 5);
        CHECK(again.find(4) == nullptr);
        CHECK(again.authority().key == begun.authority.key);
    }
    REQUIRE(::chmod((begun.dir / "tls-authority/ca.key").c_str(), 0640) == 0);
    CHECK(failure_code(
              exit_denied, [](const TempDir& dir) { AuthorityFolder again(dir.path()); }, begun.dir)
              .find("read by others") != std::string::npos);
    REQUIRE(::chmod((begun.dir / "tls-authority/ca.key").c_str(), 0600) == 0);
    std::ofstream(begun.dir / "tls-authority/issued.json") << "{}";
    CHECK(failure_code(
              exit_failed, [](const TempDir& dir) { AuthorityFolder again(dir.path()); }, begun.dir)
              .find("damaged") != std::string::npos);
    const TempDir empty;
    CHECK(failure_code(
              exit_not_found, [](const TempDir& dir) { AuthorityFolder none(dir.path()); }, empty)
              .find("no authority") != std::string::npos);
}

TEST_CASE("the desk gives a token's node its certificate, once") {
    Desk desk;
    const KeyWithRequest own = good(make_request());
    const JoinReply reply = desk.ask(request_for(2, desk.two, own));
    REQUIRE(reply.refusal == Refusal::none);
    TlsFiles files;
    files.authority = reply.authority;
    files.certificate = reply.certificate;
    files.key = own.key;
    CHECK(good(TlsContext::make(files))->own_identity() == TlsIdentity{"prod", 2});
    CHECK(reply.members == std::vector<JoinMember>{{1, "10.0.0.1:4439"}, {2, "10.0.0.2:4439"}});
    CHECK(reply.awaited == std::vector<std::uint32_t>{3});
    CHECK(!reply.formed);
    CHECK(!reply.again);
    CHECK(desk.ask(request_for(2, desk.two, own)).refusal == Refusal::used_token);
    CHECK(desk.ask(request_for(3, desk.two, own)).refusal == Refusal::used_token);
    CHECK(desk.ask(request_for(3, desk.three, own)).refusal == Refusal::none);
    CHECK(desk.invitations.open().empty());
    // It was on disk before it went out.
    desk.begun.folder.reset();
    const AuthorityFolder again(desk.begun.dir.path());
    CHECK(again.issued().size() == 3);
}

TEST_CASE("what the desk refuses costs no token but a wrong one's credit") {
    Desk desk(Instant() + std::chrono::minutes(1));
    const KeyWithRequest own = good(make_request());
    const JoinRequest request = request_for(2, desk.two, own);
    JoinRequest other = request;
    other.node = 3;  // a certificate for node 3 with the token of node 2
    CHECK(desk.ask(other).refusal == Refusal::conflict);
    other = request;
    other.address = "10.0.0.1:4439";
    CHECK(desk.ask(other).why.find("address of node 1") != std::string::npos);
    other.address = "";
    CHECK(desk.ask(other).why.find("--advertise") != std::string::npos);
    other.address = "nonsense\n";
    CHECK(desk.ask(other).refusal == Refusal::conflict);
    other = request;
    other.request = "no request";
    CHECK(desk.ask(other).refusal == Refusal::bad_request);
    const auto answer =
        read_reply(desk.desk->answer("GET / HTTP/1.1\r", "::1", {}, wall_seconds()));
    REQUIRE(answer);
    CHECK(answer->refusal == Refusal::bad_request);
    CHECK(desk.ask(request, Instant() + std::chrono::minutes(1)).refusal == Refusal::expired_token);
    other = request;
    other.token[3] ^= std::byte{1};
    CHECK(desk.ask(other).refusal == Refusal::unknown_token);
    CHECK(desk.invitations.open().size() == 2);
    CHECK(desk.ask(request).refusal == Refusal::none);
    CHECK(!desk.told.empty());
    for (const std::string& sentence : desk.told) {
        CHECK(sentence.find(base::to_base64url(desk.two)) == std::string::npos);
    }
}

TEST_CASE("no certificate without its record") {
    Desk desk;
    const KeyWithRequest own = good(make_request());
    // The record is written aside and takes its place; here is something that cannot be replaced.
    REQUIRE(::mkdir((desk.begun.dir / "tls-authority/issued.json.new").c_str(), 0700) == 0);
    const JoinReply reply = desk.ask(request_for(2, desk.two, own));
    CHECK(reply.refusal == Refusal::failed);
    CHECK(reply.certificate.empty());
    CHECK(desk.begun.folder->find(2) == nullptr);
    CHECK(desk.ask(request_for(2, desk.two, own)).refusal == Refusal::used_token);
}

TEST_CASE("a renewal without an address keeps the one there was") {
    Desk desk;
    Issued issued;
    issued.node = 2;
    issued.address = "10.0.0.2:7";
    desk.begun.folder->record(issued);
    JoinRequest request = request_for(2, desk.two, good(make_request()));
    request.address = "";
    const JoinReply reply = desk.ask(request);
    CHECK(reply.refusal == Refusal::none);
    CHECK(reply.again);
    CHECK(desk.begun.folder->find(2)->address == "10.0.0.2:7");
}

namespace {

// A listener that serves in its own thread.
struct Served {
    explicit Served(std::chrono::milliseconds time = std::chrono::minutes(5))
        : desk(Invitations::Instant::clock::now() + time) {
        ::signal(SIGPIPE, SIG_IGN);
        ListenAddress any;
        any.port = 0;
        listener = std::make_unique<JoinListener>(
            any, good(make_issuer(desk.begun.authority, "prod", wall_seconds())),
            desk.begun.authority.certificate);
        line.issuer = listener->address();
        line.cluster = "prod";
        line.node = 2;
        line.token = desk.two;
        line.authority = good(fingerprint_of(desk.begun.authority.certificate));
        thread = std::thread([this] { listener->serve(*desk.desk); });
    }
    ~Served() { thread.join(); }

    JoinReply ask(const JoinLine& with, std::chrono::milliseconds time = std::chrono::minutes(1)) {
        return ask_to_join(with, request_for(with.node, with.token, good(make_request())), time);
    }
    // The exit code and the words of a dial that fails.
    std::pair<int, std::string> failing(const JoinLine& with) {
        try {
            ask(with);
        } catch (const Failure& failure) {
            return {failure.exit_code, failure.what()};
        }
        return {0, ""};
    }
    void finish() {
        JoinLine rest = line;
        CHECK(ask(rest).refusal == Refusal::none);
        rest.node = 3;
        rest.token = desk.three;
        CHECK(ask(rest).refusal == Refusal::none);
    }

    Desk desk;
    std::unique_ptr<JoinListener> listener;
    JoinLine line;
    std::thread thread;
};

int connected(const ListenAddress& address) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(address.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    return fd;
}

}  // namespace

TEST_CASE("two nodes join over loopback, and the listener ends by itself") {
    Served served;
    served.finish();
}

TEST_CASE("who is not the line's authority never hears the token") {
    Served served;
    JoinLine wrong = served.line;
    wrong.authority[0] ^= std::byte{1};
    CHECK(served.failing(wrong).first == exit_denied);
    CHECK(served.failing(wrong).second.find("token was not sent") != std::string::npos);
    wrong = served.line;
    wrong.cluster = "other";
    CHECK(served.failing(wrong).first == exit_denied);
    CHECK(served.desk.invitations.open().size() == 2);
    served.finish();
}

namespace {

// What a dial says to somebody who listens on loopback and does `act` with the one connection.
template <class Act>
Failure dialled(JoinLine line, std::chrono::milliseconds time, Act act) {
    const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in own{};
    socklen_t own_size = sizeof own;
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listening, reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
    REQUIRE(::listen(listening, 1) == 0);
    REQUIRE(::getsockname(listening, reinterpret_cast<sockaddr*>(&own), &own_size) == 0);
    ::signal(SIGPIPE, SIG_IGN);
    std::thread other([&] {
        const int accepted = ::accept(listening, nullptr, nullptr);
        act(accepted);
        ::close(accepted);
    });
    line.issuer.port = ntohs(own.sin_port);
    line.cluster = "prod";
    line.node = 2;
    Failure said(exit_ok, "");
    try {
        ask_to_join(line, request_for(2, random_token(), good(make_request())), time);
    } catch (const Failure& failure) {
        said = failure;
    }
    other.join();
    ::close(listening);
    return said;
}

// The server's end of TLS with this certificate.
struct TlsEnd {
    TlsEnd(const CertifiedKey& own, const std::string& authority, int socket)
        : context(SSL_CTX_new(TLS_server_method())) {
        const CertificatePointer certificate = read_certificate(own.certificate);
        const CertificatePointer above = read_certificate(authority);
        const KeyPointer key = read_key(own.key);
        SSL_CTX_use_certificate(context.get(), certificate.get());
        SSL_CTX_use_PrivateKey(context.get(), key.get());
        SSL_CTX_add1_chain_cert(context.get(), above.get());
        ssl.reset(SSL_new(context.get()));
        SSL_set_fd(ssl.get(), socket);
        shaken = SSL_accept(ssl.get()) == 1;
    }
    SslContextPointer context;
    SslPointer ssl;
    bool shaken = false;
};

}  // namespace

TEST_CASE(
    "a node of the cluster cannot stand in for its authority, nor a copy of its certificate") {
    const CertifiedKey authority = good(make_authority("prod", wall_seconds()));
    const TlsFiles node = issue(authority, {"prod", 3}, wall_seconds());
    const CertifiedKey other = good(make_authority("prod", wall_seconds()));
    CertifiedKey as_node;
    as_node.certificate = node.certificate;
    as_node.key = node.key;
    JoinLine line;
    line.authority = good(fingerprint_of(authority.certificate));
    for (const CertifiedKey& own :
         {as_node, good(make_issuer(other, "prod", wall_seconds())),
          good(make_issuer(authority, "prod", wall_seconds() - 3 * day_s))}) {
        bool shaken = true;
        const Failure said = dialled(line, std::chrono::minutes(1), [&](int socket) {
            shaken = TlsEnd(own, authority.certificate, socket).shaken;
        });
        CHECK(said.exit_code == exit_denied);
        CHECK(!said.next.empty());
        CHECK(!shaken);
    }
}

TEST_CASE("an end that is silent, no TLS, or gone too early") {
    const CertifiedKey authority = good(make_authority("prod", wall_seconds()));
    const CertifiedKey issuer = good(make_issuer(authority, "prod", wall_seconds()));
    JoinLine line;
    line.authority = good(fingerprint_of(authority.certificate));
    char byte = 0;
    const Failure silent = dialled(line, std::chrono::milliseconds(200), [&](int socket) {
        while (::recv(socket, &byte, 1, 0) > 0) {
        }
    });
    CHECK(silent.exit_code == exit_unreachable);
    CHECK(std::string(silent.what()).find("in time") != std::string::npos);
    const Failure plain = dialled(line, std::chrono::minutes(1), [](int socket) {
        (void)!::send(socket, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
    });
    CHECK(plain.exit_code == exit_unreachable);
    const Failure gone = dialled(line, std::chrono::minutes(1), [&](int socket) {
        const TlsEnd end(issuer, authority.certificate, socket);
        SSL_read(end.ssl.get(), &byte, 1);
    });
    CHECK(gone.exit_code == exit_unreachable);
    CHECK(gone.next.find("--replace") != std::string::npos);
    for (const std::string& answer : {std::string("nonsense\n"), std::string(40'000, 'x')}) {
        const Failure odd = dialled(line, std::chrono::minutes(1), [&](int socket) {
            const TlsEnd end(issuer, authority.certificate, socket);
            SSL_write(end.ssl.get(), answer.data(), static_cast<int>(answer.size()));
            while (SSL_read(end.ssl.get(), &byte, 1) > 0) {
            }
        });
        CHECK(odd.exit_code != exit_ok);
    }
}

TEST_CASE("garbage, silence and crowds hold nobody up") {
    Served served;
    std::vector<int> strangers;
    for (std::size_t i = 0; i < JoinListener::connections_max * 2; ++i) {
        const int fd = connected(served.line.issuer);
        const std::string_view text = i % 3 == 0   ? "GET / HTTP/1.1\r\n\r\n"
                                      : i % 3 == 1 ? std::string_view("\x16\x03\x01\x02\x00\x01", 6)
                                                   : "";
        (void)!::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        strangers.push_back(fd);
    }
    JoinLine wrong = served.line;
    wrong.token[0] ^= std::byte{1};
    CHECK(served.ask(wrong).refusal == Refusal::unknown_token);
    served.finish();
    for (const int fd : strangers) {
        ::close(fd);
    }
}

TEST_CASE("an hour is an hour: what is too late ends by itself") {
    const auto begin = std::chrono::steady_clock::now();
    JoinLine line;
    {
        Served served(std::chrono::milliseconds(200));
        line = served.line;
    }
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(200));
    int code = 0;
    try {
        ask_to_join(line, request_for(2, line.token, good(make_request())),
                    std::chrono::minutes(1));
    } catch (const Failure& failure) {
        code = failure.exit_code;
        CHECK(failure.next.find("ursulactl cluster invite 2") != std::string::npos);
    }
    CHECK(code == exit_unreachable);
}

TEST_CASE("who guesses tokens ends it") {
    Served served;
    JoinLine wrong = served.line;
    for (std::uint32_t i = 0; i < Invitations::unknown_max; ++i) {
        wrong.token = random_token();
        CHECK(served.ask(wrong).refusal == Refusal::unknown_token);
    }
    served.thread.join();
    CHECK(served.desk.invitations.guessed());
    served.thread = std::thread([] {});
}

}  // namespace ursula::ctl
