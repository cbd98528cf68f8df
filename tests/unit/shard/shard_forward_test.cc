// Any node answers any request: writes of another node's groups, and what is said when nobody
// leads.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "api/placement.h"
#include "base/limits.h"
#include "tests/unit/shard/trio.h"

namespace ursula::shard::test {

namespace {

namespace limits = base::limits;

const std::string name = "v1/s";

base::GroupId group_of(const std::string& stream) {
    return api::group_of(stream, small_options().groups);
}

// A stream whose group node 1 leads; asked for at nodes 2 and 3.
struct Started {
    Trio trio;
    base::GroupId group = group_of(name);
    Started() {
        trio.make_leader(group, 1);
        trio.wait<api::CreateReply>(1, trio.node(1).create(name));
        trio.settle();
    }
    std::string content(std::size_t number) {
        const api::CallId read = trio.node(number).read(name, 0, 1 << 20);
        return text_of(trio.wait<api::ReadReply>(number, read).pieces);
    }
    std::size_t leader_but(std::size_t number) {
        std::size_t leads = 0;
        trio.run_until([&] {
            for (std::size_t other = 1; other <= Trio::size; ++other) {
                if (other != number && trio.node(other).shard().group(group).is_leader()) {
                    leads = other;
                }
            }
            return leads != 0;
        });
        return leads;
    }
};

}  // namespace

TEST_CASE("every node takes every write and shows it to every reader") {
    Trio trio;
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        for (std::uint64_t i = 0; i < 8; ++i) {
            const std::string stream = numbered(numbered("v1/", number) + "-", i);
            Node& node = trio.node(number);
            const auto created = trio.wait<api::CreateReply>(number, node.create(stream));
            CHECK(created.created);
            CHECK(base::as_text(created.content_type.bytes()) == "text/plain");
            // In the order they were asked, in one turn, with their own outcomes.
            const api::CallId first = node.append(stream, "one,");
            const api::CallId second = node.append_as("p", 0, 0, stream, "two,");
            const api::CallId again = node.append_as("p", 0, 0, stream, "two,");
            const api::CallId third = node.append(stream, "three");
            const api::CallId other = node.append(stream, "four", "text/html");
            CHECK(trio.wait<api::AppendReply>(number, first).tail == 4);
            CHECK(trio.wait<api::AppendReply>(number, second).tail == 8);
            CHECK(trio.wait<api::AppendReply>(number, again).kind ==
                  api::AppendReply::Kind::duplicate);
            CHECK(trio.wait<api::AppendReply>(number, third).tail == 13);
            CHECK(trio.refusal(number, other) == api::Refusal::content_type_mismatch);
            for (std::size_t reader = 1; reader <= Trio::size; ++reader) {
                const api::CallId read = trio.node(reader).read(stream, 0, 1 << 20);
                CHECK(text_of(trio.wait<api::ReadReply>(reader, read).pieces) == "one,two,three");
            }
            trio.wait<api::RemoveReply>(number, node.remove(stream));
            CHECK(trio.refusal(number, node.head(stream)) == api::Refusal::stream_not_found);
        }
    }
    std::uint64_t sent = 0;
    std::uint64_t taken = 0;
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        const ShardCounters& counted = trio.node(number).shard().counters();
        sent += counted.forwards_sent;
        taken += counted.forwards_taken;
        CHECK(counted.forwards_failed == 0);
    }
    CHECK(sent == taken);
    CHECK(sent > 3 * 8);
}

TEST_CASE("a write with the redirect flag is not passed on: the leader is named") {
    Started s;
    api::AppendCall append;
    append.key = s.trio.node(2).key(name);
    append.content_type = "text/plain";
    append.has_content_type = true;
    append.body = s.trio.node(2).keep_bytes("x");
    const api::CallId call = s.trio.node(2).call(append, true);
    const auto refused = s.trio.wait<api::Refused>(2, call);
    CHECK(refused.why == api::Refusal::not_leader);
    CHECK(refused.numbers[0] == 1);
    CHECK(s.content(3).empty());
}

TEST_CASE("a doubled frame does nothing twice") {
    Started s;
    s.trio.way(2, 1).doubled = true;
    s.trio.way(1, 2).doubled = true;
    std::string all;
    for (std::uint64_t i = 0; i < 20; ++i) {
        const std::string body = numbered("append ", i) + "\n";
        all += body;
        CHECK(s.trio.wait<api::AppendReply>(2, s.trio.node(2).append(name, body)).tail ==
              all.size());
    }
    CHECK(s.content(3) == all);
}

TEST_CASE("a connection that begins anew: the outcome is unknown and nothing is sent again") {
    Started s;
    // The answer is lost.
    s.trio.way(1, 2).held = true;
    api::CallId call = s.trio.node(2).append(name, "once,");
    s.trio.run(base::milliseconds(50));
    CHECK(!s.trio.node(2).answered(call));
    s.trio.reset(1, 2);
    s.trio.way(1, 2).held = false;
    CHECK(s.trio.refusal(2, call) == api::Refusal::outcome_unknown);
    CHECK(s.content(3) == "once,");
    // The call itself is: nobody knows that either.
    s.trio.way(2, 1).held = true;
    call = s.trio.node(2).append(name, "never,");
    s.trio.run(base::milliseconds(50));
    s.trio.reset(1, 2);
    s.trio.way(2, 1).held = false;
    CHECK(s.trio.refusal(2, call) == api::Refusal::outcome_unknown);
    s.trio.run(base::milliseconds(500));
    CHECK(s.content(3) == "once,");
    // And it goes on.
    CHECK(s.trio.wait<api::AppendReply>(2, s.trio.node(2).append(name, "then")).tail == 9);
}

TEST_CASE("an answer that does not come: unknown when the time is over, and dropped later") {
    Started s;
    s.trio.way(2, 1).held = true;
    Node& node = s.trio.node(2);
    // The answer's way stays open, so that the leader seems well.
    const api::CallId call = node.append(name, "late");
    s.trio.run(base::milliseconds(limits::forward_timeout_ms - 200));
    CHECK(!node.answered(call));
    s.trio.run(base::milliseconds(500));
    CHECK(s.trio.refusal(2, call) == api::Refusal::outcome_unknown);
    s.trio.way(2, 1).held = false;
    s.trio.run(base::milliseconds(1000));
    CHECK(!node.answered(call));
    CHECK(node.shard().counters().forwards_failed == 1);
}

TEST_CASE("the leader is silent: unknown as soon as there is another one") {
    Started s;
    s.trio.isolate(1, true);
    const api::CallId call = s.trio.node(2).append(name, "perhaps");
    s.trio.run(base::milliseconds(100));
    const std::size_t next = s.leader_but(1);
    s.trio.run(base::milliseconds(50));  // node 2 has heard of it
    REQUIRE(s.trio.node(2).answered(call));
    CHECK(s.trio.refusal(2, call) == api::Refusal::outcome_unknown);
    CHECK(s.trio.wait<api::AppendReply>(next, s.trio.node(next).append(name, "after")).tail == 5);
    s.trio.isolate(1, false);
    s.trio.settle();
    CHECK(s.content(1) == "after");
    CHECK(s.content(2) == "after");
}

TEST_CASE("the leader dies: a client sees one slow append") {
    Started s;
    s.trio.kill(1);
    const api::CallId call = s.trio.node(2).append(name, "after");
    std::int64_t ms = 0;
    for (; !s.trio.node(2).answered(call) && ms < 5000; ++ms) {
        s.trio.step();
    }
    CHECK(s.trio.wait<api::AppendReply>(2, call).tail == 5);
    CHECK(ms < limits::leader_wait_ms);
    CHECK(s.content(3) == "after");
}

TEST_CASE("nobody leads: writes and reads are refused for certain, after a while") {
    Started s;
    s.trio.kill(1);
    s.trio.kill(3);
    Node& node = s.trio.node(2);
    s.trio.run(base::milliseconds(400));
    const api::CallId write = node.append(name, "no");
    const api::CallId read = node.read(name, 0, 100);
    const api::CallId list = node.call(api::ListStreamsCall{"v1", "", "", 10});
    s.trio.run(base::milliseconds(limits::leader_wait_ms - 200));
    CHECK((!node.answered(write) && !node.answered(read) && !node.answered(list)));
    s.trio.run(base::milliseconds(400));
    CHECK(s.trio.refusal(2, write) == api::Refusal::no_leader);
    CHECK(s.trio.refusal(2, read) == api::Refusal::no_leader);
    CHECK(s.trio.refusal(2, list) == api::Refusal::no_leader);
    CHECK(!node.answered(list));  // one answer for all groups
    s.trio.start(1);
    s.trio.start(3);
    s.trio.settle();
    CHECK(s.content(3).empty());
}

TEST_CASE("calls that wait for a leader have bounds: at and one above") {
    Started s;
    s.trio.kill(1);
    s.trio.kill(3);
    Node& node = s.trio.node(2);
    s.trio.run(raft::limits::silence_timeout + base::milliseconds(50));
    for (std::size_t i = 0; i < limits::forwards_waiting_max; ++i) {
        node.append(name, "x");
    }
    const api::CallId above = node.append(name, "x");
    node.turn();
    REQUIRE(node.last_replies().size() == 1);
    CHECK(node.refusal(above) == api::Refusal::overloaded);
    s.trio.run(base::milliseconds(limits::leader_wait_ms + 200));
    // So many bytes, but always one.
    const std::string large(limits::forwards_waiting_bytes_max / 2, 'x');
    node.append(name, large);
    node.turn();
    CHECK(node.last_replies().empty());
    const api::CallId second = node.append(name, large);  // with both heads it is more
    node.turn();
    CHECK(node.refusal(second) == api::Refusal::overloaded);
    s.trio.run(base::milliseconds(limits::leader_wait_ms + 200));
    const std::string huge(limits::forwards_waiting_bytes_max * 2, 'x');
    node.append(name, huge);
    node.turn();
    CHECK(node.last_replies().empty());
    CHECK(node.shard().counters().refused_overloaded == 2);
}

TEST_CASE("calls without an answer have bounds per link: at and one above") {
    Started s;
    s.trio.way(2, 1).held = true;
    Node& node = s.trio.node(2);
    std::vector<api::CallId> calls;
    for (std::size_t i = 0; i < limits::forwards_open_max; ++i) {
        calls.push_back(node.append(name, "x"));
    }
    const api::CallId above = node.append(name, "x");
    node.turn();
    REQUIRE(node.last_replies().size() == 1);
    CHECK(node.refusal(above) == api::Refusal::overloaded);
    s.trio.way(2, 1).held = false;
    for (const api::CallId call : calls) {
        s.trio.wait<api::AppendReply>(2, call);
    }
    // Bytes.
    s.trio.way(2, 1).held = true;
    const std::string half(limits::forwards_open_bytes_max / 2, 'x');
    node.append(name, half);
    node.turn();
    const api::CallId second = node.append(name, half);
    node.turn();
    CHECK(node.refusal(second) == api::Refusal::overloaded);
    CHECK(node.shard().counters().refused_overloaded == 2);
}

TEST_CASE("a leader that cannot commit tells its clients after the deadline, not before") {
    Started s;
    s.trio.isolate(1, true);
    const api::CallId call = s.trio.node(1).append(name, "alone");
    s.trio.run(base::milliseconds(limits::write_deadline_ms - 300));
    CHECK(!s.trio.node(1).answered(call));
    s.trio.run(base::milliseconds(1500));
    CHECK(s.trio.refusal(1, call) == api::Refusal::outcome_unknown);
    // Its entry gives way to another leader's.
    const std::size_t next = s.leader_but(1);
    s.trio.wait<api::AppendReply>(next, s.trio.node(next).append(name, "others"));
    s.trio.isolate(1, false);
    s.trio.settle();
    CHECK(s.content(1) == "others");
}

TEST_CASE("a new life of the node that asked is not given the old one's answer") {
    Started s;
    // Node 1 cannot commit: its followers' acknowledgements wait.
    s.trio.way(3, 1).held = true;
    s.trio.node(2).append(name, "old,");
    s.trio.run_until([&] { return s.trio.node(1).shard().counters().forwards_taken == 1; });
    s.trio.way(2, 1).held = true;
    s.trio.run(base::milliseconds(20));
    s.trio.kill(2);
    s.trio.start(2);
    // The first call of the new life has the number of the old one's first, and leaves with the
    // acknowledgement that commits that one.
    const api::CallId call = s.trio.node(2).append(name, "new!");
    s.trio.way(2, 1).held = false;
    s.trio.run(base::milliseconds(100));
    s.trio.way(3, 1).held = false;
    CHECK(s.trio.wait<api::AppendReply>(2, call).tail == 8);
    CHECK(s.content(3) == "old,new!");
}

TEST_CASE(
    "while leaders change, calls of one node take effect in their order, or not, never twice") {
    Started s;
    std::vector<api::CallId> calls;
    std::vector<std::string> bodies;
    for (int round = 0; round < 6; ++round) {
        const std::size_t leads = s.trio.leader(s.group);
        s.trio.isolate(leads == 0 ? 1 : leads, true);
        for (int ms = 0; ms < 900; ++ms) {
            if (ms == 600) {
                s.trio.isolate(leads == 0 ? 1 : leads, false);
            }
            if (ms % 5 == 0) {
                bodies.push_back(numbered("<", calls.size()) + ">");
                calls.push_back(s.trio.node(2).append(name, bodies.back()));
            }
            s.trio.step();
        }
    }
    s.trio.settle();
    s.trio.run(base::milliseconds(limits::write_deadline_ms + 500));
    const std::string all = s.content(3);
    std::size_t at = 0;
    std::size_t done = 0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        CAPTURE(i);
        REQUIRE(s.trio.node(2).answer_count(calls[i]) == 1);
        const api::Answer answer = s.trio.node(2).take(calls[i]);
        const auto* refused = std::get_if<api::Refused>(&answer);
        const std::size_t found = all.find(bodies[i]);
        if (found != std::string::npos) {
            CHECK(found == at);  // in order, nothing between, and so nothing twice
            at += bodies[i].size();
        }
        if (refused == nullptr) {
            CHECK(found != std::string::npos);
            ++done;
        } else if (refused->why != api::Refusal::outcome_unknown) {
            CHECK(found == std::string::npos);
        }
    }
    CHECK(at == all.size());
    CHECK(done * 3 > calls.size());
}

TEST_CASE("a listing shows what was acknowledged anywhere before it was asked for") {
    Trio trio;
    for (std::uint32_t group = 0; group < 4; ++group) {
        trio.make_leader(base::GroupId(group), 1);
    }
    for (std::uint64_t i = 0; i < 40; ++i) {
        const std::string stream = numbered("v1/list-", i);
        trio.wait<api::CreateReply>(1, trio.node(1).create(stream));
        const api::CallId list =
            trio.node(2).call(api::ListStreamsCall{"v1", trio.node(2).keep("list-"), "", 100});
        const auto listed = trio.wait<api::ListReply>(2, list);
        CHECK(std::count(listed.names.begin(), listed.names.end(), '\n') ==
              static_cast<std::ptrdiff_t>(i));
        CHECK(listed.names.find(stream.substr(3)) != std::string::npos);
    }
}

TEST_CASE("watches end where no leader is heard for too long, and at no mere change") {
    Started s;
    std::vector<api::CallId> watches(Trio::size + 1);
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        watches[number] = s.trio.node(number).watch(name);
        s.trio.wait<api::WatchReply>(number, watches[number]);
    }
    // Another leader: those who follow it go on.
    s.trio.isolate(1, true);
    const std::size_t next = s.leader_but(1);
    s.trio.wait<api::AppendReply>(next, s.trio.node(next).append(name, "news"));
    s.trio.run(base::milliseconds(limits::leader_wait_ms + 1000));
    for (const std::size_t number : {std::size_t{2}, std::size_t{3}}) {
        const auto post = s.trio.wait<api::Post>(number, watches[number]);
        CHECK((!post.lost && !post.removed && post.to == 4));
        CHECK(!s.trio.node(number).answered(watches[number]));
    }
    // The one that is cut off tells its reader.
    const auto lost = s.trio.wait<api::Post>(1, watches[1]);
    CHECK(lost.lost);
    s.trio.isolate(1, false);
    s.trio.settle();
    // The watch is over: nothing more comes, and a new one is as any.
    const api::CallId again = s.trio.node(1).watch(name);
    CHECK(s.trio.wait<api::WatchReply>(1, again).tail == 4);
    s.trio.wait<api::AppendReply>(1, s.trio.node(1).append(name, "more"));
    CHECK(s.trio.wait<api::Post>(1, again).to == 8);
    CHECK(!s.trio.node(1).answered(watches[1]));
}

// --- buckets: commands of group 0, seals of every group ---

namespace {

// A stream of the bucket in each group's hands would do: one per name until all groups have one.
std::vector<std::string> one_stream_per_group(const std::string& bucket) {
    std::vector<std::string> streams(small_options().groups);
    for (int i = 0; std::any_of(streams.begin(), streams.end(),
                                [](const std::string& stream) { return stream.empty(); });
         ++i) {
        const std::string stream = numbered(bucket + "/", static_cast<std::uint64_t>(i));
        streams[group_of(stream).value] = stream;
    }
    return streams;
}

}  // namespace

TEST_CASE("a bucket is made, filled and removed through any node") {
    Trio trio;
    trio.make_leader(base::GroupId(0), 1);
    trio.make_leader(base::GroupId(1), 2);
    for (std::size_t number = 1; number <= Trio::size; ++number) {
        Node& node = trio.node(number);
        const std::string bucket = numbered("b", number);
        CHECK(trio.wait<api::BucketReply>(number, node.create_bucket(bucket)).created);
        const auto found = trio.wait<api::BucketReply>(number, node.resolve_bucket(bucket));
        const std::vector<std::string> streams = one_stream_per_group(bucket);
        for (const std::string& stream : streams) {
            CHECK(trio.wait<api::CreateReply>(
                          number, node.create(stream, "text/plain", {}, false, found.bucket_id))
                      .created);
        }
        for (std::size_t left = streams.size(); left > 0; --left) {
            CHECK(trio.refusal(number, node.remove_bucket(bucket)) ==
                  api::Refusal::bucket_not_empty);
            trio.wait<api::RemoveReply>(number, node.remove(streams[left - 1]));
        }
        trio.wait<api::BucketReply>(number, node.remove_bucket(bucket));
        for (std::size_t reader = 1; reader <= Trio::size; ++reader) {
            CHECK(trio.refusal(reader, trio.node(reader).resolve_bucket(bucket)) ==
                  api::Refusal::bucket_not_found);
        }
        // Who resolved it before comes too late.
        CHECK(trio.refusal(number,
                           node.create(streams[0], "text/plain", {}, false, found.bucket_id)) ==
              api::Refusal::bucket_being_removed);
    }
}

TEST_CASE("group 0 gets another leader in the middle of a bucket's removal") {
    for (const bool dies : {false, true}) {
        CAPTURE(dies);
        Trio trio;
        for (int tries = 0;
             trio.leader(base::GroupId(0)) != 1 || trio.leader(base::GroupId(1)) == 1; ++tries) {
            REQUIRE(tries < 40);
            trio.make_leader(base::GroupId(1), 2);
            trio.make_leader(base::GroupId(0), 1);
        }
        trio.wait<api::BucketReply>(1, trio.node(1).create_bucket("bucket"));
        trio.settle();
        // It is closing everywhere, but group 1 does not hear of its seal.
        const std::size_t other = trio.leader(base::GroupId(1));
        trio.way(1, other).held = true;
        const std::size_t third = other == 2 ? 3 : 2;
        const api::CallId removal = trio.node(1).remove_bucket("bucket");
        trio.run_until([&] {
            const auto& buckets = trio.node(third).shard().machine(base::GroupId(0)).buckets();
            const auto found = buckets.find("bucket");
            return found != buckets.end() && found->second.closing;
        });
        if (dies) {
            trio.kill(1);
        } else {
            trio.isolate(1, true);
        }
        trio.run_until([&] {
            const raft::Group& group = trio.node(third).shard().group(base::GroupId(0));
            return group.leader() != base::NodeId{} && group.leader() != base::NodeId(1);
        });
        trio.run(base::milliseconds(2000));
        const std::size_t asked = third;
        CHECK(trio.refusal(asked, trio.node(asked).resolve_bucket("bucket")) ==
              api::Refusal::bucket_not_found);
        if (dies) {
            trio.start(1);
        } else {
            // The old one drives no more, and does not know what became of it.
            CHECK(trio.refusal(1, removal) == api::Refusal::outcome_unknown);
            trio.isolate(1, false);
        }
        trio.way(1, other).held = false;
        trio.settle();
        CHECK(trio.refusal(1, trio.node(1).resolve_bucket("bucket")) ==
              api::Refusal::bucket_not_found);
        CHECK(trio.wait<api::BucketReply>(1, trio.node(1).create_bucket("bucket")).created);
    }
}

// The net may hold back for long what a leader of group 0 said before it was deposed.
TEST_CASE("a late unseal of a deposed leader opens nothing, a late seal closes nothing") {
    for (const bool late_seal : {false, true}) {
        CAPTURE(late_seal);
        Trio trio;
        const base::GroupId group(1);
        for (int tries = 0; trio.leader(base::GroupId(0)) != 1 || trio.leader(group) != 2;
             ++tries) {
            REQUIRE(tries < 40);
            trio.make_leader(group, 2);
            trio.make_leader(base::GroupId(0), 1);
        }
        const auto made = trio.wait<api::BucketReply>(1, trio.node(1).create_bucket("bucket"));
        const std::string stream = one_stream_per_group("bucket")[group.value];
        const auto create = [&](std::size_t number, std::uint64_t bucket_id) {
            return trio.node(number).create(stream, "text/plain", {}, false, bucket_id);
        };
        trio.wait<api::CreateReply>(1, create(1, made.bucket_id));
        trio.settle();
        const auto sealed = [&] {
            return trio.node(2).shard().machine(group).is_sealed(made.bucket_id);
        };
        trio.way(1, 2).held = late_seal;
        const api::CallId removal = trio.node(1).remove_bucket("bucket");
        if (!late_seal) {
            trio.run_until(sealed);
            trio.way(1, 2).held = true;
        }
        // Closing is what the third node knows; so it leads next and goes on.
        trio.run_until([&] {
            const auto& buckets = trio.node(3).shard().machine(base::GroupId(0)).buckets();
            const auto found = buckets.find("bucket");
            return found != buckets.end() && found->second.closing;
        });
        trio.run(base::milliseconds(20));
        trio.way(1, 3).cut = true;
        trio.run_until([&] {
            const raft::Group& one = trio.node(3).shard().group(base::GroupId(0));
            return one.leader() == base::NodeId(2) || one.leader() == base::NodeId(3);
        });
        // Not empty: it is open again, everywhere.
        trio.run_until([&] {
            const auto& buckets = trio.node(3).shard().machine(base::GroupId(0)).buckets();
            return !buckets.find("bucket")->second.closing && !sealed();
        });
        trio.refusal(1, removal);
        if (!late_seal) {
            trio.wait<api::RemoveReply>(3, trio.node(3).remove(stream));
            trio.wait<api::BucketReply>(3, trio.node(3).remove_bucket("bucket"));
            CHECK(sealed());
        }
        trio.way(1, 2).held = false;
        trio.way(1, 3).cut = false;
        trio.run(base::milliseconds(1000));
        CHECK(sealed() != late_seal);
        if (late_seal) {
            CHECK(!trio.wait<api::CreateReply>(3, create(3, made.bucket_id)).created);
        } else {
            CHECK(trio.refusal(3, create(3, made.bucket_id)) == api::Refusal::bucket_being_removed);
        }
    }
}

}  // namespace ursula::shard::test
