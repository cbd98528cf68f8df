#include "member_cluster.h"

#include <algorithm>

#include "api/placement.h"
#include "shard_node.h"

namespace ursula::shard::test {

namespace {
constexpr base::HashKey table_key{3, 4};
constexpr std::uint64_t cluster_id = 0xc1;
}  // namespace

// What is sent arrives with the next step.
class MemberCluster::Port final : public PeerNet {
  public:
    Port(MemberCluster& cluster, std::uint32_t node, std::uint32_t shard)
        : cluster_(cluster), node_(node), shard_(shard) {}
    void know(base::NodeId node, std::span<const MemberInfo> infos) override {
        if (infos.empty()) {
            known_.erase(node.value);
            met_.erase(node.value);
        } else {
            known_.insert(node.value);
        }
    }
    void dismiss(base::NodeId node, std::uint64_t incarnation) override {
        dismissed_.insert({node.value, incarnation});
    }
    void take(std::vector<ReceivedFrame>& frames, std::vector<LinkEvent>& /*events*/) override {
        shown_.swap(inbox_);
        inbox_.clear();
        for (const Mail& mail : shown_) {
            frames.push_back({mail.from, mail.bytes});
        }
    }
    bool takes(PeerShard to) const override {
        return known_.count(to.node.value) != 0 || met_.count(to.node.value) != 0;
    }
    void send(PeerShard to, base::Bytes frame) override {
        const Node& target = cluster_.nodes_[to.node.value - 1];
        if (!target.up || target.cut || cluster_.nodes_[node_ - 1].cut) {
            return;
        }
        Port& port = *target.parts[to.shard.value].port;
        port.met_.insert(node_);
        port.inbox_.push_back(
            {{base::NodeId(node_), base::ShardId(shard_)}, {frame.begin(), frame.end()}});
    }
    const std::set<std::uint32_t>& known() const { return known_; }
    const std::set<std::pair<std::uint32_t, std::uint64_t>>& dismissed() const {
        return dismissed_;
    }

  private:
    struct Mail {
        PeerShard from;
        std::vector<std::byte> bytes;
    };
    MemberCluster& cluster_;
    std::uint32_t node_;
    std::uint32_t shard_;
    std::vector<Mail> inbox_;
    std::vector<Mail> shown_;
    std::set<std::uint32_t> known_;
    std::set<std::pair<std::uint32_t, std::uint64_t>> dismissed_;
    std::set<std::uint32_t> met_;
};

MemberCluster::MemberCluster(std::uint32_t founders, std::uint32_t nodes, std::uint32_t shards,
                             bool forgetful)
    : founders_(founders), shards_(shards), forgetful_(forgetful), nodes_(nodes) {
    for (std::uint32_t i = 0; i < nodes; ++i) {
        nodes_[i].number = i + 1;
        nodes_[i].incarnation = 100 + i;
        nodes_[i].founder = i < founders;
        nodes_[i].parts.resize(shards_);
    }
    for (std::uint32_t i = 1; i <= nodes; ++i) {
        start(i);
    }
}

MemberCluster::~MemberCluster() {
    for (Node& node : nodes_) {
        for (Part& part : node.parts) {
            part.shard.reset();
        }
    }
}

MemberInfo MemberCluster::info(std::uint32_t node) const {
    MemberInfo info;
    info.node = base::NodeId(node);
    info.shards = shards_;
    info.incarnation = nodes_[node - 1].incarnation;
    info.address = numbered("10.0.0.", node) + ":4439";
    info.client = numbered("http://10.0.0.", node) + ":4437";
    return info;
}

void MemberCluster::start(std::uint32_t number) {
    Node& node = nodes_[number - 1];
    node.up = true;
    const std::uint64_t boot = next_boot_++;
    for (std::uint32_t i = 0; i < shards_; ++i) {
        Part& part = node.parts[i];
        part.disk = std::make_unique<sim::SimDisk>(part.image);
        part.port = std::make_unique<Port>(*this, number, i);
        ShardOptions options = small_options();
        options.id = base::ShardId(i);
        options.shards = shards_;
        options.groups = groups;
        options.node = base::NodeId(number);
        options.table_key = table_key;
        options.salt = node.incarnation * 16 + i;
        if (forgetful_) {
            options.snapshot_log_bytes = 64 << 10;
            options.log_kept_bytes = 1;
        }
        options.peer_net = part.port.get();
        options.cluster = cluster_id;
        options.boot = boot;
        options.incarnation = node.incarnation;
        for (std::uint32_t founder = 1; node.founder && founder <= founders_; ++founder) {
            MemberInfo first = info(founder);
            first.incarnation = 99 + founder;  // whatever became of it since
            options.founders.push_back(std::move(first));
        }
        part.shard = std::make_unique<Shard>(options, *part.disk);
        const base::Result<BootReport> started = part.shard->start(now_);
        if (!started) {
            FAIL(started.error().message);
        }
    }
}

void MemberCluster::kill(std::uint32_t number) {
    Node& node = nodes_[number - 1];
    for (Part& part : node.parts) {
        part.shard.reset();
        part.image = part.disk->everything();
        part.disk.reset();
        part.port.reset();
        part.calls.clear();
    }
    node.up = false;
}

void MemberCluster::wipe(std::uint32_t number) {
    if (up(number)) {
        kill(number);
    }
    Node& node = nodes_[number - 1];
    node.incarnation += 1000;
    node.founder = false;
    for (Part& part : node.parts) {
        part.image = {};
    }
    start(number);
}

void MemberCluster::cut(std::uint32_t node, bool off) {
    nodes_[node - 1].cut = off;
}

void MemberCluster::step() {
    now_.mono = now_.mono + base::milliseconds(1);
    now_.wall.ms += 1;
    for (Node& node : nodes_) {
        for (Part& part : node.parts) {
            if (!node.up) {
                continue;
            }
            const std::vector<api::Call> calls = std::move(part.calls);
            part.calls.clear();
            std::vector<api::Reply> replies;
            std::vector<api::Call> internal;
            part.shard->advance(calls, now_, replies, internal);
            REQUIRE(part.shard->failure().empty());
            part.shard->take_events(events);
            for (api::Reply& reply : replies) {
                answers_.insert_or_assign(reply.id.value, std::move(reply.answer));
            }
        }
    }
}

void MemberCluster::run(std::uint32_t ms) {
    for (std::uint32_t i = 0; i < ms; ++i) {
        step();
    }
}

void MemberCluster::run_until(const std::function<bool()>& condition) {
    for (int ms = 0; ms < 20'000 && !condition(); ++ms) {
        step();
    }
    std::string text;
    for (const Node& node : nodes_) {
        for (std::uint32_t group = 0; node.up && group < groups; ++group) {
            text += numbered(" | n", node.number) + numbered(" g", group) + ": " +
                    members(node.number, group) +
                    numbered(" applied ", machine(node.number, group).applied().index.value) +
                    numbered(" term ", replica(node.number, group).term().value) +
                    numbered(" leader ", replica(node.number, group).leader().value);
        }
    }
    INFO(text);
    REQUIRE(condition());
}

const raft::Group& MemberCluster::replica(std::uint32_t node, std::uint32_t group) const {
    return nodes_[node - 1].parts[group % shards_].shard->group(base::GroupId(group));
}

const stream::Machine& MemberCluster::machine(std::uint32_t node, std::uint32_t group) const {
    return nodes_[node - 1].parts[group % shards_].shard->machine(base::GroupId(group));
}

// Of several that think they lead, the one with the highest term does.
std::uint32_t MemberCluster::leader(std::uint32_t group) const {
    std::uint32_t best = 0;
    for (const Node& node : nodes_) {
        if (node.up && replica(node.number, group).is_leader() &&
            (best == 0 || replica(best, group).term() < replica(node.number, group).term())) {
            best = node.number;
        }
    }
    return best;
}

std::uint32_t MemberCluster::wait_for_leader(std::uint32_t group) {
    run_until([&] { return leader(group) != 0; });
    return leader(group);
}

std::string MemberCluster::members(std::uint32_t node, std::uint32_t group) const {
    const raft::Membership& membership = replica(node, group).membership().membership;
    std::string text;
    std::string outgoing;
    for (const raft::Member& member : membership.members()) {
        if (member.voter || member.learner) {
            text += std::string(text.empty() ? "" : " ") + (member.voter ? "" : "+") +
                    std::to_string(member.id.value);
        }
        if (member.outgoing) {
            outgoing += numbered(" ", member.id.value);
        }
    }
    return membership.joint() ? text + " /" + outgoing : text;
}

bool MemberCluster::agreed(const std::vector<std::uint32_t>& nodes, const std::string& text) const {
    for (std::uint32_t group = 0; group < groups; ++group) {
        if (leader(group) == 0) {
            return false;
        }
        for (const std::uint32_t node : nodes) {
            if (!up(node) || members(node, group) != text ||
                machine(node, group).applied() != replica(leader(group), group).log().last_id() ||
                machine(node, group).state_hash() != machine(nodes.front(), group).state_hash()) {
                return false;
            }
        }
    }
    return true;
}

bool MemberCluster::dismisses(std::uint32_t node, std::uint32_t other,
                              std::uint64_t incarnation) const {
    return nodes_[node - 1].parts.front().port->dismissed().count({other, incarnation}) != 0;
}

bool MemberCluster::knows(std::uint32_t node, std::uint32_t other) const {
    return nodes_[node - 1].parts.front().port->known().count(other) != 0;
}

api::ChangeMemberCall MemberCluster::change(std::uint32_t group, Step step,
                                            std::uint32_t node) const {
    api::ChangeMemberCall call;
    call.group = base::GroupId(group);
    call.step = step;
    call.node = base::NodeId(node);
    if (step == Step::add_learner) {
        static std::deque<std::string> kept;
        const MemberInfo its = info(node);
        call.incarnation = its.incarnation;
        call.shards = its.shards;
        kept.push_back(its.address);
        call.address = kept.back();
        kept.push_back(its.client);
        call.client = kept.back();
    }
    return call;
}

std::optional<api::Answer> MemberCluster::ask(std::uint32_t node, std::uint32_t group,
                                              const api::Verb& verb, std::uint32_t ms) {
    const std::uint64_t id = next_call_++;
    nodes_[node - 1].parts[group % shards_].calls.push_back(
        {api::CallId(id), base::ShardId(0), verb});
    for (std::uint32_t i = 0; i < ms; ++i) {
        step();
        if (const auto found = answers_.find(id); found != answers_.end()) {
            return std::move(found->second);
        }
    }
    return {};
}

void MemberCluster::do_change(std::uint32_t group, Step step, std::uint32_t node) {
    for (int tries = 0; tries < 2000; ++tries) {
        const std::optional<api::Answer> answer =
            ask(wait_for_leader(group), group, change(group, step, node));
        if (answer && std::holds_alternative<api::ChangeMemberReply>(*answer)) {
            return;
        }
        if (answer) {
            const api::Refusal why = std::get<api::Refused>(*answer).why;
            INFO("refused: ", static_cast<int>(why));
            REQUIRE((why == api::Refusal::not_leader || why == api::Refusal::outcome_unknown ||
                     why == api::Refusal::member_change_under_way ||
                     why == api::Refusal::member_not_caught_up ||
                     why == api::Refusal::member_quorum));
        }
        run(10);
    }
    FAIL("the members do not change");
}

void MemberCluster::do_change(Step step, std::uint32_t node) {
    for (std::uint32_t group = 0; group < groups; ++group) {
        do_change(group, step, node);
    }
}

api::Refusal MemberCluster::refusal(std::uint32_t group, const api::ChangeMemberCall& call,
                                    std::uint64_t* number) {
    const std::optional<api::Answer> answer = ask(wait_for_leader(group), group, call);
    REQUIRE(answer);
    const auto* refused = std::get_if<api::Refused>(&*answer);
    if (refused != nullptr && number != nullptr) {
        *number = refused->numbers[0];
    }
    return refused == nullptr ? api::Refusal::none : refused->why;
}

std::string MemberCluster::stream(std::uint32_t group) {
    for (std::uint64_t i = 0;; ++i) {
        std::string name = numbered("v1/s", i);
        if (api::group_of(name, groups).value == group) {
            return name;
        }
    }
}

api::StreamKey MemberCluster::key(std::uint32_t group, const std::string& name) const {
    return {name, base::siphash(table_key, base::as_bytes(name)), base::GroupId(group)};
}

void MemberCluster::create() {
    for (std::uint32_t group = 0; group < groups; ++group) {
        const std::string name = stream(group);
        api::CreateCall call;
        call.key = key(group, name);
        call.content_type = "text/plain";
        for (int tries = 0; tries < 100; ++tries) {
            const std::optional<api::Answer> answer = ask(wait_for_leader(group), group, call);
            if (answer && std::holds_alternative<api::CreateReply>(*answer)) {
                break;
            }
            REQUIRE(tries < 99);
        }
    }
}

bool MemberCluster::append(std::uint32_t group, const std::string& text, std::uint32_t ms) {
    const std::string name = stream(group);
    api::AppendCall call;
    call.key = key(group, name);
    call.content_type = "text/plain";
    call.has_content_type = true;
    call.body = base::as_bytes(text);
    const base::Instant end = now_.mono + base::milliseconds(ms);
    while (now_.mono < end) {
        const std::uint32_t node = leader(group);
        if (node == 0) {
            step();
            continue;
        }
        const auto left = static_cast<std::uint32_t>((end - now_.mono).ms());
        const std::optional<api::Answer> answer = ask(node, group, call, left);
        if (answer && std::holds_alternative<api::AppendReply>(*answer)) {
            return true;
        }
        if (answer && std::get<api::Refused>(*answer).why == api::Refusal::outcome_unknown) {
            return false;
        }
        step();
    }
    return false;
}

void MemberCluster::append_everywhere(const std::string& text) {
    for (std::uint32_t group = 0; group < groups; ++group) {
        REQUIRE(append(group, text));
    }
}

std::string MemberCluster::content(std::uint32_t node, std::uint32_t group) {
    const std::string name = stream(group);
    std::string all;
    for (int tries = 0; tries < 1000; ++tries) {
        api::ReadCall call;
        call.key = key(group, name);
        call.offset = all.size();
        call.bytes_max = 1 << 20;
        const std::optional<api::Answer> answer = ask(node, group, call);
        if (answer && std::holds_alternative<api::ReadReply>(*answer)) {
            const auto& reply = std::get<api::ReadReply>(*answer);
            all += text_of(reply.pieces);
            if (reply.up_to_date) {
                return all;
            }
        }
    }
    FAIL("a stream cannot be read");
    return {};
}

}  // namespace ursula::shard::test
