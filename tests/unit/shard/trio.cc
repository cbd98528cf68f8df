#include "tests/unit/shard/trio.h"

#include <algorithm>

namespace ursula::shard::test {

void Trio::Port::take(std::vector<ReceivedFrame>& frames, std::vector<LinkEvent>& told) {
    shown_.clear();
    for (std::size_t i = 0; i < inbox.size();) {
        if (trio_.way(inbox[i].from, number_).held) {
            ++i;
            continue;
        }
        shown_.push_back(std::move(inbox[i]));
        inbox.erase(inbox.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (const Mail& mail : shown_) {
        frames.push_back({peer(mail.from), mail.bytes});
    }
    told.insert(told.end(), events.begin(), events.end());
    events.clear();
}

void Trio::Port::send(PeerShard to, base::Bytes frame) {
    const Way& way = trio_.way(number_, to.node.value);
    Member& other = trio_.nodes_[to.node.value - 1];
    if (way.cut || !other.up) {
        return;
    }
    for (int i = 0; i < (way.doubled ? 2 : 1); ++i) {
        other.port->inbox.push_back({number_, {frame.begin(), frame.end()}});
    }
}

Trio::Trio(const ShardOptions& options) : groups_(options.groups) {
    for (std::size_t i = 0; i < size; ++i) {
        ShardOptions own = options;
        own.node = base::NodeId(static_cast<std::uint32_t>(i + 1));
        own.cluster = 7;
        own.salt = options.salt + i + 1;
        for (std::uint32_t member = 1; member <= size; ++member) {
            own.founders.push_back({base::NodeId(member), 1, 0, {}, {}});
        }
        nodes_[i].node = std::make_unique<Node>(own);
    }
    for (std::size_t number = 1; number <= size; ++number) {
        start(number);
    }
    settle();
}

Trio::~Trio() {
    for (Member& member : nodes_) {
        member.node.reset();  // before what it sends with
    }
}

void Trio::start(std::size_t number) {
    Member& member = nodes_[number - 1];
    member.port = std::make_unique<Port>(*this, number);
    member.node->options().peer_net = member.port.get();
    member.node->options().boot = ++boots_;
    REQUIRE(member.node->try_start().has_value());
    member.up = true;
}

void Trio::kill(std::size_t number) {
    nodes_[number - 1].up = false;
    node(number).kill();
    for (std::size_t other = 1; other <= size; ++other) {
        if (other != number && up(other)) {
            std::erase_if(nodes_[other - 1].port->inbox,
                          [number](const Port::Mail& mail) { return mail.from == number; });
            nodes_[other - 1].port->events.push_back({peer(number), false});
        }
    }
}

void Trio::isolate(std::size_t number, bool cut) {
    for (std::size_t other = 1; other <= size; ++other) {
        way(number, other).cut = cut;
        way(other, number).cut = cut;
    }
}

void Trio::reset(std::size_t a, std::size_t b) {
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
        Port& port = *nodes_[to - 1].port;
        std::erase_if(port.inbox,
                      [sender = from](const Port::Mail& mail) { return mail.from == sender; });
        port.events.push_back({peer(from), true});
    }
}

void Trio::step() {
    for (Member& member : nodes_) {
        const base::Instant before = member.node->now().mono;
        if (member.up) {
            member.node->turn();
        }
        member.node->pass(base::milliseconds(1) - (member.node->now().mono - before));
    }
}

void Trio::run(base::Duration time) {
    for (std::int64_t ms = 0; ms < time.ms(); ++ms) {
        step();
    }
}

std::size_t Trio::leader(base::GroupId group) {
    std::size_t found = 0;
    for (std::size_t number = 1; number <= size; ++number) {
        if (!up(number)) {
            continue;
        }
        const raft::Group& replica = node(number).shard().group(group);
        const std::size_t leads = replica.is_leader() ? number : replica.leader().value;
        if (leads == 0 || (found != 0 && leads != found)) {
            return 0;
        }
        found = leads;
    }
    return found;
}

// Leaders are moved by force: whoever leads instead is cut off for a while.
void Trio::make_leader(base::GroupId group, std::size_t number) {
    for (int tries = 0; leader(group) != number; ++tries) {
        REQUIRE(tries < 40);
        const std::size_t other = leader(group);
        if (other != 0) {
            isolate(other, true);
            run(base::milliseconds(1200));
            isolate(other, false);
        }
        settle();
    }
}

void Trio::settle() {
    run_until([this] {
        for (std::uint32_t group = 0; group < groups_; ++group) {
            const std::size_t leads = leader(base::GroupId(group));
            if (leads == 0 || !up(leads) ||
                !node(leads).shard().group(base::GroupId(group)).is_leader()) {
                return false;
            }
            const base::EntryId last =
                node(leads).shard().group(base::GroupId(group)).log().last_id();
            for (std::size_t number = 1; number <= size; ++number) {
                if (up(number) &&
                    node(number).shard().machine(base::GroupId(group)).applied() != last) {
                    return false;
                }
            }
        }
        return true;
    });
}

}  // namespace ursula::shard::test
