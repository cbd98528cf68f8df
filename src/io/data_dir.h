// The data directory on the real file system: made, locked, and asked what its disk can do.
//
//   DIR/LOCK         locked (flock) by the one server that uses DIR; holds its process id
//   DIR/node         storage/node_file.h
//   DIR/shard-0000/  one per shard: its log and snapshots
//   DIR/tls/         of a member of a cluster: what it proves itself with (src/cluster_tls.h)
//
// Everything is made for the owner only (0700, 0600). Errors follow storage: errno_value 0 refuses
// the directory (exit 3), another value is the system's (exit 1).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "storage/disk.h"

namespace ursula::io {

// The probe's scratch file; gone when it returns.
constexpr const char* probe_name = "probe.tmp";

enum class DirectIo : std::uint8_t { by_probe, on, off };

// What the probe found for one directory.
struct DiskProfile {
    // O_DIRECT with RWF_DSYNC; false: through the page cache, write then fdatasync.
    bool direct = false;
    // Bytes: unit of direct writes; in either case what a batch starts on.
    std::uint32_t alignment = 4096;
    // tmpfs or the like: nothing survives a power loss, to be logged.
    bool memory_backed = false;
    // The fastest of a few durable writes; zero when the probe did not write.
    base::Duration durable_write{};
    // One sentence: why it is direct or not, for the log.
    std::string reason;
};

// Asks the file system of an open directory, by writing a scratch file in it and through a small
// ring of the calling thread (DESIGN "WAL": the probe decides, never the file system's name).
// Blocks for some ten writes. A full disk does not fail it. `on` fails where direct I/O does not
// work; `off` writes nothing.
[[nodiscard]] base::Result<DiskProfile> probe_disk(int directory, DirectIo wanted);

// Bytes of the file system that holds an open directory.
[[nodiscard]] base::Result<storage::Space> space_of(int directory);

// Owns the lock and the descriptors; outlives every UringDisk made on them. Made by main before the
// loops start; descriptors may be used on any thread.
class DataDir {
  public:
    // Makes the directory (with missing parents) when it is not there, and takes the lock. Refuses
    // one that holds anything but a data directory, or what a first start that was cut short leaves
    // behind; nothing is written there then.
    [[nodiscard]] static base::Result<std::unique_ptr<DataDir>> open(const std::string& path);
    ~DataDir();
    DataDir(const DataDir&) = delete;
    DataDir& operator=(const DataDir&) = delete;

    const std::string& path() const { return path_; }
    int directory() const { return directory_; }
    // Opens the shard's subdirectory, once per shard. When it is missing it is made (durably), or
    // refused if it `must_exist`.
    [[nodiscard]] base::Result<int> open_shard(base::ShardId shard, bool must_exist);

  private:
    explicit DataDir(std::string path) : path_(std::move(path)) {}
    base::Result<void> take_lock();
    base::Result<void> look_around() const;

    std::string path_;
    int directory_ = -1;
    int lock_ = -1;
    std::vector<int> shards_;
};

}  // namespace ursula::io
