#include "stream/image.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/verify.h"
#include "stream/image_forks.h"

namespace ursula::stream {

namespace {

constexpr std::uint32_t goes_on = 1u << 31;

constexpr std::size_t stream_item_bytes = 8 + 4 + 4 + 4 * 8 + 4 * 2 + 2 * 8;  // without texts

// An item of known size, its head written.
base::WireWriter new_item(std::vector<std::byte>& out, std::size_t size, ItemKind kind,
                          std::uint8_t flags) {
    VERIFY(size <= UINT16_MAX);
    const std::size_t at = out.size();
    out.resize(at + size);
    base::WireWriter item(base::MutableBytes(out).subspan(at));
    item.put(static_cast<std::uint16_t>(size));
    item.put(static_cast<std::uint8_t>(kind));
    item.put(flags);
    return item;
}

void put_stream(const Stream& stream, std::vector<std::byte>& out,
                const base::Incarnation& incarnation) {
    const StreamExtra* extra = stream.extra();
    const ClosingProducer* closer = extra == nullptr ? nullptr : extra->closer();
    const std::string_view seq =
        extra == nullptr ? std::string_view() : std::string_view(extra->stream_seq);
    const std::string_view closer_id =
        closer == nullptr ? std::string_view() : std::string_view(closer->id);
    const Expiry* expiry = stream.expiry();
    const unsigned flags = (stream.closed() ? flag_stream_closed : 0u) |
                           (closer != nullptr ? flag_stream_closer : 0u) |
                           (expiry != nullptr ? flag_stream_expiry : 0u) |
                           (stream.gone() ? flag_stream_gone : 0u) |
                           (stream.origin() != nullptr ? flag_stream_origin : 0u) |
                           (stream.held() ? flag_stream_holds : 0u);
    const std::size_t size = item_head_bytes + stream_item_bytes + stream.name().size() +
                             stream.content_type().size() + seq.size() + closer_id.size();
    base::WireWriter item = new_item(out, size, ItemKind::stream, static_cast<std::uint8_t>(flags));
    item.put(incarnation.index.value);
    item.put(incarnation.ordinal);
    item.put(static_cast<std::uint32_t>(stream.producers()));
    item.put(stream.bucket_id());
    item.put(stream.tail());
    item.put(stream.records_first());
    item.put(stream.records_next());
    item.put(static_cast<std::uint16_t>(stream.name().size()));
    item.put(static_cast<std::uint16_t>(stream.content_type().size()));
    item.put(static_cast<std::uint16_t>(seq.size()));
    item.put(static_cast<std::uint16_t>(closer_id.size()));
    item.put(closer == nullptr ? std::uint64_t{0} : closer->epoch);
    item.put(closer == nullptr ? std::uint64_t{0} : closer->seq);
    item.put_text(stream.name());
    item.put_text(stream.content_type());
    item.put_text(seq);
    item.put_text(closer_id);
    VERIFY(item.used() == size);
    if (extra == nullptr) {
        return;
    }
    if (expiry != nullptr) {
        const std::size_t bytes = item_head_bytes + 16 + expiry->text.size();
        base::WireWriter own = new_item(out, bytes, ItemKind::expiry,
                                        expiry->slides() ? std::uint8_t{0} : flag_expiry_at);
        own.put(expiry->ms);
        own.put(expiry->touched_ms);
        own.put_text(expiry->text);
    }
    put_fork_items(*extra, out);
    // One allocation for many: ids are much alike in size.
    if (const ProducerState* oldest = extra->producers.oldest(); oldest != nullptr) {
        out.reserve(out.size() +
                    extra->producers.size() * (item_head_bytes + 16 + oldest->id().size() + 4));
    }
    for (const ProducerState* p = extra->producers.oldest(); p != nullptr; p = p->newer) {
        base::WireWriter producer =
            new_item(out, item_head_bytes + 16 + p->id().size(), ItemKind::producer, 0);
        producer.put(p->epoch);
        producer.put(p->seq);
        producer.put_text(p->id());
    }
}

std::uint64_t chain_items(std::uint64_t hash, base::Bytes items) {
    while (!items.empty()) {
        const std::size_t size = item_size(items);
        hash = chain_hash(hash, items.first(size));
        items = items.subspan(size);
    }
    return hash;
}

}  // namespace

// Head, buckets and sealed ranges.
void Machine::put_head(std::vector<std::byte>& out) const {
    ItemWriter head(out, ItemKind::head);
    head.put(membership_.empty() ? image_version_without_membership : image_version);
    head.put(group_.value);
    head.put(applied_.term.value);
    head.put(applied_.index.value);
    head.put(time_ms_);
    head.put(next_bucket_id_);
    head.put(static_cast<std::uint64_t>(buckets_.size()));
    head.put(static_cast<std::uint64_t>(sealed_.size()));
    head.put(static_cast<std::uint64_t>(streams()));
    head.finish();
    if (!membership_.empty()) {
        ItemWriter item(out, ItemKind::membership);
        item.put(membership_index_.value);
        item.put_text(base::as_text(membership_));
        item.finish();
    }
    if (seal_round_ != 0) {
        ItemWriter item(out, ItemKind::seal_round);
        item.put(seal_round_);
        item.finish();
    }
    for (const auto& [name, bucket] : buckets_) {
        ItemWriter item(out, ItemKind::bucket,
                        bucket.closing ? flag_bucket_closing : std::uint8_t{0});
        item.put(bucket.id);
        item.put_text(name);
        item.finish();
    }
    for (const Sealed& range : sealed_) {
        ItemWriter item(out, ItemKind::sealed);
        item.put(range.first);
        item.put(range.last);
        item.finish();
    }
    put_fork_links(links_, late_holds_, out);
    if (subscriptions_ != nullptr) {
        std::vector<std::byte> state;
        subscriptions_->write(state);
        VERIFY(state.size() <= UINT32_MAX);
        for (base::Bytes left = state; !left.empty();) {
            const base::Bytes part = left.first(std::min(left.size(), subscription_part_bytes));
            ItemWriter item(out, ItemKind::subscriptions);
            item.put(static_cast<std::uint32_t>(state.size()));
            item.put_text(base::as_text(part));
            item.finish();
            left = left.subspan(part.size());
        }
    }
}

std::uint64_t Machine::state_hash() const {
    std::vector<std::byte> items;
    put_head(items);
    std::uint64_t hash = chain_items(0, items);
    for (const Stream* stream = first_; stream != nullptr; stream = stream->next()) {
        items.clear();
        put_stream(*stream, items, stream->incarnation(group_));
        hash = chain_items(hash, items);
    }
    return hash;
}

// --- writing ---

ImageWriter::ImageWriter(Machine& machine, bool with_locations)
    : machine_(machine),
      at_(machine.applied()),
      with_locations_(with_locations),
      cursor_(machine.first()) {
    VERIFY(machine.image_ == nullptr);
    machine.image_ = this;
    machine.put_head(items_);
}

ImageWriter::~ImageWriter() {
    for (auto& [incarnation, saved] : saved_) {
        if (saved.stream != nullptr) {
            saved.stream->imaged_ = false;
        }
    }
    if (machine_.image_ == this) {
        machine_.image_ = nullptr;
    }
}

base::Incarnation ImageWriter::incarnation_of(const Stream* stream) const {
    return stream->incarnation(machine_.group());
}

void ImageWriter::before_change(Stream* stream, bool removing) {
    if (removing && stream == locating_) {
        detached_ = std::move(stream->locations);
        locating_ = nullptr;
    }
    const base::Incarnation incarnation = incarnation_of(stream);
    const bool wanted = incarnation.index <= at_.index && cursor_ != nullptr &&
                        incarnation_of(cursor_) <= incarnation;
    if (removing && cursor_ == stream) {
        cursor_ = stream->next();
    }
    if (!wanted) {
        return;
    }
    if (!stream->imaged_) {
        Saved saved;
        put_stream(*stream, saved.items, incarnation);
        saved.pieces = stream->locations.count();
        saved.stream = stream;
        saved_.emplace(incarnation, std::move(saved));
        stream->imaged_ = true;
    }
    if (removing) {
        Saved& saved = saved_.find(incarnation)->second;
        saved.stream = nullptr;
        saved.locations = std::move(stream->locations);
    }
}

// Takes the next stream of the image, in creation order: the cursor's, or one that was removed
// before the cursor came.
void ImageWriter::reach_next() {
    if (cursor_ != nullptr && cursor_->created_ > at_.index) {
        cursor_ = nullptr;  // this one and all after it are younger than the image
    }
    items_.clear();
    items_at_ = 0;
    const auto saved = saved_.begin();
    if (saved != saved_.end() &&
        (saved->second.stream == nullptr || saved->second.stream == cursor_)) {
        // The oldest saved stream is the cursor's own, or was removed: a removed one that is
        // younger than the cursor's waits.
        if (saved->second.stream != nullptr || cursor_ == nullptr ||
            saved->first < incarnation_of(cursor_)) {
            const base::Incarnation incarnation = saved->first;
            Stream* stream = saved->second.stream;
            items_ = std::move(saved->second.items);
            if (stream != nullptr) {
                stream->imaged_ = false;
                cursor_ = stream->next();
            }
            locate(stream, std::move(saved->second.locations), saved->second.pieces, incarnation);
            saved_.erase(saved);
            return;
        }
    }
    if (cursor_ == nullptr) {
        return;
    }
    Stream* stream = cursor_;
    cursor_ = stream->next();
    put_stream(*stream, items_, incarnation_of(stream));
    locate(stream, {}, stream->locations.count(), incarnation_of(stream));
}

void ImageWriter::locate(Stream* stream, Locations detached, std::uint32_t pieces,
                         base::Incarnation incarnation) {
    scratch_.clear();
    piece_ = 0;
    pieces_ = with_locations_ ? pieces : 0;
    if (pieces_ == 0) {
        return;
    }
    locating_ = stream;
    detached_ = std::move(detached);
    ++located_streams_;
    located_pieces_ += pieces;
    ItemWriter item(scratch_, ItemKind::places);
    item.put(incarnation.index.value);
    item.put(incarnation.ordinal);
    item.put(pieces);
    item.put((stream != nullptr ? stream->locations : detached_).at(0).from);
    item.finish();
}

void ImageWriter::put_pieces(FrameWriter& out) {
    if (piece_ == 0) {
        out.put(scratch_);  // the places item
    }
    const Locations& from = locating_ != nullptr ? locating_->locations : detached_;
    const std::uint32_t end = piece_ + std::min(pieces_ - piece_, pieces_per_item);
    scratch_.clear();
    ItemWriter item(scratch_, ItemKind::pieces);
    while (piece_ < end) {
        const Piece piece = from.at(piece_);
        item.put(piece.place.size);
        item.put(piece.place.segment | (piece.last ? 0 : goes_on));
        item.put(piece.place.position);
        item.put(piece.place.crc);
        segments_[piece.place.segment] += piece.place.size;
        ++piece_;
    }
    item.finish();
    out.put(scratch_);
    if (piece_ == pieces_) {
        piece_ = 0;
        pieces_ = 0;
        locating_ = nullptr;
        detached_.clear();
    }
}

void ImageWriter::next_slice(std::size_t bytes_max, std::vector<std::byte>& image,
                             std::vector<std::byte>& locations) {
    VERIFY(!done_);
    const std::size_t before = image.size() + locations.size();
    FrameWriter image_frames(image);
    FrameWriter location_frames(locations);
    if (!started_) {
        started_ = true;
        scratch_.clear();
        ItemWriter head(scratch_, ItemKind::head);
        head.put(location_image_version);
        head.put(machine_.group().value);
        head.put(at_.term.value);
        head.put(at_.index.value);
        head.finish();
        location_frames.put(scratch_);
    }
    while (!done_ && image.size() + locations.size() - before < bytes_max) {
        if (items_at_ < items_.size()) {
            const base::Bytes left = base::Bytes(items_).subspan(items_at_);
            const base::Bytes item = left.first(item_size(left));
            hash_ = chain_hash(hash_, item);
            image_frames.put(item);
            items_at_ += item.size();
        } else if (pieces_ > 0) {
            put_pieces(location_frames);
        } else {
            reach_next();
            if (items_.empty()) {
                done_ = true;
            }
        }
    }
    if (done_) {
        VERIFY(saved_.empty());
        scratch_.clear();
        ItemWriter end(scratch_, ItemKind::end);
        end.put(hash_);
        end.finish();
        image_frames.put(scratch_);
        scratch_.clear();
        ItemWriter located(scratch_, ItemKind::end);
        located.put(located_streams_);
        located.put(located_pieces_);
        located.finish();
        location_frames.put(scratch_);
        machine_.image_ = nullptr;
    }
    image_frames.close();
    location_frames.close();
}

// --- reading ---

ImageReader::ImageReader(Machine& machine) : machine_(machine) {
    VERIFY(machine.first() == nullptr && machine.applied() == base::EntryId() &&
           machine.buckets().empty());
}

base::Result<void> ImageReader::feed(base::Bytes bytes) {
    return frames_.feed(bytes,
                        [this](ItemKind kind, std::uint8_t flags, base::Bytes body,
                               base::Bytes whole) -> base::Result<void> {
                            if (ended_) {
                                return base::fail("an image goes on after its end");
                            }
                            if (kind == ItemKind::end) {
                                return end(body);
                            }
                            hash_ = chain_hash(hash_, whole);
                            return item(kind, flags, body);
                        });
}

base::Result<void> ImageReader::item(ItemKind kind, std::uint8_t flags, base::Bytes body) {
    if ((kind == ItemKind::head) == headed_) {
        return base::fail("an image does not begin with its head, or has two");
    }
    if (headed_ && membership_due_ != (kind == ItemKind::membership)) {
        return base::fail("an image's membership is missing or out of place");
    }
    if (!subscriptions_.empty() && kind != ItemKind::subscriptions) {
        return base::fail("an image's subscriptions are cut short");
    }
    if (expiry_due_ != (kind == ItemKind::expiry)) {
        return base::fail("an image's expiry of a stream is missing or out of place");
    }
    const bool origin_now = origin_due_ && !expiry_due_;
    if (origin_now != (kind == ItemKind::origin) ||
        (holds_due_ && !origin_due_ && !expiry_due_) != (kind == ItemKind::holds)) {
        return base::fail("an image's forks of a stream are missing or out of place");
    }
    switch (kind) {
        case ItemKind::head:
            return head(body);
        case ItemKind::membership:
            return membership(body);
        case ItemKind::seal_round:
            return seal_round(body);
        case ItemKind::bucket:
            return bucket(flags, body);
        case ItemKind::sealed:
            return sealed(body);
        case ItemKind::subscriptions:
            return subscriptions(body);
        case ItemKind::stream:
            return stream(flags, body);
        case ItemKind::expiry:
            return expiry(flags, body);
        case ItemKind::producer:
            return producer(body);
        case ItemKind::link:
            return link(flags, body);
        case ItemKind::late_hold:
            return late_hold(body);
        case ItemKind::origin:
            return origin(body);
        case ItemKind::holds:
            return holds(body);
        case ItemKind::end:
        case ItemKind::places:
        case ItemKind::pieces:
            break;
    }
    return base::fail("an image has an item of a kind that does not belong");
}

base::Result<void> ImageReader::head(base::Bytes body) {
    base::WireReader in(body);
    const auto version = in.get<std::uint32_t>();
    if (version != image_version && version != image_version_without_membership) {
        return base::fail("an image is of a version that this release does not read");
    }
    if (in.get<std::uint32_t>() != machine_.group_.value) {
        return base::fail("an image is of another group");
    }
    machine_.applied_.term.value = in.get<std::uint64_t>();
    machine_.applied_.index.value = in.get<std::uint64_t>();
    machine_.time_ms_ = in.get<std::int64_t>();
    machine_.next_bucket_id_ = in.get<std::uint64_t>();
    buckets_left_ = in.get<std::uint64_t>();
    sealed_left_ = in.get<std::uint64_t>();
    streams_left_ = in.get<std::uint64_t>();
    membership_due_ = version == image_version;
    headed_ = true;
    if (!in.ok() || in.left() != 0) {
        return base::fail("an image's head has the wrong size");
    }
    return {};
}

base::Result<void> ImageReader::membership(base::Bytes body) {
    base::WireReader in(body);
    const base::LogIndex index(in.get<std::uint64_t>());
    const base::Bytes bytes = in.get_bytes(in.left());
    if (!in.ok() || bytes.empty() || bytes.size() > Machine::membership_bytes_max ||
        index > machine_.applied_.index || index == base::LogIndex{}) {
        return base::fail("an image's membership is impossible");
    }
    membership_due_ = false;
    machine_.membership_index_ = index;
    machine_.membership_.assign(bytes.begin(), bytes.end());
    return {};
}

base::Result<void> ImageReader::seal_round(base::Bytes body) {
    base::WireReader in(body);
    const auto round = in.get<std::uint64_t>();
    if (!in.ok() || in.left() != 0 || round == 0 || machine_.seal_round_ != 0 ||
        !machine_.buckets_.empty() || !machine_.sealed_.empty() || machine_.streams() != 0) {
        return base::fail("an image's round of removals is out of place");
    }
    machine_.seal_round_ = round;
    return {};
}

base::Result<void> ImageReader::bucket(std::uint8_t flags, base::Bytes body) {
    base::WireReader in(body);
    const auto id = in.get<std::uint64_t>();
    const std::string_view name = in.get_text(in.left());
    if (!in.ok() || buckets_left_ == 0 || name.empty() || id >= machine_.next_bucket_id_ ||
        (!machine_.buckets_.empty() && name <= machine_.buckets_.rbegin()->first)) {
        return base::fail("an image has a bucket out of place");
    }
    --buckets_left_;
    machine_.buckets_.emplace(name, Bucket{id, (flags & flag_bucket_closing) != 0});
    return {};
}

base::Result<void> ImageReader::sealed(base::Bytes body) {
    base::WireReader in(body);
    const auto first = in.get<std::uint64_t>();
    const auto last = in.get<std::uint64_t>();
    if (!in.ok() || in.left() != 0 || buckets_left_ != 0 || sealed_left_ == 0 || first > last ||
        first == 0 || (!machine_.sealed_.empty() && first <= machine_.sealed_.back().last + 1)) {
        return base::fail("an image has a sealed range out of place");
    }
    --sealed_left_;
    machine_.sealed_.push_back({first, last});
    return {};
}

base::Result<void> ImageReader::subscriptions(base::Bytes body) {
    base::WireReader in(body);
    const auto size = in.get<std::uint32_t>();
    const base::Bytes part = in.get_bytes(in.left());
    if (!in.ok() || part.empty() || buckets_left_ != 0 || sealed_left_ != 0 ||
        machine_.streams() != 0 || machine_.subscriptions_ != nullptr ||
        subscriptions_.size() + part.size() > size) {
        return base::fail("an image has subscriptions out of place");
    }
    subscriptions_.insert(subscriptions_.end(), part.begin(), part.end());
    if (subscriptions_.size() < size) {
        return {};
    }
    machine_.subscriptions_ = std::make_unique<Subscriptions>(machine_.group_);
    if (!machine_.subscriptions_->read(subscriptions_)) {
        return base::fail("an image's subscriptions cannot be read");
    }
    subscriptions_.clear();
    return {};
}

base::Result<void> ImageReader::stream(std::uint8_t flags, base::Bytes body) {
    base::WireReader in(body);
    base::Incarnation incarnation{machine_.group_, {}, 0};
    incarnation.index.value = in.get<std::uint64_t>();
    incarnation.ordinal = in.get<std::uint32_t>();
    const auto producers = in.get<std::uint32_t>();
    const auto bucket_id = in.get<std::uint64_t>();
    const auto tail = in.get<std::uint64_t>();
    const auto records_first = in.get<std::uint64_t>();
    const auto records_next = in.get<std::uint64_t>();
    const auto name_size = in.get<std::uint16_t>();
    const auto type_size = in.get<std::uint16_t>();
    const auto seq_size = in.get<std::uint16_t>();
    const auto closer_size = in.get<std::uint16_t>();
    const auto closer_epoch = in.get<std::uint64_t>();
    const auto closer_seq = in.get<std::uint64_t>();
    const std::string_view name = in.get_text(name_size);
    const std::string_view type = in.get_text(type_size);
    const std::string_view seq = in.get_text(seq_size);
    const std::string_view closer = in.get_text(closer_size);
    const bool closed_by_producer = (flags & flag_stream_closer) != 0;
    if (!in.ok() || in.left() != 0 || buckets_left_ != 0 || sealed_left_ != 0 ||
        streams_left_ == 0 || producers_left_ != 0 || name.empty() || records_first != 0 ||
        incarnation.index > machine_.applied_.index ||
        (machine_.last_ != nullptr &&
         incarnation <= machine_.last_->incarnation(machine_.group_)) ||
        closed_by_producer == closer.empty()) {
        return base::fail("an image has a stream out of place");
    }
    const std::uint64_t hash = machine_.hash_of(name);
    if (machine_.find(name, hash) != nullptr) {
        return base::fail("an image has a stream twice");
    }
    --streams_left_;
    Stream* stream = machine_.add_stream(name, hash, type, bucket_id);
    stream->created_ = incarnation.index;
    stream->created_ordinal_ = incarnation.ordinal;
    stream->tail_ = tail;
    stream->records_ = records_next;
    stream->closed_ = (flags & flag_stream_closed) != 0;
    if (!seq.empty()) {
        machine_.extra_of(stream).stream_seq = seq;
    }
    if (closed_by_producer) {
        machine_.extra_of(stream).rare_part().closer = std::make_unique<ClosingProducer>(
            ClosingProducer{std::string(closer), closer_epoch, closer_seq});
    }
    producers_left_ = producers;
    expiry_due_ = (flags & flag_stream_expiry) != 0;
    origin_due_ = (flags & flag_stream_origin) != 0;
    holds_due_ = (flags & flag_stream_holds) != 0;
    holds_left_ = 0;
    stream->gone_ = (flags & flag_stream_gone) != 0;
    if (stream->gone_ && !holds_due_) {
        return base::fail("an image has a stream that nothing keeps");
    }
    return {};
}

base::Result<void> ImageReader::expiry(std::uint8_t flags, base::Bytes body) {
    base::WireReader in(body);
    api::Expiry expiry;
    expiry.kind = (flags & flag_expiry_at) != 0 ? api::Expiry::Kind::at : api::Expiry::Kind::ttl;
    expiry.ms = in.get<std::int64_t>();
    const auto touched_ms = in.get<std::int64_t>();
    expiry.text = in.get_text(in.left());
    const bool slides = expiry.kind == api::Expiry::Kind::ttl;
    if (!in.ok() || (slides && expiry.ms < 0) || slides != expiry.text.empty() ||
        expiry.text.size() > base::limits::expires_at_bytes_max || touched_ms > machine_.time_ms_) {
        return base::fail("an image has an impossible expiry");
    }
    expiry_due_ = false;
    machine_.set_expiry(machine_.last_, expiry, touched_ms);
    return {};
}

base::Result<void> ImageReader::producer(base::Bytes body) {
    base::WireReader in(body);
    const auto epoch = in.get<std::uint64_t>();
    const auto seq = in.get<std::uint64_t>();
    const std::string_view id = in.get_text(in.left());
    if (!in.ok() || id.empty() || id.size() > base::limits::producer_id_bytes_max ||
        producers_left_ == 0) {
        return base::fail("an image has a producer out of place");
    }
    Producers& producers = machine_.extra_of(machine_.last_).producers;
    const std::uint64_t hash = machine_.hash_of(id);
    if (producers.find(hash, id) != nullptr) {
        return base::fail("an image has a producer twice");
    }
    --producers_left_;
    producers.accept(nullptr, hash, id, epoch, seq);
    return {};
}

base::Result<void> ImageReader::end(base::Bytes body) {
    base::WireReader in(body);
    const auto hash = in.get<std::uint64_t>();
    if (!in.ok() || in.left() != 0 || !headed_ || membership_due_ || buckets_left_ != 0 ||
        sealed_left_ != 0 || streams_left_ != 0 || producers_left_ != 0 || expiry_due_ ||
        origin_due_ || holds_due_ || !subscriptions_.empty()) {
        return base::fail("an image ends before everything its head promised");
    }
    if (hash != hash_) {
        return base::fail("an image's items do not give its state hash");
    }
    ended_ = true;
    return {};
}

base::Result<void> ImageReader::finish() {
    if (!ended_ || !frames_.between_frames()) {
        return base::fail("an image is cut short");
    }
    return {};
}

LocationReader::LocationReader(Machine& machine) : machine_(machine), cursor_(machine.first()) {}

base::Result<void> LocationReader::feed(base::Bytes bytes) {
    return frames_.feed(bytes,
                        [this](ItemKind kind, std::uint8_t, base::Bytes body,
                               base::Bytes) -> base::Result<void> { return item(kind, body); });
}

base::Result<void> LocationReader::item(ItemKind kind, base::Bytes body) {
    base::WireReader in(body);
    if (ended_ || (kind == ItemKind::head) == headed_) {
        return base::fail(
            "a location image does not begin with its head, has two, or goes on after its end");
    }
    if (kind == ItemKind::head) {
        headed_ = true;
        if (in.get<std::uint32_t>() != location_image_version) {
            return base::fail("a location image is of a version that this release does not read");
        }
        const auto group = in.get<std::uint32_t>();
        const auto term = in.get<std::uint64_t>();
        const auto index = in.get<std::uint64_t>();
        if (!in.ok() || in.left() != 0 || group != machine_.group_.value ||
            base::EntryId{base::Term(term), base::LogIndex(index)} != machine_.applied_) {
            return base::fail("a location image is not of its machine's image");
        }
        return {};
    }
    if (kind == ItemKind::places) {
        return places(body);
    }
    if (kind == ItemKind::pieces) {
        return pieces(body);
    }
    if (kind == ItemKind::end) {
        TRY(close_stream());
        const auto streams = in.get<std::uint64_t>();
        const auto count = in.get<std::uint64_t>();
        if (!in.ok() || in.left() != 0 || streams != streams_ || count != pieces_) {
            return base::fail("a location image ends before everything it promised");
        }
        ended_ = true;
        return {};
    }
    return base::fail("a location image has an item of a kind that does not belong");
}

base::Result<void> LocationReader::close_stream() {
    if (pieces_left_ != 0 || (current_ != nullptr && at_ != current_->tail())) {
        return base::fail("a location image does not reach a stream's tail");
    }
    current_ = nullptr;
    return {};
}

base::Result<void> LocationReader::places(base::Bytes body) {
    TRY(close_stream());
    base::WireReader in(body);
    base::Incarnation incarnation{machine_.group_, {}, 0};
    incarnation.index.value = in.get<std::uint64_t>();
    incarnation.ordinal = in.get<std::uint32_t>();
    pieces_left_ = in.get<std::uint32_t>();
    at_ = in.get<std::uint64_t>();
    while (cursor_ != nullptr && cursor_->incarnation(machine_.group_) < incarnation) {
        cursor_ = cursor_->next();
    }
    if (!in.ok() || in.left() != 0 || pieces_left_ == 0 || cursor_ == nullptr ||
        cursor_->incarnation(machine_.group_) != incarnation) {
        return base::fail("a location image names a stream that the image does not have");
    }
    current_ = cursor_;
    cursor_ = cursor_->next();
    if (at_ < current_->own_from()) {
        return base::fail("a location image has bytes of a fork that are its source's");
    }
    ++streams_;
    return {};
}

base::Result<void> LocationReader::pieces(base::Bytes body) {
    base::WireReader in(body);
    if (body.empty() || body.size() % 16 != 0 || body.size() / 16 > pieces_left_) {
        return base::fail("a location image has pieces out of place");
    }
    while (in.left() > 0) {
        Piece piece;
        piece.from = at_;
        piece.place.size = in.get<std::uint32_t>();
        const auto segment = in.get<std::uint32_t>();
        piece.place.segment = segment & ~goes_on;
        piece.last = (segment & goes_on) == 0;
        piece.place.position = in.get<std::uint32_t>();
        piece.place.crc = in.get<std::uint32_t>();
        piece.to = at_ + piece.place.size;
        --pieces_left_;
        if (piece.place.size == 0 || piece.place.size > Locations::piece_bytes_max ||
            piece.to > current_->tail() || (!piece.last && pieces_left_ == 0)) {
            return base::fail("a location image has an impossible piece");
        }
        current_->locations.add_piece(piece);
        machine_.local_.segments.add(piece.place.segment, piece.place.size);
        at_ = piece.to;
        ++pieces_;
    }
    return {};
}

base::Result<void> LocationReader::finish() {
    if (!ended_ || !frames_.between_frames()) {
        return base::fail("a location image is cut short");
    }
    return {};
}

}  // namespace ursula::stream
