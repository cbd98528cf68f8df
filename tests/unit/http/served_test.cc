// Whole exchanges: tests/golden/http/served/*.txt, request text -> response text, in process,
// through Front and a shard in memory. URSULA_REWRITE_GOLDEN=1 in the environment writes the files
// anew.
//
//   == name          a new connection; the node and its streams last for the file
//   > bytes          sent (escapes as in tests/support/http_transcript.h)
//   < bytes          what came back, a line each
//   < (closed)       the server closed
//   other> other<    the same on a second connection
//   wait SECONDS     of virtual time
//
// {etag} in a request is the last ETag that came. Request ids and the incarnation in an ETag come
// back as {id} and {inc}. A Date line is left out.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/http_transcript.h"
#include "tests/unit/http/edge_server.h"

namespace ursula::http::test {
namespace {

namespace fs = std::filesystem;

struct Peer {
    std::string prefix;  // "" or "other"
    std::unique_ptr<test_support::LoopbackClient> client;
    std::string got;       // since the last time it was looked at
    std::string expected;  // lines behind "<"
};

// Replaces what differs from run to run, and cuts into lines as the files have them.
std::string lines_of(const std::string& bytes) {
    static const std::regex id("\"request_id\":\"[0-9a-f]{16}\"");
    static const std::regex id_line("X-Request-Id: [0-9a-f]{16}\r\n");
    static const std::regex incarnation("ETag: \"[0-9]+\\.[0-9]+\\.[0-9]+:");
    static const std::regex date(
        "\r\nDate: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} "
        "[0-9]{2}:[0-9]{2}:[0-9]{2} GMT\r\n");
    std::string text = std::regex_replace(bytes, id, "\"request_id\":\"{id}\"");
    text = std::regex_replace(text, id_line, "X-Request-Id: {id}\r\n");
    text = std::regex_replace(text, date, "\r\n");
    text = std::regex_replace(text, incarnation, "ETag: \"{inc}:");
    std::string lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
        lines += test_support::escape_bytes(text.substr(0, end)) + "\n";
        text.erase(0, end);
    }
    return lines;
}

class Play {
  public:
    Play() : server_(options()) { server_.use_shard(); }

    // The file as it came out, and whether that is what it said.
    std::string run(const std::string& file, bool rewrite) {
        std::istringstream lines(file);
        std::string line;
        while (std::getline(lines, line)) {
            const bool other = line.starts_with("other");
            Peer& peer = other ? other_ : own_;
            const std::string rest = other ? line.substr(5) : line;
            if (rest.starts_with("< ")) {
                peer.expected += rest.substr(2) + "\n";
                continue;
            }
            look(rewrite);
            if (line.starts_with("== ")) {
                name_ = line.substr(3);
                ++cases_;
                own_.client = std::make_unique<test_support::LoopbackClient>(server_.port);
                other_.client.reset();
            } else if (rest.starts_with("> ")) {
                if (peer.client == nullptr) {
                    peer.client = std::make_unique<test_support::LoopbackClient>(server_.port);
                }
                send(peer, rest.substr(2));
            } else if (line.starts_with("wait ")) {
                asked_ = true;
                server_.pass(base::seconds(std::stoi(line.substr(5))));
            } else if (!line.empty() && !line.starts_with("#")) {
                FAIL("a golden line is none: ", line);
            }
            out_ += line + "\n";
        }
        look(rewrite);
        return out_;
    }
    int cases() const { return cases_; }

  private:
    static EdgeOptions options() {
        EdgeOptions options = EdgeServer::default_options();
        options.max_body = 1000;
        return options;
    }

    void send(Peer& peer, std::string text) {
        const std::size_t at = text.find("{etag}");
        if (at != std::string::npos) {
            text.replace(at, 6, etag_);
        }
        asked_ = true;
        const std::string bytes = test_support::unescape_bytes(text);
        peer.client->send(bytes);
        sent_bytes_ += bytes.size();
        // It has arrived before time passes or another client sends.
        server_.turn_until(
            [this] { return server_.transport().counters().received_bytes == sent_bytes_; });
        server_.turns(3);
    }

    void receive(Peer& peer) {
        if (peer.client == nullptr || peer.client->over) {
            return;
        }
        peer.got += peer.client->receive();
        if (peer.client->over) {
            peer.got += "(closed)";
        }
        const std::size_t tag = peer.got.rfind("ETag: ");
        if (tag != std::string::npos && peer.got.find("\r\n", tag) != std::string::npos) {
            etag_ = peer.got.substr(tag + 6, peer.got.find("\r\n", tag) - tag - 6);
        }
    }

    // Turns until what the file says has come, and a few more for what it does not say.
    void look(bool rewrite) {
        if (!asked_ && own_.expected.empty() && other_.expected.empty()) {
            return;
        }
        if (own_.expected.empty() && other_.expected.empty() && !rewrite) {
            return;  // more is sent before anything is to come
        }
        const auto short_of = [](const Peer& peer) {
            return lines_of(peer.got).size() < peer.expected.size();
        };
        int more = rewrite ? 60 : 3;
        for (int i = 0; i < 2000 && more > 0; ++i) {
            server_.turn();
            receive(own_);
            receive(other_);
            more -= !rewrite && (short_of(own_) || short_of(other_)) ? 0 : 1;
        }
        for (Peer* peer : {&own_, &other_}) {
            const std::string lines = lines_of(peer->got);
            INFO(name_);
            if (!rewrite) {
                CHECK(lines == peer->expected);
            }
            std::istringstream each(lines);
            std::string line;
            while (std::getline(each, line)) {
                out_ += peer->prefix + "< " + line + "\n";
            }
            peer->got.clear();
            peer->expected.clear();
        }
        asked_ = false;
    }

    EdgeServer server_;
    Peer own_{"", nullptr, "", ""};
    Peer other_{"other", nullptr, "", ""};
    std::string name_;
    std::string etag_;
    std::string out_;
    bool asked_ = false;
    std::uint64_t sent_bytes_ = 0;
    int cases_ = 0;
};

}  // namespace

TEST_CASE("golden exchanges, served") {
    const bool rewrite = std::getenv("URSULA_REWRITE_GOLDEN") != nullptr;
    int cases = 0;
    std::set<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(fs::path(GOLDEN_SERVED_DIR))) {
        paths.insert(entry.path());
    }
    for (const fs::path& path : paths) {
        INFO(path.filename().string());
        std::ifstream in(path);
        const std::string file{std::istreambuf_iterator<char>(in), {}};
        Play play;
        const std::string out = play.run(file, rewrite);
        cases += play.cases();
        if (rewrite) {
            std::ofstream(path) << out;
        } else {
            CHECK(out == file);
        }
    }
    CHECK(cases >= 60);
}

}  // namespace ursula::http::test
