#include "stream/producers.h"

#include <cstdlib>
#include <new>

#include "base/verify.h"

namespace ursula::stream {

namespace {

std::size_t allocation(std::size_t id_size) {
    return sizeof(ProducerState) + id_size;
}

}  // namespace

Producers::~Producers() {
    while (oldest_ != nullptr) {
        ProducerState* gone = oldest_;
        oldest_ = gone->newer;
        std::free(gone);
    }
}

ProducerState* Producers::find(std::uint64_t hash, std::string_view id) const {
    return table_.find(static_cast<std::uint32_t>(hash),
                       [id](const ProducerState& producer) { return producer.id() == id; });
}

void Producers::accept(ProducerState* known, std::uint64_t hash, std::string_view id,
                       std::uint64_t epoch, std::uint64_t seq) {
    if (known == nullptr) {
        void* memory = std::malloc(allocation(id.size()));
        VERIFY(memory != nullptr);
        known = new (memory) ProducerState();
        known->hash = static_cast<std::uint32_t>(hash);
        known->id_size = static_cast<std::uint16_t>(id.size());
        base::copy_bytes(known + 1, base::as_bytes(id));
        table_.insert(known);
        link_newest(known);
    } else if (known != newest_) {
        unlink(known);
        link_newest(known);
    }
    known->epoch = epoch;
    known->seq = seq;
}

std::size_t Producers::forget(std::size_t keep) {
    std::size_t gone = 0;
    while (table_.size() > keep) {
        ProducerState* producer = oldest_;
        table_.erase(producer);
        unlink(producer);
        std::free(producer);
        ++gone;
    }
    return gone;
}

std::size_t Producers::memory_bytes() const {
    std::size_t bytes = table_.memory_bytes();
    for (const ProducerState* producer = oldest_; producer != nullptr; producer = producer->newer) {
        bytes += allocation(producer->id_size);
    }
    return bytes;
}

void Producers::unlink(ProducerState* producer) {
    (producer->older != nullptr ? producer->older->newer : oldest_) = producer->newer;
    (producer->newer != nullptr ? producer->newer->older : newest_) = producer->older;
}

void Producers::link_newest(ProducerState* producer) {
    producer->older = newest_;
    producer->newer = nullptr;
    (newest_ != nullptr ? newest_->newer : oldest_) = producer;
    newest_ = producer;
}

}  // namespace ursula::stream
