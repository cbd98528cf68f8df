// What the final log says about the producers of one stream: which triple is where.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tools/check/history.h"
#include "tools/check/slots.h"

namespace ursula::check {

class ProducerLog {
  public:
    // The appends of one producer: places in the log, and the epochs they are of.
    struct Entry {
        struct Epoch {
            std::uint64_t number = 0;
            std::uint32_t first = 0;  // Index into places; ends where the next one begins.
        };
        std::vector<std::uint32_t> places;
        std::vector<Epoch> epochs;

        std::uint32_t size_of(std::size_t epoch) const {
            const std::size_t end =
                epoch + 1 < epochs.size() ? epochs[epoch + 1].first : places.size();
            return static_cast<std::uint32_t>(end) - epochs[epoch].first;
        }
    };

    // True when this triple may follow what was added: the next seq of the same epoch, or seq 0 of
    // a higher one.
    bool may_follow(const Producer& producer) const {
        const auto at = entries_.find(producer.name);
        if (at == entries_.end()) {
            return producer.seq == 0;
        }
        const Entry::Epoch& last = at->second.epochs.back();
        return producer.epoch == last.number
                   ? producer.seq == at->second.size_of(at->second.epochs.size() - 1)
                   : producer.epoch > last.number && producer.seq == 0;
    }

    // Adds the next append of the log; its triple may follow.
    void add(const Producer& producer, std::uint32_t place) {
        Entry& entry = entries_[producer.name];
        if (entry.epochs.empty() || entry.epochs.back().number != producer.epoch) {
            entry.epochs.push_back(
                Entry::Epoch{producer.epoch, static_cast<std::uint32_t>(entry.places.size())});
        }
        entry.places.push_back(place);
    }

    // Its last place so far, or nowhere.
    std::uint32_t last_of(std::uint32_t name) const {
        const auto at = entries_.find(name);
        return at == entries_.end() ? nowhere : at->second.places.back();
    }

    std::uint32_t first_of(std::uint32_t name) const {
        const auto at = entries_.find(name);
        return at == entries_.end() ? nowhere : at->second.places.front();
    }

    std::uint32_t place_of(const Producer& producer) const {
        const Entry::Epoch* epoch = nullptr;
        const Entry* entry = find(producer.name, producer.epoch, epoch);
        if (entry == nullptr || epoch->number != producer.epoch ||
            producer.seq >= entry->size_of(static_cast<std::size_t>(epoch - &entry->epochs[0]))) {
            return nowhere;
        }
        return entry->places[epoch->first + producer.seq];
    }

    // The place of the append that comes after this triple, whatever its epoch; the triple is
    // there.
    std::uint32_t place_after(const Producer& producer) const {
        const Entry::Epoch* epoch = nullptr;
        const Entry* entry = find(producer.name, producer.epoch, epoch);
        const std::size_t next = epoch->first + producer.seq + 1;
        return next < entry->places.size() ? entry->places[next] : nowhere;
    }

    // The first place of an epoch that is `epoch` or higher.
    std::uint32_t first_from(std::uint32_t name, std::uint64_t number) const {
        const Entry::Epoch* epoch = nullptr;
        const Entry* entry = find(name, number, epoch);
        return entry == nullptr ? nowhere : entry->places[epoch->first];
    }

    // True when the producer has an append of exactly this epoch.
    bool has_epoch(std::uint32_t name, std::uint64_t number) const {
        const Entry::Epoch* epoch = nullptr;
        return find(name, number, epoch) != nullptr && epoch->number == number;
    }

  private:
    // The first epoch from `number` on; nullptr when there is none.
    const Entry* find(std::uint32_t name, std::uint64_t number, const Entry::Epoch*& epoch) const {
        const auto at = entries_.find(name);
        if (at == entries_.end()) {
            return nullptr;
        }
        const auto& epochs = at->second.epochs;
        const auto found = std::lower_bound(
            epochs.begin(), epochs.end(), number,
            [](const Entry::Epoch& one, std::uint64_t wanted) { return one.number < wanted; });
        if (found == epochs.end()) {
            return nullptr;
        }
        epoch = &*found;
        return &at->second;
    }

    std::unordered_map<std::uint32_t, Entry> entries_;
};

}  // namespace ursula::check
