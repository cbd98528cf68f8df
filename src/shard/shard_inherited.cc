// Reads of forks that begin before the fork's own bytes: one answer is gathered from the streams
// that the bytes are of. The fork's shard asks the source's group, which answers with bytes or,
// when it is a fork itself and the bytes are not its own, says whose they are; so the way goes down
// the chain in a loop, and then up again with the bytes.
//
// What a fork inherits never changes, and stays while the fork does. So only the fork itself needs
// a confirmed state: a replica of a source that has the held life up to the fork's point has what
// every other one has, and one that has not waits until it has applied what its group had
// committed - the hold among it. A fork that goes meanwhile may take its sources along: then it was
// not found.
#include <algorithm>
#include <utility>

#include "api/placement.h"
#include "base/limits.h"
#include "shard/planted.h"
#include "shard/shard.h"
#include "stream/read_plan.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

// Bytes of a place that lies nowhere: the stream is gone (shard/snapshot_fetch.h).
bool lies_nowhere(const stream::ReadPlan& plan) {
    return std::any_of(plan.pieces.begin(), plan.pieces.end(), [](const stream::ReadPiece& piece) {
        return piece.memory.empty() && piece.disk.segment == no_segment;
    });
}

// Whole pieces came from the disk: only the first `size` bytes are meant.
void add_pieces(std::vector<base::Slice>& to, const std::vector<base::Slice>& pieces,
                std::uint64_t size) {
    for (const base::Slice& piece : pieces) {
        if (size == 0) {
            return;
        }
        const std::uint64_t part = std::min<std::uint64_t>(size, piece.size());
        to.push_back(piece.sub(0, part));
        size -= part;
    }
}

}  // namespace

// Of this life and with these bytes; null: not yet, or not any more.
const stream::Stream* Shard::find_level(const Replica& replica, std::string_view name,
                                        const base::Incarnation& life, std::uint64_t end) const {
    const stream::Stream* stream = replica.machine.find(name, replica.machine.hash_of(name));
    return stream != nullptr && stream->incarnation(replica.id()) == life && stream->tail() >= end
               ? stream
               : nullptr;
}

// Its own bytes from `offset` on and before `end`, into plan_.
void Shard::plan_level(const stream::Stream& stream, std::uint64_t offset, std::uint64_t end,
                       std::uint64_t bytes_max, bool more) {
    stream::plan_read(stream, offset, bytes_max, plan_);
    if (end != UINT64_MAX && plan_.next < end && end - plan_.from <= bytes_max) {
        // The append that `end` cuts is too large as a whole; what is meant of it fits.
        const std::uint64_t from = plan_.from;
        stream::plan_read(stream, plan_.next, 1, plan_);
        stream::plan_read(stream, offset, plan_.next - from, plan_);
    }
    stream::clamp_plan(plan_, end);
    if (more && plan_.next - plan_.from > bytes_max) {
        plan_.pieces.clear();
        plan_.disk_bytes = 0;
        plan_.next = plan_.from = offset;
        plan_.up_to_date = plan_.closed = false;
    }
}

// --- at the source ---

void Shard::take_inherit(const api::Call& call, const api::ReadCall& read) {
    Replica& replica = this->replica(read.key.group);
    const base::Incarnation life{replica.id(), read.created, read.ordinal};
    if (planted(Planted::inherited_unapplied) ||
        find_level(replica, read.key.name, life, read.end) != nullptr) {
        serve_inherit(replica, call.from, call.id, read);
    } else {
        take_read(call, read.key);
    }
}

void Shard::serve_inherit(const Replica& replica, base::ShardId from, api::CallId id,
                          const api::ReadCall& read) {
    const base::Incarnation life{replica.id(), read.created, read.ordinal};
    const stream::Stream* stream = find_level(replica, read.key.name, life, read.end);
    if (stream == nullptr) {
        reply(from, id, api::Refused{api::Refusal::stream_not_found});
        return;
    }
    if (read.offset < stream->own_from()) {
        const stream::ForkOrigin& origin = *stream->origin();
        reply(from, id,
              api::OriginReply{base::Slice::copy_of(base::as_bytes(origin.source_name)),
                               origin.source, origin.point});
        return;
    }
    plan_level(*stream, read.offset, read.end, read.bytes_max, read.more);
    api::ReadReply out;
    out.incarnation = life;
    send_plan(std::move(out), from, id);
}

// plan_ as the rest of this answer.
void Shard::send_plan(api::ReadReply&& out, base::ShardId from, api::CallId id) {
    if (disk_.keeps_data() && lies_nowhere(plan_)) {
        reply(from, id, api::Refused{api::Refusal::stream_not_found});
        return;
    }
    out.closed = plan_.closed;
    out.up_to_date = plan_.up_to_date;
    out.from = out.pieces.empty() ? plan_.from : out.from;
    out.next = plan_.next;
    send_pieces(std::move(out), from, id);
}

// --- at the fork ---

void Shard::gather(const Replica& replica, const stream::Stream& stream, base::ShardId from,
                   api::CallId id, const api::ReadCall& read) {
    const std::uint64_t asked = std::min<std::uint64_t>(read.bytes_max, limits::gathered_bytes_max);
    if (gatherings_.size() >= limits::gatherings_max ||
        (!gatherings_.empty() && gathered_bytes_ + asked > limits::gathered_bytes_max)) {
        ++counters_.refused_overloaded;
        reply(from, id, api::Refused{api::Refusal::overloaded});
        return;
    }
    auto gathering = std::make_unique<Gathering>();
    gathering->to = from;
    gathering->call = id;
    gathering->group = replica.id();
    gathering->name = stream.name();
    gathering->life = stream.incarnation(replica.id());
    gathering->next = read.offset;
    gathering->left = read.bytes_max;
    gathering->asked = asked;
    gathering->measure = read.use == api::ReadCall::Use::measure;
    gathering->out.incarnation = gathering->life;
    gathering->out.json = stream.json();
    gathering->out.content_type = stream.content_type_slice();
    const stream::ForkOrigin& origin = *stream.origin();
    gathering->levels.push_back({origin.source_name, origin.source, origin.point});
    gathered_bytes_ += asked;
    ask_levels(std::move(gathering));
}

// Asks the last level, and whom it names, as far as this shard knows the answers itself.
void Shard::ask_levels(std::unique_ptr<Gathering> gathering) {
    Gathering& own = *gathering;
    while (!own.levels.empty()) {
        Gathering::Level& level = own.levels.back();
        const bool here = api::shard_of(level.life.group, options_.shards) == options_.id;
        const stream::Stream* stream =
            here ? find_level(replica(level.life.group), level.name, level.life, level.end)
                 : nullptr;
        if (stream != nullptr && own.next < stream->own_from()) {
            add_level(own, stream->origin()->source_name, stream->origin()->source,
                      stream->origin()->point);
            continue;
        }
        if (stream != nullptr) {
            plan_level(*stream, own.next, level.end, own.left, own.any);
            if (plan_.disk_bytes == 0) {
                std::vector<base::Slice> pieces;
                for (stream::ReadPiece& piece : plan_.pieces) {
                    pieces.push_back(std::move(piece.memory));
                }
                if (!take_level(own, plan_.from, plan_.next, pieces)) {
                    break;
                }
                continue;
            }
        }
        const std::uint64_t number = next_internal_number();
        api::Call call;
        call.id = api::CallId(number);
        call.from = options_.id;
        api::ReadCall read;
        read.key = {level.name, replica(own.group).machine.hash_of(level.name), level.life.group};
        read.offset = own.next;
        read.bytes_max = own.left;
        read.use = api::ReadCall::Use::inherit;
        read.more = own.any;
        read.created = level.life.index;
        read.ordinal = level.life.ordinal;
        read.end = level.end;
        call.verb = read;
        internal_calls_->push_back(call);
        gatherings_.emplace(number, std::move(gathering));
        return;
    }
    end_gathering(*gathering);
}

void Shard::add_level(Gathering& gathering, std::string_view name, const base::Incarnation& life,
                      std::uint64_t point) {
    const std::uint64_t end = std::min(point, gathering.levels.back().end);
    gathering.levels.push_back({std::string(name), life, end});
}

// Bytes [from, next) of the last level came. False: that is all that may be answered.
bool Shard::take_level(Gathering& gathering, std::uint64_t from, std::uint64_t next,
                       const std::vector<base::Slice>& pieces) {
    const std::uint64_t size = next - from;
    if (!gathering.any) {
        gathering.out.from = from;
    }
    gathering.any = true;
    add_pieces(gathering.out.pieces, pieces, size);
    gathering.next = next;
    gathering.left -= std::min(gathering.left, size);
    if (next < gathering.levels.back().end) {
        return false;
    }
    while (!gathering.levels.empty() && gathering.levels.back().end <= next) {
        gathering.levels.pop_back();
    }
    return true;
}

void Shard::go_on_gathering(std::unique_ptr<Gathering> gathering) {
    const api::Answer answer = std::exchange(gathering->answer, api::Answer());
    gathering->answered = false;
    if (const auto* refused = std::get_if<api::Refused>(&answer)) {
        gathered_bytes_ -= gathering->asked;
        reply(gathering->to, gathering->call, api::Refused{refused->why});
        return;
    }
    if (const auto* origin = std::get_if<api::OriginReply>(&answer)) {
        if (gathering->levels.size() > limits::fork_depth_max) {
            gathered_bytes_ -= gathering->asked;
            reply(gathering->to, gathering->call, api::Refused{api::Refusal::read_failed});
            return;
        }
        add_level(*gathering, base::as_text(origin->name.bytes()), origin->life, origin->point);
        ask_levels(std::move(gathering));
        return;
    }
    const auto& read = std::get<api::ReadReply>(answer);
    if (take_level(*gathering, read.from, read.next, read.pieces)) {
        ask_levels(std::move(gathering));
    } else {
        end_gathering(*gathering);
    }
}

// With its own bytes, if all before them have come.
void Shard::end_gathering(Gathering& gathering) {
    gathered_bytes_ -= gathering.asked;
    const Replica& replica = this->replica(gathering.group);
    const stream::Stream* stream =
        find_level(replica, gathering.name, gathering.life, gathering.next);
    if (stream == nullptr || stream->gone()) {
        reply(gathering.to, gathering.call, api::Refused{api::Refusal::stream_not_found});
        return;
    }
    if (gathering.measure) {
        gathering.out.pieces.clear();
        gathering.out.next = gathering.next;
        reply(gathering.to, gathering.call, std::move(gathering.out));
        return;
    }
    if (gathering.next < stream->own_from()) {
        gathering.out.next = gathering.next;
        reply(gathering.to, gathering.call, std::move(gathering.out));
        return;
    }
    plan_level(*stream, gathering.next, UINT64_MAX, gathering.left, true);
    send_plan(std::move(gathering.out), gathering.to, gathering.call);
}

}  // namespace ursula::shard
