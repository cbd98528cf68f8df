// Forwarded calls and their answers: what is written is read back, nothing else is read, and what
// is read has one form.
#include "shard/call_wire.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "base/wire.h"

namespace ursula::shard {

namespace {

namespace limits = base::limits;

const base::GroupId group{7};

using Step = api::ChangeMemberCall::Step;
using Kind = api::Expiry::Kind;

api::ForkCall full_fork() {
    api::ForkCall fork;
    fork.key = {"bucket/fork", 0, group};
    fork.source = "v1/the/source";
    fork.source_group = base::GroupId(61);
    fork.has_content_type = true;
    fork.has_offset = true;
    fork.closed = true;
    fork.offset = UINT64_MAX;
    fork.sub_offset = 1ull << 50;
    fork.bucket_id = 4;
    fork.content_type = "text/plain";
    fork.body = base::as_bytes("body");
    fork.expiry = {Kind::ttl, 60'000, {}};
    return fork;
}

api::ForkCall plain_fork() {
    api::ForkCall fork;
    fork.key = {"v1/f", 0, group};
    fork.source = "v1/s";
    return fork;
}

std::vector<api::Verb> all_calls() {
    const api::StreamKey key{"bucket/stream", 0, group};
    const base::Incarnation id{base::GroupId(63), base::LogIndex(1ull << 55), 17};
    const api::Producer producer{true, "p", 3, 9};
    return {
        api::CreateCall{key, "application/json", true, 5, base::as_bytes("[1]"), {}},
        api::CreateCall{{"v1/s", 0, group}, "text/plain", false, 0, {}, {}},
        api::AppendCall{key, "text/plain", true, true, producer, "0001", base::as_bytes("body")},
        api::AppendCall{key, "", false, false, {}, "", base::as_bytes("x")},
        api::AppendCall{key, "", true, false, {true, "q", 0, 0}, "", {}},
        api::RemoveCall{key},
        api::CreateBucketCall{"bucket"},
        api::RemoveBucketCall{"bucket"},
        api::SealBucketCall{group, "bucket", 12, true},
        api::SealBucketCall{group, "bucket", 12, false, 99},
        api::ChangeMemberCall{group, Step::add_learner, base::NodeId(4), 99, 2, "10.0.0.4:4439",
                              "http://10.0.0.4:4437"},
        api::ChangeMemberCall{
            group, Step::promote, base::NodeId(UINT32_MAX), UINT64_MAX, 0, {}, {}},
        api::ChangeMemberCall{group, Step::remove, base::NodeId(1), 0, UINT32_MAX, {}, {}},
        api::CreateCall{key, "text/plain", false, 0, {}, {Kind::ttl, 60'000, {}}},
        api::CreateCall{key, "text/plain", true, 1, {}, {Kind::ttl, 0, {}}},
        api::CreateCall{key, "a/b", false, 0, {}, {Kind::at, -1, "1969-12-31T23:59:59.999Z"}},
        api::TouchCall{key, base::LogIndex(1ull << 60), UINT32_MAX},
        full_fork(),
        plain_fork(),
        api::HoldCall{key, id, base::LogIndex(1ull << 54), UINT32_MAX, api::fork_at_tail},
        api::HoldCall{key, {}, {}, 0, 0},
        api::ReleaseCall{key, id},
    };
}

std::vector<api::Answer> all_answers() {
    api::Refused refused{api::Refusal::producer_gap, 11, true, {12, 13}, 14};
    api::CreateReply created{true, true, 21, base::Slice::copy_of(base::as_bytes("text/plain"))};
    api::AppendReply appended{api::AppendReply::Kind::duplicate, true, true, 31, 32, 33};
    return {refused,
            api::Refused{api::Refusal::not_leader, 0, false, {2, 0}, 0},
            created,
            api::CreateReply{},
            appended,
            api::AppendReply{},
            api::RemoveReply{},
            api::BucketReply{true, 41},
            api::SealReply{true},
            api::SealReply{},
            api::ChangeMemberReply{true, base::LogIndex(51)},
            api::ChangeMemberReply{},
            api::TouchReply{},
            api::HoldReply{71, 1023, Kind::at, -5,
                           base::Slice::copy_of(base::as_bytes("1970-01-01T00:00:00Z"))},
            api::HoldReply{}};
}

base::GroupId group_of(const api::Verb& verb) {
    const base::GroupId* found = group_to_write(verb);
    REQUIRE(found != nullptr);
    return *found;
}

std::vector<std::byte> written(const api::Verb& verb) {
    std::vector<std::byte> bytes;
    write_call(verb, bytes);
    return bytes;
}

std::vector<std::byte> written_answer(const api::Answer& answer) {
    std::vector<std::byte> bytes;
    write_answer(answer, bytes);
    return bytes;
}

bool accepts(const api::Verb& verb) {
    const std::vector<std::byte> bytes = written(verb);
    api::Verb read;
    return read_call(bytes, group_of(verb), read);
}

}  // namespace

TEST_CASE("calls and answers are read as they were written") {
    for (const api::Verb& verb : all_calls()) {
        CAPTURE(verb.index());
        const std::vector<std::byte> bytes = written(verb);
        api::Verb read;
        REQUIRE(read_call(bytes, group_of(verb), read));
        CHECK(read.index() == verb.index());
        CHECK(group_of(read) == group_of(verb));
        CHECK(written(read) == bytes);
    }
    const api::Verb append = all_calls()[2];
    const std::vector<std::byte> bytes = written(append);
    api::Verb read;
    REQUIRE(read_call(bytes, group, read));
    const auto& call = std::get<api::AppendCall>(read);
    CHECK(call.key.name == "bucket/stream");
    CHECK(call.key.group == group);
    CHECK(call.content_type == "text/plain");
    CHECK((call.has_content_type && call.close && call.producer.present));
    CHECK(call.producer.id == "p");
    CHECK(call.producer.epoch == 3);
    CHECK(call.producer.seq == 9);
    CHECK(call.stream_seq == "0001");
    CHECK(base::as_text(call.body) == "body");

    const std::vector<std::byte> change_bytes = written(all_calls()[10]);  // `read` looks at them
    REQUIRE(read_call(change_bytes, group, read));
    const auto& change = std::get<api::ChangeMemberCall>(read);
    CHECK((change.step == Step::add_learner && change.node == base::NodeId(4)));
    CHECK((change.incarnation == 99 && change.shards == 2));
    CHECK((change.address == "10.0.0.4:4439" && change.client == "http://10.0.0.4:4437"));

    for (const api::Answer& answer : all_answers()) {
        CAPTURE(answer.index());
        const std::vector<std::byte> form = written_answer(answer);
        api::Answer again;
        REQUIRE(read_answer(form, again));
        CHECK(again.index() == answer.index());
        CHECK(written_answer(again) == form);
    }
    api::Answer answer;
    REQUIRE(read_answer(written_answer(all_answers()[2]), answer));
    const auto& created = std::get<api::CreateReply>(answer);
    CHECK((created.created && created.closed && created.tail == 21));
    CHECK(base::as_text(created.content_type.bytes()) == "text/plain");
}

TEST_CASE("a fork, its hold and its release are read with all they say") {
    api::Verb read;
    std::vector<std::byte> bytes = written(full_fork());
    REQUIRE(read_call(bytes, group, read));
    const auto& fork = std::get<api::ForkCall>(read);
    CHECK(fork.key.name == "bucket/fork");
    CHECK(fork.source == "v1/the/source");
    CHECK(fork.source_group == base::GroupId(61));
    CHECK((fork.has_content_type && fork.has_offset && fork.closed));
    CHECK(fork.offset == UINT64_MAX);
    CHECK(fork.sub_offset == 1ull << 50);
    CHECK(fork.bucket_id == 4);
    CHECK(fork.content_type == "text/plain");
    CHECK(base::as_text(fork.body) == "body");
    CHECK(fork.expiry.ms == 60'000);
    const base::Incarnation id{base::GroupId(63), base::LogIndex(1ull << 55), 17};
    bytes = written(api::HoldCall{{"v1/s", 0, group}, id, base::LogIndex(9), 8, 7});
    REQUIRE(read_call(bytes, group, read));
    const auto& hold = std::get<api::HoldCall>(read);
    CHECK(hold.id == id);
    CHECK(hold.created == base::LogIndex(9));
    CHECK(hold.ordinal == 8);
    CHECK(hold.point == 7);
    bytes = written(api::ReleaseCall{{"v1/s", 0, group}, id});
    REQUIRE(read_call(bytes, group, read));
    CHECK(std::get<api::ReleaseCall>(read).id == id);
    api::Answer answer;
    REQUIRE(read_answer(written_answer(api::HoldReply{5, 6, Kind::ttl, 7000, {}}), answer));
    const auto& held = std::get<api::HoldReply>(answer);
    CHECK((held.point == 5 && held.depth == 6 && held.expires_ms == 7000));
    api::ForkCall bad = plain_fork();
    bad.source = "none";
    CHECK_FALSE(accepts(bad));
    bad = plain_fork();
    bad.content_type = "text/plain";
    CHECK_FALSE(accepts(bad));
    bad = plain_fork();
    bad.offset = 1;
    CHECK_FALSE(accepts(bad));
}

TEST_CASE("an expiry that no front would let through is refused") {
    const auto takes = [](const api::Expiry& expiry) {
        return accepts(api::CreateCall{{"v1/s", 0, group}, "a/b", false, 0, {}, expiry});
    };
    const std::string longest(limits::expires_at_bytes_max, '1');
    const auto ttl_ms_max = static_cast<std::int64_t>(limits::ttl_s_max) * 1000;
    CHECK(takes({Kind::ttl, ttl_ms_max, {}}));
    CHECK(takes({Kind::at, INT64_MIN, longest}));
    CHECK_FALSE(takes({Kind::none, 1, {}}));
    CHECK_FALSE(takes({Kind::none, 0, "text"}));
    CHECK_FALSE(takes({Kind::ttl, -1000, {}}));
    CHECK_FALSE(takes({Kind::ttl, 1500, {}}));
    CHECK_FALSE(takes({Kind::ttl, 1000, "1"}));
    CHECK_FALSE(takes({Kind::ttl, ttl_ms_max + 1000, {}}));
    CHECK_FALSE(takes({Kind::at, 1000, {}}));
    CHECK_FALSE(takes({Kind::at, 1000, longest + "1"}));
    CHECK_FALSE(takes({static_cast<Kind>(3), 0, {}}));
}

TEST_CASE("calls that change nothing are nobody's to forward") {
    CHECK(group_to_write(api::HeadCall{}) == nullptr);
    CHECK(group_to_write(api::ReadCall{}) == nullptr);
    CHECK(group_to_write(api::WatchCall{}) == nullptr);
    CHECK(group_to_write(api::UnwatchCall{}) == nullptr);
    CHECK(group_to_write(api::ResolveBucketCall{}) == nullptr);
    CHECK(group_to_write(api::ListBucketsCall{}) == nullptr);
    CHECK(group_to_write(api::ListStreamsCall{}) == nullptr);
}

// A flipped bit may make another call of it, never a second form of one.
TEST_CASE("every flip, cut and extra byte is refused, or is another call in its one form") {
    for (const api::Verb& verb : all_calls()) {
        std::vector<std::byte> bytes = written(verb);
        api::Verb read;
        for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
            bytes[bit / 8] ^= std::byte{1} << (bit % 8);
            if (read_call(bytes, group_of(verb), read)) {
                CHECK(written(read) == bytes);
            }
            bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        }
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            CHECK(!read_call(base::Bytes(bytes).first(size), group_of(verb), read));
        }
        bytes.push_back(std::byte{0});
        CHECK(!read_call(bytes, group_of(verb), read));
    }
    for (const api::Answer& answer : all_answers()) {
        std::vector<std::byte> bytes = written_answer(answer);
        api::Answer read;
        for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
            bytes[bit / 8] ^= std::byte{1} << (bit % 8);
            if (read_answer(bytes, read)) {
                CHECK(written_answer(read) == bytes);
            }
            bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        }
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            CHECK(!read_answer(base::Bytes(bytes).first(size), read));
        }
        bytes.push_back(std::byte{0});
        CHECK(!read_answer(bytes, read));
    }
    // Another version's.
    std::vector<std::byte> bytes = written(all_calls()[0]);
    bytes[0] = std::byte{2};
    api::Verb verb;
    CHECK(!read_call(bytes, group, verb));
    bytes = written_answer(all_answers()[0]);
    bytes[0] = std::byte{2};
    api::Answer answer;
    CHECK(!read_answer(bytes, answer));
    // A bucket's command lives in group 0.
    CHECK(!read_call(written(api::CreateBucketCall{"bucket"}), group, verb));
}

TEST_CASE("bounds of what a call may say: at and one above") {
    const auto append = [](std::size_t name, std::size_t type, std::size_t id, std::size_t seq,
                           std::uint64_t number) {
        static const std::string a(4096, 'a');
        static const std::string slash = "b/" + a;
        api::AppendCall call;
        call.key = {std::string_view(slash).substr(0, name), 0, group};
        call.content_type = std::string_view(a).substr(0, type);
        call.has_content_type = type > 0;
        call.producer = {true, std::string_view(a).substr(0, id), number, number};
        call.stream_seq = std::string_view(a).substr(0, seq);
        return accepts(call);
    };
    constexpr std::size_t name = limits::stream_name_bytes_max;
    constexpr std::size_t type = limits::content_type_bytes_max;
    constexpr std::size_t id = limits::producer_id_bytes_max;
    constexpr std::size_t seq = limits::stream_seq_bytes_max;
    constexpr std::uint64_t number = limits::producer_number_max;
    CHECK(append(name, type, id, seq, number));
    CHECK(!append(name + 1, type, id, seq, number));
    CHECK(!append(name, type + 1, id, seq, number));
    CHECK(!append(name, type, id + 1, seq, number));
    CHECK(!append(name, type, 0, seq, number));
    CHECK(!append(name, type, id, seq + 1, number));
    CHECK(!append(name, type, id, seq, number + 1));
    CHECK(!append(1, type, id, seq, number));  // a stream's name has a slash behind something
    const std::string bucket(limits::bucket_name_bytes_max + 1, 'b');
    CHECK(accepts(api::CreateBucketCall{std::string_view(bucket).substr(1)}));
    CHECK(!accepts(api::CreateBucketCall{bucket}));
    CHECK(!accepts(api::CreateBucketCall{""}));
    CHECK(!accepts(api::CreateBucketCall{"a/b"}));
    const auto add = [](std::size_t address, std::size_t client) {
        static const std::string a(4096, 'a');
        return accepts(api::ChangeMemberCall{group, Step::add_learner, base::NodeId(1), 1, 1,
                                             std::string_view(a).substr(0, address),
                                             std::string_view(a).substr(0, client)});
    };
    CHECK(add(limits::member_address_bytes_max, limits::member_url_bytes_max));
    CHECK(!add(limits::member_address_bytes_max + 1, 0));
    CHECK(!add(0, limits::member_url_bytes_max + 1));
}

}  // namespace ursula::shard
