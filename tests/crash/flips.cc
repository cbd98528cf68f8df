#include "flips.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/verify.h"
#include "base/wire.h"
#include "log_workload.h"
#include "storage/node_file.h"
#include "storage/wal_format.h"

namespace ursula::crash {

using base::EntryId;
using base::GroupId;
using base::LogIndex;
using base::NodeId;
using base::Term;
using sim::Image;
using sim::SimDisk;
using storage::SegmentId;

namespace {

constexpr std::uint32_t segment_bytes = 64 * 1024;

// Writes a shard's life without a crash.
class Writer {
  public:
    Writer() : groups_(group_count), random_(7), store_(disk_, workload_salt) {
        storage::NodeFile node;
        node.node = NodeId(1);
        node.salt = workload_salt;
        node.shards = 1;
        node.groups = group_count;
        node.created_by = "0.1.0";
        VERIFY(storage::store_node_file(disk_, node).has_value());
        VERIFY(store_.open().has_value());
        storage::WalOptions options;
        options.salt = workload_salt;
        options.group_count = group_count;
        options.segment_bytes = segment_bytes;
        options.batch_bytes_max = 16 * 1024;
        options.piece_bytes_max = 8 * 1024;
        options.reserve_percent = 0;
        wal_ = std::move(*storage::Wal::start(disk_, options, storage::RecoveredLog{}));
    }
    ~Writer() { disk_ = SimDisk(); }  // forgets what is in flight

    void entry(std::uint32_t group, std::size_t size, bool live) {
        GroupModel& model = groups_[group];
        const EntryId id{Term(1), model.end().next()};
        const std::uint8_t kind = live ? kind_live : kind_plain;
        const base::MutableBytes body = wal_->stage_entry(GroupId(group), id, kind, size);
        for (std::byte& one : body) {
            one = static_cast<std::byte>(random_.next());
        }
        model.entries.push_back({id, chained(model.chain(), id, kind, body)});
        const std::uint32_t crc = base::crc32c(body);
        wal_->finish_entry();
        settle();
        if (live) {
            Payload& payload = model.live[id.index];
            payload.crc = crc;
            wal_->locate(GroupId(group), id.index, 0, size, payload.pieces);
        }
        wal_->release(GroupId(group), id.index);
    }
    void hard_state(std::uint32_t group, std::uint64_t term) {
        wal_->stage_hard_state(GroupId(group), Term(term), NodeId(1));
        settle();
    }
    void snapshot(std::uint32_t group) {
        const GroupModel& model = groups_[group];
        std::vector<std::byte> image(3000 + group * 1000);
        base::store(image.data(), model.chain());
        store_.begin(GroupId(group), {Term(1), model.end()});
        storage::SnapshotStore::Finished finished;
        for (bool appended = false; store_.busy() || !appended;) {
            settle();
            if (!appended && store_.ready()) {
                store_.append(storage::SnapshotStore::Part::image, image);
                store_.append(storage::SnapshotStore::Part::locations,
                              encode_locations(model.live));
                store_.finish();
                appended = true;
            }
        }
        VERIFY(store_.take_finished(finished) && finished.ok);
        std::vector<SegmentId> named;
        for (const auto& live : model.live) {
            for (const storage::Location& piece : live.second.pieces) {
                named.push_back(piece.segment);
            }
        }
        wal_->covered(GroupId(group), model.end(), named);
        settle();
    }
    std::uint64_t segments() const { return wal_->segment_count(); }
    Image idle() {
        for (int i = 0; i < 10; ++i) {
            settle();
        }
        VERIFY(wal_->counters().watermarks > 0);
        VERIFY(disk_.unsynced_sectors() == 0);
        return disk_.everything();
    }

  private:
    void settle() {
        for (int turn = 0; turn < 6; ++turn) {
            std::vector<storage::DiskOp*> done;
            disk_.take_completions(done);
            for (storage::DiskOp* op : done) {
                op->owner->on_done(*op, now_);
            }
            wal_->flush(now_);
            now_ = now_ + base::milliseconds(1);
        }
        std::vector<storage::Persisted> persisted;
        wal_->take_persisted(persisted);
    }

    SimDisk disk_;
    std::vector<GroupModel> groups_;
    base::Random random_;
    std::unique_ptr<storage::Wal> wal_;
    storage::SnapshotStore store_;
    base::Instant now_{};
};

// For each byte of a segment: is it one of a segment, batch or record header?
std::vector<bool> header_bytes(SegmentId segment, const std::vector<std::byte>& file) {
    std::vector<bool> headers(file.size());
    const auto mark = [&headers](std::uint64_t from, std::uint64_t size) {
        std::fill_n(headers.begin() + static_cast<std::ptrdiff_t>(from), size, true);
    };
    storage::SegmentHeader header;
    if (storage::decode_segment_header(file, workload_salt, segment, header) !=
        storage::HeaderCheck::ok) {
        return headers;
    }
    mark(0, storage::segment_header_bytes);
    for (std::uint32_t at = header.alignment; at < file.size();) {
        storage::BatchHeader batch;
        const base::Bytes bytes = base::Bytes(file).subspan(at);
        if (!storage::decode_batch_header(bytes, {workload_salt, segment, at}, batch)) {
            break;
        }
        mark(at, storage::batch_header_bytes);
        storage::RecordCursor cursor(bytes.subspan(0, batch.length), batch);
        storage::RecordHeader record;
        base::Bytes body;
        while (cursor.next(record, body)) {
            mark(at + cursor.body_position() - record.header_bytes(), record.header_bytes());
            if (record.kind == storage::RecordKind::groups ||
                record.kind == storage::RecordKind::segments) {
                mark(at + cursor.body_position(), record.length);
            }
        }
        at += storage::round_up(batch.length, header.alignment);
    }
    return headers;
}

bool equal(const Snapshots& a, const Snapshots& b) {
    if (!a.refused.empty() || a.groups.size() != b.groups.size()) {
        return false;
    }
    for (std::size_t i = 0; i < a.groups.size(); ++i) {
        if (a.groups[i].id != b.groups[i].id || a.groups[i].image != b.groups[i].image ||
            a.groups[i].locations != b.groups[i].locations) {
            return false;
        }
    }
    return true;
}

// Flips bytes of one directory, one at a time, and undoes each flip.
class Flipper {
  public:
    explicit Flipper(const Image& directory) : image_(directory), disk_(directory) {
        snapshots_ = load_snapshots(disk_);
        clean_ = recover_log(disk_, image_, snapshots_, nullptr);
        VERIFY(clean_.refused.empty() && clean_.violation.empty() && clean_.unreadable.empty());
    }

    FlipCounts run(std::uint64_t payload_stride) {
        base::Random random(11);
        for (auto& [name, bytes] : image_.files) {
            SegmentId segment;
            const bool log = storage::parse_segment_name(name, segment);
            const std::vector<bool> headers =
                log ? header_bytes(segment, bytes) : std::vector<bool>(bytes.size(), true);
            for (std::size_t at = 0; at < bytes.size() && counts_.wrong.empty(); ++at) {
                if (!headers[at] && at % payload_stride != 0) {
                    continue;
                }
                const auto mask = static_cast<std::byte>(random.between(1, 255));
                bytes[at] ^= mask;
                disk_.flip(name, at, mask);
                ++counts_.bytes;
                const std::string wrong = log ? flipped_log(name, segment, at)
                                          : name == storage::node_file_name
                                              ? flipped_node_file()
                                              : flipped_snapshot(name);
                bytes[at] ^= mask;
                disk_.flip(name, at, mask);
                if (!wrong.empty()) {
                    counts_.wrong = fmt::format("{} byte {} mask {:#x}: {}", name, at,
                                                static_cast<unsigned>(mask), wrong);
                }
            }
        }
        return counts_;
    }

  private:
    std::string flipped_node_file() {
        storage::NodeFile node;
        const base::Result<storage::NodeFileFound> found = storage::load_node_file(disk_, node);
        if (!found || *found != storage::NodeFileFound::present || node.salt != workload_salt ||
            node.groups != group_count || node.created_by != "0.1.0") {
            return "the node file was not repaired from its other copy";
        }
        ++counts_.harmless;
        return {};
    }

    std::string flipped_snapshot(const std::string& name) {
        const Snapshots loaded = load_snapshots(disk_);
        if (equal(loaded, snapshots_)) {
            ++counts_.harmless;
            return {};
        }
        return judge(name, recover_log(disk_, image_, loaded, nullptr));
    }

    std::string flipped_log(const std::string& name, SegmentId segment, std::uint64_t at) {
        const Touched touched{segment, at};
        const Recovered found = recover_log(disk_, image_, snapshots_, &touched);
        if (!found.refused.empty() || found.unreadable.empty()) {
            return judge(name, found);
        }
        ++counts_.unreadable;
        for (const Payload& payload : found.unreadable) {
            if (std::none_of(payload.pieces.begin(), payload.pieces.end(),
                             [&](const storage::Location& piece) {
                                 return piece.segment == segment && piece.position <= at &&
                                        at < std::uint64_t{piece.position} + piece.size;
                             })) {
                return "a payload does not read back although it was not touched";
            }
        }
        return {};
    }

    // Refused with file and position, or all as it was.
    std::string judge(const std::string& name, const Recovered& found) {
        if (!found.refused.empty()) {
            ++counts_.refused;
            const bool named = found.refused.find(name) != std::string::npos &&
                               found.refused.find("at byte") != std::string::npos;
            return named ? "" : "refused without file and position: " + found.refused;
        }
        ++counts_.harmless;
        for (std::uint32_t i = 0; i < group_count; ++i) {
            if (found.groups[i].states != clean_.groups[i].states ||
                found.groups[i].hard_states != clean_.groups[i].hard_states ||
                found.groups[i].live.size() != clean_.groups[i].live.size()) {
                return fmt::format("group {} is another one", i);
            }
        }
        return found.violation;
    }

    Image image_;
    SimDisk disk_;
    Snapshots snapshots_;
    Recovered clean_;
    FlipCounts counts_;
};

}  // namespace

Image make_directory() {
    Writer writer;
    for (std::uint32_t group = 0; group < group_count; ++group) {
        writer.hard_state(group, 1);
    }
    // A first part that is recycled but for a few live payloads; then one that is covered; then one
    // to be replayed.
    constexpr std::uint64_t segments_of_part[] = {4, 11, 2};
    for (int part = 0; part < 3; ++part) {
        const std::uint64_t segments = writer.segments();
        for (int i = 0; writer.segments() < segments + segments_of_part[part]; ++i) {
            writer.entry(static_cast<std::uint32_t>(i) % group_count, i % 7 == 0 ? 300 : 2500,
                         part == 1 || (part == 0 && i % 50 == 3));
            if (i % 40 == 20) {
                writer.entry(1, 20'000, part == 1);
            }
        }
        for (std::uint32_t group = 0; group < group_count && part < 2; ++group) {
            writer.snapshot(group);
        }
    }
    return writer.idle();
}

FlipCounts flip_bytes(const Image& directory, std::uint64_t payload_stride) {
    return Flipper(directory).run(payload_stride);
}

}  // namespace ursula::crash
