// Strong integer ids: numbers have types, conversions are spelled out.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace ursula::base {

template <class Tag, class Rep>
struct Id {
    Rep value{};
    constexpr Id() = default;
    constexpr explicit Id(Rep v) : value(v) {}
    constexpr auto operator<=>(const Id&) const = default;
    constexpr Id next() const { return Id(static_cast<Rep>(value + 1)); }
};

using Term = Id<struct TermTag, std::uint64_t>;
using LogIndex =
    Id<struct LogIndexTag, std::uint64_t>;             // first entry is 1; 0 means "before the log"
using GroupId = Id<struct GroupIdTag, std::uint32_t>;  // 0 .. groups-1
using NodeId = Id<struct NodeIdTag, std::uint32_t>;    // 1 .. ; 0 means "none"
using ShardId = Id<struct ShardIdTag, std::uint32_t>;  // 0 .. shards-1 of this node

// An entry is named by its term and index (Raft thesis 3.5).
struct EntryId {
    Term term;
    LogIndex index;
    constexpr auto operator<=>(const EntryId&) const = default;
};

// A stream's life: the entry that created it and its ordinal among that entry's commands.
// Unique per node for ever; part of ETags, records and (later) object keys.
struct Incarnation {
    GroupId group;
    LogIndex index;
    std::uint32_t ordinal = 0;
    constexpr auto operator<=>(const Incarnation&) const = default;
};

}  // namespace ursula::base

template <class Tag, class Rep>
struct std::hash<ursula::base::Id<Tag, Rep>> {
    std::size_t operator()(ursula::base::Id<Tag, Rep> id) const noexcept {
        return std::hash<Rep>()(id.value);
    }
};
