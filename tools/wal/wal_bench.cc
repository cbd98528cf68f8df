// wal-bench: what the log costs the processor. Staging and flushing 256 B entries over a disk that
// takes every write and keeps nothing, over a MemoryDisk, and reading a log back from memory.
// Nothing here touches a real disk.
//
//   wal-bench [ENTRIES]        default 4000000
#include <fmt/core.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/memory_disk.h"
#include "storage/recovery.h"
#include "storage/wal.h"

using namespace ursula;
using namespace ursula::storage;

namespace {

constexpr std::uint32_t group_count = 64;
constexpr std::size_t body_bytes = 256;

// Takes everything at once; keeps the bytes when asked to.
class TakingDisk final : public Disk {
  public:
    explicit TakingDisk(bool keep) : keep_(keep) {}
    void submit(DiskOp& op) override {
        run_now(op);
        done_.push_back(&op);
    }
    void take_completions(std::vector<DiskOp*>& done) override {
        done.insert(done.end(), done_.begin(), done_.end());
        done_.clear();
    }
    std::uint32_t alignment() const override { return 512; }
    bool keeps_data() const override { return true; }
    base::Result<Space> space() override { return Space{UINT64_MAX, UINT64_MAX}; }
    base::Result<std::vector<FileInfo>> list_now() override {
        std::vector<FileInfo> list;
        for (const auto& [name, id] : names_) {
            list.push_back({name, files_[id].size()});
        }
        return list;
    }
    void run_now(DiskOp& op) override {
        op.result = 0;
        switch (op.kind) {
            case DiskOp::Kind::open:
                if (names_.count(op.name) == 0) {
                    names_[op.name] = files_.size();
                    files_.emplace_back();
                }
                op.file = FileId(static_cast<std::uint32_t>(names_[op.name]));
                break;
            case DiskOp::Kind::fill_zero:
                if (keep_) {
                    files_[op.file.value].resize(op.position + op.size);
                }
                break;
            case DiskOp::Kind::write:
                if (keep_) {
                    std::memcpy(files_[op.file.value].data() + op.position, op.bytes.data(),
                                op.bytes.size());
                }
                op.result = static_cast<std::int64_t>(op.bytes.size());
                break;
            case DiskOp::Kind::read: {
                const std::vector<std::byte>& file = files_[op.file.value];
                const std::size_t size = std::min(op.buffer.size(), file.size() - op.position);
                std::memcpy(op.buffer.data(), file.data() + op.position, size);
                op.result = static_cast<std::int64_t>(size);
                break;
            }
            case DiskOp::Kind::rename:
                names_[op.new_name] = names_[op.name];
                names_.erase(op.name);
                break;
            case DiskOp::Kind::remove:
                names_.erase(op.name);
                break;
            case DiskOp::Kind::sync:
            case DiskOp::Kind::sync_directory:
            case DiskOp::Kind::close:
                break;
        }
    }

  private:
    bool keep_;
    std::map<std::string, std::size_t> names_;
    std::vector<std::vector<std::byte>> files_;
    std::vector<DiskOp*> done_;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// per_turn entries a turn over all groups, released as they become durable.
double stage_ns(Disk& disk, std::uint64_t entries, std::uint32_t per_turn) {
    WalOptions options;
    options.salt = 1;
    options.group_count = group_count;
    auto wal = std::move(*Wal::start(disk, options, RecoveredLog{}));
    std::vector<std::uint64_t> next(group_count, 1);
    std::vector<Persisted> persisted;
    std::vector<DiskOp*> done;
    const std::vector<std::byte> body(body_bytes, std::byte{'x'});
    base::Instant now{};
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < entries;) {
        for (std::uint32_t j = 0; j < per_turn; ++j, ++i) {
            const base::GroupId group(static_cast<std::uint32_t>(i * 7 % group_count));
            const base::EntryId id{base::Term(1), base::LogIndex(next[group.value]++)};
            const base::MutableBytes memory = wal->stage_entry(group, id, 1, body.size());
            base::copy_bytes(memory.data(), body);
            wal->finish_entry();
        }
        wal->flush(now);
        disk.take_completions(done);
        for (DiskOp* op : done) {
            op->owner->on_done(*op, now);
        }
        done.clear();
        wal->take_persisted(persisted);
        for (const Persisted& one : persisted) {
            wal->release(one.group, one.last.index);
        }
        persisted.clear();
        now = now + base::microseconds(200);
    }
    return seconds_since(begin) * 1e9 / static_cast<double>(entries);
}

struct Counter final : RecoverySink {
    std::uint64_t entries = 0;
    void on_entry(const RecoveredEntry&) override { ++entries; }
    void on_truncate(base::GroupId, base::LogIndex) override {}
};

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t entries = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4'000'000;
    for (const std::uint32_t per_turn : {1u, 16u, 64u, 256u}) {
        TakingDisk taking(false);
        MemoryDisk memory;
        const double durable_ns = stage_ns(taking, entries, per_turn);
        const double memory_ns = stage_ns(memory, entries, per_turn);
        fmt::print("{:>4} entries of {} B a turn: {:.0f} ns each, {:.0f} ns on a MemoryDisk\n",
                   per_turn, body_bytes, durable_ns, memory_ns);
    }
    TakingDisk keeping(true);
    stage_ns(keeping, entries, 64);
    RecoveryOptions options;
    options.salt = 1;
    options.group_count = group_count;
    Counter counter;
    const auto begin = std::chrono::steady_clock::now();
    const auto log = recover(keeping, options, counter);
    const double seconds = seconds_since(begin);
    if (!log || counter.entries != entries) {
        fmt::print(stderr, "wal-bench: the log did not come back: {}\n",
                   log ? "entries are missing" : log.error().message);
        return 1;
    }
    fmt::print("recovery: {} entries, {:.2f} GB in {:.3f} s, {:.2f} GB/s\n", counter.entries,
               static_cast<double>(log->replayed_bytes) / 1e9, seconds,
               static_cast<double>(log->replayed_bytes) / 1e9 / seconds);
    return 0;
}
