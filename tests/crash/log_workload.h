// A shard's life on a simulated disk, in steps, and what must be true of every image a power cut
// may leave after each: the groups' logs hold what was acknowledged and a prefix of what was not,
// snapshots and log fit together, and every payload that a snapshot or the log names reads back.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/random.h"
#include "sim/sim_disk.h"
#include "storage/recovery.h"
#include "storage/snapshot_store.h"
#include "storage/wal.h"

namespace ursula::crash {

constexpr std::uint32_t group_count = 4;

// A live payload: where its bytes are and what they are.
struct Payload {
    std::vector<storage::Location> pieces;
    std::uint32_t crc = 0;
};

// One group as the test knows it. A log's state is one number: the hash of its entries in order.
struct GroupModel {
    base::EntryId base;  // entries begin behind it (a snapshot, or nothing)
    std::uint64_t base_chain = 0;
    struct Known {
        base::EntryId id;
        std::uint64_t chain = 0;
    };
    std::vector<Known> entries;
    std::vector<std::uint64_t> states;  // after each staged operation; [0] as recovered
    std::size_t acked = 0;  // states[acked] was acknowledged: what is found is it or a later one
    std::map<base::EntryId, std::size_t> operation_of;
    std::vector<std::pair<base::Term, base::NodeId>> hard_states;
    std::size_t hard_acked = 0;
    base::LogIndex persisted;
    base::LogIndex applied;  // never truncated below
    base::Term term{1};
    std::map<base::LogIndex, Payload> live;
    bool installing = false;  // a snapshot from elsewhere is being written

    base::LogIndex end() const { return entries.empty() ? base.index : entries.back().id.index; }
    std::uint64_t chain() const { return entries.empty() ? base_chain : entries.back().chain; }
};

struct Recovered {
    std::string refused;  // recovery's sentence when it did
    storage::RecoveredLog log;
    std::vector<GroupModel> groups;
    std::string violation;  // what the image itself contradicts
    // Payloads whose bytes do not match the checksum that snapshot or entry keeps of them: a reader
    // is refused these.
    std::vector<Payload> unreadable;
};

constexpr std::uint64_t workload_salt = 0xfeedfacecafebeefu;
constexpr std::uint8_t kind_plain = 1;
constexpr std::uint8_t kind_live = 2;

std::uint64_t chained(std::uint64_t chain, base::EntryId id, std::uint8_t kind, base::Bytes body);
std::vector<std::byte> encode_locations(const std::map<base::LogIndex, Payload>& live);

// The snapshots of all groups, newest valid ones.
struct Snapshots {
    std::string refused;
    std::string damage;  // names the files that were passed over
    std::vector<storage::SnapshotStore::Loaded> groups;
};
Snapshots load_snapshots(storage::Disk& disk);

// What an image holds, by the storage island's own recovery. The disk shows the image.
Recovered recover_image(storage::Disk& disk, const sim::Image& image);

// The same with snapshots loaded before. touched: only payloads that have this byte are read back,
// all others are known to be whole.
struct Touched {
    storage::SegmentId segment;
    std::uint64_t position = UINT64_MAX;
};
Recovered recover_log(storage::Disk& disk, const sim::Image& image, const Snapshots& from,
                      const Touched* touched);

class LogWorkload {
  public:
    struct Found {
        std::uint64_t images = 0;   // distinct ones recovered
        std::uint64_t checks = 0;   // of an image against what was acknowledged
        std::uint64_t nested = 0;   // of crashes inside a recovery
        std::uint64_t crashes = 0;  // lives ended
        std::uint64_t segments_recycled = 0;
        std::uint64_t segments_made = 0;
        std::uint64_t snapshots = 0;
        std::uint64_t times_full = 0;
        std::uint64_t truncations = 0;
        std::uint64_t large = 0;
        std::uint64_t two_in_flight = 0;
        std::string violation;  // the first, empty while all is well
    };

    explicit LogWorkload(std::uint64_t seed);
    ~LogWorkload();
    // Runs so many steps, or until a violation was found; after each `every`th, all images are
    // checked. seen is shared between seeds.
    void run(std::uint64_t steps, std::uint64_t every, sim::SimDisk::Seen& seen);
    const Found& found() const { return found_; }

  private:
    void begin_life(const sim::Image& image);
    void step();
    void stage_some();
    void stage_entry(std::uint32_t group, std::size_t size);
    void truncate_some(std::uint32_t group);
    void take_persisted();
    void snapshot_step();
    void check_images(sim::SimDisk::Seen& seen);
    // Empty when the image is as it must be.
    std::string check(const sim::Image& image, Recovered* out = nullptr) const;
    std::string check_nested(const sim::Image& image, sim::SimDisk::Seen& seen);
    void power_cut();
    std::uint64_t acknowledged() const;

    const std::uint64_t seed_;
    base::Random random_;
    base::Random disk_random_;
    base::Random crash_random_;
    std::unique_ptr<sim::SimDisk> disk_;
    std::unique_ptr<storage::Wal> wal_;
    std::unique_ptr<storage::SnapshotStore> snapshots_;
    std::vector<GroupModel> groups_;
    base::Instant now_{};
    bool small_volume_ = false;
    // The snapshot being written.
    bool writing_ = false;
    bool appended_ = false;
    std::uint32_t snapshot_group_ = 0;
    base::EntryId snapshot_id_;
    std::uint64_t snapshot_chain_ = 0;
    std::map<base::LogIndex, Payload> snapshot_live_;
    std::uint64_t recycled_before_ = 0;
    Found found_;
};

}  // namespace ursula::crash
