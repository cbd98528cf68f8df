#include "log_workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/verify.h"
#include "base/wire.h"
#include "storage/wal_format.h"

namespace ursula::crash {

using base::EntryId;
using base::GroupId;
using base::LogIndex;
using base::NodeId;
using base::Term;
using sim::Image;
using sim::SimDisk;
using storage::Location;
using storage::SegmentId;

std::uint64_t chained(std::uint64_t chain, EntryId id, std::uint8_t kind, base::Bytes body) {
    for (const std::uint64_t word :
         {id.term.value, id.index.value, std::uint64_t{kind}, std::uint64_t{base::crc32c(body)},
          std::uint64_t{body.size()}}) {
        chain = (chain ^ word) * 0xff51afd7ed558ccdu;
        chain ^= chain >> 33;
    }
    return chain;
}

// Image of a group's machine: its chain. Locations: every live payload.
std::vector<std::byte> encode_locations(const std::map<LogIndex, Payload>& live) {
    std::vector<std::byte> out;
    const auto put = [&out](std::uint64_t value) {
        out.resize(out.size() + 8);
        base::store(out.data() + out.size() - 8, value);
    };
    put(live.size());
    for (const auto& [index, payload] : live) {
        put(index.value);
        put(payload.crc);
        put(payload.pieces.size());
        for (const Location& piece : payload.pieces) {
            put(piece.segment.value);
            put(piece.position);
            put(piece.size);
        }
    }
    return out;
}

namespace {

constexpr std::uint64_t salt = workload_salt;

storage::WalOptions options() {
    storage::WalOptions result;
    result.salt = salt;
    result.group_count = group_count;
    result.segment_bytes = 12 * 1024;
    result.batch_bytes_max = 4096;
    result.piece_bytes_max = 1200;
    result.reserve_percent = 0;
    return result;
}

std::map<LogIndex, Payload> decode_locations(base::Bytes bytes) {
    base::WireReader in(bytes);
    std::map<LogIndex, Payload> live;
    for (std::uint64_t left = in.get<std::uint64_t>(); left > 0; --left) {
        const LogIndex index(in.get<std::uint64_t>());
        Payload& payload = live[index];
        payload.crc = static_cast<std::uint32_t>(in.get<std::uint64_t>());
        for (std::uint64_t pieces = in.get<std::uint64_t>(); pieces > 0; --pieces) {
            Location piece;
            piece.segment = SegmentId(static_cast<std::uint32_t>(in.get<std::uint64_t>()));
            piece.position = static_cast<std::uint32_t>(in.get<std::uint64_t>());
            piece.size = static_cast<std::uint32_t>(in.get<std::uint64_t>());
            payload.pieces.push_back(piece);
        }
    }
    VERIFY(in.ok());
    return live;
}

bool reads_back(const Image& image, const Payload& payload) {
    std::uint32_t crc = 0;
    for (const Location& piece : payload.pieces) {
        const auto file = image.files.find(storage::segment_name(piece.segment));
        if (file == image.files.end() ||
            file->second.size() < piece.position + std::size_t{piece.size}) {
            return false;
        }
        crc = base::crc32c({file->second.data() + piece.position, piece.size}, crc);
    }
    return crc == payload.crc;
}

class Collector final : public storage::RecoverySink {
  public:
    explicit Collector(std::vector<GroupModel>& groups) : groups_(groups) {}
    void on_entry(const storage::RecoveredEntry& entry) override {
        GroupModel& group = groups_[entry.group.value];
        group.entries.push_back(
            {entry.id, chained(group.chain(), entry.id, entry.kind, entry.body)});
        if (entry.kind == kind_live) {
            Payload& payload = group.live[entry.id.index];
            payload.pieces.assign(entry.pieces.begin(), entry.pieces.end());
            payload.crc = base::crc32c(entry.body);
        }
    }
    void on_truncate(GroupId id, LogIndex from) override {
        GroupModel& group = groups_[id.value];
        while (!group.entries.empty() && group.entries.back().id.index >= from) {
            group.live.erase(group.entries.back().id.index);
            group.entries.pop_back();
        }
    }

  private:
    std::vector<GroupModel>& groups_;
};

}  // namespace

Snapshots load_snapshots(storage::Disk& disk) {
    Snapshots result;
    storage::SnapshotStore store(disk, salt);
    const base::Result<void> opened = store.open();
    if (!opened) {
        result.refused = opened.error().message;
        return result;
    }
    for (std::uint32_t i = 0; i < group_count; ++i) {
        base::Result<storage::SnapshotStore::Loaded> loaded = store.load(GroupId(i), result.damage);
        if (!loaded) {
            result.refused = loaded.error().message;
            return result;
        }
        result.groups.push_back(std::move(*loaded));
    }
    return result;
}

Recovered recover_image(storage::Disk& disk, const Image& image) {
    return recover_log(disk, image, load_snapshots(disk), nullptr);
}

Recovered recover_log(storage::Disk& disk, const Image& image, const Snapshots& from,
                      const Touched* touched) {
    Recovered result;
    result.refused = from.refused;
    if (!result.refused.empty()) {
        return result;
    }
    result.groups.resize(group_count);
    std::vector<EntryId> snapshots(group_count);
    for (std::uint32_t i = 0; i < group_count; ++i) {
        GroupModel& group = result.groups[i];
        const storage::SnapshotStore::Loaded& loaded = from.groups[i];
        snapshots[i] = loaded.id;
        group.base = loaded.id;
        if (loaded.id.index.value > 0) {
            group.base_chain = base::load<std::uint64_t>(loaded.image.data());
            group.live = decode_locations(loaded.locations);
        }
    }
    Collector sink(result.groups);
    storage::RecoveryOptions recovery;
    recovery.salt = salt;
    recovery.group_count = group_count;
    recovery.snapshots = snapshots;
    base::Result<storage::RecoveredLog> log = storage::recover(disk, recovery, sink);
    if (!log) {
        result.refused =
            log.error().message + (from.damage.empty() ? "" : " (" + from.damage + ")");
        return result;
    }
    result.log = std::move(*log);
    for (GroupModel& group : result.groups) {
        group.hard_states.assign(1, {Term{}, NodeId{}});
        group.states.assign(1, group.chain());
        group.persisted = group.end();
        group.applied = group.base.index;
    }
    for (const storage::BootState& boot : result.log.groups) {
        GroupModel& group = result.groups[boot.group.value];
        group.hard_states[0] = {boot.term, boot.vote};
        group.term = std::max(Term(1), boot.term);
        const EntryId last = group.entries.empty() ? group.base : group.entries.back().id;
        group.term = std::max(group.term, last.term);
        if (boot.last != last) {
            result.violation =
                fmt::format("group {}: boot state ends at {}, its entries at {}", boot.group.value,
                            boot.last.index.value, last.index.value);
        }
    }
    for (std::uint32_t i = 0; i < group_count; ++i) {
        for (const auto& named : result.groups[i].live) {
            const Payload& payload = named.second;
            const bool asked =
                touched == nullptr ||
                std::any_of(
                    payload.pieces.begin(), payload.pieces.end(), [&](const Location& piece) {
                        return piece.segment == touched->segment &&
                               piece.position <= touched->position &&
                               touched->position < std::uint64_t{piece.position} + piece.size;
                    });
            if (asked && !reads_back(image, payload)) {
                result.unreadable.push_back(payload);
            }
        }
    }
    return result;
}

LogWorkload::LogWorkload(std::uint64_t seed)
    : seed_(seed),
      random_(seed),
      disk_random_(seed + 1),
      crash_random_(seed + 2),
      small_volume_(seed % 3 == 0) {
    begin_life(Image{});
}

LogWorkload::~LogWorkload() {
    disk_.reset();
}

void LogWorkload::begin_life(const Image& image) {
    disk_ = std::make_unique<SimDisk>(image);
    wal_.reset();
    snapshots_.reset();
    Recovered recovered = recover_image(*disk_, image);
    VERIFY(recovered.refused.empty());
    groups_ = std::move(recovered.groups);
    base::Result<std::unique_ptr<storage::Wal>> wal =
        storage::Wal::start(*disk_, options(), std::move(recovered.log));
    VERIFY(wal.has_value());
    wal_ = std::move(*wal);
    snapshots_ = std::make_unique<storage::SnapshotStore>(*disk_, salt);
    VERIFY(snapshots_->open().has_value());
    for (std::uint32_t i = 0; i < group_count; ++i) {
        std::string damage;
        base::Result<storage::SnapshotStore::Loaded> loaded = snapshots_->load(GroupId(i), damage);
        VERIFY(loaded.has_value());
        if (loaded->id.index.value > 0) {
            std::vector<SegmentId> named;
            for (const auto& entry : decode_locations(loaded->locations)) {
                for (const Location& piece : entry.second.pieces) {
                    named.push_back(piece.segment);
                }
            }
            wal_->covered(GroupId(i), loaded->id.index, named);
        }
    }
    disk_->set_random(&disk_random_);
    writing_ = false;
    recycled_before_ = 0;
}

// --- the workload ---

void LogWorkload::stage_entry(std::uint32_t group, std::size_t size) {
    GroupModel& model = groups_[group];
    const EntryId id{model.term, model.end().next()};
    const std::uint8_t kind = random_.chance(1, 6) ? kind_live : kind_plain;
    const base::MutableBytes memory = wal_->stage_entry(GroupId(group), id, kind, size);
    for (std::size_t i = 0; i < size; ++i) {
        memory[i] = static_cast<std::byte>(id.index.value * 31 + id.term.value * 7 + group +
                                           i * 13 + (i >> 8));
    }
    model.entries.push_back({id, chained(model.chain(), id, kind, memory)});
    model.states.push_back(model.chain());
    model.operation_of[id] = model.states.size() - 1;
    if (kind == kind_live) {
        model.live[id.index].crc = base::crc32c(memory);
    }
    wal_->finish_entry();
}

void LogWorkload::truncate_some(std::uint32_t group) {
    GroupModel& model = groups_[group];
    if (model.installing || model.end() <= model.applied) {
        return;
    }
    const LogIndex from(random_.between(model.applied.value + 1, model.end().value));
    model.term = model.term.next();
    wal_->stage_hard_state(GroupId(group), model.term,
                           NodeId(static_cast<std::uint32_t>(random_.below(3))));
    model.hard_states.emplace_back(model.term, NodeId{});
    wal_->stage_truncate(GroupId(group), from);
    while (!model.entries.empty() && model.entries.back().id.index >= from) {
        model.live.erase(model.entries.back().id.index);
        model.entries.pop_back();
    }
    model.persisted = std::min(model.persisted, LogIndex(from.value - 1));
    model.states.push_back(model.chain());
    ++found_.truncations;
}

void LogWorkload::stage_some() {
    const std::uint64_t count = random_.below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto group = static_cast<std::uint32_t>(random_.below(group_count));
        GroupModel& model = groups_[group];
        if (model.installing) {
            continue;
        }
        const std::uint64_t what = random_.below(40);
        if (what == 0) {
            model.term = model.term.next();
            const NodeId vote(static_cast<std::uint32_t>(random_.below(3)) + 1);
            wal_->stage_hard_state(GroupId(group), model.term, vote);
            model.hard_states.emplace_back(model.term, vote);
        } else if (what == 1) {
            truncate_some(group);
        } else if (wal_->state() == storage::Wal::State::full) {
            continue;  // as the shard does: 507
        } else if (what <= 4) {
            stage_entry(group, random_.between(1201, 9000));
            ++found_.large;
        } else {
            stage_entry(group, random_.chance(1, 3) ? random_.below(900) : random_.below(120));
        }
    }
}

void LogWorkload::take_persisted() {
    std::vector<storage::Persisted> persisted;
    wal_->take_persisted(persisted);
    for (const storage::Persisted& one : persisted) {
        GroupModel& model = groups_[one.group.value];
        if (one.has_entries) {
            const auto operation = model.operation_of.find(one.last);
            VERIFY(operation != model.operation_of.end());
            model.acked = std::max(model.acked, operation->second);
            const bool still_there =
                std::any_of(model.entries.begin(), model.entries.end(),
                            [&](const GroupModel::Known& known) { return known.id == one.last; });
            if (still_there) {
                model.persisted = std::max(model.persisted, one.last.index);
            }
        }
        if (one.has_hard_state) {
            for (std::size_t i = model.hard_states.size(); i-- > 0;) {
                if (model.hard_states[i].first == one.term) {
                    model.hard_states[i].second = one.vote;
                    model.hard_acked = std::max(model.hard_acked, i);
                    break;
                }
            }
        }
    }
    // Apply what is persisted, most of the time: locations are taken, memory is given back.
    for (std::uint32_t i = 0; i < group_count; ++i) {
        GroupModel& model = groups_[i];
        if (!random_.chance(2, 3) || model.persisted <= model.applied) {
            continue;
        }
        for (LogIndex index = model.applied.next(); index <= model.persisted;
             index = index.next()) {
            const auto live = model.live.find(index);
            if (live == model.live.end() || !live->second.pieces.empty()) {
                continue;
            }
            const std::size_t size = wal_->body(GroupId(i), index).size();
            wal_->locate(GroupId(i), index, 0, size, live->second.pieces);
        }
        model.applied = model.persisted;
        wal_->release(GroupId(i), model.applied);
        // Streams are deleted now and then, so that segments become free.
        while (!model.live.empty() && model.live.begin()->first <= model.applied &&
               random_.chance(1, 3)) {
            model.live.erase(model.live.begin());
        }
    }
}

void LogWorkload::snapshot_step() {
    storage::SnapshotStore::Finished finished;
    if (snapshots_->take_finished(finished)) {
        writing_ = false;
        GroupModel& model = groups_[snapshot_group_];
        if (finished.ok) {
            ++found_.snapshots;
            std::vector<SegmentId> named;
            for (const auto& entry : snapshot_live_) {
                for (const Location& piece : entry.second.pieces) {
                    named.push_back(piece.segment);
                }
            }
            if (model.installing) {
                wal_->stage_restart(GroupId(snapshot_group_), snapshot_id_);
                model.acked = std::max(model.acked, model.states.size() - 1);
                model.base = snapshot_id_;
                model.base_chain = snapshot_chain_;
                model.entries.clear();
                model.live.clear();
                model.persisted = snapshot_id_.index;
                model.applied = snapshot_id_.index;
                model.term = std::max(model.term, snapshot_id_.term);
            }
            wal_->covered(GroupId(snapshot_group_), snapshot_id_.index, named);
        }
        model.installing = false;
    }
    if (writing_) {
        if (!appended_ && snapshots_->ready()) {
            std::vector<std::byte> image(8 + random_.below(600));
            base::store(image.data(), snapshot_chain_);
            snapshots_->append(storage::SnapshotStore::Part::image, image);
            snapshots_->append(storage::SnapshotStore::Part::locations,
                               encode_locations(snapshot_live_));
            snapshots_->finish();
            appended_ = true;
        }
        return;
    }
    if (snapshots_->busy() || !random_.chance(1, 2)) {
        return;
    }
    std::vector<GroupId> pinning;
    wal_->groups_pinning_oldest(pinning);
    snapshot_group_ = pinning.empty() || random_.chance(1, 6)
                          ? static_cast<std::uint32_t>(random_.below(group_count))
                          : pinning[random_.below(pinning.size())].value;
    GroupModel& model = groups_[snapshot_group_];
    if (random_.chance(1, 30)) {
        // A leader elsewhere sends its snapshot: far ahead of our log.
        snapshot_id_ = {model.term.next(), LogIndex(model.end().value + 10)};
        snapshot_chain_ = random_.next();
        snapshot_live_.clear();
        model.installing = true;
        model.states.push_back(snapshot_chain_);
    } else {
        if (model.applied <= model.base.index) {
            return;
        }
        const auto at = std::find_if(
            model.entries.begin(), model.entries.end(),
            [&](const GroupModel::Known& known) { return known.id.index == model.applied; });
        VERIFY(at != model.entries.end());
        snapshot_id_ = at->id;
        snapshot_chain_ = at->chain;
        snapshot_live_.clear();
        for (const auto& [index, payload] : model.live) {
            if (index <= model.applied) {
                snapshot_live_[index] = payload;
            }
        }
        model.base = at->id;
        model.base_chain = at->chain;
        model.entries.erase(model.entries.begin(), at + 1);
    }
    writing_ = true;
    appended_ = false;
    snapshots_->begin(GroupId(snapshot_group_), snapshot_id_);
}

void LogWorkload::step() {
    const bool was_full = wal_->state() == storage::Wal::State::full;
    for (std::uint64_t turns = random_.between(1, 3); turns > 0; --turns) {
        std::vector<storage::DiskOp*> done;
        disk_->take_completions(done);
        for (storage::DiskOp* op : done) {
            op->owner->on_done(*op, now_);
        }
    }
    take_persisted();
    if (small_volume_) {
        // The volume shrinks and grows under us.
        if (random_.chance(1, 25)) {
            disk_->set_capacity(random_.chance(1, 2) ? 60 * 1024 : 400 * 1024);
        }
    }
    stage_some();
    snapshot_step();
    wal_->flush(now_);
    take_persisted();
    if (!was_full && wal_->state() == storage::Wal::State::full) {
        ++found_.times_full;
    }
    VERIFY(wal_->state() != storage::Wal::State::failed);
    found_.two_in_flight += disk_->in_flight() >= 2 ? 1 : 0;
    now_ = now_ + base::milliseconds(static_cast<std::int64_t>(random_.below(4)) *
                                     (random_.chance(1, 20) ? 400 : 1));
}

// --- the checks ---

std::string LogWorkload::check(const Image& image, Recovered* out) const {
    SimDisk disk(image);
    Recovered recovered = recover_image(disk, image);
    if (!recovered.refused.empty()) {
        return "refused: " + recovered.refused;
    }
    if (!recovered.violation.empty()) {
        return recovered.violation;
    }
    if (!recovered.unreadable.empty()) {
        return fmt::format("a payload in {} does not read back",
                           storage::segment_name(recovered.unreadable[0].pieces.at(0).segment));
    }
    for (std::uint32_t i = 0; i < group_count; ++i) {
        const GroupModel& expected = groups_[i];
        const GroupModel& got = recovered.groups[i];
        const auto from = expected.states.begin() + static_cast<std::ptrdiff_t>(expected.acked);
        if (std::find(from, expected.states.end(), got.states[0]) == expected.states.end()) {
            return fmt::format(
                "group {}: the log ends at entry {}, not in any state from the acknowledged one on",
                i, got.end().value);
        }
        const auto hard = std::find_if(expected.hard_states.begin(), expected.hard_states.end(),
                                       [&](const std::pair<Term, NodeId>& known) {
                                           return known.first == got.hard_states[0].first;
                                       });
        if (hard == expected.hard_states.end() ||
            static_cast<std::size_t>(hard - expected.hard_states.begin()) < expected.hard_acked ||
            (static_cast<std::size_t>(hard - expected.hard_states.begin()) == expected.hard_acked &&
             hard->second != got.hard_states[0].second)) {
            return fmt::format(
                "group {}: hard state of term {} is not the acknowledged one or later", i,
                got.hard_states[0].first.value);
        }
    }
    if (out != nullptr) {
        *out = std::move(recovered);
    }
    return {};
}

// Recovery is cut off after each of its operations, and what that leaves must recover to the same
// state.
std::string LogWorkload::check_nested(const Image& image, sim::SimDisk::Seen& seen) {
    Recovered first;
    const std::string violation = check(image, &first);
    if (!violation.empty()) {
        return violation;
    }
    std::string nested_violation;
    for (std::uint64_t cut = 0; cut < 200 && nested_violation.empty(); ++cut) {
        SimDisk disk(image);
        disk.cut_after(cut);
        Recovered recovered = recover_image(disk, image);
        std::unique_ptr<storage::Wal> wal;
        bool whole = false;
        if (recovered.refused.empty()) {
            base::Result<std::unique_ptr<storage::Wal>> started =
                storage::Wal::start(disk, options(), std::move(recovered.log));
            whole = started.has_value();
        }
        disk.crash_images(
            crash_random_, seen, acknowledged(), [&](const Image& after, std::uint64_t) {
                ++found_.nested;
                Recovered again;
                nested_violation = check(after, &again);
                for (std::uint32_t i = 0; i < group_count && nested_violation.empty(); ++i) {
                    if (again.groups[i].states[0] != first.groups[i].states[0] ||
                        again.groups[i].hard_states[0] != first.groups[i].hard_states[0]) {
                        nested_violation =
                            fmt::format("group {}: a second recovery found another state", i);
                    }
                }
                return nested_violation.empty();
            });
        if (whole) {
            break;
        }
    }
    return nested_violation;
}

void LogWorkload::check_images(sim::SimDisk::Seen& seen) {
    disk_->crash_images(
        crash_random_, seen, acknowledged(), [&](const Image& image, std::uint64_t hash) {
            ++found_.checks;
            found_.images += seen.insert(~hash).second ? 1 : 0;
            found_.violation = found_.checks % 64 == 0 ? check_nested(image, seen) : check(image);
            return found_.violation.empty();
        });
}

// One of the images becomes the disk of the next life.
void LogWorkload::power_cut() {
    std::vector<Image> images;
    SimDisk::Seen seen;
    disk_->crash_images(crash_random_, seen, 0, [&](const Image& image, std::uint64_t) {
        images.push_back(image);
        return images.size() < 200;
    });
    const Image image = images[random_.below(images.size())];
    found_.violation = check(image);
    if (!found_.violation.empty()) {
        return;
    }
    found_.segments_recycled += wal_->counters().segments_recycled;
    found_.segments_made += wal_->counters().segments_made;
    ++found_.crashes;
    begin_life(image);
}

// What the images are checked against, as one number.
std::uint64_t LogWorkload::acknowledged() const {
    std::uint64_t key = seed_ * 0x9e3779b97f4a7c15u + found_.crashes;
    for (const GroupModel& group : groups_) {
        key = (key ^ group.acked) * 0xff51afd7ed558ccdu;
        key = (key ^ group.hard_acked) * 0xc4ceb9fe1a85ec53u;
        key ^= key >> 32;
    }
    return key;
}

void LogWorkload::run(std::uint64_t steps, std::uint64_t every, sim::SimDisk::Seen& seen) {
    for (std::uint64_t i = 1; i <= steps && found_.violation.empty(); ++i) {
        step();
        if (i % every == 0) {
            check_images(seen);
        }
        if (found_.violation.empty() && random_.chance(1, 80)) {
            power_cut();
        }
    }
    found_.segments_recycled += wal_->counters().segments_recycled;
    found_.segments_made += wal_->counters().segments_made;
}

}  // namespace ursula::crash
