#include "shard/frame.h"

#include <variant>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/verify.h"
#include "base/wire.h"

namespace ursula::shard {

namespace {

// Far above what elections reach, far below where terms end.
constexpr std::uint64_t term_max = std::uint64_t{1} << 62;

constexpr std::uint8_t beat_kind = 64;
constexpr std::uint8_t ask_kind = 66;
constexpr std::uint8_t data_kind = 67;
constexpr std::uint8_t part_kind = 68;
constexpr std::uint8_t call_kind = 72;
constexpr std::uint8_t answer_kind = 73;
constexpr std::uint8_t replicate_kind = 5;
constexpr std::uint8_t disk_full_flag = 1;
constexpr std::uint8_t disk_slow_flag = 2;
constexpr std::size_t crc_from = 8;
constexpr std::size_t entry_header_bytes = 8;
constexpr std::size_t led_bytes = 12;

static_assert(std::is_same_v<std::variant_alternative_t<replicate_kind - 1, raft::MessageBody>,
                             raft::Replicate>);
static_assert(std::variant_size_v<raft::MessageBody> == 14);

// Reads fields that must have exactly one form.
class Fields {
  public:
    explicit Fields(base::Bytes bytes) : in_(bytes) {}
    std::uint64_t u64() { return in_.get<std::uint64_t>(); }
    std::uint32_t u32() { return in_.get<std::uint32_t>(); }
    std::uint16_t u16() { return in_.get<std::uint16_t>(); }
    std::uint8_t u8() { return in_.get<std::uint8_t>(); }
    base::LogIndex index() { return base::LogIndex(u64()); }
    base::EntryId id() {
        const base::Term term(u64());
        return {term, index()};
    }
    raft::ReadContext context() { return raft::ReadContext(u64()); }
    std::uint8_t at_most(std::uint8_t max) {
        const std::uint8_t value = u8();
        good_ = good_ && value <= max;
        return value;
    }
    bool flag() { return at_most(1) == 1; }
    void zero(std::size_t size) {
        for (; size > 0; --size) {
            good_ = good_ && u8() == 0;
        }
    }
    base::Bytes bytes(std::size_t size) { return in_.get_bytes(size); }
    void refuse() { good_ = false; }
    std::size_t left() const { return in_.left(); }
    bool ok() const { return good_ && in_.ok(); }

    raft::MembershipAt membership() {
        raft::MembershipAt at;
        at.index = index();
        at.membership.set_joint(flag());
        const std::uint8_t count = at_most(static_cast<std::uint8_t>(raft::limits::members_max));
        zero(2);
        std::uint32_t before = 0;
        for (std::uint8_t i = 0; i < count && ok(); ++i) {
            const std::uint32_t node = u32();
            const std::uint32_t flags = u32();
            if (node <= before || flags > 7) {
                refuse();
                break;
            }
            before = node;
            static_cast<void>(at.membership.set(
                {base::NodeId(node), (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0}));
        }
        return at;
    }

  private:
    base::WireReader in_;
    bool good_ = true;
};

raft::Replicate read_replicate(Fields& in, std::vector<FrameEntry>& entries) {
    raft::Replicate body;
    body.prev = in.id();
    body.last = in.index();
    body.commit = in.index();
    body.number = in.u64();
    body.run_count = in.at_most(static_cast<std::uint8_t>(raft::limits::message_runs_max));
    const bool has_membership = in.flag();
    in.zero(2);
    for (std::size_t i = 0; i < body.run_count && in.ok(); ++i) {
        const base::LogIndex first = in.index();
        body.runs[i] = {first, base::Term(in.u64())};
    }
    if (has_membership && in.ok()) {
        body.membership = in.membership();
    }
    const std::uint64_t count = body.last.value - body.prev.index.value;
    if (body.last < body.prev.index || count > in.left() / entry_header_bytes) {
        in.refuse();
        return body;
    }
    for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
        FrameEntry entry;
        entry.kind = static_cast<raft::EntryKind>(
            in.at_most(static_cast<std::uint8_t>(raft::EntryKind::membership)));
        in.zero(3);
        entry.body = in.bytes(in.u32());
        entries.push_back(entry);
    }
    return body;
}

raft::MessageBody read_body(std::uint8_t kind, Fields& in, std::vector<FrameEntry>& entries) {
    switch (kind) {
        case 1:
            return raft::PreVote{in.id()};
        case 2:
            return raft::PreVoted{in.flag()};
        case 3: {
            const base::EntryId last = in.id();
            return raft::Vote{last, in.flag()};
        }
        case 4:
            return raft::Voted{in.flag()};
        case replicate_kind:
            return read_replicate(in, entries);
        case 6: {
            raft::Replicated body;
            body.number = in.u64();
            body.match = in.index();
            body.last = in.index();
            body.hint = in.id();
            body.rejected = in.index();
            body.commit = in.index();
            body.accepted = in.flag();
            return body;
        }
        case 7:
            return raft::WhoLeads{};
        case 8: {
            const raft::ReadContext round = in.context();
            return raft::Heartbeat{round, in.index()};
        }
        case 9:
            return raft::HeartbeatSeen{in.context()};
        case 10: {
            const raft::ReadContext context = in.context();
            return raft::ReadRequest{context, in.u64()};
        }
        case 11: {
            raft::ReadReply body;
            body.context = in.context();
            body.life = in.u64();
            body.index = in.index();
            body.ready = in.flag();
            return body;
        }
        case 12:
            return raft::TimeoutNow{in.flag()};
        case 13: {
            const base::EntryId last = in.id();
            return raft::SnapshotOffer{last, in.membership()};
        }
        case 14:
            return raft::SnapshotStatus{in.flag()};
        default:
            in.refuse();
            return raft::WhoLeads{};
    }
}

void read_beat(Fields& in, FrameItem& item) {
    item.disk.write_age_ms = in.u32();
    const std::uint8_t disk = in.at_most(disk_full_flag | disk_slow_flag);
    item.disk.full = (disk & disk_full_flag) != 0;
    item.disk.slow = (disk & disk_slow_flag) != 0;
    item.asks = in.flag();
    in.zero(2);
    const std::uint32_t count = in.u32();
    if (count > in.left() / led_bytes) {
        in.refuse();
        return;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        const base::GroupId group(in.u32());
        if (i > 0 && group <= item.led.back().group) {
            in.refuse();
            return;
        }
        item.led.push_back({group, base::Term(in.u64())});
    }
}

void read_ask(Fields& in, FetchAsk& ask) {
    ask.fetch = in.u64();
    ask.what =
        static_cast<FetchAsk::What>(in.at_most(static_cast<std::uint8_t>(FetchAsk::What::over)));
    ask.again = in.flag();
    const std::size_t name_size = in.u16();
    ask.ordinal = in.u32();
    ask.id = in.id();
    ask.at = in.u64();
    ask.to = in.u64();
    ask.created = in.index();
    ask.name = base::as_text(in.bytes(name_size));
    if (ask.what == FetchAsk::What::bytes && ask.to <= ask.at) {
        in.refuse();
    }
}

void read_data(Fields& in, FrameItem& item) {
    FetchData& data = item.data;
    data.fetch = in.u64();
    data.what = static_cast<FetchData::What>(
        in.at_most(static_cast<std::uint8_t>(FetchData::What::unreadable)));
    data.last = in.flag();
    in.zero(2);
    data.ordinal = in.u32();
    data.id = in.id();
    data.at = in.u64();
    data.created = in.index();
    const std::uint32_t count = in.u32();
    const std::uint32_t size = in.u32();
    if (count > in.left() / sizeof(std::uint32_t)) {
        in.refuse();
        return;
    }
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        item.pieces.push_back(in.u32());
        const std::uint32_t piece = item.pieces.back() & ~piece_goes_on;
        sum += piece;
        if (piece == 0) {
            in.refuse();
        }
    }
    if (data.what == FetchData::What::bytes ? sum != size : count != 0) {
        in.refuse();
    }
    item.bytes = in.bytes(size);
}

}  // namespace

// --- writing ---

void FrameWriter::clear() {
    bytes_.clear();
    items_ = 0;
    entries_due_ = 0;
    bytes_due_ = 0;
}

template <class T>
void FrameWriter::put(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    base::store(bytes_.data() + at, value);
}

void FrameWriter::put(const raft::MembershipAt& membership) {
    put(membership.index.value);
    put<std::uint8_t>(membership.membership.joint() ? 1 : 0);
    put(static_cast<std::uint8_t>(membership.membership.members().size()));
    put(std::uint16_t{0});
    for (const raft::Member& member : membership.membership.members()) {
        put(member.id.value);
        put<std::uint32_t>((member.voter ? 1u : 0u) | (member.outgoing ? 2u : 0u) |
                           (member.learner ? 4u : 0u));
    }
}

void FrameWriter::begin_item(std::uint8_t kind, base::GroupId group, base::Term term) {
    VERIFY(entries_due_ == 0 && bytes_due_ == 0);
    if (bytes_.empty()) {
        bytes_.resize(frame_header_bytes);
    }
    item_at_ = bytes_.size();
    put(static_cast<std::uint32_t>(kind));
    put(std::uint32_t{0});
    put(group.value);
    put(std::uint32_t{0});
    put(term.value);
    ++items_;
}

void FrameWriter::end_item() {
    base::store(bytes_.data() + item_at_ + 4,
                static_cast<std::uint32_t>(bytes_.size() - item_at_ - item_header_bytes));
}

void FrameWriter::put_body(const raft::MessageBody& message) {
    if (const auto* pre_vote = std::get_if<raft::PreVote>(&message)) {
        put(pre_vote->last.term.value);
        put(pre_vote->last.index.value);
    } else if (const auto* pre_voted = std::get_if<raft::PreVoted>(&message)) {
        put<std::uint8_t>(pre_voted->granted ? 1 : 0);
    } else if (const auto* vote = std::get_if<raft::Vote>(&message)) {
        put(vote->last.term.value);
        put(vote->last.index.value);
        put<std::uint8_t>(vote->transfer ? 1 : 0);
    } else if (const auto* voted = std::get_if<raft::Voted>(&message)) {
        put<std::uint8_t>(voted->granted ? 1 : 0);
    } else if (const auto* replicated = std::get_if<raft::Replicated>(&message)) {
        put(replicated->number);
        put(replicated->match.value);
        put(replicated->last.value);
        put(replicated->hint.term.value);
        put(replicated->hint.index.value);
        put(replicated->rejected.value);
        put(replicated->commit.value);
        put<std::uint8_t>(replicated->accepted ? 1 : 0);
    } else if (const auto* heartbeat = std::get_if<raft::Heartbeat>(&message)) {
        put(heartbeat->round.value);
        put(heartbeat->commit.value);
    } else if (const auto* seen = std::get_if<raft::HeartbeatSeen>(&message)) {
        put(seen->round.value);
    } else if (const auto* request = std::get_if<raft::ReadRequest>(&message)) {
        put(request->context.value);
        put(request->life);
    } else if (const auto* reply = std::get_if<raft::ReadReply>(&message)) {
        put(reply->context.value);
        put(reply->life);
        put(reply->index.value);
        put<std::uint8_t>(reply->ready ? 1 : 0);
    } else if (const auto* offer = std::get_if<raft::SnapshotOffer>(&message)) {
        put(offer->last.term.value);
        put(offer->last.index.value);
        put(offer->membership);
    } else if (const auto* status = std::get_if<raft::SnapshotStatus>(&message)) {
        put<std::uint8_t>(status->failed ? 1 : 0);
    } else if (const auto* timeout = std::get_if<raft::TimeoutNow>(&message)) {
        put<std::uint8_t>(timeout->for_good ? 1 : 0);
    } else {
        VERIFY(std::holds_alternative<raft::WhoLeads>(message));
    }
}

void FrameWriter::add(base::GroupId group, const raft::Message& message) {
    begin_item(static_cast<std::uint8_t>(message.body.index() + 1), group, message.term);
    put_body(message.body);
    end_item();
}

void FrameWriter::add_replicate(base::GroupId group, base::Term term,
                                const raft::Replicate& message) {
    begin_item(replicate_kind, group, term);
    put(message.prev.term.value);
    put(message.prev.index.value);
    put(message.last.value);
    put(message.commit.value);
    put(message.number);
    put(message.run_count);
    put<std::uint8_t>(message.membership ? 1 : 0);
    put(std::uint16_t{0});
    for (std::size_t i = 0; i < message.run_count; ++i) {
        put(message.runs[i].first.value);
        put(message.runs[i].term.value);
    }
    if (message.membership) {
        put(*message.membership);
    }
    entries_due_ = message.last.value - message.prev.index.value;
    end_item();
}

void FrameWriter::add_entry(raft::EntryKind kind, base::Bytes body) {
    VERIFY(entries_due_ > 0);
    --entries_due_;
    put(static_cast<std::uint32_t>(kind));
    put(static_cast<std::uint32_t>(body.size()));
    bytes_.insert(bytes_.end(), body.begin(), body.end());
    end_item();
}

void FrameWriter::add_beat(const DiskHealth& disk, bool asks, const std::vector<Led>& led) {
    begin_item(beat_kind, base::GroupId{}, base::Term{});
    put(disk.write_age_ms);
    put(static_cast<std::uint32_t>((disk.full ? disk_full_flag : 0) |
                                   (disk.slow ? disk_slow_flag : 0)) |
        static_cast<std::uint32_t>(asks) << 8);
    put(static_cast<std::uint32_t>(led.size()));
    for (const Led& one : led) {
        put(one.group.value);
        put(one.term.value);
    }
    end_item();
}

void FrameWriter::add_call(base::GroupId group, std::uint64_t number, base::Bytes call) {
    add_numbered(call_kind, group, number, call);
}

void FrameWriter::add_answer(base::GroupId group, std::uint64_t number, base::Bytes answer) {
    add_numbered(answer_kind, group, number, answer);
}

void FrameWriter::add_numbered(std::uint8_t kind, base::GroupId group, std::uint64_t number,
                               base::Bytes bytes) {
    begin_item(kind, group, base::Term{});
    put(number);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    end_item();
}

void FrameWriter::add_part(base::GroupId group, std::uint64_t number, std::uint32_t at,
                           std::uint32_t length, base::Bytes bytes) {
    begin_item(part_kind, group, base::Term{});
    put(number);
    put(at);
    put(length);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    end_item();
}

base::Bytes FrameWriter::item() const {
    VERIFY(entries_due_ == 0 && bytes_due_ == 0 && items_ == 1);
    return base::Bytes(bytes_).subspan(frame_header_bytes);
}

void FrameWriter::add_ask(base::GroupId group, const FetchAsk& ask) {
    begin_item(ask_kind, group, base::Term{});
    put(ask.fetch);
    put(static_cast<std::uint8_t>(ask.what));
    put<std::uint8_t>(ask.again ? 1 : 0);
    put(static_cast<std::uint16_t>(ask.name.size()));
    put(ask.ordinal);
    put(ask.id.term.value);
    put(ask.id.index.value);
    put(ask.at);
    put(ask.to);
    put(ask.created.value);
    const base::Bytes name = base::as_bytes(ask.name);
    bytes_.insert(bytes_.end(), name.begin(), name.end());
    end_item();
}

void FrameWriter::add_data(base::GroupId group, const FetchData& data,
                           const std::vector<std::uint32_t>& pieces, std::size_t size) {
    begin_item(data_kind, group, base::Term{});
    put(data.fetch);
    put(static_cast<std::uint8_t>(data.what));
    put<std::uint8_t>(data.last ? 1 : 0);
    put(std::uint16_t{0});
    put(data.ordinal);
    put(data.id.term.value);
    put(data.id.index.value);
    put(data.at);
    put(data.created.value);
    put(static_cast<std::uint32_t>(pieces.size()));
    put(static_cast<std::uint32_t>(size));
    for (const std::uint32_t piece : pieces) {
        put(piece);
    }
    bytes_due_ = size;
    end_item();
}

void FrameWriter::add_bytes(base::Bytes bytes) {
    VERIFY(bytes.size() <= bytes_due_);
    bytes_due_ -= bytes.size();
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    end_item();
}

base::Bytes FrameWriter::finish(const FrameHeader& header) {
    VERIFY(entries_due_ == 0 && bytes_due_ == 0 && items_ > 0 &&
           bytes_.size() <= base::limits::frame_bytes_max);
    base::WireWriter out(base::MutableBytes(bytes_).first(frame_header_bytes));
    out.put(frame_magic);
    out.put(std::uint32_t{0});
    out.put(frame_version);
    out.put(static_cast<std::uint32_t>(bytes_.size()));
    out.put(header.cluster);
    for (const PeerShard& end : {header.from, header.to}) {
        out.put(end.node.value);
        out.put(end.shard.value);
    }
    out.put(items_);
    out.put(header.shards);
    out.put(header.boot);
    out.put(header.to_boot);
    out.put(header.sequence);
    out.put(header.incarnation);
    base::store(bytes_.data() + 4, base::crc32c(base::Bytes(bytes_).subspan(crc_from)));
    return bytes_;
}

// --- reading ---

bool FrameReader::open(base::Bytes frame) {
    ok_ = false;
    items_left_ = 0;
    if (frame.size() < frame_header_bytes || frame.size() > base::limits::frame_bytes_max) {
        return false;
    }
    base::WireReader in(frame.first(frame_header_bytes));
    const auto magic = in.get<std::uint32_t>();
    const auto crc = in.get<std::uint32_t>();
    const auto version = in.get<std::uint32_t>();
    const auto length = in.get<std::uint32_t>();
    if (magic != frame_magic || version != frame_version || length != frame.size() ||
        crc != base::crc32c(frame.subspan(crc_from))) {
        return false;
    }
    header_.cluster = in.get<std::uint64_t>();
    for (PeerShard* end : {&header_.from, &header_.to}) {
        end->node = base::NodeId(in.get<std::uint32_t>());
        end->shard = base::ShardId(in.get<std::uint32_t>());
    }
    items_left_ = in.get<std::uint32_t>();
    header_.shards = in.get<std::uint32_t>();
    header_.boot = in.get<std::uint64_t>();
    header_.to_boot = in.get<std::uint64_t>();
    header_.sequence = in.get<std::uint64_t>();
    header_.incarnation = in.get<std::uint64_t>();
    if (header_.shards == 0 || header_.shards > base::limits::shards_max ||
        header_.from.shard.value >= header_.shards) {
        return false;
    }
    left_ = frame.subspan(frame_header_bytes);
    ok_ = true;
    return true;
}

void FrameReader::open_item(const FrameHeader& header, base::Bytes item) {
    header_ = header;
    left_ = item;
    items_left_ = 1;
    ok_ = true;
}

bool FrameReader::next(FrameItem& item) {
    if (!ok_) {
        return false;
    }
    if (items_left_ == 0) {
        ok_ = left_.empty();
        return false;
    }
    --items_left_;
    ok_ = false;
    if (left_.size() < item_header_bytes) {
        return false;
    }
    Fields head(left_.first(item_header_bytes));
    const std::uint8_t kind = head.u8();
    head.zero(3);
    const std::uint32_t length = head.u32();
    item.group = base::GroupId(head.u32());
    head.zero(4);
    item.message.term = base::Term(head.u64());
    // A term that cannot be passed would stop a group for good.
    if (!head.ok() || length > left_.size() - item_header_bytes ||
        item.message.term.value > term_max) {
        return false;
    }
    Fields body(left_.subspan(item_header_bytes, length));
    left_ = left_.subspan(item_header_bytes + length);
    item.entries.clear();
    item.led.clear();
    item.pieces.clear();
    item.bytes = {};
    item.in_parts = false;
    item.kind = kind == beat_kind     ? FrameItem::Kind::beat
                : kind == ask_kind    ? FrameItem::Kind::fetch_ask
                : kind == data_kind   ? FrameItem::Kind::fetch_data
                : kind == part_kind   ? FrameItem::Kind::part
                : kind == call_kind   ? FrameItem::Kind::call
                : kind == answer_kind ? FrameItem::Kind::answer
                                      : FrameItem::Kind::message;
    item.message.from = header_.from.node;
    item.message.to = header_.to.node;
    if (item.kind == FrameItem::Kind::fetch_ask || item.kind == FrameItem::Kind::fetch_data) {
        if (item.kind == FrameItem::Kind::fetch_ask) {
            read_ask(body, item.ask);
        } else {
            read_data(body, item);
        }
        ok_ = body.ok() && body.left() == 0 && item.message.term == base::Term{};
        return ok_;
    }
    if (item.kind == FrameItem::Kind::beat) {
        read_beat(body, item);
        ok_ = body.ok() && body.left() == 0 && item.group == base::GroupId{} &&
              item.message.term == base::Term{};
        return ok_;
    }
    if (item.kind == FrameItem::Kind::call || item.kind == FrameItem::Kind::answer) {
        item.number = body.u64();
        item.bytes = body.bytes(body.left());
        ok_ = body.ok() && item.number > 0 && item.number < call_number_end &&
              item.message.term == base::Term{};
        return ok_;
    }
    if (item.kind == FrameItem::Kind::part) {
        item.number = body.u64();
        item.at = body.u32();
        item.length = body.u32();
        item.bytes = body.bytes(body.left());
        ok_ = body.ok() && item.number > 0 && !item.bytes.empty() &&
              item.length <= base::limits::frame_bytes_max && item.at <= item.length &&
              item.bytes.size() <= item.length - item.at && item.message.term == base::Term{};
        return ok_;
    }
    item.message.body = read_body(kind, body, item.entries);
    ok_ = body.ok() && body.left() == 0;
    return ok_;
}

}  // namespace ursula::shard
