// A follower fetches a snapshot (shard/snapshot_fetch.h): asks, writes down what comes, and puts
// the new machine in the old one's place.
#include <algorithm>

#include "base/crc32c.h"
#include "base/limits.h"
#include "shard/planted.h"
#include "shard/shard.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

constexpr base::Duration retry = base::milliseconds(limits::fetch_retry_ms);
constexpr base::Duration silence = base::milliseconds(limits::fetch_silence_ms);

std::uint64_t placed_through(const stream::Stream& stream) {
    const std::uint32_t count = stream.locations.count();
    return count == 0 ? stream.own_from() : stream.locations.at(count - 1).to;
}

// The open question that this answers; null: none.
SnapshotFetch::Ask* find_ask(SnapshotFetch& fetch, base::GroupId group, const FetchData& data) {
    const base::Incarnation incarnation{group, data.created, data.ordinal};
    const auto open =
        std::find_if(fetch.asks.begin(), fetch.asks.end(), [&](const SnapshotFetch::Ask& one) {
            return one.stream->incarnation(group) == incarnation;
        });
    return open == fetch.asks.end() ? nullptr : &*open;
}

void close_ask(SnapshotFetch& fetch, SnapshotFetch::Ask* open) {
    fetch.asks.erase(fetch.asks.begin() + (open - fetch.asks.data()));
}

void hear(SnapshotFetch& fetch, base::NodeId from, base::Instant now) {
    for (SnapshotFetch::Source& source : fetch.sources) {
        if (source.node == from) {
            source.heard = now;
            return;
        }
    }
    fetch.sources.push_back({from, now});
}

// When somebody else is to be asked. Who gives other bytes meanwhile is only slow, and what it was
// asked for is on its way - unless it said that it is not.
base::Instant overdue_at(const SnapshotFetch& fetch, const SnapshotFetch::Ask& open) {
    base::Instant at = open.asked;
    for (const SnapshotFetch::Source& source : fetch.sources) {
        if (source.node == open.source && open.refusals == 0) {
            at = std::max(at, source.heard);
        }
    }
    return at + retry;
}

}  // namespace

void Shard::begin_fetch(Replica& replica, const raft::FetchSnapshot& wanted) {
    if (replica.fetch != nullptr) {
        return;  // what it brings is as good, whoever leads now
    }
    const auto under_way = std::count_if(replicas_.begin(), replicas_.end(),
                                         [](const auto& one) { return one->fetch != nullptr; });
    if (under_way >= static_cast<std::ptrdiff_t>(limits::fetches_max) ||
        find_link(wanted.from, replica) == nullptr) {
        replica.group.step(raft::SnapshotFailed{}, now_, replica.effects);
        carry_out(replica);
        return;
    }
    auto fetch = std::make_unique<SnapshotFetch>();
    fetch->number = options_.boot + ++next_fetch_;
    fetch->from = wanted.from;
    fetch->offered = wanted.last;
    fetch->machine = std::make_unique<stream::Machine>(replica.id(), options_.table_key, local_);
    fetch->reader = std::make_unique<stream::ImageReader>(*fetch->machine);
    fetch->heard = now_.mono;
    replica.fetch = std::move(fetch);
    if (std::find(fetching_.begin(), fetching_.end(), &replica) == fetching_.end()) {
        fetching_.push_back(&replica);
    }
    ++counters_.fetches_begun;
    ask(replica, FetchAsk::What::image, nullptr, false);
}

void Shard::ask(Replica& replica, FetchAsk::What what, const SnapshotFetch::Ask* bytes,
                bool again) {
    SnapshotFetch& fetch = *replica.fetch;
    const base::NodeId node = bytes == nullptr ? fetch.from : bytes->source;
    fetch.asked = node == fetch.from ? now_.mono : fetch.asked;
    PeerLink* link = find_link(node, replica);
    if (link == nullptr) {
        return;
    }
    FetchAsk question;
    question.fetch = fetch.number;
    question.what = what;
    question.again = again;
    question.id = fetch.image.index.value == 0 ? fetch.offered : fetch.image;
    if (what == FetchAsk::What::image) {
        question.at = fetch.image_bytes;
    }
    if (bytes != nullptr) {
        const base::Incarnation incarnation = bytes->stream->incarnation(replica.id());
        question.at = bytes->at;
        question.to = bytes->to;
        question.created = incarnation.index;
        question.ordinal = incarnation.ordinal;
        question.name = bytes->stream->name();
    }
    link->frame.add_ask(replica.id(), question);
}

// --- once per turn ---

void Shard::run_fetches() {
    for (std::size_t i = 0; i < fetching_.size(); ++i) {
        Replica& replica = *fetching_[i];
        if (replica.fetch != nullptr) {
            run_fetch(replica);
        }
        if (replica.fetch == nullptr && !replica.fetched.empty() &&
            (now_.mono >= replica.fetched_until || replica.group.is_leader())) {
            retire_fetched(replica);
        }
    }
    std::erase_if(fetching_, [](const Replica* replica) {
        return replica->fetch == nullptr && replica->fetched.empty();
    });
}

base::Instant Shard::fetches_deadline() const {
    base::Instant at = base::Instant::never();
    for (const Replica* replica : fetching_) {
        if (replica->fetch == nullptr) {
            at = std::min(at, replica->fetched_until);
        } else if (replica->fetch->step == SnapshotFetch::Step::bytes &&
                   replica->fetch->cursor != nullptr && may_ask(*replica)) {
            at = now_.mono;
        } else {
            at = std::min(at, replica->fetch->asked + retry);
            for (const SnapshotFetch::Ask& open : replica->fetch->asks) {
                at = std::min(at, overdue_at(*replica->fetch, open));
            }
        }
    }
    return at;
}

void Shard::run_fetch(Replica& replica) {
    SnapshotFetch& fetch = *replica.fetch;
    if (installing_ && imaging_ == &replica) {
        if (now_.mono - fetch.asked >= retry) {
            ask(replica, FetchAsk::What::hold, nullptr, false);
        }
        return;
    }
    const base::EntryId goal = fetch.image.index.value == 0 ? fetch.offered : fetch.image;
    if (!replica.group.needs_snapshot(goal) || goal.index <= replica.snapshot_file) {
        // The log brought it.
        end_fetch(replica);
        replica.group.step(raft::SnapshotFailed{}, now_, replica.effects);
        carry_out(replica);
        return;
    }
    if (fetch.step == SnapshotFetch::Step::bytes) {
        look_at_streams(replica);
        if (fetch.cursor == nullptr && fetch.asks.empty() && fetch.placing.empty()) {
            fetch.step = SnapshotFetch::Step::writing;
        }
    }
    if (fetch.step == SnapshotFetch::Step::writing) {
        begin_install(replica);
        if (now_.mono - fetch.asked >= retry) {
            ask(replica, FetchAsk::What::hold, nullptr, false);
        }
        return;
    }
    if (now_.mono - fetch.heard >= silence) {
        say_lost_bytes(replica);
        give_up_fetch(replica);
        return;
    }
    if (fetch.step == SnapshotFetch::Step::image) {
        const PeerLink* link = find_link(fetch.from, replica);
        if (link == nullptr || link->down) {
            give_up_fetch(replica);
        } else if (now_.mono - fetch.asked >= retry) {
            ask(replica, FetchAsk::What::image, nullptr, true);
        }
        return;
    }
    for (SnapshotFetch::Ask& open : fetch.asks) {
        if (!is_source(replica, open.source) || now_.mono >= overdue_at(fetch, open)) {
            open.refusals = 0;
            ask_another(replica, open, true);
        }
    }
    if (now_.mono - fetch.asked >= retry) {
        ask(replica, FetchAsk::What::hold, nullptr, false);
    }
}

// --- who is asked for bytes ---

// Any node that is heard: one whose state covers the image has what is committed, whoever it is.
bool Shard::is_source(const Replica& replica, base::NodeId node) const {
    return std::any_of(links_.begin(), links_.end(), [&](const PeerLink& link) {
        return link.peer.node == node && concerns(link, replica) && !link.down;
    });
}

// Round and round by rising id. None: this node hears no other.
base::NodeId Shard::source_after(const Replica& replica, base::NodeId node) const {
    base::NodeId next;
    base::NodeId first;
    for (const PeerLink& link : links_) {
        const base::NodeId one = link.peer.node;
        if (!concerns(link, replica) || link.down) {
            continue;
        }
        if (one > node && (next == base::NodeId{} || one < next)) {
            next = one;
        }
        if (first == base::NodeId{} || one < first) {
            first = one;
        }
    }
    return next == base::NodeId{} ? first : next;
}

void Shard::ask_another(Replica& replica, SnapshotFetch::Ask& open, bool again) {
    open.asked = now_.mono;
    const std::uint32_t next = source_after(replica, open.source).value;
    if (next == 0) {
        return;
    }
    if (next != open.source.value && !planted(Planted::source_not_changed)) {
        open.source = base::NodeId(next);
        ++counters_.fetch_sources_changed;
    }
    ask(replica, FetchAsk::What::bytes, &open, again);
}

// A node is behind the image, is busy, or its disk does not give the bytes. The next one is asked
// at once; when all have refused, the clock says when again.
void Shard::on_refused(Replica& replica, base::NodeId by, const FetchData& data) {
    SnapshotFetch& fetch = *replica.fetch;
    SnapshotFetch::Ask* open = find_ask(fetch, replica.id(), data);
    if (open == nullptr || open->source != by || open->at != data.at) {
        return;
    }
    open->unreadable = open->unreadable || data.what == FetchData::What::unreadable;
    if (++open->refusals < links_.size()) {
        ask_another(replica, *open, false);
    } else {
        open->asked = now_.mono;
    }
}

// Nobody gave any for so long, and one could not for its disk.
void Shard::say_lost_bytes(const Replica& replica) {
    for (const SnapshotFetch::Ask& open : replica.fetch->asks) {
        if (open.unreadable) {
            const std::string bytes =
                "bytes " + std::to_string(open.at) + " to " + std::to_string(open.to) + " of ";
            say_damage(lost_bytes_said_, false,
                       "group " + std::to_string(replica.id().value) +
                           ": no node that is up gives " + bytes +
                           std::string(open.stream->name()) +
                           ": this node cannot follow before one does, or the stream is removed");
            return;
        }
    }
}

// Not while the log cannot take what would come.
bool Shard::may_ask(const Replica& replica) const {
    const SnapshotFetch& fetch = *replica.fetch;
    std::uint64_t asked = 0;
    for (const SnapshotFetch::Ask& open : fetch.asks) {
        asked += open.to - open.at;
    }
    return fetch.asks.size() < limits::fetch_asks_max && asked < options_.fetch_window_bytes &&
           wal_->state() == storage::Wal::State::open &&
           wal_->staged_bytes() < limits::wal_staged_bytes_max / 4;
}

// Streams of the new machine, in order: takes over what is here already and asks for the rest.
void Shard::look_at_streams(Replica& replica) {
    SnapshotFetch& fetch = *replica.fetch;
    for (std::size_t steps = limits::fetch_steps_per_turn; fetch.cursor != nullptr && steps > 0;) {
        stream::Stream& stream = *fetch.cursor;
        if (!may_ask(replica)) {
            return;
        }
        if (!take_over(replica, stream, steps)) {
            return;
        }
        const std::uint64_t at = placed_through(stream);
        if (at < stream.tail()) {
            SnapshotFetch::Ask open;
            open.stream = &stream;
            open.at = at;
            open.to = std::min(stream.tail(), at + options_.fetch_piece_bytes);
            open.source = fetch.from;
            open.asked = now_.mono;
            fetch.asks.push_back(open);
            if (is_source(replica, fetch.from)) {
                ask(replica, FetchAsk::What::bytes, &open, false);
            } else {
                ask_another(replica, fetch.asks.back(), false);
            }
        }
        fetch.cursor = stream.next();
    }
}

// Gives the stream the locations that an older machine of this node has of the same incarnation:
// both hold committed bytes, so one is a prefix of the other. False: there are more, next turn.
bool Shard::take_over(Replica& replica, stream::Stream& stream, std::size_t& steps) {
    const base::Incarnation incarnation = stream.incarnation(replica.id());
    const stream::Stream* best = nullptr;
    const auto look = [&](const stream::Machine& machine) {
        const stream::Stream* found = machine.find(stream.name(), machine.hash_of(stream.name()));
        if (found == nullptr || (found->incarnation(replica.id()) != incarnation &&
                                 !planted(Planted::other_incarnation))) {
            return;
        }
        if (best == nullptr || placed_through(*found) > placed_through(*best)) {
            best = found;
        }
    };
    look(replica.machine);
    for (const auto& machine : replica.fetched) {
        look(*machine);
    }
    --steps;
    if (best == nullptr) {
        return true;
    }
    const std::uint64_t before = placed_through(stream);
    std::uint32_t index = before == 0 ? 0 : best->locations.find_end(before);
    while (index < best->locations.count() && best->locations.at(index).to <= before) {
        ++index;  // inside an append
    }
    for (; index < best->locations.count(); ++index) {
        const stream::Piece piece = best->locations.at(index);
        if (piece.to > stream.tail()) {
            break;
        }
        if (steps <= 1) {
            return false;
        }
        --steps;
        stream.locations.add_piece(piece);
        local_.segments.add(piece.place.segment, piece.place.size);
        counters_.fetch_bytes_kept += piece.place.size;
    }
    if (planted(Planted::gap_too_short) && stream.locations.count() > 0) {
        stream::Piece again = stream.locations.at(stream.locations.count() - 1);
        again.from = again.to;
        again.to += again.place.size;
        if (again.to <= stream.tail()) {
            stream.locations.add_piece(again);
            local_.segments.add(again.place.segment, again.place.size);
        }
    }
    return true;
}

// --- what comes ---

void Shard::on_fetch_data(Replica& replica, base::NodeId from, const FrameItem& item) {
    if (replica.fetch == nullptr || replica.fetch->number != item.data.fetch) {
        return;
    }
    SnapshotFetch& fetch = *replica.fetch;
    switch (item.data.what) {
        case FetchData::What::image:
            take_image(replica, item);
            return;
        case FetchData::What::bytes:
        case FetchData::What::gone:
            take_bytes(replica, from, item);
            return;
        case FetchData::What::wait:
            if (fetch.step == SnapshotFetch::Step::image) {
                fetch.heard = now_.mono;
            } else {
                on_refused(replica, from, item.data);
            }
            return;
        case FetchData::What::unreadable:
            on_refused(replica, from, item.data);
            return;
        case FetchData::What::unknown:
            if (fetch.step == SnapshotFetch::Step::image) {
                give_up_fetch(replica);
            }
            return;
    }
}

void Shard::take_image(Replica& replica, const FrameItem& item) {
    SnapshotFetch& fetch = *replica.fetch;
    const FetchData& data = item.data;
    if (fetch.step != SnapshotFetch::Step::image || data.at != fetch.image_bytes ||
        (fetch.image.index.value != 0 && data.id != fetch.image)) {
        return;
    }
    if (fetch.image.index.value == 0) {
        if (data.id.index < fetch.offered.index) {
            return;
        }
        fetch.image = data.id;
    }
    fetch.heard = now_.mono;
    fetch.image_bytes += item.bytes.size();
    base::Result<void> fed = fetch.reader->feed(item.bytes);
    if (fed && data.last) {
        fed = fetch.reader->finish();
    }
    if (!fed || (data.last && fetch.machine->applied() != fetch.image)) {
        events_.push_back({ShardEvent::Kind::snapshot_failed,
                           "group " + std::to_string(replica.id().value) + " from node " +
                               std::to_string(fetch.from.value) + ": " +
                               (fed ? std::string("another image") : fed.error().message)});
        give_up_fetch(replica);
        return;
    }
    if (data.last) {
        fetch.reader.reset();
        fetch.step = SnapshotFetch::Step::bytes;
        fetch.cursor = fetch.machine->first();
    } else {
        ask(replica, FetchAsk::What::image, nullptr, false);
    }
}

void Shard::take_bytes(Replica& replica, base::NodeId from, const FrameItem& item) {
    SnapshotFetch& fetch = *replica.fetch;
    const FetchData& data = item.data;
    SnapshotFetch::Ask* open = find_ask(fetch, replica.id(), data);
    if (open == nullptr) {
        return;
    }
    hear(fetch, from, now_.mono);
    stream::Stream& stream = *open->stream;
    if (data.what == FetchData::What::gone) {
        ++counters_.fetch_streams_gone;
        fetch.heard = now_.mono;
        while (open->at < stream.tail()) {
            const std::uint64_t size = std::min<std::uint64_t>(stream::Locations::piece_bytes_max,
                                                               stream.tail() - open->at);
            fetch.placing.push_back(
                {0, &stream, open->at, {no_segment, 0, static_cast<std::uint32_t>(size), 0}, true});
            open->at += size;
        }
        close_ask(fetch, open);
        place_next(fetch);
        return;
    }
    const bool fits = planted(Planted::piece_twice) ? data.at <= open->at : data.at == open->at;
    if (!fits || open->at + item.bytes.size() > open->to) {
        return;
    }
    fetch.heard = now_.mono;
    open->asked = now_.mono;
    open->refusals = 0;
    open->unreadable = false;
    counters_.fetched_bytes += item.bytes.size();
    std::size_t at = 0;
    for (const std::uint32_t piece : item.pieces) {
        const std::size_t end = at + (piece & ~piece_goes_on);
        while (at < end) {
            const base::Bytes part = item.bytes.subspan(
                at, std::min<std::size_t>(end - at, options_.wal_piece_bytes_max));
            SnapshotFetch::Placing placing;
            placing.stream = &stream;
            placing.from = open->at;
            placing.place.size = static_cast<std::uint32_t>(part.size());
            placing.place.crc = base::crc32c(part);
            placing.ticket = wal_->stage_payload(replica.id(), part, placing.place.crc);
            at += part.size();
            placing.last = at == end && (piece & piece_goes_on) == 0;
            fetch.placing.push_back(placing);
            open->at += part.size();
        }
    }
    if (open->at < open->to) {
        return;  // the rest is asked for again in time
    }
    if (open->to < stream.tail()) {
        open->to = std::min(stream.tail(), open->at + options_.fetch_piece_bytes);
        ask(replica, FetchAsk::What::bytes, open, false);
    } else {
        close_ask(fetch, open);
    }
}

// The log has written payload down.
void Shard::on_placed(const storage::PayloadPlaced& placed) {
    Replica& replica = this->replica(placed.group);
    if (replica.fetch == nullptr || replica.fetch->placing.empty() ||
        replica.fetch->placing.front().ticket != placed.ticket) {
        return;  // of a fetch that was given up
    }
    SnapshotFetch& fetch = *replica.fetch;
    fetch.placing.front().ticket = 0;
    fetch.placing.front().place.segment = placed.location.segment.value;
    fetch.placing.front().place.position = placed.location.position;
    fetch.heard = now_.mono;
    place_next(fetch);
}

void Shard::place_next(SnapshotFetch& fetch) {
    for (; !fetch.placing.empty() && fetch.placing.front().ticket == 0; fetch.placing.pop_front()) {
        const SnapshotFetch::Placing& next = fetch.placing.front();
        next.stream->locations.add_piece(
            {next.from, next.from + next.place.size, next.place, next.last});
        local_.segments.add(next.place.segment, next.place.size);
    }
}

// --- its end ---

// The next fetch, from whomever, takes over what this one has.
void Shard::give_up_fetch(Replica& replica) {
    std::unique_ptr<SnapshotFetch> fetch = std::move(replica.fetch);
    if (fetch->step != SnapshotFetch::Step::image) {
        if (replica.fetched.size() == limits::fetches_kept_max) {
            retired_.push_back(std::move(replica.fetched.front()));
            replica.fetched.erase(replica.fetched.begin());
        }
        replica.fetched.push_back(std::move(fetch->machine));
    }
    replica.fetched_until = now_.mono + base::milliseconds(limits::fetch_kept_ms);
    ++counters_.fetches_given_up;
    replica.group.step(raft::SnapshotFailed{}, now_, replica.effects);
    carry_out(replica);
}

// Nothing of it, nor of those given up before, is wanted any more.
void Shard::end_fetch(Replica& replica) {
    ask(replica, FetchAsk::What::over, nullptr, false);
    retired_.push_back(std::move(replica.fetch->machine));
    replica.fetch.reset();
    retire_fetched(replica);
}

void Shard::retire_fetched(Replica& replica) {
    for (auto& machine : replica.fetched) {
        retired_.push_back(std::move(machine));
    }
    replica.fetched.clear();
    wal_->release_payload(replica.id());
}

// Freeing a large machine takes longer than a turn may.
void Shard::shrink_retired() {
    if (!retired_.back()->shrink(limits::fetch_steps_per_turn)) {
        retired_.pop_back();
    }
}

// All of it is here and durable. What the log has beyond it goes first (raft::SnapshotComing), and
// the snapshot is published only when that is on disk (run_snapshots).
void Shard::begin_install(Replica& replica) {
    SnapshotFetch& fetch = *replica.fetch;
    if (image_ != nullptr || snapshots_.busy() || now_.mono < snapshot_again_ ||
        replica.group.role() != raft::Role::follower) {
        return;
    }
    replica.group.step(raft::SnapshotComing{fetch.image}, now_, replica.effects);
    carry_out(replica);
    imaging_ = &replica;
    installing_ = true;
    image_ = std::make_unique<stream::ImageWriter>(*fetch.machine);
    image_sent_ = false;
    snapshots_.begin(replica.id(), fetch.image);
}

// The snapshot of the new machine is durable. While it was written the log may have brought what it
// covers; then it is a snapshot like any other.
void Shard::end_install(Replica& replica, const storage::SnapshotStore::Finished& finished,
                        std::vector<storage::SegmentId>& live) {
    replica.snapshot_file = finished.id.index;
    replica.image_bytes = finished.image_bytes;
    if (replica.group.needs_snapshot(finished.id) && !replica.group.is_leader()) {
        install(replica, live);
        return;
    }
    stream::SegmentLoad named;
    for (const stream::Stream* stream = replica.machine.first(); stream != nullptr;
         stream = stream->next()) {
        stream->locations.count_into(named);
    }
    named.for_each_segment(
        [&](std::uint32_t segment) { live.push_back(storage::SegmentId(segment)); });
    std::erase(live, storage::SegmentId(no_segment));
    if (replica.machine.applied().index >= finished.id.index) {
        replica.snapshot = finished.id.index;
    }
    wal_->covered(replica.id(), replica.snapshot, live, replica.group.log().snapshot().index);
    end_fetch(replica);
    replica.group.step(raft::SnapshotFailed{}, now_, replica.effects);
    carry_out(replica);
}

void Shard::install(Replica& replica, const std::vector<storage::SegmentId>& live) {
    SnapshotFetch& fetch = *replica.fetch;
    const base::EntryId id = fetch.image;
    stop_serving(replica);
    move_watches(replica, *fetch.machine);
    // Whoever asked for an entry of the old log does not learn its outcome here.
    for (; !replica.entries.empty(); replica.entries.pop()) {
        forget_tickets(replica, replica.entries.front().commands, api::Refusal::outcome_unknown);
    }
    forget_kept(replica);
    replica.recovered.clear();
    replica.places.clear();
    replica.machine.swap(*fetch.machine);
    const raft::MembershipAt membership = restore_membership(replica);
    replica.snapshot = id.index;
    if (!planted(Planted::install_without_restart)) {
        wal_->stage_restart(replica.id(), id);
    }
    if (!planted(Planted::live_not_told)) {
        wal_->covered(replica.id(), id.index, live, id.index);
    } else {
        wal_->covered(replica.id(), id.index, {}, id.index);
    }
    end_fetch(replica);
    ++counters_.snapshots_installed;
    park_waiting(replica);
    // What was confirmed before may be older than a removal that left its stream without bytes.
    const bool reads_wait = !replica.parked.empty();
    if (reads_wait) {
        replica.read_context = raft::ReadContext(replica.read_context.value + 1);
        for (ParkedRead& parked : replica.parked) {
            parked.confirmed = false;
            parked.context = replica.read_context;
        }
    }
    replica.group.step(raft::SnapshotInstalled{id, membership}, now_, replica.effects);
    carry_out(replica);
    if (reads_wait) {
        replica.group.step(raft::ReadIndex{replica.read_context}, now_, replica.effects);
        carry_out(replica);
    }
    events_.push_back(
        {ShardEvent::Kind::snapshot_installed, "group " + std::to_string(replica.id().value) +
                                                   " index " + std::to_string(id.index.value)});
}

// Watchers of a stream that is still there get one post of what is new; the others hear that it is
// removed.
void Shard::move_watches(Replica& replica, stream::Machine& machine) {
    for (std::uint32_t number = 1; number < watches_.size(); ++number) {
        WatchList& list = watches_[number];
        if (list.stream == nullptr) {
            continue;
        }
        stream::Stream* old = list.stream;
        const std::uint64_t hash = machine.hash_of(old->name());
        if (replica.machine.find(old->name(), hash) != old) {
            continue;  // another group's
        }
        old->watch = 0;
        stream::Stream* found = machine.find(old->name(), hash);
        if (found != nullptr && !found->gone() &&
            found->incarnation(replica.id()) == old->incarnation(replica.id())) {
            found->watch = number;
            list.stream = found;
            if (!list.changed) {
                list.changed = true;
                changed_.push_back(number);
            }
            continue;
        }
        tell_removed(number);
    }
}

}  // namespace ursula::shard
