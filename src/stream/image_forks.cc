#include "stream/image_forks.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "stream/image.h"
#include "stream/image_format.h"

namespace ursula::stream {

namespace limits = base::limits;

namespace {

constexpr std::uint8_t asked_content_type = 1;
constexpr std::uint8_t asked_offset = 2;

base::Incarnation take_incarnation(base::WireReader& in) {
    base::Incarnation incarnation;
    incarnation.index.value = in.get<std::uint64_t>();
    incarnation.ordinal = in.get<std::uint32_t>();
    incarnation.group.value = in.get<std::uint32_t>();
    return incarnation;
}

void put_incarnation(ItemWriter& item, const base::Incarnation& incarnation) {
    item.put(incarnation.index.value);
    item.put(incarnation.ordinal);
    item.put(incarnation.group.value);
}

}  // namespace

void put_fork_links(const ForkLinks& links, const LateHolds& late, std::vector<std::byte>& out) {
    for (const auto& [id, link] : links) {
        ItemWriter item(out, ItemKind::link,
                        link.releasing ? flag_link_releasing : std::uint8_t{0});
        item.put(id.index.value);
        item.put(id.ordinal);
        item.put(link.source_group.value);
        item.put_text(link.source);
        item.finish();
    }
    for (const auto& [time_ms, id] : late.by_time()) {
        ItemWriter item(out, ItemKind::late_hold);
        item.put(time_ms);
        put_incarnation(item, id);
        item.finish();
    }
}

void put_fork_items(const StreamExtra& extra, std::vector<std::byte>& out) {
    if (const ForkOrigin* origin = extra.origin()) {
        ItemWriter item(out, ItemKind::origin);
        item.put(origin->link.index.value);
        item.put(origin->link.ordinal);
        put_incarnation(item, origin->source);
        item.put(origin->point);
        item.put(origin->depth);
        item.put(
            static_cast<std::uint8_t>((origin->asked.has_content_type ? asked_content_type : 0) |
                                      (origin->asked.has_offset ? asked_offset : 0)));
        item.put(static_cast<std::uint8_t>(origin->asked.expires));
        item.put(origin->asked.offset);
        item.put(origin->asked.sub_offset);
        item.put(origin->asked.expires_ms);
        item.put_text(origin->source_name);
        item.finish();
    }
    const Holds* holds = extra.holds();
    if (holds == nullptr) {
        return;
    }
    std::size_t left = holds->size();
    auto hold = holds->begin();
    while (left > 0) {
        const std::size_t count = std::min(left, holds_per_item);
        left -= count;
        ItemWriter item(out, ItemKind::holds);
        item.put(static_cast<std::uint32_t>(left));
        for (std::size_t i = 0; i < count; ++i, ++hold) {
            put_incarnation(item, *hold);
        }
        item.finish();
    }
}

base::Result<void> ImageReader::link(std::uint8_t flags, base::Bytes body) {
    base::WireReader in(body);
    base::Incarnation id{machine_.group_, {}, 0};
    ForkLink link;
    link.releasing = (flags & flag_link_releasing) != 0;
    id.index.value = in.get<std::uint64_t>();
    id.ordinal = in.get<std::uint32_t>();
    link.source_group.value = in.get<std::uint32_t>();
    link.source = in.get_text(in.left());
    if (!in.ok() || link.source.empty() || id.index > machine_.applied_.index ||
        machine_.streams() != 0 || buckets_left_ != 0 || sealed_left_ != 0 ||
        (!machine_.links_.empty() && id <= machine_.links_.rbegin()->first)) {
        return base::fail("an image has a fork's link out of place");
    }
    machine_.links_.emplace(id, std::move(link));
    machine_.links_changed_ = true;
    return {};
}

base::Result<void> ImageReader::late_hold(base::Bytes body) {
    base::WireReader in(body);
    const auto time_ms = in.get<std::int64_t>();
    const base::Incarnation id = take_incarnation(in);
    if (!in.ok() || in.left() != 0 || time_ms > machine_.time_ms_ || machine_.streams() != 0 ||
        machine_.late_holds_.has(id) || buckets_left_ != 0 || sealed_left_ != 0) {
        return base::fail("an image has a late hold out of place");
    }
    machine_.late_holds_.add(id, time_ms);
    return {};
}

base::Result<void> ImageReader::origin(base::Bytes body) {
    base::WireReader in(body);
    auto origin = std::make_unique<ForkOrigin>();
    origin->link.group = machine_.group_;
    origin->link.index.value = in.get<std::uint64_t>();
    origin->link.ordinal = in.get<std::uint32_t>();
    origin->source = take_incarnation(in);
    origin->point = in.get<std::uint64_t>();
    origin->depth = in.get<std::uint32_t>();
    const auto asked = in.get<std::uint8_t>();
    const auto expires = in.get<std::uint8_t>();
    origin->asked.has_content_type = (asked & asked_content_type) != 0;
    origin->asked.has_offset = (asked & asked_offset) != 0;
    origin->asked.expires = static_cast<api::Expiry::Kind>(expires);
    origin->asked.offset = in.get<std::uint64_t>();
    origin->asked.sub_offset = in.get<std::uint64_t>();
    origin->asked.expires_ms = in.get<std::int64_t>();
    origin->source_name = in.get_text(in.left());
    Stream* stream = machine_.last_;
    if (!in.ok() || origin->source_name.empty() || origin->point > stream->tail() ||
        origin->depth == 0 || origin->depth > limits::fork_depth_max ||
        expires > static_cast<std::uint8_t>(api::Expiry::Kind::at) ||
        asked > (asked_content_type | asked_offset)) {
        return base::fail("an image has a fork's impossible origin");
    }
    machine_.extra_of(stream).rare_part().origin = std::move(origin);
    stream->forked_ = true;
    origin_due_ = false;
    return {};
}

base::Result<void> ImageReader::holds(base::Bytes body) {
    base::WireReader in(body);
    const auto left = in.get<std::uint32_t>();
    StreamRare& rare = machine_.extra_of(machine_.last_).rare_part();
    const bool first = rare.holds == nullptr;
    if (first) {
        rare.holds = std::make_unique<Holds>();
    }
    const std::size_t before = rare.holds->size();
    while (in.ok() && in.left() > 0) {
        const base::Incarnation id = take_incarnation(in);
        if (!rare.holds->empty() && id <= *rare.holds->rbegin()) {
            return base::fail("an image has a hold out of place");
        }
        rare.holds->insert(rare.holds->end(), id);
    }
    const std::size_t here = rare.holds->size() - before;
    if (!in.ok() || here == 0 || rare.holds->size() > limits::forks_per_stream_max ||
        (!first && holds_left_ != here + left)) {
        return base::fail("an image has holds out of place");
    }
    holds_left_ = left;
    holds_due_ = left != 0;
    return {};
}

}  // namespace ursula::stream
