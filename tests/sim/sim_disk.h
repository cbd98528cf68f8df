// A Disk in memory that knows what is on stable storage and what is not. It keeps every write apart
// by 512 B sector until a sync (or the write's own durability) covers it, and every directory
// change until the directory is synced; from that it makes the images a power cut may leave. Ops
// complete when the test says so, or in seeded order.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/random.h"
#include "storage/disk.h"

namespace ursula::sim {

constexpr std::size_t sector_bytes = 512;

// A directory as found after a power cut: names and contents.
struct Image {
    std::map<std::string, std::vector<std::byte>> files;
    // A sum over sectors and files, so that SimDisk can tell an image's hash without making it.
    std::uint64_t hash() const;
};

class SimDisk final : public storage::Disk {
  public:
    SimDisk() = default;
    // Everything in the image is durable.
    explicit SimDisk(const Image& image);

    // --- Disk ---
    void submit(storage::DiskOp& op) override;
    void take_completions(std::vector<storage::DiskOp*>& done) override;
    std::uint32_t alignment() const override { return alignment_; }
    bool keeps_data() const override { return true; }
    base::Result<storage::Space> space() override;
    base::Result<std::vector<storage::FileInfo>> list_now() override;
    base::Result<std::vector<std::string>> list_others_now() override { return others_; }
    void run_now(storage::DiskOp& op) override;

    // --- what the test decides ---
    void set_alignment(std::uint32_t bytes) { alignment_ = bytes; }
    // Bytes the volume has; creating and filling beyond them is -ENOSPC. Default: no bound.
    void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
    // take_completions() completes each op in flight with this chance, in random order. nullptr:
    // all, in order.
    void set_random(base::Random* random) { random_ = random; }
    // Those of its files to which nothing was written that waits for a sync.
    Image settled() const;
    // Damages one byte of a file, which is settled, on stable storage and as read.
    void flip(const std::string& name, std::uint64_t position, std::byte mask);
    // The op submitted or run `countdown` ops from now (0: the next) of this kind fails with
    // -error.
    void fail(storage::DiskOp::Kind kind, std::uint32_t countdown, int error);
    // Something in the directory that is no regular file.
    void add_other(const std::string& name) { others_.push_back(name); }
    // After so many more ops everything is refused with -EIO and changes nothing: the power is off.
    void cut_after(std::uint64_t ops) { ops_left_ = ops; }
    bool cut() const { return ops_left_ == 0; }
    std::uint64_t ops() const { return ops_; }
    std::size_t in_flight() const { return in_flight_.size(); }

    // --- crash states ---
    std::size_t unsynced_sectors() const;
    std::size_t unsynced_names() const;
    // Everything that was written so far, synced or not.
    Image everything() const;
    // What is certain to survive a power cut now.
    Image durable() const;
    // Calls visit with those images a power cut may leave now that are not in `seen` under `key`
    // (they are added): every combination of lost and kept for up to 10 unsynced sectors (and of
    // torn ones for up to 5); above, none, all, every prefix, every single one missing, every
    // single one torn, and 64 seeded subsets. Directory changes likewise. Stops when visit returns
    // false. `key` says what the images are checked against: after another acknowledgement the same
    // image is another case.
    using Seen = std::unordered_set<std::uint64_t>;
    using Visit = std::function<bool(const Image& image, std::uint64_t hash)>;
    void crash_images(base::Random& random, Seen& seen, std::uint64_t key,
                      const Visit& visit) const;
    // One of them, drawn: each unsynced sector lost, kept or torn and each directory change lost or
    // kept, by chance; one in eight times all of them kept, one in eight all lost.
    Image crash_image(base::Random& random) const;

  private:
    struct Sector {
        std::uint64_t position = 0;
        std::uint64_t write = 0;  // number of the write it belongs to
        // What it adds to its file's sum when kept, or torn, in place of what is durable; computed
        // when first asked for.
        mutable std::uint64_t kept_delta = 0;
        mutable std::uint64_t torn_delta = 0;
        mutable bool summed = false;
        std::uint16_t size = 0;  // below sector_bytes only at the file's end
        std::array<std::byte, sector_bytes> data;
        base::Bytes bytes() const { return base::Bytes(data).first(size); }
    };
    struct Inode {
        std::vector<std::byte> durable;
        std::vector<std::byte> visible;
        std::vector<Sector> unsynced;
        std::vector<std::uint16_t> pending;  // unsynced sectors, by place
        mutable std::uint64_t durable_sum = 0;
        mutable bool sum_known = false;  // computed when first asked for
        bool overlaps = false;  // two unsynced sectors stand at one place: deltas do not add up
    };
    struct NameChange {
        enum class Kind : std::uint8_t { link, unlink } kind = Kind::link;
        std::string name;
        std::string from;  // link: a name that goes with it (rename)
        std::shared_ptr<Inode> inode;
        std::uint64_t number = 0;
    };
    struct Flight {
        storage::DiskOp* op = nullptr;
        std::uint64_t number = 0;  // of its write or name change
        // sync: what was in flight when it was submitted; of what came before, it covers all else.
        std::vector<std::uint64_t> uncovered;
        bool covers(std::uint64_t write) const;
    };
    enum class Choice : std::uint8_t { lost, kept, torn };

    Flight begin(storage::DiskOp& op);
    void complete(Flight& flight);
    void put(Inode& inode, std::uint64_t position, base::Bytes bytes, std::uint64_t number);
    static void sum_up(const Inode& inode, const Sector& sector);
    void make_durable(Inode& inode, const std::function<bool(std::uint64_t write)>& covered);
    std::uint64_t used_bytes() const;
    std::map<std::string, std::shared_ptr<Inode>> names_left(const std::vector<bool>& names) const;
    Image image(const std::vector<Choice>& sectors, const std::vector<bool>& names) const;
    std::uint64_t hash_of(const std::vector<Choice>& sectors, const std::vector<bool>& names) const;
    std::vector<std::shared_ptr<Inode>> inodes() const;

    std::uint32_t alignment_ = 512;
    std::uint64_t capacity_ = UINT64_MAX;
    std::map<std::string, std::shared_ptr<Inode>> durable_names_;
    std::map<std::string, std::shared_ptr<Inode>> names_;
    std::vector<NameChange> name_changes_;  // not synced
    std::vector<std::shared_ptr<Inode>> open_;
    std::vector<Flight> in_flight_;
    std::uint64_t next_number_ = 1;
    base::Random* random_ = nullptr;
    std::uint64_t ops_left_ = UINT64_MAX;
    std::uint64_t ops_ = 0;
    struct Fault {
        storage::DiskOp::Kind kind;
        std::uint32_t countdown;
        int error;
    };
    std::vector<Fault> faults_;
    std::vector<std::string> others_;
};

}  // namespace ursula::sim
