// Duplicate detection (protocol digest 1.4): per producer id the epoch and the highest accepted
// sequence number, in order of use. The order is part of the replicated state: the least recently
// used are forgotten first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/siphash.h"
#include "stream/pointer_table.h"

namespace ursula::stream {

// One allocation, the id behind the object.
struct ProducerState {
    ProducerState* older = nullptr;
    ProducerState* newer = nullptr;
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
    std::uint32_t hash = 0;
    std::uint16_t id_size = 0;
    std::string_view id() const { return {reinterpret_cast<const char*>(this + 1), id_size}; }
};

class Producers {
  public:
    Producers() = default;
    Producers(const Producers&) = delete;
    Producers& operator=(const Producers&) = delete;
    ~Producers();

    std::size_t size() const { return table_.size(); }
    const ProducerState* oldest() const { return oldest_; }  // walk with ->newer
    ProducerState* find(std::uint64_t hash, std::string_view id) const;
    // Sets what was accepted and makes the producer the most recently used. `known` is what find()
    // gave, or null.
    void accept(ProducerState* known, std::uint64_t hash, std::string_view id, std::uint64_t epoch,
                std::uint64_t seq);
    // Drops the least recently used until at most `keep` remain; returns how many went.
    std::size_t forget(std::size_t keep);
    std::size_t memory_bytes() const;

  private:
    void unlink(ProducerState* producer);
    void link_newest(ProducerState* producer);

    PointerTable<ProducerState> table_;
    ProducerState* oldest_ = nullptr;
    ProducerState* newest_ = nullptr;
};

}  // namespace ursula::stream
