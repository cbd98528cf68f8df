// A node that gives its snapshot to a follower (shard/snapshot_fetch.h): an image made while it is
// sent, and bytes of streams from memory or disk. Bounded per turn and per follower; what a
// question finds no room for is asked for again.
#include <algorithm>

#include "base/limits.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

constexpr std::size_t image_slice_bytes = 64 * 1024;                            // made per turn
constexpr std::size_t answers_per_turn_bytes = limits::fetch_window_bytes / 2;  // per peer
constexpr std::uint64_t call_of_read = std::uint64_t{3} << 56;
constexpr std::size_t asks_waiting_max = limits::fetch_asks_max * limits::fetches_max;

// Who asked need not wait for the clock to ask another node.
WaitingAnswer without_bytes(WaitingAnswer&& answer, FetchData::What why) {
    answer.data.what = why;
    answer.pieces.clear();
    answer.slices.clear();
    answer.skip = 0;
    answer.size = 0;
    return std::move(answer);
}

}  // namespace

void Shard::on_fetch_ask(PeerLink& link, Replica& replica, const FetchAsk& ask) {
    const auto found = std::find_if(
        replica.served.begin(), replica.served.end(),
        [&](const auto& one) { return one->to == link.peer.node && one->number == ask.fetch; });
    ServedFetch* served = found == replica.served.end() ? nullptr : found->get();
    if (served != nullptr) {
        served->asked = now_.mono;
    }
    switch (ask.what) {
        case FetchAsk::What::hold:
            return;
        case FetchAsk::What::over:
            if (served != nullptr) {
                replica.served.erase(found);
            }
            return;
        case FetchAsk::What::bytes:
            if (link.asks.size() < asks_waiting_max) {
                link.asks.push_back({replica.id(), ask, std::string(ask.name)});
                link.asks.back().ask.name = {};
            }
            return;
        case FetchAsk::What::image:
            break;
    }
    if (served == nullptr) {
        served = ask.at == 0 ? begin_serving(link, replica, ask) : nullptr;
        if (served == nullptr) {
            FetchData data;
            data.fetch = ask.fetch;
            data.what = ask.at == 0 ? FetchData::What::wait : FetchData::What::unknown;
            link.frame.add_data(replica.id(), data, {}, 0);
            return;
        }
    }
    if (ask.at > served->bytes_at && ask.at <= served->sent) {
        const std::uint64_t arrived = ask.at - served->bytes_at;
        served->bytes.erase(served->bytes.begin(),
                            served->bytes.begin() + static_cast<std::ptrdiff_t>(arrived));
        served->bytes_at = ask.at;
    }
    if (ask.again) {
        served->sent = served->bytes_at;
        served->end_sent = false;
    }
}

// Null: not now. There is one image of a machine at a time, and it covers what was offered.
ServedFetch* Shard::begin_serving(PeerLink& link, Replica& replica, const FetchAsk& ask) {
    std::erase_if(replica.served, [&](const auto& one) { return one->to == link.peer.node; });
    const bool busy =
        (image_ != nullptr && imaging_ == &replica && !installing_) || is_being_imaged(replica);
    if (busy || replica.machine.applied().index < ask.id.index) {
        return nullptr;
    }
    auto served = std::make_unique<ServedFetch>();
    served->to = link.peer.node;
    served->number = ask.fetch;
    served->image = replica.machine.applied();
    served->writer = std::make_unique<stream::ImageWriter>(replica.machine, false);
    served->asked = now_.mono;
    replica.served.push_back(std::move(served));
    if (std::find(serving_.begin(), serving_.end(), &replica) == serving_.end()) {
        serving_.push_back(&replica);
    }
    ++counters_.images_served;
    return replica.served.back().get();
}

void Shard::stop_serving(Replica& replica) {
    replica.served.clear();
}

// The log may not be forgotten behind an image that a follower is about to have.
base::LogIndex Shard::pinned_through(const Replica& replica) {
    base::LogIndex through(UINT64_MAX);
    for (const auto& served : replica.served) {
        through = std::min(through, served->image.index);
    }
    return through;
}

// At the end of a turn: what there is room for.
void Shard::serve_fetches() {
    for (PeerLink& link : links_) {
        link.fetch_bytes = 0;
    }
    for (Replica* replica : serving_) {
        std::erase_if(replica->served, [this](const auto& served) {
            return now_.mono - served->asked >= base::milliseconds(limits::fetch_pinned_ms);
        });
        for (auto& served : replica->served) {
            send_image(*replica, *served);
        }
    }
    std::erase_if(serving_, [](const Replica* replica) { return replica->served.empty(); });
    for (PeerLink& link : links_) {
        if (!link.asks.empty() || !link.answers.empty()) {
            answer_asks(link);
        }
    }
}

// What a follower fetches leaves room for what all others wait for. A turn comes when it is less.
bool Shard::is_busy(const PeerLink& link) const {
    return options_.peer_net->unsent(link.peer) >= limits::frame_part_bytes;
}

void Shard::send_image(Replica& replica, ServedFetch& served) {
    PeerLink* link = find_link(served.to, replica);
    if (link == nullptr || served.end_sent || !options_.peer_net->takes(link->peer)) {
        return;
    }
    if (served.writer != nullptr && served.bytes.size() < options_.fetch_window_bytes) {
        no_locations_.clear();
        served.writer->next_slice(image_slice_bytes, served.bytes, no_locations_);
        if (served.writer->done()) {
            served.writer.reset();
        }
    }
    const std::uint64_t end = served.bytes_at + served.bytes.size();
    while (!served.end_sent && (served.sent < end || served.writer == nullptr)) {
        if (is_busy(*link)) {
            return;
        }
        if (link->fetch_bytes >= answers_per_turn_bytes) {
            send_more_ = true;
            return;
        }
        const auto at = static_cast<std::size_t>(served.sent - served.bytes_at);
        const std::size_t size =
            std::min<std::size_t>(options_.fetch_piece_bytes, served.bytes.size() - at);
        FetchData data;
        data.fetch = served.number;
        data.what = FetchData::What::image;
        data.id = served.image;
        data.at = served.sent;
        data.last = served.writer == nullptr && served.sent + size == end;
        link->frame.add_data(replica.id(), data, {}, size);
        link->frame.add_bytes(base::Bytes(served.bytes).subspan(at, size));
        served.sent += size;
        link->fetch_bytes += size;
        served.end_sent = data.last;
    }
    send_more_ = send_more_ ||
                 (served.writer != nullptr && served.bytes.size() < options_.fetch_window_bytes);
}

void Shard::answer_asks(PeerLink& link) {
    if (!options_.peer_net->takes(link.peer)) {
        link.asks.clear();
        link.answers.clear();
        return;
    }
    while (!link.answers.empty() || !link.asks.empty()) {
        if (is_busy(link)) {
            return;
        }
        if (link.fetch_bytes >= answers_per_turn_bytes) {
            send_more_ = true;
            return;
        }
        if (link.answers.empty()) {
            WaitingAsk ask = std::move(link.asks.front());
            link.asks.pop_front();
            answer_ask(link, ask);
            continue;
        }
        const WaitingAnswer answer = std::move(link.answers.front());
        link.answers.pop_front();
        link.frame.add_data(answer.group, answer.data, answer.pieces, answer.size);
        link.fetch_bytes += answer.size;
        std::size_t skip = answer.skip;
        std::size_t left = answer.size;
        for (const base::Slice& slice : answer.slices) {
            const base::Bytes bytes = slice.bytes();
            if (skip >= bytes.size()) {
                skip -= bytes.size();
                continue;
            }
            const base::Bytes part = bytes.subspan(skip, std::min(bytes.size() - skip, left));
            skip = 0;
            left -= part.size();
            link.frame.add_bytes(part);
        }
        VERIFY(left == 0);
    }
}

// Puts the answer among the link's, or begins to read what is on disk.
void Shard::answer_ask(PeerLink& link, WaitingAsk& waiting) {
    Replica& replica = this->replica(waiting.group);
    const FetchAsk& ask = waiting.ask;
    WaitingAnswer answer;
    answer.group = waiting.group;
    answer.data.fetch = ask.fetch;
    answer.data.created = ask.created;
    answer.data.ordinal = ask.ordinal;
    answer.data.at = ask.at;
    answer.data.what = FetchData::What::wait;
    if (replica.machine.applied().index < ask.id.index) {
        link.answers.push_back(std::move(answer));  // it was restarted, or never led
        return;
    }
    const stream::Stream* stream =
        replica.machine.find(waiting.name, replica.machine.hash_of(waiting.name));
    const base::Incarnation wanted{waiting.group, ask.created, ask.ordinal};
    answer.data.what = FetchData::What::gone;
    if (stream == nullptr || stream->incarnation(waiting.group) != wanted) {
        link.answers.push_back(std::move(answer));
        return;
    }
    if (ask.to > stream->tail()) {
        return;  // no state that covers the image has so little
    }
    plan_.pieces.clear();
    plan_.disk_bytes = 0;
    plan_.memory_bytes = 0;
    std::uint32_t index = stream->locations.find(ask.at);
    while (stream->locations.at(index).to <= ask.at) {
        ++index;
    }
    const std::uint64_t hot = stream->hot.begin();
    answer.skip = static_cast<std::size_t>(ask.at - stream->locations.at(index).from);
    for (std::uint64_t at = ask.at; at < ask.to; ++index) {
        const stream::Piece piece = stream->locations.at(index);
        if (piece.place.segment == no_segment) {
            link.answers.push_back(std::move(answer));  // gone, as it was told itself
            return;
        }
        if (hot <= piece.from) {
            for (std::uint64_t from = piece.from; from < piece.to;) {
                base::Slice slice = stream->hot.slice_at(from, piece.to);
                from += slice.size();
                plan_.memory_bytes += slice.size();
                plan_.pieces.push_back({std::move(slice), {}});
            }
        } else {
            plan_.disk_bytes += piece.place.size;
            plan_.pieces.push_back({{}, piece.place});
        }
        const std::uint64_t end = std::min(piece.to, ask.to);
        const bool whole = piece.last && end == piece.to;
        answer.pieces.push_back(static_cast<std::uint32_t>(end - at) | (whole ? 0 : piece_goes_on));
        at = end;
    }
    answer.data.what = FetchData::What::bytes;
    answer.size = static_cast<std::size_t>(ask.to - ask.at);
    if (plan_.disk_bytes == 0) {
        for (stream::ReadPiece& piece : plan_.pieces) {
            answer.slices.push_back(std::move(piece.memory));
        }
        link.answers.push_back(std::move(answer));
        return;
    }
    auto read = std::make_unique<ByteRead>();
    read->number = call_of_read | next_internal_++;
    read->to = link.peer;
    read->to_shards = link.shards;
    read->answer = std::move(answer);
    api::Reply reply{api::CallId(read->number), internal, api::ReadReply{}};
    if (disk_reads_.start(*wal_, plan_, std::move(reply))) {
        byte_reads_.push_back(std::move(read));
    } else {
        link.answers.push_back(without_bytes(std::move(read->answer), FetchData::What::wait));
    }
}

void Shard::on_bytes_read(api::Reply& reply) {
    const auto found = std::find_if(byte_reads_.begin(), byte_reads_.end(), [&](const auto& read) {
        return read->number == reply.id.value;
    });
    VERIFY(found != byte_reads_.end());
    const std::unique_ptr<ByteRead> read = std::move(*found);
    byte_reads_.erase(found);
    auto* bytes = std::get_if<api::ReadReply>(&reply.answer);
    PeerLink* link = find_link(read->to, read->to_shards);
    if (link == nullptr) {
        return;
    }
    if (bytes == nullptr) {
        link->answers.push_back(
            without_bytes(std::move(read->answer), FetchData::What::unreadable));
        return;
    }
    for (auto& piece : bytes->pieces) {
        read->answer.slices.push_back(std::move(piece));
    }
    link->answers.push_back(std::move(read->answer));
}

}  // namespace ursula::shard
