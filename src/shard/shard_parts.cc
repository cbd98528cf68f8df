// Items that are too large for a frame: a body of many MiB takes seconds on a slow network, and
// beats, answers and what other groups have to say go in between.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

// More entries and calls would only make everything behind them late. A turn comes when it is less.
bool Shard::is_backed_up(const PeerLink& link) const {
    return options_.peer_net->unsent(link.peer) >= limits::frame_bytes_target;
}

bool Shard::sends_large_of(const PeerLink& link, base::GroupId group) {
    return link.large.term != base::Term{} && link.large.group == group;
}

// Entries that are to leave in parts, of which the link has some under way: they are the next.
bool Shard::waits_for_large(PeerLink& link, std::size_t bytes) const {
    const bool waits = is_large(bytes) && !link.large.bytes.empty();
    link.large_wanted = link.large_wanted || waits;
    return waits;
}

// What is in large_frame_ is on its way to that peer, which has nothing else of the kind.
void Shard::begin_large(PeerLink& link, base::GroupId group, std::uint64_t call, base::Term term) {
    VERIFY(link.large.bytes.empty());
    const base::Bytes item = large_frame_.item();
    VERIFY(item.size() <= limits::frame_bytes_max);
    link.large.bytes.assign(item.begin(), item.end());
    link.large.sent = 0;
    link.large.group = group;
    link.large.call = call;
    link.large.term = term;
    link.large_wanted = false;
    ++link.large_number;
    ++counters_.large_items_sent;
    large_frame_ = {};
}

// One part for each peer that has taken most of what it was sent.
void Shard::send_parts() {
    for (PeerLink& link : links_) {
        LargeItem& large = link.large;
        if (large.bytes.empty()) {
            continue;
        }
        const raft::Group& group = replica(large.group).group;
        if (large.call == 0 && (!group.is_leader() || group.term() != large.term)) {
            large = {};  // nobody would listen
            continue;
        }
        if (!options_.peer_net->takes(link.peer) || is_busy(link)) {
            continue;
        }
        const std::size_t size =
            std::min(options_.frame_part_bytes, large.bytes.size() - large.sent);
        link.frame.add_part(large.group, link.large_number, static_cast<std::uint32_t>(large.sent),
                            static_cast<std::uint32_t>(large.bytes.size()),
                            base::Bytes(large.bytes).subspan(large.sent, size));
        large.sent += size;
        if (large.call != 0) {
            put_off_timeout(link);
        }
        if (large.sent == large.bytes.size()) {
            large = {};
        }
        send_more_ = true;  // the next part, or what waited for this one
    }
}

// False: it cannot be a part of anything.
bool Shard::take_part(PeerLink& link, const FrameHeader& header) {
    LargeItemIn& in = link.large_in;
    if (item_.number > in.number) {
        in.number = item_.number;
        in.bytes.assign(item_.length, std::byte{0});
        in.ats.clear();
        in.missing = item_.length;
    }
    if (item_.number < in.number || in.bytes.empty() ||
        std::find(in.ats.begin(), in.ats.end(), item_.at) != in.ats.end()) {
        return true;  // of an earlier one, or doubled
    }
    if (item_.length != in.bytes.size() || item_.bytes.size() > in.missing) {
        return false;
    }
    base::copy_bytes(in.bytes.data() + item_.at, item_.bytes);
    in.ats.push_back(item_.at);
    in.missing -= item_.bytes.size();
    if (in.missing > 0) {
        return true;
    }
    // Looked at until the end of the turn, like a frame.
    taken_bytes_.push_back(std::exchange(in.bytes, {}));
    ++counters_.large_items_taken;
    const base::GroupId group = item_.group;
    FrameReader reader;
    reader.open_item(header, taken_bytes_.back());
    if (!reader.next(item_) || item_.group != group ||
        (item_.kind != FrameItem::Kind::call && item_.kind != FrameItem::Kind::message)) {
        return false;
    }
    item_.in_parts = true;
    return take_item(link, header);
}

}  // namespace ursula::shard
