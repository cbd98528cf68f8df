// Writes and their answers as bytes between nodes: what a node that does not lead a group sends to
// the one that does. Versioned, checked when read, and of exactly one form each: what is accepted
// is the same bytes when written again. Numbers are little-endian; what a kind does not use is 0.
//
//   call             at  size
//     version          0     1   call_wire_version
//     kind             1     1   1 create, 2 append, 3 remove, 4 create bucket, 5 remove bucket,
//                                6 seal bucket, 7 change of the members, 8 touch,
//                                9 fork, 10 hold, 11 release
//                                18 operation on a subscription
//     flags            2     1   1 close / closed / seal, 2 has a content type, 4 has a producer
//     zero             3     1
//     name             4     2   size, of the stream's or the bucket's; 7: of the address
//     content type     6     2   size; 7: of the clients' URL
//     producer id      8     2   size
//     Stream-Seq      10     2   size; 1: of the instant's text
//     body            12     4   size
//     number          16     8   bucket id; 7: incarnation; 8: index of the creating entry;
//                                18: api::SubscriptionOp, whose body is the call's
//     epoch, seq      24    16   of the producer; 7: node, step << 32 | shards;
//                                1: ms and kind of the expiry (api::Expiry); 8: 0, ordinal
//     only 9 to 11    40    24   three numbers
//     name, content type, producer id, Stream-Seq, body
//   A fork is a create with the source in the producer id's place and offset, sub-offset, and
//   group | has an offset << 32 as its numbers; flag 2 says whether its content type was given. A
//   hold has its id's index as number, the source's create in epoch and (ordinal << 32 | the id's
//   ordinal) in seq, and point and the id's group as its numbers; a release has what it has of the
//   id.
//
//   answer           at  size
//     version          0     1
//     kind             1     1   1 refused, 2 create, 3 append, 4 remove, 5 bucket, 6 seal,
//                                7 change, 8 touch, 9 hold, 18 of a subscription
//     flags            2     1   1 closed, 2 created, producer or changed, 4 empty
//     code             3     1   api::Refusal, or api::AppendReply::Kind
//     content type     4     4   size; 18: of the packed answer, which is in its place
//     numbers          8    32   refused: tail, numbers, producer epoch; create: tail;
//                                append: tail, epoch, seq; bucket: id; change: index;
//                                hold: point, expiry's ms, depth (and its kind as code)
//     content type (hold: the expiry's text)
#pragma once

#include <cstdint>
#include <vector>

#include "api/call.h"
#include "api/reply.h"
#include "base/bytes.h"

namespace ursula::shard {

constexpr std::uint8_t call_wire_version = 1;
constexpr std::size_t call_head_bytes = 40;
constexpr std::size_t answer_head_bytes = 40;

// The group whose leader takes this call; null for calls that change nothing.
const base::GroupId* group_to_write(const api::Verb& verb);

// Where a call between groups goes (DESIGN "Calls between groups"): a write, or a read of a stream.
base::GroupId group_of_internal(const api::Verb& verb);

// Such a call with its text where `keep` puts it. For drivers of shards in tests.
template <class Keep>
void keep_internal(api::Verb& verb, const Keep& keep) {
    if (auto* seal = std::get_if<api::SealBucketCall>(&verb)) {
        seal->bucket = keep(seal->bucket);
    } else if (auto* read = std::get_if<api::ReadCall>(&verb)) {
        read->key.name = keep(read->key.name);
    } else if (auto* hold = std::get_if<api::HoldCall>(&verb)) {
        hold->key.name = keep(hold->key.name);
    } else if (auto* release = std::get_if<api::ReleaseCall>(&verb)) {
        release->key.name = keep(release->key.name);
    } else if (auto* asked = std::get_if<api::SubscriptionCall>(&verb)) {
        asked->name = keep(asked->name);
        asked->body = base::as_bytes(keep(base::as_text(asked->body)));
    } else if (auto* append = std::get_if<api::AppendCall>(&verb)) {
        append->key.name = keep(append->key.name);
        append->content_type = keep(append->content_type);
        append->producer.id = keep(append->producer.id);
        append->body = base::as_bytes(keep(base::as_text(append->body)));
    }
}

// Both append. A call that group_to_write() names; an answer that such a call can have.
void write_call(const api::Verb& verb, std::vector<std::byte>& out);
void write_answer(const api::Answer& answer, std::vector<std::byte>& out);

// False: not one of ours. Views point into `bytes`; the key has the group it was given and no hash.
[[nodiscard]] bool read_call(base::Bytes bytes, base::GroupId group, api::Verb& verb);
[[nodiscard]] bool read_answer(base::Bytes bytes, api::Answer& answer);

}  // namespace ursula::shard
