// Three nodes of one shard each: a follower whose log is forgotten by the others fetches a
// snapshot, and of its bytes only what it lacks.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "shard/shard.h"
#include "sim/sim_disk.h"
#include "sim/sim_net.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard {

namespace {

constexpr base::HashKey table_key{1, 2};
constexpr std::size_t nodes = 3;

struct Member {
    sim::Image image;
    std::unique_ptr<sim::SimNet::Port> port;
    std::unique_ptr<sim::SimDisk> disk;
    std::unique_ptr<test::GateDisk> gate;
    std::unique_ptr<Shard> shard;
    std::vector<api::Call> calls;
    std::vector<api::Post> posts;
};

struct NoWitness final : sim::FrameWitness {
    void on_frame(std::size_t /*from*/, base::Bytes /*frame*/) override {}
};

class Trio {
  public:
    explicit Trio(bool spread = false) : random_(7), net_({1, 1, 1}, now_, random_, witness_) {
        options_.spread_leaders = spread;
        options_.groups = 1;
        options_.table_key = table_key;
        options_.hot_bytes = 16 << 10;
        options_.segment_bytes = 64 << 10;
        options_.wal_batch_bytes_max = 16 << 10;
        options_.wal_piece_bytes_max = 4 << 10;
        options_.snapshot_log_bytes = 64 << 10;
        options_.log_kept_bytes = 1;
        options_.cluster = 5;
        for (std::uint32_t node = 1; node <= nodes; ++node) {
            options_.founders.push_back({base::NodeId(node), 1, 0, {}, {}});
        }
        for (std::size_t node = 1; node <= nodes; ++node) {
            start(node);
        }
        run_until([this] { return leader() != 0 && shard(leader()).ready(); });
    }
    ~Trio() {
        for (Member& member : members_) {
            member.shard.reset();
        }
    }

    ShardOptions& options() { return options_; }
    Shard& shard(std::size_t node) { return *members_[node].shard; }
    const stream::Machine& machine(std::size_t node) {
        return shard(node).machine(base::GroupId(0));
    }
    std::vector<api::Post>& posts(std::size_t node) { return members_[node].posts; }

    void start(std::size_t node) {
        Member& member = members_[node];
        ShardOptions options = options_;
        options.node = base::NodeId(static_cast<std::uint32_t>(node));
        options.salt = node;
        options.boot = ++boots_;
        member.port = std::make_unique<sim::SimNet::Port>(net_, node, 0);
        net_.attach(node, 0, member.port.get());
        options.peer_net = member.port.get();
        member.disk = std::make_unique<sim::SimDisk>(member.image);
        member.gate = std::make_unique<test::GateDisk>(*member.disk);
        member.shard = std::make_unique<Shard>(options, *member.gate);
        const base::Result<BootReport> started = member.shard->start(now());
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : started.error().message));
    }
    void stop(std::size_t node) {
        Member& member = members_[node];
        net_.detach(node);
        member.shard.reset();
        member.image = member.disk->everything();
        member.gate.reset();
        member.disk.reset();
    }
    void wipe(std::size_t node) { members_[node].image = {}; }
    void hold_disk(std::size_t node, bool held) { members_[node].gate->held = held; }
    void fail_reads(std::size_t node, std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            members_[node].disk->fail(storage::DiskOp::Kind::read, 0, EIO);
        }
    }
    // Bits flip in every sector of its log, but for the segment that is being written.
    void rot(std::size_t node) {
        sim::SimDisk& disk = *members_[node].disk;
        const sim::Image settled = disk.settled();
        std::vector<std::string> segments;
        for (const auto& file : settled.files) {
            const bool used = file.second.size() > 4096 && file.second[4096] != std::byte{};
            if (file.first.rfind("wal-", 0) == 0 && used) {
                segments.push_back(file.first);
            }
        }
        REQUIRE(segments.size() >= 2);
        segments.pop_back();
        for (const std::string& name : segments) {
            const std::vector<std::byte>& bytes = settled.files.at(name);
            for (std::size_t at = 4196; at < bytes.size(); at += 512) {
                if (bytes[at] != std::byte{}) {
                    disk.flip(name, at, std::byte{4});
                }
            }
        }
    }
    std::vector<std::string> damage_told(std::size_t node) {
        std::vector<ShardEvent> events;
        shard(node).take_events(events);
        std::vector<std::string> told;
        for (ShardEvent& event : events) {
            if (event.kind == ShardEvent::Kind::data_damaged) {
                told.push_back(std::move(event.text));
            }
        }
        return told;
    }
    // Its links are cut; it runs on alone.
    void cut(std::size_t node, bool is_cut) {
        for (std::size_t other = 1; other <= nodes; ++other) {
            net_.cut(node, other) = is_cut && other != node;
            net_.cut(other, node) = is_cut && other != node;
        }
    }

    // Of the newest term: one that is cut off may not know yet that it is deposed.
    std::size_t leader() {
        std::size_t found = 0;
        for (std::size_t node = 1; node <= nodes; ++node) {
            if (members_[node].shard != nullptr && group(node).is_leader() &&
                (found == 0 || group(node).term() > group(found).term())) {
                found = node;
            }
        }
        return found;
    }
    const raft::Group& group(std::size_t node) { return shard(node).group(base::GroupId(0)); }
    std::size_t follower() { return leader() % nodes + 1; }

    void turn() {
        now_ = now_ + base::microseconds(200);
        net_.deliver();
        for (std::size_t node = 1; node <= nodes; ++node) {
            Member& member = members_[node];
            if (member.shard == nullptr) {
                continue;
            }
            std::vector<api::Reply> replies;
            std::vector<api::Call> internal;
            const std::vector<api::Call> calls = std::move(member.calls);
            member.calls.clear();
            member.shard->advance(calls, now(), replies, internal);
            for (api::Reply& reply : replies) {
                if (auto* post = std::get_if<api::Post>(&reply.answer)) {
                    member.posts.push_back(std::move(*post));
                } else if (reply.id == waiting_) {
                    answer_ = std::move(reply.answer);
                    waiting_ = api::CallId{};
                }
            }
        }
    }
    void run_until(const std::function<bool()>& done) {
        for (int turns = 0; !done(); ++turns) {
            REQUIRE(turns < 100'000);
            turn();
        }
    }
    void run(base::Duration time) {
        const base::Instant end = now_ + time;
        while (now_ < end) {
            turn();
        }
    }

    api::StreamKey key(const std::string& name) {
        names_.push_back(name);
        return {names_.back(), base::siphash(table_key, base::as_bytes(name)), base::GroupId(0)};
    }
    api::Answer ask(std::size_t node, const api::Verb& verb) {
        REQUIRE(node != 0);
        waiting_ = api::CallId(++calls_);
        members_[node].calls.push_back({waiting_, base::ShardId(0), verb});
        run_until([this] { return waiting_ == api::CallId{}; });
        return std::move(answer_);
    }
    void create(const std::string& name) {
        api::CreateCall create;
        create.key = key(name);
        create.content_type = "text/plain";
        REQUIRE(std::holds_alternative<api::CreateReply>(ask(leader(), create)));
    }
    void remove(const std::string& name) {
        REQUIRE(
            std::holds_alternative<api::RemoveReply>(ask(leader(), api::RemoveCall{key(name)})));
    }
    void append(const std::string& name, const std::string& body) {
        names_.push_back(body);
        api::AppendCall append;
        append.key = key(name);
        append.content_type = "text/plain";
        append.has_content_type = true;
        append.body = base::as_bytes(*std::prev(names_.end(), 2));
        REQUIRE(std::holds_alternative<api::AppendReply>(ask(leader(), append)));
    }
    // Nobody hears the answer.
    void append_unheard(std::size_t node, const std::string& name, const std::string& body) {
        names_.push_back(body);
        api::AppendCall append;
        append.key = key(name);
        append.content_type = "text/plain";
        append.has_content_type = true;
        append.body = base::as_bytes(*std::prev(names_.end(), 2));
        members_[node].calls.push_back({api::CallId(++calls_), base::ShardId(0), append});
    }
    // A stream that is empty when that follower goes away; what it fetches later comes in many
    // pieces.
    std::size_t leave_behind(const std::string& name) {
        options_.fetch_piece_bytes = 4000;
        options_.fetch_window_bytes = 8000;
        create(name);
        const std::size_t away = follower();
        stop(away);
        return away;
    }
    // As an operator wants it.
    void transfer(std::size_t from, std::uint32_t to) {
        members_[from].calls.push_back({api::CallId(++calls_), base::ShardId(0),
                                        api::TransferCall{base::GroupId(0), base::NodeId(to)}});
    }
    // "?" when there is no such stream.
    std::string read(std::size_t node, const std::string& name) {
        std::string content;
        for (;;) {
            api::ReadCall read;
            read.key = key(name);
            read.offset = content.size();
            read.bytes_max = 1 << 20;
            const api::Answer answer = ask(node, read);
            const auto* reply = std::get_if<api::ReadReply>(&answer);
            if (reply == nullptr) {
                const api::Refusal why = std::get<api::Refused>(answer).why;
                if (why == api::Refusal::overloaded) {
                    run(base::milliseconds(50));
                    continue;
                }
                CHECK(why == api::Refusal::stream_not_found);
                return "?";
            }
            for (const base::Slice& piece : reply->pieces) {
                content += base::as_text(piece.bytes());
            }
            if (reply->up_to_date) {
                return content;
            }
        }
    }
    // Enough for the others to forget what `node` lacks.
    std::string write_much(const std::string& name) {
        std::string all;
        for (int i = 0; i < 120; ++i) {
            const std::string body =
                std::to_string(i) + std::string(2000, static_cast<char>('a' + i % 26));
            append(name, body);
            all += body;
        }
        run(base::milliseconds(300));
        return all;
    }
    bool same_state(std::size_t node) {
        return machine(node).applied() == machine(leader()).applied() &&
               shard(node).state_hash() == shard(leader()).state_hash();
    }

  private:
    base::Now now() const { return {now_, {now_.ns / 1'000'000}}; }

    base::Instant now_{1'000'000'000};
    base::Random random_;
    NoWitness witness_;
    sim::SimNet net_;
    ShardOptions options_;
    Member members_[nodes + 1];
    std::uint64_t boots_ = 0;
    std::uint64_t calls_ = 0;
    api::CallId waiting_;
    api::Answer answer_;
    std::deque<std::string> names_;
};

}  // namespace

TEST_CASE("the log is forgotten once all that live have it, and only its newest part is kept") {
    Trio trio;
    trio.create("v1/a");
    for (int round = 0; round < 4; ++round) {
        trio.write_much("v1/a");
    }
    for (std::size_t node = 1; node <= nodes; ++node) {
        const raft::IdLog& log = trio.group(node).log();
        CHECK(trio.shard(node).counters().snapshots >= 3);
        CHECK(log.snapshot().index.value > 300);
        CHECK(trio.shard(node).counters().fetches_begun == 0);
    }
}

TEST_CASE("a follower that was away fetches a snapshot and only the bytes it lacks") {
    Trio trio;
    trio.create("v1/a");
    trio.create("v1/b");
    std::string a = trio.write_much("v1/a");
    const std::size_t away = trio.follower();
    trio.stop(away);
    a += trio.write_much("v1/a");
    trio.append("v1/b", "new");
    trio.start(away);
    trio.run_until([&] { return trio.same_state(away); });
    const ShardCounters& counters = trio.shard(away).counters();
    CHECK(counters.snapshots_installed == 1);
    CHECK(counters.fetch_bytes_kept + counters.fetched_bytes >= a.size());
    CHECK(counters.fetch_bytes_kept > a.size() / 3);
    CHECK(counters.fetched_bytes < a.size() * 2 / 3);
    CHECK(trio.read(away, "v1/a") == a);
    CHECK(trio.read(away, "v1/b") == "new");
    // What was installed survives a restart, and its bytes later snapshots.
    trio.stop(away);
    trio.start(away);
    trio.run_until([&] { return trio.same_state(away); });
    CHECK(trio.read(away, "v1/a") == a);
    a += trio.write_much("v1/a");
    trio.run_until([&] { return trio.same_state(away); });
    CHECK(trio.read(away, "v1/a") == a);
}

TEST_CASE("a node that has nothing gets everything") {
    Trio trio;
    const std::size_t empty = trio.follower();
    trio.stop(empty);
    trio.create("v1/a");
    const std::string a = trio.write_much("v1/a") + trio.write_much("v1/a");
    trio.start(empty);
    trio.run_until([&] { return trio.same_state(empty); });
    CHECK(trio.shard(empty).counters().fetch_bytes_kept == 0);
    CHECK(trio.read(empty, "v1/a") == a);
}

TEST_CASE("watchers on the follower hear what came with the snapshot, and what is gone") {
    Trio trio;
    trio.create("v1/a");
    trio.create("v1/b");
    trio.create("v1/c");
    trio.append("v1/a", "first");
    const std::size_t away = trio.follower();
    trio.run_until([&] { return trio.same_state(away); });
    for (const char* name : {"v1/a", "v1/b", "v1/c"}) {
        const api::Answer answer = trio.ask(away, api::WatchCall{trio.key(name)});
        REQUIRE(std::holds_alternative<api::WatchReply>(answer));
    }
    trio.posts(away).clear();
    trio.cut(away, true);
    trio.run_until([&] { return trio.leader() != 0 && trio.leader() != away; });
    const std::string more = trio.write_much("v1/a");
    trio.remove("v1/b");
    // Another stream of the same name.
    trio.remove("v1/c");
    trio.create("v1/c");
    trio.write_much("v1/a");
    trio.cut(away, false);
    trio.run_until([&] { return trio.same_state(away); });
    trio.turn();
    REQUIRE(trio.shard(away).counters().snapshots_installed == 1);
    std::size_t removed = 0;
    std::uint64_t tail = 5;
    for (const api::Post& post : trio.posts(away)) {
        removed += post.removed ? 1 : 0;
        if (!post.removed) {
            CHECK(post.from == tail);
            tail = post.to;
        }
    }
    CHECK(removed == 2);
    CHECK(tail > more.size());
    CHECK(trio.read(away, "v1/b") == "?");
    CHECK(trio.read(away, "v1/c").empty());
}

TEST_CASE("what a fetch brought before it broke off is not fetched again") {
    Trio trio;
    const std::size_t away = trio.leave_behind("v1/a");
    std::string a = trio.write_much("v1/a") + trio.write_much("v1/a");
    trio.start(away);
    trio.run_until([&] { return trio.shard(away).counters().fetched_bytes > a.size() / 2; });
    trio.cut(away, true);
    a += trio.write_much("v1/a");
    trio.run_until([&] { return trio.shard(away).counters().fetches_given_up == 1; });
    CHECK(trio.shard(away).counters().snapshots_installed == 0);
    trio.cut(away, false);
    trio.run_until([&] { return trio.same_state(away); });
    const ShardCounters& counters = trio.shard(away).counters();
    CHECK(counters.snapshots_installed == 1);
    CHECK(counters.fetched_bytes < a.size() * 11 / 10);
    CHECK(counters.fetch_bytes_kept > a.size() / 4);
    CHECK(trio.read(away, "v1/a") == a);
}

TEST_CASE("a fetch whose offering node goes away gets the rest from another one") {
    Trio trio;
    const std::size_t away = trio.leave_behind("v1/a");
    const std::string a = trio.write_much("v1/a") + trio.write_much("v1/a");
    trio.start(away);
    trio.run_until([&] { return trio.shard(away).counters().fetched_bytes > a.size() / 3; });
    REQUIRE(trio.shard(away).counters().fetched_bytes < a.size());
    const std::size_t offered = trio.leader();
    trio.stop(offered);
    trio.run_until([&] { return trio.shard(away).counters().snapshots_installed == 1; });
    const ShardCounters& counters = trio.shard(away).counters();
    CHECK(counters.fetches_begun == 1);
    CHECK(counters.fetches_given_up == 0);
    CHECK(counters.fetch_sources_changed > 0);
    CHECK(counters.fetched_bytes == a.size());
    trio.run_until([&] { return trio.leader() != 0 && trio.same_state(away); });
    CHECK(trio.read(away, "v1/a") == a);
    trio.start(offered);
    trio.run_until([&] { return trio.same_state(offered); });
}

TEST_CASE("a node that cannot read the bytes says so, and another one is asked") {
    Trio trio;
    const std::size_t away = trio.leave_behind("v1/a");
    const std::string a = trio.write_much("v1/a");
    const std::size_t offers = trio.leader();
    trio.fail_reads(offers, 3);
    trio.start(away);
    trio.run_until([&] { return trio.same_state(away); });
    const ShardCounters& counters = trio.shard(away).counters();
    CHECK(counters.fetches_given_up == 0);
    CHECK(counters.fetch_sources_changed > 0);
    CHECK(trio.shard(offers).counters().damaged_reads == 1);  // it is not asked again
    CHECK(trio.damage_told(offers).size() == 1);
    CHECK(trio.read(away, "v1/a") == a);
}

TEST_CASE("a node that does not answer is not waited for when another one can") {
    Trio trio;
    const std::size_t away = trio.leave_behind("v1/a");
    const std::string a = trio.write_much("v1/a");
    trio.start(away);
    trio.run_until([&] { return trio.shard(away).counters().fetched_bytes > 0; });
    const std::size_t offers = trio.leader();
    trio.hold_disk(offers, true);
    trio.run_until([&] { return trio.shard(away).counters().snapshots_installed == 1; });
    CHECK(trio.shard(away).counters().fetch_sources_changed > 0);
    CHECK(trio.shard(away).counters().fetches_given_up == 0);
    trio.hold_disk(offers, false);
    trio.run_until([&] { return trio.leader() != 0 && trio.same_state(away); });
    CHECK(trio.read(away, "v1/a") == a);
}

TEST_CASE("a follower gets a snapshot for entries that rotted on the leader's disk") {
    Trio trio;
    // By itself no log is forgotten.
    trio.options().snapshot_log_bytes = 16 << 20;
    trio.options().log_kept_bytes = 16 << 20;
    for (std::size_t node = 1; node <= nodes; ++node) {
        trio.stop(node);
        trio.start(node);
        trio.run_until([&] { return trio.leader() != 0 && trio.same_state(node); });
    }
    trio.create("v1/a");
    const std::size_t away = trio.follower();
    trio.run_until([&] { return trio.same_state(away); });
    trio.stop(away);
    std::string a = trio.write_much("v1/a");
    const std::size_t leader = trio.leader();
    trio.damage_told(leader);
    trio.rot(leader);
    trio.start(away);
    trio.run_until([&] { return trio.same_state(away); });
    CHECK(trio.leader() == leader);
    CHECK(trio.shard(leader).counters().snapshots == 1);
    CHECK(trio.shard(leader).counters().entries_lost == 1);
    CHECK(trio.shard(away).counters().snapshots_installed == 1);
    CHECK(trio.shard(away).counters().fetch_sources_changed > 0);
    const std::vector<std::string> told = trio.damage_told(leader);
    REQUIRE(!told.empty());
    CHECK(told.front().find("group 0: entries ") == 0);
    CHECK(told.front().find("it gets a snapshot in their place") != std::string::npos);
    CHECK(told.front().find("ursulactl cluster replace " + std::to_string(leader)) !=
          std::string::npos);
    CHECK(told.size() <= 2);  // the other one is of its streams' bytes
    CHECK(trio.read(away, "v1/a") == a);
    a += trio.write_much("v1/a");
    trio.run_until([&] { return trio.same_state(away); });
    CHECK(trio.read(away, "v1/a") == a);
    // The snapshot covers what is rotten: it starts again.
    trio.stop(leader);
    trio.start(leader);
    trio.run_until([&] { return trio.leader() != 0 && trio.same_state(leader); });
}

TEST_CASE("bytes that no node has are told, cost little, and end with their stream") {
    Trio trio;
    trio.create("v1/a");
    trio.create("v1/b");
    const std::size_t away = trio.follower();
    trio.stop(away);
    trio.write_much("v1/a");
    trio.append("v1/b", "kept");
    for (std::size_t node = 1; node <= nodes; ++node) {
        if (node != away) {
            trio.rot(node);
        }
    }
    trio.start(away);
    trio.run_until([&] { return trio.shard(away).counters().fetches_given_up == 1; });
    const std::uint64_t before = trio.shard(away).counters().frames_sent;
    trio.run(base::seconds(5));
    CHECK(trio.shard(away).counters().frames_sent - before < 2000);
    CHECK(trio.shard(away).counters().snapshots_installed == 0);
    const std::vector<std::string> told = trio.damage_told(away);
    REQUIRE(told.size() == 1);
    CHECK(told.front().find("group 0: no node that is up gives bytes ") == 0);
    CHECK(told.front().find(" of v1/a: ") != std::string::npos);
    trio.remove("v1/a");
    trio.run_until([&] { return trio.same_state(away); });
    CHECK(trio.read(away, "v1/b") == "kept");
}

TEST_CASE("a stream removed while it is fetched is not there afterwards, and no read fails") {
    Trio trio;
    const std::size_t away = trio.leave_behind("v1/a");
    trio.write_much("v1/a");
    trio.create("v1/b");
    const std::string b = trio.write_much("v1/b");
    trio.start(away);
    trio.run_until([&] { return trio.shard(away).counters().fetched_bytes > 20'000; });
    trio.remove("v1/a");
    CHECK(trio.read(away, "v1/a") == "?");
    CHECK(trio.read(away, "v1/b") == b);
    trio.run_until([&] { return trio.same_state(away); });
    CHECK(trio.shard(away).counters().fetch_streams_gone == 1);
    CHECK(trio.shard(away).counters().snapshots_installed == 1);
}

TEST_CASE("a follower that was away for long catches up under load that does not stop") {
    Trio trio;
    trio.options().log_kept_bytes = 512 << 10;
    trio.create("v1/a");
    const std::size_t away = trio.follower();
    trio.stop(away);
    trio.options().fetch_window_bytes = 16'000;
    trio.options().fetch_piece_bytes = 4'000;
    const std::string body(400, 'x');
    for (int i = 0; i < 10; ++i) {
        trio.write_much("v1/a");
    }
    trio.start(away);
    const auto lag = [&] {
        return trio.machine(trio.leader()).applied().index.value -
               trio.machine(away).applied().index.value;
    };
    const std::uint64_t before = lag();
    for (int turns = 0; lag() > 20; ++turns) {
        REQUIRE(turns < 10'000);
        trio.append_unheard(trio.leader(), "v1/a", body);
        trio.turn();
        REQUIRE(trio.leader() != 0);
    }
    CHECK(before > 1000);
    CHECK(trio.shard(away).counters().snapshots_installed > 0);
    trio.run_until([&] { return trio.same_state(away); });
}

// A deposed leader with a long tail that nobody else has, further than the snapshot it gets: a
// start after a crash at any moment must not find the tail behind the snapshot.
TEST_CASE("a crash at any moment of a fetch leaves the old state or the new one") {
    bool installed = false;
    for (int turns = 1; !installed; turns += turns < 8 ? 1 : 3) {
        CAPTURE(turns);
        REQUIRE(turns < 2000);
        Trio trio;
        trio.create("v1/a");
        const std::size_t old = trio.leader();
        trio.run_until([&] { return trio.same_state(old % nodes + 1); });
        trio.cut(old, true);
        for (int i = 0; i < 300; ++i) {
            trio.append_unheard(old, "v1/a", "lost");
            trio.turn();
        }
        trio.run_until([&] { return trio.leader() != 0 && trio.leader() != old; });
        std::string a;
        for (int i = 0; i < 50; ++i) {
            a += std::string(2500, static_cast<char>('a' + i % 26));
            trio.append("v1/a", a.substr(a.size() - 2500));
        }
        trio.run(base::milliseconds(400));
        CHECK(trio.group(trio.leader()).log().last() < trio.group(old).log().last());
        trio.cut(old, false);
        trio.run_until([&] { return trio.shard(old).counters().fetches_begun > 0; });
        for (int i = 0; i < turns; ++i) {
            trio.turn();
        }
        installed = trio.shard(old).counters().snapshots_installed > 0;
        trio.stop(old);
        trio.start(old);
        trio.run_until([&] { return trio.same_state(old); });
        CHECK(trio.read(old, "v1/a") == a);
        a += trio.write_much("v1/a");
        trio.run_until([&] { return trio.same_state(old); });
        CHECK(trio.read(old, "v1/a") == a);
    }
}

TEST_CASE("a leader whose log write does not end hands over, and is well again later") {
    Trio trio;
    trio.create("v1/a");
    const std::size_t old = trio.leader();
    trio.run_until([&] { return trio.same_state(old % nodes + 1); });
    trio.hold_disk(old, true);
    trio.append_unheard(old, "v1/a", "kept or not");
    trio.run_until([&] { return trio.group(old).status().disk_trouble; });
    trio.run_until([&] { return trio.leader() != 0 && trio.leader() != old; });
    trio.append("v1/a", "without it");
    trio.hold_disk(old, false);
    trio.run_until([&] { return trio.same_state(old); });
    trio.run_until([&] { return !trio.group(old).status().disk_trouble; });
}

TEST_CASE("where all disks are slow the leader stays, and appends go on at the disks' pace") {
    // Each write takes `held` of every disk; a turn lets through what is under way.
    for (const base::Duration held : {base::milliseconds(350), base::milliseconds(1900)}) {
        CAPTURE(held.ms());
        Trio trio;
        trio.create("v1/a");
        trio.run_until([&] { return trio.same_state(1) && trio.same_state(2); });
        const auto slow_for = [&](base::Duration time) {
            for (base::Duration passed; passed < time; passed = passed + held) {
                for (std::size_t node = 1; node <= nodes; ++node) {
                    trio.hold_disk(node, true);
                }
                if (trio.leader() != 0) {
                    trio.append_unheard(trio.leader(), "v1/a", "x");
                }
                trio.run(held);
                for (std::size_t node = 1; node <= nodes; ++node) {
                    trio.hold_disk(node, false);
                }
                trio.turn();
            }
        };
        slow_for(base::seconds(20));  // whoever leads when it begins may hand over once
        REQUIRE(trio.leader() != 0);
        const base::Term term = trio.group(trio.leader()).term();
        const auto tail = [&] {
            const std::string name = "v1/a";
            const stream::Machine& machine = trio.machine(trio.leader());
            return machine.find(name, machine.hash_of(name))->tail();
        };
        const std::uint64_t before = tail();
        slow_for(base::seconds(60));
        REQUIRE(trio.leader() != 0);
        CHECK(trio.group(trio.leader()).term() == term);
        CHECK(tail() - before >= static_cast<std::uint64_t>(15'000 / held.ms()));
        trio.run_until([&] { return trio.same_state(1) && trio.same_state(2); });
    }
}

TEST_CASE("votes that take long to become durable elect a leader all the same") {
    Trio trio;
    trio.create("v1/a");
    trio.run_until([&] { return trio.same_state(1) && trio.same_state(2) && trio.same_state(3); });
    const std::size_t gone = trio.leader();
    const std::size_t slow = gone % nodes + 1;
    trio.stop(gone);
    for (int writes = 0; writes < 8 && trio.leader() == 0; ++writes) {
        trio.hold_disk(slow, true);
        trio.run(base::milliseconds(1900));
        trio.hold_disk(slow, false);
        trio.turn();
    }
    CHECK(trio.leader() != 0);
    trio.append("v1/a", "goes on");
    trio.start(gone);
    trio.run_until([&] { return trio.same_state(1) && trio.same_state(2) && trio.same_state(3); });
}

TEST_CASE(
    "a group comes back to a node whose disk was slow, not to one that gave it away for good") {
    constexpr std::size_t preferred = 1;  // as Shard::preferred_leader has it for group 0
    Trio trio(true);
    trio.run_until([&] { return trio.leader() == preferred; });
    trio.create("v1/a");
    trio.hold_disk(preferred, true);
    trio.append_unheard(preferred, "v1/a", "kept or not");
    trio.run_until([&] { return trio.leader() != 0 && trio.leader() != preferred; });
    trio.hold_disk(preferred, false);
    trio.run_until([&] { return trio.leader() == preferred; });

    trio.transfer(preferred, 2);
    trio.run_until([&] { return trio.leader() == 2; });
    trio.run(base::seconds(15));
    CHECK(trio.leader() == 2);
}

TEST_CASE("a follower that lost what it had acknowledged is named, with what to do") {
    Trio trio;
    trio.create("v1/a");
    trio.append("v1/a", "one");
    const std::size_t follower = trio.follower();
    trio.run_until([&] { return trio.same_state(follower); });
    trio.stop(follower);
    trio.wipe(follower);
    trio.start(follower);
    std::vector<ShardEvent> events;
    trio.run_until([&] {
        trio.shard(trio.leader()).take_events(events);
        return std::any_of(events.begin(), events.end(), [](const ShardEvent& event) {
            return event.kind == ShardEvent::Kind::follower_reverted;
        });
    });
    for (const ShardEvent& event : events) {
        if (event.kind == ShardEvent::Kind::follower_reverted) {
            CHECK(event.text.find("node " + std::to_string(follower)) != std::string::npos);
            CHECK(event.text.find("remove it") != std::string::npos);
        }
    }
}

}  // namespace ursula::shard
