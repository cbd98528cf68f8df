// Snapshots of a shard's groups: two files per snapshot at one entry, the machine's image
// (canonical, transferable) and this replica's location index (local). Written in slices, one
// snapshot at a time, published by rename, re-read and verified before it counts. Bytes on disk:
// storage/snapshot_format.h. Used only by the shard's loop.
//
//   store.begin(group, id); while work is left: if (store.ready()) store.append(Part::image,
//   slice); ...; store.finish(); each turn after the reap: if (store.take_finished(finished))
//   wal.covered(...) when finished.ok
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "storage/disk.h"

namespace ursula::storage {

class SnapshotCore;

class SnapshotStore final {
  public:
    enum class Part : std::uint8_t { image, locations };

    struct Finished {
        base::GroupId group;
        base::EntryId id;
        bool ok = false;     // both files are durable under their names and were read back whole;
                             // older ones are going
        std::string reason;  // !ok: one sentence. Nothing was published; begin again later (after a
                             // full disk: a second)
        std::uint64_t image_bytes = 0;
        std::uint64_t locations_bytes = 0;
    };

    struct Loaded {
        base::EntryId id;  // index 0: the group has no snapshot
        std::vector<std::byte> image;
        std::vector<std::byte> locations;
    };

    // salt: the shard's, as the log's. disk outlives the store.
    SnapshotStore(Disk& disk, std::uint64_t salt);
    // Only when the disk has nothing of it in flight any more, or is gone.
    ~SnapshotStore();
    SnapshotStore(const SnapshotStore&) = delete;
    SnapshotStore& operator=(const SnapshotStore&) = delete;

    // --- start-up: these block ---
    // Lists the directory, removes temporaries and halves. Before any load.
    base::Result<void> open();
    // The newest snapshot of the group both of whose files verify; damaged ones are skipped and
    // named in `damage`, and then recovery refuses if the log no longer reaches back far enough.
    // Error: the disk failed, or a newer format.
    base::Result<Loaded> load(base::GroupId group, std::string& damage);

    // --- running: never blocks ---
    bool busy() const;  // one is being written
    // Not while busy. id.index is above the group's newest snapshot.
    void begin(base::GroupId group, base::EntryId id);
    // Room for another slice (up to 1 MiB per part) without queueing more than two buffers.
    bool ready() const;
    void append(Part part, base::Bytes bytes);  // copied
    void finish();
    void abandon();  // drops the one being written; busy until its files are gone
    bool take_finished(Finished& out);  // true once per begun snapshot that was not abandoned

  private:
    std::unique_ptr<SnapshotCore> core_;
};

}  // namespace ursula::storage
