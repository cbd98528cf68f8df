// Frames: what is written is read back, and nothing else is read.
#include "shard/frame.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/wire.h"

namespace ursula::shard {

namespace {

using base::EntryId;
using base::GroupId;
using base::LogIndex;
using base::NodeId;
using base::Term;
using raft::ReadContext;

const FrameHeader header{
    77, {NodeId(2), base::ShardId(1)}, {NodeId(3), base::ShardId(4)}, 4711, 815, 99, 6, 0xfeed};

EntryId id(std::uint64_t term, std::uint64_t index) {
    return {Term(term), LogIndex(index)};
}

raft::MembershipAt some_membership(std::uint64_t index) {
    raft::MembershipAt at;
    at.index = LogIndex(index);
    at.membership.set({NodeId(1), true, false, false});
    at.membership.set({NodeId(2), true, true, false});
    at.membership.set({NodeId(9), false, true, true});
    at.membership.set_joint(true);
    return at;
}

raft::Replicate some_replicate() {
    raft::Replicate message;
    message.prev = id(3, 10);
    message.last = LogIndex(13);
    message.runs[0] = {LogIndex(11), Term(3)};
    message.runs[1] = {LogIndex(13), Term(5)};
    message.run_count = 2;
    message.membership = some_membership(12);
    message.commit = LogIndex(9);
    message.number = 1234;
    return message;
}

raft::Replicated some_replicated() {
    raft::Replicated message;
    message.accepted = true;
    message.number = 8;
    message.match = LogIndex(9);
    message.last = LogIndex(11);
    message.hint = id(2, 7);
    message.rejected = LogIndex(6);
    message.commit = LogIndex(5);
    return message;
}

FetchAsk some_ask() {
    FetchAsk ask;
    ask.fetch = 4711;
    ask.what = FetchAsk::What::bytes;
    ask.again = true;
    ask.id = id(3, 17);
    ask.at = 5;
    ask.to = 10;
    ask.created = LogIndex(4);
    ask.ordinal = 6;
    ask.name = "v1/s";
    return ask;
}

FetchData some_data() {
    FetchData data;
    data.fetch = 4711;
    data.what = FetchData::What::bytes;
    data.last = true;
    data.id = id(3, 17);
    data.at = 5;
    data.created = LogIndex(4);
    data.ordinal = 6;
    return data;
}

// Each kind of message, and what shows in it.
std::vector<raft::MessageBody> all_bodies() {
    raft::ReadReply reply;
    reply.ready = true;
    reply.context = ReadContext(5);
    reply.life = 6;
    reply.index = LogIndex(7);
    raft::Replicate question = some_replicate();
    question.last = question.prev.index;
    question.membership.reset();
    question.run_count = 0;
    question.runs = {};
    return {raft::PreVote{id(1, 2)},
            raft::PreVoted{true},
            raft::Vote{id(3, 4), true},
            raft::Voted{true},
            some_replicate(),
            some_replicated(),
            raft::WhoLeads{},
            raft::Heartbeat{ReadContext(4), LogIndex(3)},
            raft::HeartbeatSeen{ReadContext(4)},
            raft::ReadRequest{ReadContext(4), 12},
            reply,
            raft::TimeoutNow{},
            raft::SnapshotOffer{id(5, 6), some_membership(3)},
            raft::SnapshotStatus{true},
            question};
}

const std::vector<std::string> bodies = {"first", std::string(5000, 'x'), ""};

void add_all(FrameWriter& writer) {
    const std::vector<raft::MessageBody> all = all_bodies();
    for (std::size_t i = 0; i < all.size(); ++i) {
        const GroupId group(static_cast<std::uint32_t>(i));
        const Term term(100 + i);
        const auto* entries = std::get_if<raft::Replicate>(&all[i]);
        if (entries == nullptr) {
            writer.add(group, {header.from.node, header.to.node, term, all[i]});
            continue;
        }
        writer.add_replicate(group, term, *entries);
        for (std::size_t entry = 0; entries->last > entries->prev.index && entry < 3; ++entry) {
            writer.add_entry(static_cast<raft::EntryKind>(entry), base::as_bytes(bodies[entry]));
        }
    }
    writer.add_beat({250, true}, true, {{GroupId(3), Term(4)}, {GroupId(5), Term(1)}});
    writer.add_call(GroupId(8), 77, base::as_bytes(bodies[0]));
    writer.add_part(GroupId(8), 5, 6, 11, base::as_bytes(bodies[0]));
    writer.add_answer(GroupId(9), call_number_end - 1, base::as_bytes(bodies[2]));
    writer.add_ask(GroupId(7), some_ask());
    writer.add_data(GroupId(8), some_data(), {2 | piece_goes_on, 3}, 5);
    writer.add_bytes(base::as_bytes("he"));
    writer.add_bytes(base::as_bytes("llo"));
}

std::vector<std::byte> copied(base::Bytes bytes) {
    return {bytes.begin(), bytes.end()};
}

// Reads all of it; false as soon as something is refused.
bool readable(base::Bytes frame) {
    FrameReader reader;
    FrameItem item;
    if (!reader.open(frame)) {
        return false;
    }
    while (reader.next(item)) {
    }
    return reader.ok();
}

void reseal(std::vector<std::byte>& frame) {
    base::store(frame.data() + 12, static_cast<std::uint32_t>(frame.size()));
    base::store(frame.data() + 4, base::crc32c(base::Bytes(frame).subspan(8)));
}

}  // namespace

TEST_CASE("a frame is read as it was written") {
    FrameWriter writer;
    for (int round = 0; round < 2; ++round) {
        writer.clear();
        CHECK(writer.empty());
        add_all(writer);
        const base::Bytes frame = writer.finish(header);
        FrameReader reader;
        REQUIRE(reader.open(frame));
        CHECK(reader.header() == header);
        FrameItem item;
        const std::vector<raft::MessageBody> all = all_bodies();
        for (std::size_t i = 0; i < all.size(); ++i) {
            CAPTURE(i);
            REQUIRE(reader.next(item));
            CHECK(item.kind == FrameItem::Kind::message);
            CHECK(item.group == GroupId(static_cast<std::uint32_t>(i)));
            CHECK((item.message ==
                   raft::Message{header.from.node, header.to.node, Term(100 + i), all[i]}));
            const bool with_entries =
                std::holds_alternative<raft::Replicate>(all[i]) && i + 1 < all.size();
            REQUIRE(item.entries.size() == (with_entries ? 3 : 0));
            for (std::size_t entry = 0; entry < item.entries.size(); ++entry) {
                CHECK(item.entries[entry].kind == static_cast<raft::EntryKind>(entry));
                CHECK(base::as_text(item.entries[entry].body) == bodies[entry]);
            }
        }
        REQUIRE(reader.next(item));
        CHECK(item.kind == FrameItem::Kind::beat);
        CHECK(item.disk.write_age_ms == 250);
        CHECK(item.disk.full);
        CHECK(item.asks);
        CHECK((item.led == std::vector<Led>{{GroupId(3), Term(4)}, {GroupId(5), Term(1)}}));
        REQUIRE(reader.next(item));
        CHECK(item.kind == FrameItem::Kind::call);
        CHECK(item.group == GroupId(8));
        CHECK(item.number == 77);
        CHECK(base::as_text(item.bytes) == bodies[0]);
        REQUIRE(reader.next(item));
        CHECK(item.kind == FrameItem::Kind::part);
        CHECK((item.group == GroupId(8) && item.number == 5));
        CHECK((item.at == 6 && item.length == 11));
        CHECK(base::as_text(item.bytes) == bodies[0]);
        REQUIRE(reader.next(item));
        CHECK(item.kind == FrameItem::Kind::answer);
        CHECK(item.group == GroupId(9));
        CHECK(item.number == call_number_end - 1);
        CHECK(item.bytes.empty());
        REQUIRE(reader.next(item));
        CHECK(item.kind == FrameItem::Kind::fetch_ask);
        CHECK(item.group == GroupId(7));
        CHECK(item.ask == some_ask());
        REQUIRE(reader.next(item));
        CHECK(item.kind == FrameItem::Kind::fetch_data);
        CHECK(item.group == GroupId(8));
        CHECK(item.data == some_data());
        CHECK((item.pieces == std::vector<std::uint32_t>{2 | piece_goes_on, 3}));
        CHECK(base::as_text(item.bytes) == "hello");
        CHECK(!reader.next(item));
        CHECK(reader.ok());
        CHECK(!reader.next(item));
    }
}

TEST_CASE("every flipped bit and every cut makes a frame unreadable") {
    FrameWriter writer;
    add_all(writer);
    std::vector<std::byte> frame = copied(writer.finish(header));
    REQUIRE(readable(frame));
    FrameReader reader;
    for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
        frame[bit / 8] ^= std::byte{1} << (bit % 8);
        CHECK_MESSAGE(!reader.open(frame), "bit ", bit);
        frame[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    for (std::size_t size = 0; size < frame.size(); ++size) {
        CHECK(!reader.open(base::Bytes(frame).first(size)));
    }
    frame.push_back(std::byte{0});
    CHECK(!reader.open(frame));
}

// With its checksum made right again: what a bug or an enemy could send.
TEST_CASE("a frame that is whole but wrong is refused") {
    FrameWriter writer;
    add_all(writer);
    const std::vector<std::byte> good = copied(writer.finish(header));
    const auto with = [&good](std::size_t at, auto value) {
        std::vector<std::byte> frame = good;
        base::store(frame.data() + at, value);
        reseal(frame);
        return readable(frame);
    };
    CHECK(with(frame_header_bytes, std::uint8_t{1}));
    CHECK(!with(0, std::uint32_t{0}));  // magic
    CHECK(!with(8, frame_version + 1));
    CHECK(!with(8, frame_version - 1));                             // version
    CHECK(!with(40, std::uint32_t{99}));                            // more items than there are
    CHECK(!with(40, std::uint32_t{1}));                             // fewer
    CHECK(!with(44, std::uint32_t{0}));                             // no shards
    CHECK(!with(44, std::uint32_t{1}));                             // fewer than its number
    CHECK(!with(44, std::uint32_t{65}));                            // too many
    CHECK(!with(frame_header_bytes, std::uint8_t{0}));              // kind
    CHECK(!with(frame_header_bytes, std::uint8_t{15}));             // kind
    CHECK(!with(frame_header_bytes, std::uint8_t{2}));              // another kind's length
    CHECK(!with(frame_header_bytes + 1, std::uint8_t{1}));          // zero
    CHECK(!with(frame_header_bytes + 4, std::uint32_t{0x7fffff}));  // length beyond the frame
    CHECK(!with(frame_header_bytes + 12, std::uint32_t{1}));        // zero

    // Cut or lengthened anywhere.
    for (std::size_t size = frame_header_bytes; size < good.size(); ++size) {
        std::vector<std::byte> frame(good.begin(),
                                     good.begin() + static_cast<std::ptrdiff_t>(size));
        reseal(frame);
        CHECK(!readable(frame));
    }

    // A call's number: 0, or too large. A term, which a call has not.
    writer.clear();
    writer.add_call(GroupId(1), 1, base::as_bytes(bodies[0]));
    const std::vector<std::byte> call = copied(writer.finish(header));
    const auto call_with = [&call](std::size_t at, std::uint64_t value) {
        std::vector<std::byte> frame = call;
        base::store(frame.data() + frame_header_bytes + at, value);
        reseal(frame);
        return readable(frame);
    };
    CHECK(call_with(item_header_bytes, call_number_end - 1));
    CHECK(!call_with(item_header_bytes, 0));
    CHECK(!call_with(item_header_bytes, call_number_end));
    CHECK(!call_with(16, 1));

    // A part: no number, beyond its item, of an item that is longer than any, empty, with a term.
    writer.clear();
    writer.add_part(GroupId(1), 1, 2, 7, base::as_bytes(bodies[0]));
    const std::vector<std::byte> part = copied(writer.finish(header));
    const auto part_with = [&part](std::size_t at, auto value) {
        std::vector<std::byte> frame = part;
        base::store(frame.data() + frame_header_bytes + at, value);
        reseal(frame);
        return readable(frame);
    };
    CHECK(part_with(item_header_bytes, std::uint64_t{2}));
    CHECK(!part_with(item_header_bytes, std::uint64_t{0}));
    CHECK(!part_with(item_header_bytes + 8, std::uint32_t{3}));
    CHECK(!part_with(item_header_bytes + 8, UINT32_MAX));
    CHECK(!part_with(item_header_bytes + 12, std::uint32_t{6}));
    CHECK(!part_with(item_header_bytes + 12, UINT32_MAX));
    CHECK(!part_with(16, std::uint64_t{1}));
    writer.clear();
    writer.add_part(GroupId(1), 1, 7, 7, {});
    CHECK(!readable(writer.finish(header)));

    // A Replicate whose last lies before its prev, or far behind it.
    for (const std::uint64_t last : {std::uint64_t{9}, std::uint64_t{14}, UINT64_MAX}) {
        raft::Replicate entries = some_replicate();
        writer.clear();
        writer.add_replicate(GroupId(0), Term(9), entries);
        for (const std::string& body : bodies) {
            writer.add_entry(raft::EntryKind::command, base::as_bytes(body));
        }
        std::vector<std::byte> frame = copied(writer.finish(header));
        REQUIRE(readable(frame));
        base::store(frame.data() + frame_header_bytes + item_header_bytes + 16, last);
        reseal(frame);
        CHECK(!readable(frame));
    }
}

}  // namespace ursula::shard
