#include "shard/mail_codec.h"

#include <doctest/doctest.h>

#include <string>

#include "base/limits.h"
#include "tests/support/count_allocations.h"

namespace ursula::shard {
namespace {

using api::Call;
using api::Reply;
using base::Slice;

constexpr std::size_t inline_max = base::limits::mailbox_inline_bytes_max;

const api::StreamKey key{"bucket/a stream", 0x1234'5678'9abc'def0u, base::GroupId(41)};

Slice slice(std::string_view text) {
    return Slice::copy_of(base::as_bytes(text));
}
std::string text(const Slice& from) {
    return std::string(base::as_text(from.bytes()));
}
std::string joined(const std::vector<Slice>& pieces) {
    std::string all;
    for (const Slice& piece : pieces) {
        all += base::as_text(piece.bytes());
    }
    return all;
}

// Through a mailbox and out again; the views live as long as this does.
class Passed {
  public:
    Passed() = default;
    template <class Verb>
    const Verb& call(const Verb& verb) {
        REQUIRE(push_call(
            mailbox_,
            {.id = api::CallId(77), .from = base::ShardId(3), .verb = verb, .redirect = true}));
        take(MailKind::call);
        call_ = decode_call(record_);
        CHECK(call_.id == api::CallId(77));
        CHECK(call_.from == base::ShardId(3));
        CHECK(call_.redirect);
        REQUIRE(std::holds_alternative<Verb>(call_.verb));
        return std::get<Verb>(call_.verb);
    }
    template <class Answer>
    const Answer& reply(const Answer& answer) {
        REQUIRE(push_reply(mailbox_,
                           {.id = api::CallId(78), .to = base::ShardId(4), .answer = answer}));
        take(MailKind::reply);
        reply_ = decode_reply(record_);
        // A reply owns what it shows: nothing of the ring is needed any more.
        record_ = {};
        mailbox_.release();
        CHECK(reply_.id == api::CallId(78));
        CHECK(reply_.to == base::ShardId(4));
        REQUIRE(std::holds_alternative<Answer>(reply_.answer));
        return std::get<Answer>(reply_.answer);
    }

  private:
    void take(MailKind kind) {
        REQUIRE(mailbox_.take(record_));
        CHECK(kind_of(record_) == kind);
        CHECK(mailbox_.empty());
    }
    Mailbox mailbox_;
    MailRecord record_;
    Call call_;
    Reply reply_;
};

void check_key(const api::StreamKey& got) {
    CHECK(got.name == key.name);
    CHECK(got.hash == key.hash);
    CHECK(got.group == key.group);
}

}  // namespace

TEST_CASE("calls on streams") {
    {
        Passed passed;
        const auto& got = passed.call(
            api::CreateCall{.key = key,
                            .content_type = "text/plain",
                            .closed = true,
                            .bucket_id = 5,
                            .body = base::as_bytes("body"),
                            .expiry = {.kind = api::Expiry::Kind::at, .ms = -7, .text = "then"}});
        check_key(got.key);
        CHECK(got.content_type == "text/plain");
        CHECK(got.closed);
        CHECK(got.bucket_id == 5);
        CHECK(base::as_text(got.body) == "body");
        CHECK(got.expiry.kind == api::Expiry::Kind::at);
        CHECK(got.expiry.ms == -7);
        CHECK(got.expiry.text == "then");
    }
    {
        Passed passed;
        const auto& got = passed.call(
            api::TouchCall{.key = key, .created = base::LogIndex(1ull << 50), .ordinal = 9});
        check_key(got.key);
        CHECK(got.created == base::LogIndex(1ull << 50));
        CHECK(got.ordinal == 9);
    }
    {
        Passed passed;
        const auto& got = passed.call(
            api::AppendCall{.key = key,
                            .content_type = "",
                            .has_content_type = true,
                            .close = true,
                            .producer = {.present = true, .id = "p", .epoch = 1, .seq = 1ull << 52},
                            .stream_seq = "0007",
                            .body = base::as_bytes("[1,2]")});
        check_key(got.key);
        CHECK(got.content_type == "");
        CHECK(got.has_content_type);
        CHECK(got.close);
        CHECK(got.producer.present);
        CHECK(got.producer.id == "p");
        CHECK(got.producer.epoch == 1);
        CHECK(got.producer.seq == 1ull << 52);
        CHECK(got.stream_seq == "0007");
        CHECK(base::as_text(got.body) == "[1,2]");
    }
    {
        Passed passed;
        check_key(passed.call(api::RemoveCall{key}).key);
    }
    {
        Passed passed;
        check_key(passed.call(api::HeadCall{key}).key);
    }
    {
        Passed passed;
        const auto& got = passed.call(api::ReadCall{.key = key,
                                                    .from_now = true,
                                                    .offset = 9,
                                                    .bytes_max = 1'000'000,
                                                    .use = api::ReadCall::Use::inherit,
                                                    .more = true,
                                                    .ordinal = 3,
                                                    .created = base::LogIndex(4),
                                                    .end = 77});
        check_key(got.key);
        CHECK(got.from_now);
        CHECK(got.offset == 9);
        CHECK(got.bytes_max == 1'000'000);
        CHECK(got.use == api::ReadCall::Use::inherit);
        CHECK(got.more);
        CHECK(got.ordinal == 3);
        CHECK(got.created == base::LogIndex(4));
        CHECK(got.end == 77);
    }
    {
        Passed passed;
        const auto& got = passed.call(api::ForkCall{.key = key,
                                                    .source = "v1/source",
                                                    .source_group = base::GroupId(6),
                                                    .has_content_type = true,
                                                    .has_offset = true,
                                                    .closed = true,
                                                    .offset = 10,
                                                    .sub_offset = 11,
                                                    .bucket_id = 12,
                                                    .content_type = "t/u",
                                                    .body = base::as_bytes("body"),
                                                    .expiry = {api::Expiry::Kind::ttl, 1000, {}}});
        check_key(got.key);
        CHECK(got.source == "v1/source");
        CHECK(got.source_group == base::GroupId(6));
        CHECK((got.has_content_type && got.has_offset && got.closed));
        CHECK((got.offset == 10 && got.sub_offset == 11 && got.bucket_id == 12));
        CHECK(got.content_type == "t/u");
        CHECK(base::as_text(got.body) == "body");
        CHECK(got.expiry.ms == 1000);
    }
    {
        Passed passed;
        const base::Incarnation id{base::GroupId(3), base::LogIndex(5), 7};
        const auto& got = passed.call(api::HoldCall{
            .key = key, .id = id, .created = base::LogIndex(8), .ordinal = 9, .point = 10});
        check_key(got.key);
        CHECK(got.id == id);
        CHECK((got.created == base::LogIndex(8) && got.ordinal == 9 && got.point == 10));
    }
    {
        Passed passed;
        const base::Incarnation id{base::GroupId(3), base::LogIndex(5), 7};
        const auto& got = passed.call(api::ReleaseCall{.key = key, .id = id});
        check_key(got.key);
        CHECK(got.id == id);
    }
    {
        Passed passed;
        check_key(passed.call(api::WatchCall{key}).key);
    }
    {
        Passed passed;
        const auto& got = passed.call(api::UnwatchCall{.key = key, .watch = api::CallId(12)});
        check_key(got.key);
        CHECK(got.watch == api::CallId(12));
    }
}

TEST_CASE("calls that change members") {
    {
        Passed passed;
        const auto& got =
            passed.call(api::ChangeMemberCall{.group = base::GroupId(3),
                                              .step = api::ChangeMemberCall::Step::remove,
                                              .node = base::NodeId(9),
                                              .incarnation = 1ull << 63,
                                              .shards = 4,
                                              .address = "10.0.0.9:4439",
                                              .client = "http://10.0.0.9:4437"});
        CHECK(got.group == base::GroupId(3));
        CHECK(got.step == api::ChangeMemberCall::Step::remove);
        CHECK(got.node == base::NodeId(9));
        CHECK(got.incarnation == 1ull << 63);
        CHECK(got.shards == 4);
        CHECK(got.address == "10.0.0.9:4439");
        CHECK(got.client == "http://10.0.0.9:4437");
    }
    Passed passed;
    const auto& got = passed.reply(api::ChangeMemberReply{true, base::LogIndex(77)});
    CHECK(got.changed);
    CHECK(got.index == base::LogIndex(77));
}

TEST_CASE("calls on buckets") {
    Passed create;
    CHECK(create.call(api::CreateBucketCall{"b"}).bucket == "b");
    Passed remove;
    CHECK(remove.call(api::RemoveBucketCall{"b"}).bucket == "b");
    Passed resolve;
    CHECK(resolve.call(api::ResolveBucketCall{"b"}).bucket == "b");
    Passed list_buckets;
    list_buckets.call(api::ListBucketsCall{});
    Passed list;
    const auto& listed =
        list.call(api::ListStreamsCall{.bucket = "b", .prefix = "p", .after = "a", .count_max = 6});
    CHECK(listed.bucket == "b");
    CHECK(listed.prefix == "p");
    CHECK(listed.after == "a");
    CHECK(listed.count_max == 6);
    Passed seal;
    const auto& sealed = seal.call(api::SealBucketCall{
        .group = base::GroupId(2), .bucket = "b", .bucket_id = 8, .seal = false, .round = 77});
    CHECK(sealed.group == base::GroupId(2));
    CHECK(sealed.bucket == "b");
    CHECK(sealed.bucket_id == 8);
    CHECK_FALSE(sealed.seal);
    CHECK(sealed.round == 77);
}

TEST_CASE("bodies at the inline limit, one above, ten times") {
    for (const std::size_t size : {std::size_t{0}, inline_max, inline_max + 1, 10 * inline_max}) {
        CAPTURE(size);
        const std::string body(size, 'z');
        Passed passed;
        const auto& got = passed.call(api::AppendCall{.key = key,
                                                      .content_type = "a/b",
                                                      .has_content_type = true,
                                                      .close = false,
                                                      .producer = {},
                                                      .stream_seq = {},
                                                      .body = base::as_bytes(body)});
        CHECK(got.body.size() == size);
        CHECK(base::as_text(got.body) == body);
        CHECK(got.content_type == "a/b");
    }
}

TEST_CASE("answers") {
    const base::Incarnation incarnation{base::GroupId(2), base::LogIndex(1ull << 40), 3};
    {
        Passed passed;
        const auto& got = passed.reply(api::Refused{.why = api::Refusal::producer_gap,
                                                    .tail = 4,
                                                    .closed = true,
                                                    .numbers = {5, 6},
                                                    .producer_epoch = 7});
        CHECK(got.why == api::Refusal::producer_gap);
        CHECK(got.tail == 4);
        CHECK(got.closed);
        CHECK(got.numbers[0] == 5);
        CHECK(got.numbers[1] == 6);
        CHECK(got.producer_epoch == 7);
    }
    {
        Passed passed;
        const auto& got = passed.reply(api::CreateReply{
            .created = true, .closed = true, .tail = 9, .content_type = slice("text/html")});
        CHECK(got.created);
        CHECK(got.closed);
        CHECK(got.tail == 9);
        CHECK(text(got.content_type) == "text/html");
    }
    {
        Passed passed;
        const auto& got = passed.reply(api::AppendReply{.kind = api::AppendReply::Kind::duplicate,
                                                        .closed = true,
                                                        .producer = true,
                                                        .tail = 1,
                                                        .producer_epoch = 2,
                                                        .producer_seq = 3});
        CHECK(got.kind == api::AppendReply::Kind::duplicate);
        CHECK(got.closed);
        CHECK(got.producer);
        CHECK(got.tail == 1);
        CHECK(got.producer_epoch == 2);
        CHECK(got.producer_seq == 3);
    }
    {
        Passed passed;
        passed.reply(api::RemoveReply{});
    }
    {
        Passed passed;
        const auto& got = passed.reply(api::HeadReply{.incarnation = incarnation,
                                                      .closed = true,
                                                      .tail = 4,
                                                      .content_type = slice("t/u"),
                                                      .expires = api::Expiry::Kind::ttl,
                                                      .ttl_ms = 3'600'000,
                                                      .expires_at = slice("then")});
        CHECK(got.incarnation == incarnation);
        CHECK(got.closed);
        CHECK(got.tail == 4);
        CHECK(text(got.content_type) == "t/u");
        CHECK(got.expires == api::Expiry::Kind::ttl);
        CHECK(got.ttl_ms == 3'600'000);
        CHECK(text(got.expires_at) == "then");
    }
    {
        Passed passed;
        const auto& got = passed.reply(api::HoldReply{.point = 1,
                                                      .depth = 2,
                                                      .expires = api::Expiry::Kind::at,
                                                      .expires_ms = 3,
                                                      .expires_at = slice("then")});
        CHECK((got.point == 1 && got.depth == 2 && got.expires_ms == 3));
        CHECK(got.expires == api::Expiry::Kind::at);
        CHECK(text(got.expires_at) == "then");
    }
    {
        Passed passed;
        CHECK(passed.reply(api::ForkBegunReply{.link = incarnation}).link == incarnation);
    }
    {
        Passed passed;
        const auto& got =
            passed.reply(api::OriginReply{.name = slice("v1/s"), .life = incarnation, .point = 6});
        CHECK(text(got.name) == "v1/s");
        CHECK(got.life == incarnation);
        CHECK(got.point == 6);
    }
    {
        Passed passed;
        const auto& got = passed.reply(
            api::WatchReply{.incarnation = incarnation, .closed = true, .tail = 1ull << 60});
        CHECK(got.incarnation == incarnation);
        CHECK(got.closed);
        CHECK(got.tail == 1ull << 60);
    }
    {
        Passed passed;
        const auto& got = passed.reply(api::BucketReply{.created = true, .bucket_id = 5});
        CHECK(got.created);
        CHECK(got.bucket_id == 5);
    }
    {
        Passed passed;
        CHECK(passed.reply(api::SealReply{.empty = true}).empty);
    }
}

TEST_CASE("what operators ask and are told") {
    {
        Passed passed;
        const auto& got = passed.call(api::InspectCall{api::InspectCall::What::stream, key});
        CHECK(got.what == api::InspectCall::What::stream);
        check_key(got.key);
    }
    {
        Passed passed;
        const auto& got = passed.call(api::TransferCall{base::GroupId(9), base::NodeId(3)});
        CHECK(got.group == base::GroupId(9));
        CHECK(got.to == base::NodeId(3));
    }
    {
        Passed passed;
        const auto& got = passed.reply(
            api::TransferReply{api::TransferReply::Kind::not_up, base::NodeId(2), base::Term(8)});
        CHECK(got.kind == api::TransferReply::Kind::not_up);
        CHECK(got.leader == base::NodeId(2));
        CHECK(got.term == base::Term(8));
    }
    // One, some, and more groups than fit the ring: inline and as a block.
    for (const std::uint32_t groups : {0u, 3u, 4096u}) {
        CAPTURE(groups);
        api::InspectReply reply;
        for (std::uint32_t i = 0; i < groups; ++i) {
            api::GroupView group;
            group.group = base::GroupId(i);
            group.commit = base::LogIndex(1000 + i);
            group.member_count = 1;
            group.members[0].node = base::NodeId(i + 1);
            reply.groups.push_back(group);
        }
        reply.nodes = {{base::NodeId(2), true, 3, 77, slice("10.0.0.2:4439"), slice("http://b")},
                       {base::NodeId(3), false, 1, 0, {}, {}}};
        reply.streams = {{{base::GroupId(1), base::LogIndex(2), 3}, 77, true, true}};
        reply.content_type = slice("a/b");
        Passed passed;
        const auto& got = passed.reply(reply);
        REQUIRE(got.groups.size() == groups);
        for (std::uint32_t i = 0; i < groups; ++i) {
            REQUIRE(got.groups[i].group == base::GroupId(i));
            REQUIRE(got.groups[i].commit == base::LogIndex(1000 + i));
            REQUIRE(got.groups[i].members[0].node == base::NodeId(i + 1));
        }
        REQUIRE(got.nodes.size() == 2);
        CHECK(got.nodes[0].up);
        CHECK(got.nodes[0].shards == 3);
        CHECK(got.nodes[0].incarnation == 77);
        CHECK(base::as_text(got.nodes[0].address.bytes()) == "10.0.0.2:4439");
        CHECK(base::as_text(got.nodes[0].client.bytes()) == "http://b");
        CHECK(got.nodes[1].node == base::NodeId(3));
        CHECK(!got.nodes[1].up);
        CHECK(got.nodes[1].address.bytes().empty());
        REQUIRE(got.streams.size() == 1);
        CHECK(got.streams[0].tail == 77);
        CHECK(base::as_text(got.content_type.bytes()) == "a/b");
    }
}

TEST_CASE("pieces and lists at the inline limit, one above, ten times") {
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{5}, inline_max, inline_max + 1, 10 * inline_max}) {
        CAPTURE(size);
        std::string bytes(size, 'p');
        for (std::size_t i = 0; i < size; ++i) {
            bytes[i] = static_cast<char>('a' + i % 23);
        }
        const std::size_t cut = size / 3;
        const std::vector<Slice> pieces = {slice(std::string_view(bytes).substr(0, cut)),
                                           slice(std::string_view(bytes).substr(cut))};
        {
            Passed passed;
            const auto& got = passed.reply(api::ReadReply{.incarnation = {},
                                                          .json = true,
                                                          .closed = true,
                                                          .up_to_date = true,
                                                          .from = 10,
                                                          .next = 10 + size,
                                                          .content_type = slice("x/y"),
                                                          .pieces = pieces});
            CHECK(got.json);
            CHECK(got.closed);
            CHECK(got.up_to_date);
            CHECK(got.from == 10);
            CHECK(got.next == 10 + size);
            CHECK(text(got.content_type) == "x/y");
            CHECK(got.pieces.size() == (size == 0 ? 0 : 1));
            CHECK(joined(got.pieces) == bytes);
        }
        {
            Passed passed;
            const auto& got = passed.reply(api::Post{.removed = true,
                                                     .lost = true,
                                                     .closed = true,
                                                     .from = 3,
                                                     .to = 3 + size,
                                                     .pieces = pieces});
            CHECK(got.removed);
            CHECK(got.lost);
            CHECK(got.closed);
            CHECK(got.from == 3);
            CHECK(got.to == 3 + size);
            CHECK(joined(got.pieces) == bytes);
        }
        {
            Passed passed;
            const auto& got = passed.reply(api::ListReply{.names = bytes, .more = true});
            CHECK(got.names == bytes);
            CHECK(got.more);
        }
    }
}

TEST_CASE("a full mailbox takes nothing of a call or a reply") {
    Mailbox mailbox;
    const std::string body(inline_max, 'z');
    const Call call{.id = api::CallId(1),
                    .from = base::ShardId(0),
                    .verb = api::CreateCall{.key = key,
                                            .content_type = "a/b",
                                            .closed = false,
                                            .bucket_id = 0,
                                            .body = base::as_bytes(body)}};
    std::size_t pushed = 0;
    while (push_call(mailbox, call)) {
        ++pushed;
    }
    CHECK(pushed == base::limits::mailbox_bytes / inline_max - 1);
    const Reply reply{.id = api::CallId(1),
                      .to = base::ShardId(0),
                      .answer = api::ListReply{.names = body + body, .more = false}};
    // The small part of a large reply may still fit; then its block goes with it.
    while (push_reply(mailbox, reply)) {
    }
    CHECK_FALSE(push_reply(mailbox, reply));
    MailRecord record;
    std::size_t taken = 0;
    while (mailbox.take(record) && kind_of(record) == MailKind::call) {
        CHECK(std::get<api::CreateCall>(decode_call(record).verb).body.size() == inline_max);
        ++taken;
    }
    CHECK(taken == pushed);
    record = {};
    mailbox.release();
    CHECK(push_call(mailbox, call));
}

TEST_CASE("a small append and its answer cross without an allocation, a small read with two") {
    Mailbox mailbox;
    MailRecord record;
    const std::string body(256, 'z');
    const Call call{.id = api::CallId(1),
                    .from = base::ShardId(0),
                    .verb = api::AppendCall{.key = key,
                                            .content_type = "a/b",
                                            .has_content_type = true,
                                            .close = false,
                                            .producer = {},
                                            .stream_seq = {},
                                            .body = base::as_bytes(body)}};
    const Reply answer{.id = api::CallId(1),
                       .to = base::ShardId(0),
                       .answer = api::AppendReply{.kind = api::AppendReply::Kind::appended,
                                                  .closed = false,
                                                  .producer = false,
                                                  .tail = 4,
                                                  .producer_epoch = 0,
                                                  .producer_seq = 0}};
    const Reply read{.id = api::CallId(1),
                     .to = base::ShardId(0),
                     .answer = api::ReadReply{.incarnation = {},
                                              .json = false,
                                              .closed = false,
                                              .up_to_date = true,
                                              .from = 0,
                                              .next = 256,
                                              .content_type = slice("a/b"),
                                              .pieces = {slice(body)}}};
    bool all = true;
    const auto pass = [&](const auto& push) {
        all = all && push() && mailbox.take(record);
        std::uint64_t id = 0;
        if (kind_of(record) == MailKind::call) {
            id = decode_call(record).id.value;
        } else {
            id = decode_reply(record).id.value;
        }
        all = all && id == 1;
        mailbox.release();
    };
    const std::uint64_t before = test_support::allocations();
    for (int i = 0; i < 100; ++i) {
        pass([&] { return push_call(mailbox, call); });
        pass([&] { return push_reply(mailbox, answer); });
    }
    CHECK(test_support::allocations() == before);
    pass([&] { return push_reply(mailbox, read); });
    CHECK(test_support::allocations() - before <= 2);
    CHECK(all);
}

}  // namespace ursula::shard
