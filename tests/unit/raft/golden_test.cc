// Golden scenarios: tests/golden/raft/*.txt. Each command line is followed by ---- and what it
// printed. URSULA_REWRITE_GOLDEN=1 in the environment writes the files anew.
//
//   start            from what is durable
//   timeout [ms]     the deadline is looked at, this long after the last command
//   submit N...      one command of N bytes each
//   persist [n]      staged writes (their first n entries) are durable now
//   read             ReadIndex with the next context
//   apply            everything committed is applied
//   snapshot T/I     a snapshot up to that entry is durable
//   commit-hint N    the durable log remembers this commit index
//   restart          power cut: starts again from what is durable
//   status
//
// A file whose first command is `nodes N` is about a cluster (cluster.h), all voters; every command
// but the first names a node, and its turn ends with the command unless the line ends in `...`:
//
//   nodes N [V]      N nodes, the first V (else all) are the members
//   n1 expire        time goes to its deadline
//   n1 deliver n2 [n]  takes the oldest message (n of them) that n2 sent it
//   n1 drop n2 [n]   they are lost
//   n1 down n2, n1 up n2, n1 gone n2   it hears no beats of n2; hears them again; n2 does not lead
//   n1 submit N..., n1 persist [n], n1 read, n1 apply, n1 snapshot, n1 crash, n1 start, n1 status
//   n1 transfer n2, n1 members 1 2 4?  (4 as a learner), n1 trouble, n1 fetch
//   n1 end           the turn ends
//   all settle       everything is delivered and durable; one line per node
//   all network      the messages on their way
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/raft/cluster.h"
#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
namespace {

namespace fs = std::filesystem;
using test::Cluster;
using test::OneVoter;

std::string run(OneVoter& node, const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "start") {
        return describe(node.start());
    }
    if (command == "timeout") {
        std::int64_t after_ms = 0;
        words >> after_ms;
        node.now.mono = node.now.mono + base::milliseconds(after_ms);
        return describe(node.timeout());
    }
    if (command == "submit") {
        std::string out;
        for (std::uint64_t bytes = 0; words >> bytes;) {
            out += describe(node.submit(bytes));
        }
        return out;
    }
    if (command == "persist") {
        std::size_t count = SIZE_MAX;
        std::size_t given = 0;
        if (words >> given) {
            count = given;
        }
        return describe(node.persist(count));
    }
    if (command == "read") {
        return describe(node.read());
    }
    if (command == "apply") {
        return describe(node.apply());
    }
    if (command == "snapshot") {
        std::uint64_t term = 0;
        std::uint64_t index = 0;
        char slash = 0;
        words >> term >> slash >> index;
        return describe(node.snapshot(test::id(term, index)));
    }
    if (command == "commit-hint") {
        words >> node.durable.commit_hint.value;
        return "";
    }
    if (command == "restart") {
        return describe(node.restart());
    }
    if (command == "status") {
        return describe(node.group().status());
    }
    FAIL("no such command: " << line);
    return "";
}

// "n3" -> 3
std::size_t node_of(const std::string& word) {
    REQUIRE(word.size() == 2);
    REQUIRE(word.front() == 'n');
    return static_cast<std::size_t>(word.back() - '0');
}

// The place in the network of the oldest message that goes this way.
std::size_t oldest(const Cluster& cluster, std::size_t from, std::size_t to) {
    for (std::size_t i = 0; i < cluster.network.size(); ++i) {
        if (cluster.network[i].message.from.value == from &&
            cluster.network[i].message.to.value == to) {
            return i;
        }
    }
    return Cluster::npos;
}

std::string all(Cluster& cluster, const std::string& command) {
    std::string out;
    if (command == "network") {
        for (const test::TestFrame& frame : cluster.network) {
            out += describe(frame.message) + "\n";
        }
        return out;
    }
    REQUIRE(command == "settle");
    cluster.settle();
    for (std::size_t i = 1; i <= cluster.node_count(); ++i) {
        if (!cluster.is_up(i)) {
            out += "n" + std::to_string(i) + " is down\n";
            continue;
        }
        const Group& group = cluster.group(i);
        out += "n" + std::to_string(i) + " " + place(group) + " last " +
               std::to_string(group.log().last_id().term.value) + "/" +
               std::to_string(group.log().last().value) + ", applied " +
               std::to_string(group.log().applied().value) + "\n";
    }
    return out;
}

std::string run_for(Cluster& cluster, std::size_t node, std::istringstream& words) {
    std::string command;
    std::string word;
    words >> command;
    if (command == "expire") {
        return describe(cluster.expire(node));
    }
    if (command == "deliver" || command == "drop") {
        int count = 1;
        words >> word;
        words >> count;
        std::string out;
        for (int i = 0; i < std::max(count, 1); ++i) {
            const std::size_t at = oldest(cluster, node_of(word), node);
            REQUIRE(at != Cluster::npos);
            out += describe(cluster.network[at].message) + (command == "drop" ? ": lost\n" : "\n");
            if (command == "drop") {
                cluster.drop(at);
            } else {
                out += describe(cluster.deliver(at));
            }
        }
        return out;
    }
    if (command == "submit") {
        std::string out;
        for (std::uint64_t bytes = 0; words >> bytes;) {
            out += describe(cluster.submit(node, bytes));
        }
        return out;
    }
    if (command == "persist") {
        std::size_t count = SIZE_MAX;
        std::size_t given = 0;
        if (words >> given) {
            count = given;
        }
        return describe(cluster.persist(node, count));
    }
    if (command == "read") {
        return describe(cluster.read(node));
    }
    if (command == "apply") {
        cluster.apply(node);
        return "";
    }
    if (command == "snapshot") {
        cluster.apply(node);
        cluster.snapshot(node);
        return "";
    }
    if (command == "fetch") {
        return describe(cluster.finish_fetch(node));
    }
    if (command == "crash") {
        cluster.crash(node);
        return "";
    }
    if (command == "start") {
        cluster.start(node);
        return "";
    }
    if (command == "status") {
        return describe(cluster.group(node).status());
    }
    if (command == "end") {
        return "";
    }
    if (command == "trouble") {
        return describe(cluster.step(node, DiskTrouble{true}));
    }
    if (command == "members") {
        Membership target;
        while (words >> word) {
            const bool learner = word.back() == '?';
            target.set(
                {NodeId(static_cast<std::uint32_t>(word.front() - '0')), !learner, false, learner});
        }
        return describe(cluster.step(node, ChangeMembership{SubmitTicket(99), target}));
    }
    words >> word;
    const NodeId other(static_cast<std::uint32_t>(node_of(word)));
    if (command == "down") {
        return describe(cluster.step(node, PeerDown{other}));
    }
    if (command == "up") {
        return describe(cluster.step(node, PeerUp{other}));
    }
    if (command == "gone") {
        return describe(cluster.step(node, LeaderGone{other, cluster.group(node).term()}));
    }
    if (command == "transfer") {
        return describe(cluster.step(node, Transfer{other}));
    }
    FAIL("no such command: " << command);
    return "";
}

std::string run(Cluster& cluster, const std::string& line) {
    std::istringstream words(line);
    std::string who;
    words >> who;
    std::string out;
    if (who == "all") {
        std::string command;
        words >> command;
        out = all(cluster, command);
    } else {
        const std::size_t node = node_of(who);
        out = run_for(cluster, node, words);
        if (!line.ends_with("...") && cluster.is_up(node) && cluster.group(node).wants_turn_end()) {
            out += describe(cluster.end_turn(node));
        }
    }
    CHECK(cluster.failure() == "");
    return out;
}

// The same file with every output as it is now.
std::string replay(const std::string& text) {
    OneVoter node;
    std::optional<Cluster> cluster;
    std::istringstream in(text);
    std::string out;
    std::string line;
    bool in_output = false;
    while (std::getline(in, line)) {
        if (in_output) {
            in_output = !line.empty();
            continue;
        }
        if (line.empty()) {
            continue;  // each output ends with the one blank line there is
        }
        if (line.front() == '#') {
            out += line + "\n";
        } else if (line == "----") {
            in_output = true;
        } else {
            std::string printed;
            if (line.starts_with("nodes ")) {
                std::istringstream words(line.substr(6));
                std::size_t nodes = 0;
                std::size_t voters = 0;
                words >> nodes;
                cluster.emplace(nodes, words >> voters ? voters : nodes, 1);
            } else {
                printed = cluster ? run(*cluster, line) : run(node, line);
            }
            out += line + "\n----\n" + (printed.empty() ? "nothing\n" : printed) + "\n";
        }
    }
    return out;
}

std::string read_file(const fs::path& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("golden scenarios") {
    std::size_t files = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(GOLDEN_RAFT_DIR)) {
        if (entry.path().extension() != ".txt") {
            continue;
        }
        ++files;
        CAPTURE(entry.path().filename().string());
        const std::string wanted = read_file(entry.path());
        const std::string got = replay(wanted);
        if (std::getenv("URSULA_REWRITE_GOLDEN") != nullptr) {
            std::ofstream(entry.path()) << got;
        } else {
            CHECK(got == wanted);
        }
    }
    CHECK(files >= 12);
}

}  // namespace ursula::raft
