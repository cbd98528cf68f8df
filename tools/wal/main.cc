// ursula-wal: looks into a data directory without changing it. Stop the server first: a log that is
// being written to looks torn.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "file_disk.h"
#include "storage/node_file.h"
#include "storage/recovery.h"
#include "storage/snapshot_store.h"
#include "storage/wal_format.h"
#include "storage/wal_reader.h"

using namespace ursula;
using namespace ursula::storage;

namespace {

const char* kind_name(RecordKind kind) {
    constexpr std::array<const char*, 9> names = {
        "?", "entry", "piece", "hard state", "truncate", "restart", "groups", "segments", "retire"};
    const auto number = static_cast<std::size_t>(kind);
    return number < names.size() ? names[number] : "?";
}

std::vector<std::pair<SegmentId, std::uint64_t>> segments_in(tools::FileDisk& disk) {
    std::vector<std::pair<SegmentId, std::uint64_t>> segments;
    if (const auto listed = disk.list_now()) {
        for (const FileInfo& info : *listed) {
            SegmentId id;
            if (parse_segment_name(info.name, id)) {
                segments.emplace_back(id, info.size);
            }
        }
    }
    std::sort(segments.begin(), segments.end());
    return segments;
}

void print_record(std::uint32_t position, const RecordHeader& record, base::Bytes body) {
    fmt::print("    {:>10} {:<10}", position, kind_name(record.kind));
    switch (record.kind) {
        case RecordKind::entry:
            fmt::print(" group {} term {} index {} kind {} {} bytes\n", record.group.value,
                       record.term.value, record.index.value, record.entry_kind, record.length);
            break;
        case RecordKind::piece:
            fmt::print(" group {} term {} index {} bytes {} to {} of {}\n", record.group.value,
                       record.term.value, record.index.value, record.piece_offset,
                       record.piece_offset + record.length, record.piece_total);
            break;
        case RecordKind::hard_state:
            fmt::print(" group {} term {} vote {}\n", record.group.value, record.term.value,
                       record.index.value);
            break;
        case RecordKind::truncate:
            fmt::print(" group {} from index {}\n", record.group.value, record.index.value);
            break;
        case RecordKind::restart:
            fmt::print(" group {} behind term {} index {}\n", record.group.value, record.term.value,
                       record.index.value);
            break;
        case RecordKind::groups:
            fmt::print(" {}\n", record.length / group_item_bytes);
            for (std::size_t at = 0; at + group_item_bytes <= body.size(); at += group_item_bytes) {
                const GroupItem item = decode_group_item(body.data() + at);
                fmt::print("{:>26} group {} term {} vote {} log ends at {}\n", "", item.group.value,
                           item.term.value, item.vote.value, item.end.value);
            }
            break;
        case RecordKind::segments:
            fmt::print(" {}\n", record.length / segment_item_bytes);
            for (std::size_t at = 0; at + segment_item_bytes <= body.size();
                 at += segment_item_bytes) {
                const SegmentItem item = decode_segment_item(body.data() + at);
                fmt::print("{:>26} {} ends at {} with batch {}\n", "", segment_name(item.segment),
                           item.end, item.sequence);
            }
            break;
        case RecordKind::retire:
            fmt::print(" {}\n",
                       segment_name(SegmentId(static_cast<std::uint32_t>(record.index.value))));
            break;
        case RecordKind::payload:
            fmt::print(" group {} {} bytes\n", record.group.value, record.length);
            break;
    }
}

// Reads a segment from its head to the first batch that does not continue it. Prints all of it when
// asked to.
base::Result<std::uint32_t> walk(SegmentReader& reader, bool print, std::uint64_t& batches) {
    SegmentHeader header;
    base::Result<HeaderCheck> check = reader.read_header(header);
    if (!check) {
        return tl::unexpected(std::move(check.error()));
    }
    if (*check != HeaderCheck::ok) {
        if (print) {
            fmt::print("{}: {}\n", segment_name(reader.segment()),
                       *check == HeaderCheck::foreign ? "of another shard or node" : "not begun");
        }
        return 0u;
    }
    if (print) {
        const LogEnd& before = header.previous;
        fmt::print("{}: block {}, {} bytes, {}{}\n", segment_name(reader.segment()),
                   header.alignment, header.size,
                   before.segment == SegmentId{}
                       ? "the first"
                       : fmt::format("after {} byte {} batch {}", segment_name(before.segment),
                                     before.position, before.sequence),
                   (header.flags & flag_by_recovery) != 0 ? ", made by a start" : "");
    }
    std::uint32_t position = header.alignment;
    LogEnd end = header.previous;
    for (;;) {
        BatchHeader batch;
        base::Bytes bytes;
        const base::Result<bool> valid =
            reader.read_batch(position, end.sequence + 1, end.checksum, batch, bytes);
        if (!valid) {
            return tl::unexpected(valid.error());
        }
        if (!*valid) {
            break;
        }
        ++batches;
        if (print) {
            fmt::print("  {:>10} batch {} watermark {} records {} length {}\n", position,
                       batch.sequence, batch.watermark, batch.records, batch.length);
            RecordCursor cursor(bytes, batch);
            RecordHeader record;
            base::Bytes body;
            while (cursor.next(record, body)) {
                print_record(position + cursor.body_position() - record.header_bytes(), record,
                             body);
            }
        }
        end = {reader.segment(), position, batch.checksum, batch.sequence};
        position += round_up(batch.length, header.alignment);
    }
    if (print) {
        fmt::print("  {:>10} end\n", position);
    }
    return position;
}

struct Counter final : RecoverySink {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
    void on_entry(const RecoveredEntry& entry) override {
        ++entries;
        bytes += entry.body.size();
    }
    void on_truncate(base::GroupId, base::LogIndex) override {}
};

int complain(const base::Error& error) {
    fmt::print(stderr, "ursula-wal: {}\n", error.message);
    return 1;
}

int verify_shard(const std::string& directory, std::uint64_t salt, std::uint32_t groups) {
    tools::FileDisk disk(directory);
    SnapshotStore store(disk, salt);
    if (const auto opened = store.open(); !opened) {
        return complain(opened.error());
    }
    std::vector<base::EntryId> snapshots(groups);
    std::string damage;
    std::uint64_t with_snapshot = 0;
    for (std::uint32_t i = 0; i < groups; ++i) {
        const auto loaded = store.load(base::GroupId(i), damage);
        if (!loaded) {
            return complain(loaded.error());
        }
        snapshots[i] = loaded->id;
        with_snapshot += loaded->id.index.value > 0 ? 1 : 0;
    }
    if (!damage.empty()) {
        fmt::print(stderr, "ursula-wal: {}\n", damage);
    }
    Counter counter;
    const auto log = recover(disk, {salt, groups, snapshots}, counter);
    if (!log) {
        return complain(log.error());
    }
    // What snapshots cover was not read by recovery, but may hold payload.
    std::uint64_t batches = 0;
    for (const RecoveredSegment& segment : log->segments) {
        ReadMemory memory;
        SegmentReader reader(disk, segment.segment, segment.size_bytes, salt, memory);
        const auto end = walk(reader, false, batches);
        if (!end) {
            return complain(end.error());
        }
        if (*end < segment.end) {
            return complain(
                {fmt::format("{} is damaged at byte {}", segment_name(segment.segment), *end), 0});
        }
    }
    fmt::print(
        "{}: whole. {} segments, {} batches, {} groups with snapshots, {} entries of {} bytes "
        "newer than these, "
        "{} torn batches\n",
        directory, log->segments.size(), batches, with_snapshot, counter.entries, counter.bytes,
        log->dropped_batches);
    return damage.empty() ? 0 : 1;
}

int dump_shard(const std::string& directory, std::uint64_t salt, std::uint32_t only) {
    tools::FileDisk disk(directory);
    fmt::print("{}\n", directory);
    for (const auto& [id, size] : segments_in(disk)) {
        if (only != 0 && id != SegmentId(only)) {
            continue;
        }
        ReadMemory memory;
        SegmentReader reader(disk, id, size, salt, memory);
        std::uint64_t batches = 0;
        if (const auto end = walk(reader, true, batches); !end) {
            return complain(end.error());
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Looks into the logs of an ursula data directory without changing it. Stop the server "
        "first."};
    std::string directory;
    std::uint32_t segment = 0;
    CLI::App* verify = app.add_subcommand(
        "verify", "reads everything a start would read and more; exit 1 on damage");
    verify->add_option("directory", directory, "the data directory")->required();
    CLI::App* dump = app.add_subcommand("dump", "prints batches and records");
    dump->add_option("directory", directory, "the data directory")->required();
    dump->add_option("--segment", segment, "only this segment's number");
    app.require_subcommand(1);
    CLI11_PARSE(app, argc, argv);

    NodeFile node;
    tools::FileDisk root(directory);
    const base::Result<NodeFileFound> found = load_node_file(root, node);
    if (!found) {
        return complain(found.error());
    }
    if (*found == NodeFileFound::absent) {
        return complain({directory + " is not a data directory: it has no file \"node\"", 0});
    }
    fmt::print("node {}, {} shards, {} groups, format {}, created by ursula {}\n", node.node.value,
               node.shards, node.groups, node.format, node.created_by);
    int worst = 0;
    for (std::uint32_t shard = 0; shard < node.shards; ++shard) {
        const std::string path = fmt::format("{}/shard-{:04}", directory, shard);
        const std::uint64_t salt = node.shard_salt(base::ShardId(shard));
        worst = std::max(
            worst, *dump ? dump_shard(path, salt, segment) : verify_shard(path, salt, node.groups));
    }
    return worst;
}
