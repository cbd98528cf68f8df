// What a Group does beyond the thesis: bounds, refusals, gathered effects, values.
#include "raft/group.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/limits.h"
#include "base/random.h"
#include "tests/support/count_allocations.h"
#include "tests/unit/raft/one_voter.h"

namespace ursula::raft {
using test::id;
using test::OneVoter;

namespace {
constexpr std::uint64_t bytes_max = base::limits::uncommitted_bytes_max;
constexpr std::uint64_t overhead = IdLog::entry_overhead_bytes;

bool admitted(const Effects& effects) {
    CHECK(effects.entries_to_write.size() + effects.refused_submits.size() == 1);
    return effects.refused_submits.empty();
}
}  // namespace

TEST_CASE("a submit is answered by an entry with its ticket, or refused") {
    OneVoter node;
    node.start();
    CHECK(node.submit(5).refused_submits ==
          std::vector<RefusedSubmit>{{SubmitTicket(1), SubmitRefusal::not_leader}});
    node.timeout();
    CHECK(node.submit(5).refused_submits.size() == 1);
    node.persist();
    const Effects& effects = node.submit(5);
    CHECK(effects.entries_to_write ==
          std::vector<EntryToWrite>{{id(1, 2), EntryKind::command, SubmitTicket(3)}});
}

TEST_CASE("uncommitted bytes: at the limit, one above, ten times") {
    OneVoter node;
    node.lead();
    CHECK(admitted(node.submit(bytes_max / 2 - overhead)));
    CHECK(admitted(node.submit(bytes_max / 2 - overhead)));
    CHECK(node.group().log().uncommitted_bytes() == bytes_max);
    CHECK_FALSE(admitted(node.submit(0)));
    CHECK_FALSE(admitted(node.submit(10 * bytes_max)));
    node.persist();
    CHECK(node.group().log().uncommitted_bytes() == 0);
    CHECK(admitted(node.submit(0)));
    CHECK_FALSE(admitted(node.submit(bytes_max - 2 * overhead + 1)));
    CHECK(admitted(node.submit(bytes_max - 2 * overhead)));
}

TEST_CASE("an entry that is alone may have any size") {
    OneVoter node;
    node.lead();
    CHECK(admitted(node.submit(10 * bytes_max)));
    const Effects& refused = node.submit(1);
    CHECK_FALSE(admitted(refused));
    CHECK(refused.refused_submits.front().why == SubmitRefusal::uncommitted_full);
    node.persist();
    CHECK(admitted(node.submit(10 * bytes_max)));
}

TEST_CASE("a new leader's noop does not keep a large first entry out") {
    OneVoter node;
    node.start();
    node.timeout();
    node.persist();
    REQUIRE(node.group().is_leader());
    CHECK(admitted(node.submit(10 * bytes_max)));
}

TEST_CASE("entries without bytes are bounded in number") {
    OneVoter node;
    node.lead();
    std::uint64_t count = 0;
    Effects effects;
    Group group = node.group();
    for (std::uint64_t i = 0; i < 2 * bytes_max / overhead; ++i) {
        effects.clear();
        group.step(Submit{.ticket = SubmitTicket(i + 1), .bytes = 0}, node.now, effects);
        count += effects.entries_to_write.size();
    }
    CHECK(count == bytes_max / overhead);
}

TEST_CASE("effects of a turn's steps gather in one") {
    OneVoter node;
    node.lead();
    Group group = node.group();
    Effects effects;
    group.step(Submit{.ticket = SubmitTicket(1), .bytes = 10}, node.now, effects);
    group.step(ReadIndex{ReadContext(4)}, node.now, effects);
    group.step(Submit{.ticket = SubmitTicket(2), .bytes = 10}, node.now, effects);
    group.step(Persisted{.log = id(1, 3), .hard_state = {}}, node.now, effects);
    group.step(ReadIndex{ReadContext(9)}, node.now, effects);
    CHECK(effects.entries_to_write.size() == 2);
    CHECK(effects.commit_to == LogIndex(3));
    CHECK(effects.reads_ready == ReadsReady{ReadContext(9), LogIndex(3)});
    CHECK_FALSE(effects.empty());
    effects.clear();
    CHECK(effects.empty());
}

TEST_CASE("a Persisted that says nothing new changes nothing") {
    OneVoter node;
    node.lead();
    node.submit(1);
    const Group before = node.group();
    CHECK(node.step(Persisted{}).empty());
    CHECK(node.step(Persisted{.log = id(1, 1), .hard_state = {}}).empty());
    CHECK(node.group() == before);
}

TEST_CASE("hard state and log may become durable in separate reports") {
    OneVoter node;
    node.start();
    node.timeout();
    node.step(Persisted{.log = {}, .hard_state = {Term(1), OneVoter::self}});
    REQUIRE(node.group().is_leader());
    node.step(Persisted{.log = id(1, 1), .hard_state = {}});
    CHECK(node.group().log().committed() == LogIndex(1));
}

TEST_CASE("a snapshot after more was applied keeps the rest of the log") {
    OneVoter node;
    node.lead();
    for (int i = 0; i < 5; ++i) {
        node.submit(1);
    }
    node.persist();
    node.apply();
    CHECK(node.snapshot(id(1, 4)).empty());
    CHECK(node.group().log().first() == LogIndex(5));
    node.note_commit();
    CHECK(node.restart().commit_to == LogIndex(6));
    node.timeout();
    node.persist();
    node.persist();
    CHECK(node.group().log().last_id() == id(2, 7));
}

TEST_CASE("a copy goes its own way") {
    OneVoter node;
    node.lead();
    Group copy = node.group();
    CHECK(copy == node.group());
    Effects effects;
    copy.step(Submit{.ticket = SubmitTicket(1), .bytes = 1}, node.now, effects);
    CHECK_FALSE(copy == node.group());
}

TEST_CASE("ten thousand idle groups ask for no timer") {
    OneVoter node;
    node.lead();
    CHECK(node.group().deadline() == Instant::never());
}

TEST_CASE("a warm group allocates nothing") {
    OneVoter node;
    node.lead();
    Group group = node.group();
    Effects effects;
    std::uint64_t index = 1;
    std::uint64_t read = 0;
    const auto turn = [&] {
        effects.clear();
        for (int i = 0; i < 100; ++i) {
            group.step(Submit{.ticket = SubmitTicket(++index), .bytes = 256}, node.now, effects);
        }
        group.step(ReadIndex{ReadContext(++read)}, node.now, effects);
        group.step(Persisted{.log = id(1, index - 50), .hard_state = {}}, node.now, effects);
        group.step(Applied{effects.commit_to}, node.now, effects);
    };
    for (int i = 0; i < 10; ++i) {
        turn();
    }
    const std::uint64_t before = test_support::allocations();
    for (int i = 0; i < 1000; ++i) {
        turn();
    }
    CHECK(test_support::allocations() == before);
}

TEST_CASE("a warm leader with followers allocates nothing, nor do they") {
    const NodeId voters[] = {NodeId(1), NodeId(2), NodeId(3)};
    const MembershipAt members[] = {{LogIndex{}, Membership::of_voters(voters)}};
    std::vector<Group> groups = {Group(GroupId(1), NodeId(1)), Group(GroupId(1), NodeId(2)),
                                 Group(GroupId(1), NodeId(3))};
    Effects effects;
    std::vector<Message> network;
    std::vector<Message> arriving;
    Now now{.mono = {1'000'000'000}, .wall = {0}};
    // Whatever a step asks to be written is durable in the next one.
    const auto step = [&](Group& group, const Input& input) {
        effects.clear();
        group.step(input, now, effects);
        network.insert(network.end(), effects.messages.begin(), effects.messages.end());
        const LogIndex commit_to = effects.commit_to;
        if (effects.hard_state || !effects.entries_to_write.empty() || effects.entries_to_accept) {
            const Persisted persisted{.log = group.log().last_id(),
                                      .hard_state = effects.hard_state.value_or(HardState{}),
                                      .cuts = 0};
            effects.clear();
            group.step(persisted, now, effects);
            network.insert(network.end(), effects.messages.begin(), effects.messages.end());
        }
        const LogIndex apply = std::max(commit_to, effects.commit_to);
        if (apply != LogIndex{}) {
            effects.clear();
            group.step(Applied{apply}, now, effects);
        }
        if (group.wants_turn_end()) {
            effects.clear();
            group.step(TurnEnd{}, now, effects);
            network.insert(network.end(), effects.messages.begin(), effects.messages.end());
        }
    };
    const auto exchange = [&] {
        while (!network.empty()) {
            arriving.swap(network);
            network.clear();
            for (const Message& message : arriving) {
                step(groups[message.to.value - 1], Received{&message});
            }
        }
    };
    for (Group& group : groups) {
        effects.clear();
        group.step(Start{.hard_state = {},
                         .snapshot = {},
                         .log_terms = {},
                         .last = {},
                         .commit_hint = {},
                         .memberships = members,
                         .life = group.self().value},
                   now, effects);
    }
    now.mono = groups[0].deadline();
    step(groups[0], Timeout{});
    exchange();
    REQUIRE(groups[0].is_leader());
    std::uint64_t context = 0;
    const auto turn = [&] {
        for (int i = 0; i < 8; ++i) {
            step(groups[0], Submit{.ticket = SubmitTicket(1), .bytes = 256});
        }
        ++context;
        step(groups[0], ReadIndex{ReadContext(context)});
        step(groups[2], ReadIndex{ReadContext(context)});
        exchange();
    };
    for (int i = 0; i < 20; ++i) {
        turn();
    }
    const std::uint64_t before = test_support::allocations();
    for (int i = 0; i < 200; ++i) {
        turn();
    }
    CHECK(test_support::allocations() == before);
    CHECK(groups[1].log().committed() == groups[0].log().last());
    CHECK(groups[2].log().applied() == groups[0].log().last());
}

TEST_CASE("random lives of one voter keep every invariant and every committed entry") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        CAPTURE(seed);
        base::Random random(seed);
        OneVoter node;
        node.start();
        LogIndex committed;
        Term committed_term;
        for (int round = 0; round < 300; ++round) {
            switch (random.below(10)) {
                case 0:
                    node.timeout();
                    break;
                case 1:
                case 2:
                case 3:
                    node.submit(random.below(1000));
                    break;
                case 4:
                case 5:
                    node.persist(random.chance(1, 3) ? random.below(4) : SIZE_MAX);
                    break;
                case 6:
                    node.read();
                    break;
                case 7:
                    node.apply();
                    break;
                case 8:
                    if (random.chance(1, 8)) {
                        node.note_commit();
                    }
                    if (random.chance(1, 8)) {
                        const LogIndex at = node.group().log().applied();
                        if (at > node.group().log().snapshot().index) {
                            node.snapshot({node.group().log().term_at(at), at});
                        }
                    }
                    break;
                default:
                    if (random.chance(1, 10)) {
                        node.restart();
                        // What was committed is there, unchanged, though maybe not known so yet.
                        CHECK(node.group().log().last() >= committed);
                        if (committed >= node.group().log().snapshot().index) {
                            CHECK(node.group().log().term_at(committed) == committed_term);
                        }
                    }
                    break;
            }
            if (node.group().log().committed() > committed) {
                committed = node.group().log().committed();
                committed_term = node.group().log().term_at(committed);
            }
        }
    }
}

}  // namespace ursula::raft
