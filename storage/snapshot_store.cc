#include "storage/snapshot_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>

#include "base/crc32c.h"
#include "base/verify.h"
#include "base/wire.h"
#include "storage/snapshot_format.h"
#include "storage/staging.h"
#include "storage/wal_format.h"

namespace ursula::storage {

namespace {

constexpr std::size_t parts = 2;
constexpr SnapshotStore::Part part_of(std::size_t i) {
    return i == 0 ? SnapshotStore::Part::image : SnapshotStore::Part::locations;
}

}  // namespace

class SnapshotCore final : public DiskUser {
  public:
    SnapshotCore(Disk& disk, std::uint64_t salt) : disk_(disk), salt_(salt) {}

    base::Result<void> open();
    base::Result<SnapshotStore::Loaded> load(base::GroupId group, std::string& damage);
    bool busy() const { return step_ != Step::idle; }
    void begin(base::GroupId group, base::EntryId id);
    bool ready() const;
    void append(SnapshotStore::Part part, base::Bytes bytes);
    void finish();
    void abandon();
    void on_done(DiskOp& op, base::Instant now) override;
    bool take_finished(SnapshotStore::Finished& out);

  private:
    // In this order; each step is one op per file, or one op.
    enum class Step : std::uint8_t {
        idle,
        opening,
        writing,  // until finish() was called and all frames are written
        syncing,
        renaming,
        syncing_directory,
        verifying,
        closing,
        removing_older,
        dropping,  // closes and removes what was made, then reports the failure
    };
    struct Frame {
        AlignedMemory memory;
        std::uint32_t used = frame_header_bytes;
    };
    struct File {
        SnapshotKey key;
        std::string name;
        bool is_open = false;
        bool renamed = false;
        FileId file{};
        DiskOp write;
        bool writing = false;
        std::deque<Frame> frames;  // the last one is being filled; the first may be in flight
        bool ended = false;        // its last frame is queued
        std::uint64_t position = 0;
        std::uint64_t data_bytes = 0;
        std::uint32_t data_frames = 0;
        std::uint32_t crcs = 0;
    };

    void submit(DiskOp& op) {
        op.owner = this;
        disk_.submit(op);
    }
    Frame take_frame();
    void seal(File& file, FrameKind kind);
    void write_next(File& file);
    void go_on();
    void next_op(DiskOp::Kind kind, File& file);
    void verify_next(const DiskOp* done);
    void fail(std::string reason);
    void drop_next();
    void report(bool ok);
    base::Result<bool> read_file(const SnapshotKey& key, std::vector<std::byte>& out,
                                 base::EntryId& id, std::string& damage);

    Disk& disk_;
    const std::uint64_t salt_;
    std::map<std::uint32_t, std::vector<base::LogIndex>>
        known_;  // whole pairs by name, per group, oldest first
    // Pairs that load() could not use. They go when the group's next snapshot is durable: until
    // then somebody may want to look at them.
    std::map<std::uint32_t, std::vector<base::LogIndex>> rejected_;

    Step step_ = Step::idle;
    base::GroupId group_;
    base::EntryId id_;
    std::array<File, parts> files_;
    std::vector<AlignedMemory> free_frames_;
    bool finishing_ = false;
    bool abandoned_ = false;
    std::string failure_;
    DiskOp op_;  // of the steps after writing, one at a time
    bool op_in_flight_ = false;
    std::size_t at_ = 0;  // file the step has come to
    std::vector<std::string> to_remove_;
    AlignedMemory verify_memory_;
    std::unique_ptr<SnapshotChecker> checker_;
    bool has_finished_ = false;
    SnapshotStore::Finished finished_;
};

// --- start-up ---

base::Result<void> SnapshotCore::open() {
    base::Result<std::vector<FileInfo>> listed = disk_.list_now();
    if (!listed) {
        return tl::unexpected(std::move(listed.error()));
    }
    std::map<std::pair<std::uint32_t, base::LogIndex>, int> found;
    std::vector<std::string> unneeded;
    for (const FileInfo& info : *listed) {
        SnapshotKey key;
        if (parse_snapshot_name(info.name, key)) {
            ++found[{key.group.value, key.index}];
        } else if (info.name.substr(0, 5) == "snap-" && info.name.size() > 4 &&
                   info.name.substr(info.name.size() - 4) == ".tmp") {
            unneeded.push_back(info.name);
        }
    }
    for (const auto& [id, count] : found) {
        if (count == static_cast<int>(parts)) {
            known_[id.first].push_back(id.second);
            continue;
        }
        for (std::size_t i = 0; i < parts; ++i) {
            unneeded.push_back(
                snapshot_name({salt_, base::GroupId(id.first), id.second, part_of(i)}));
        }
    }
    for (const std::string& name : unneeded) {
        DiskOp op;
        op.kind = DiskOp::Kind::remove;
        op.name = name;
        disk_.run_now(op);
        if (op.result < 0 && op.result != -ENOENT) {
            const int error = static_cast<int>(-op.result);
            return base::fail(fmt::format("{} cannot be removed: {}", name, std::strerror(error)),
                              error);
        }
    }
    return {};
}

// True when the file is valid; false with a sentence in `damage` when it is not.
base::Result<bool> SnapshotCore::read_file(const SnapshotKey& key, std::vector<std::byte>& out,
                                           base::EntryId& id, std::string& damage) {
    const std::string name = snapshot_name(key);
    const auto failed = [&name](std::int64_t result) {
        const int error = static_cast<int>(-result);
        return base::fail(fmt::format("{} cannot be read: {}", name, std::strerror(error)), error);
    };
    DiskOp op;
    op.kind = DiskOp::Kind::open;
    op.name = name;
    op.direct = true;
    disk_.run_now(op);
    if (op.result < 0) {
        return failed(op.result);
    }
    if (verify_memory_ == nullptr) {
        verify_memory_ = allocate_aligned(frame_bytes_max);
    }
    SnapshotChecker checker(key);
    bool valid = true;
    std::uint64_t window = 0;  // what of the file is in memory
    std::size_t held = 0;
    while (valid && !checker.complete()) {
        base::Bytes body;
        const std::uint64_t at = checker.position();
        const base::Bytes rest =
            at < window + held
                ? base::Bytes{verify_memory_.get() + (at - window), held - (at - window)}
                : base::Bytes{};
        if (checker.next(rest, body) == 0) {
            // Not valid, or not all of it is in memory: judged again from the frame's own
            // beginning.
            op.kind = DiskOp::Kind::read;
            op.position = at;
            op.buffer = {verify_memory_.get(), frame_bytes_max};
            disk_.run_now(op);
            if (op.result < 0) {
                const std::int64_t result = op.result;
                op.kind = DiskOp::Kind::close;
                disk_.run_now(op);
                return failed(result);
            }
            window = at;
            held = static_cast<std::size_t>(op.result);
            valid = checker.next({verify_memory_.get(), held}, body) != 0;
        }
        out.insert(out.end(), body.begin(), body.end());
    }
    op.kind = DiskOp::Kind::close;
    disk_.run_now(op);
    if (checker.newer()) {
        return base::fail(
            fmt::format("{} was written by a newer version of ursula; start that version", name));
    }
    if (!valid) {
        damage += fmt::format("{}{} is damaged at byte {}", damage.empty() ? "" : "; ", name,
                              checker.position());
    }
    id = checker.id();
    return valid;
}

base::Result<SnapshotStore::Loaded> SnapshotCore::load(base::GroupId group, std::string& damage) {
    SnapshotStore::Loaded loaded;
    std::vector<base::LogIndex>& known = known_[group.value];
    for (; !known.empty(); known.pop_back()) {
        const base::LogIndex at = known.back();
        loaded.image.clear();
        loaded.locations.clear();
        base::EntryId image_id;
        base::EntryId locations_id;
        base::Result<bool> image = read_file({salt_, group, at, SnapshotStore::Part::image},
                                             loaded.image, image_id, damage);
        if (!image) {
            return tl::unexpected(std::move(image.error()));
        }
        base::Result<bool> locations = read_file({salt_, group, at, SnapshotStore::Part::locations},
                                                 loaded.locations, locations_id, damage);
        if (!locations) {
            return tl::unexpected(std::move(locations.error()));
        }
        if (*image && *locations && image_id == locations_id) {
            loaded.id = image_id;
            return loaded;
        }
        rejected_[group.value].push_back(at);
    }
    return SnapshotStore::Loaded{};
}

// --- writing ---

void SnapshotCore::begin(base::GroupId group, base::EntryId id) {
    VERIFY(step_ == Step::idle && id.index.value > 0);
    const std::vector<base::LogIndex>& known = known_[group.value];
    VERIFY(known.empty() || known.back() < id.index);
    group_ = group;
    id_ = id;
    finishing_ = false;
    abandoned_ = false;
    failure_.clear();
    step_ = Step::opening;
    for (std::size_t i = 0; i < parts; ++i) {
        File& file = files_[i];
        file = File{};
        file.key = {salt_, group, id.index, part_of(i)};
        file.name = snapshot_name(file.key);
        file.frames.push_back(take_frame());
        std::byte* body = file.frames.back().memory.get() + frame_header_bytes;
        base::store(body, snapshot_format_version);
        base::store(body + 4, static_cast<std::uint32_t>(file.key.part));
        base::store(body + 8, group.value);
        base::store(body + 12, std::uint32_t{0});
        base::store(body + 16, id.term.value);
        base::store(body + 24, id.index.value);
        file.frames.back().used += 32;
        seal(file, FrameKind::first);
    }
    at_ = 0;
    next_op(DiskOp::Kind::open, files_[0]);
}

SnapshotCore::Frame SnapshotCore::take_frame() {
    Frame frame;
    if (free_frames_.empty()) {
        frame.memory = allocate_aligned(frame_bytes_max);
    } else {
        frame.memory = std::move(free_frames_.back());
        free_frames_.pop_back();
    }
    return frame;
}

// Closes the frame being filled and opens the next one.
void SnapshotCore::seal(File& file, FrameKind kind) {
    Frame& frame = file.frames.back();
    const std::uint32_t length = frame.used - frame_header_bytes;
    const std::uint32_t size = round_up(frame.used, frame_alignment);
    std::memset(frame.memory.get() + frame.used, 0, size - frame.used);
    const std::uint32_t body_crc =
        seal_frame(file.key, kind, file.position, length, frame.memory.get());
    file.position += size;
    frame.used = size;
    if (kind == FrameKind::data) {
        file.data_bytes += length;
        ++file.data_frames;
        std::array<std::byte, 4> crc{};
        base::store(crc.data(), body_crc);
        file.crcs = base::crc32c(crc, file.crcs);
    }
    if (kind == FrameKind::last) {
        file.ended = true;
    } else {
        file.frames.push_back(take_frame());
    }
}

bool SnapshotCore::ready() const {
    return step_ == Step::writing && !finishing_ && !abandoned_ && failure_.empty() &&
           files_[0].frames.size() <= 2 && files_[1].frames.size() <= 2;
}

void SnapshotCore::append(SnapshotStore::Part part, base::Bytes bytes) {
    VERIFY(!finishing_);
    if (step_ != Step::opening && step_ != Step::writing) {
        return;  // it failed meanwhile; take_finished() says so
    }
    File& file = files_[static_cast<std::size_t>(part)];
    while (!bytes.empty()) {
        Frame& frame = file.frames.back();
        const std::size_t room = frame_bytes_max - frame.used;
        const base::Bytes fits = bytes.subspan(0, std::min(room, bytes.size()));
        base::copy_bytes(frame.memory.get() + frame.used, fits);
        frame.used += static_cast<std::uint32_t>(fits.size());
        bytes = bytes.subspan(fits.size());
        if (frame.used == frame_bytes_max) {
            seal(file, FrameKind::data);
        }
    }
    write_next(file);
}

void SnapshotCore::finish() {
    if (finishing_ || (step_ != Step::opening && step_ != Step::writing)) {
        return;
    }
    finishing_ = true;
    for (File& file : files_) {
        if (file.frames.back().used > frame_header_bytes) {
            seal(file, FrameKind::data);
        }
        Frame& frame = file.frames.back();
        std::byte* body = frame.memory.get() + frame_header_bytes;
        base::store(body, file.data_bytes);
        base::store(body + 8, file.data_frames);
        base::store(body + 12, file.crcs);
        frame.used += 16;
        seal(file, FrameKind::last);
        write_next(file);
    }
}

void SnapshotCore::abandon() {
    if (step_ == Step::idle || step_ > Step::writing) {
        return;  // published or failing already: it ends by itself
    }
    abandoned_ = true;
    if (failure_.empty()) {
        failure_ = "abandoned";
    }
    go_on();
}

void SnapshotCore::write_next(File& file) {
    const bool sealed = file.frames.size() > 1 || (file.ended && !file.frames.empty());
    if (step_ != Step::writing || file.writing || !sealed || !failure_.empty()) {
        return;
    }
    const Frame& frame = file.frames.front();
    file.writing = true;
    file.write.kind = DiskOp::Kind::write;
    file.write.durable = false;
    file.write.file = file.file;
    file.write.bytes = {frame.memory.get(), frame.used};
    submit(file.write);
}

void SnapshotCore::next_op(DiskOp::Kind kind, File& file) {
    op_.kind = kind;
    op_.file = file.file;
    op_.name = file.renamed ? file.name : file.name + ".tmp";
    op_.new_name = file.name;
    op_.create = true;
    op_.direct = true;
    op_in_flight_ = true;
    submit(op_);
}

void SnapshotCore::fail(std::string reason) {
    if (failure_.empty()) {
        failure_ = std::move(reason);
    }
}

void SnapshotCore::on_done(DiskOp& op, base::Instant) {
    for (File& file : files_) {
        if (&op != &file.write) {
            continue;
        }
        file.writing = false;
        if (op.result != static_cast<std::int64_t>(op.bytes.size())) {
            fail(fmt::format(
                "{}: {}", file.name,
                op.result < 0 ? std::strerror(static_cast<int>(-op.result)) : "short write"));
        } else {
            file.write.position += op.bytes.size();
            free_frames_.push_back(std::move(file.frames.front().memory));
            file.frames.pop_front();
            write_next(file);
        }
        go_on();
        return;
    }
    VERIFY(&op == &op_);
    op_in_flight_ = false;
    if (step_ == Step::dropping) {
        drop_next();
        return;
    }
    if (step_ == Step::removing_older) {
        go_on();
        return;
    }
    if (op.result < 0) {
        fail(fmt::format("{}: {}", op.name, std::strerror(static_cast<int>(-op.result))));
    }
    switch (step_) {
        case Step::opening:
            if (op.result >= 0) {
                files_[at_].file = op.file;
                files_[at_].is_open = true;
            }
            break;
        case Step::renaming:
            files_[at_].renamed = op.result >= 0;
            break;
        case Step::verifying:
            verify_next(&op);
            return;
        case Step::closing:
            files_[at_].is_open = false;
            break;
        case Step::idle:
        case Step::writing:
        case Step::syncing:
        case Step::syncing_directory:
        case Step::removing_older:
        case Step::dropping:
            break;
    }
    ++at_;
    go_on();
}

// Takes the next step as soon as nothing is in flight.
void SnapshotCore::go_on() {
    if (op_in_flight_ || files_[0].writing || files_[1].writing) {
        return;
    }
    if (!failure_.empty() && step_ != Step::dropping) {
        step_ = Step::dropping;
        at_ = 0;
        drop_next();
        return;
    }
    const auto begin_step = [this](Step step) {
        step_ = step;
        at_ = 0;
    };
    switch (step_) {
        case Step::opening:
            if (at_ < parts) {
                next_op(DiskOp::Kind::open, files_[at_]);
                return;
            }
            step_ = Step::writing;
            for (File& file : files_) {
                write_next(file);
            }
            return;
        case Step::writing:
            if (!finishing_ || !files_[0].frames.empty() || !files_[1].frames.empty()) {
                return;
            }
            begin_step(Step::syncing);
            next_op(DiskOp::Kind::sync, files_[0]);
            return;
        case Step::syncing:
            if (at_ < parts) {
                next_op(DiskOp::Kind::sync, files_[at_]);
                return;
            }
            begin_step(Step::renaming);
            next_op(DiskOp::Kind::rename, files_[0]);
            return;
        case Step::renaming:
            if (at_ < parts) {
                next_op(DiskOp::Kind::rename, files_[at_]);
                return;
            }
            begin_step(Step::syncing_directory);
            next_op(DiskOp::Kind::sync_directory, files_[0]);
            return;
        case Step::syncing_directory:
            begin_step(Step::verifying);
            checker_.reset();
            verify_next(nullptr);
            return;
        case Step::closing:
            if (at_ < parts) {
                next_op(DiskOp::Kind::close, files_[at_]);
                return;
            }
            for (const auto* old : {&known_[group_.value], &rejected_[group_.value]}) {
                for (const base::LogIndex index : *old) {
                    for (std::size_t i = 0; i < parts && index != id_.index; ++i) {
                        to_remove_.push_back(snapshot_name({salt_, group_, index, part_of(i)}));
                    }
                }
            }
            known_[group_.value].assign(1, id_.index);
            rejected_.erase(group_.value);
            report(true);
            begin_step(Step::removing_older);
            go_on();
            return;
        case Step::removing_older:
            if (to_remove_.empty()) {
                free_frames_.clear();
                verify_memory_.reset();
                step_ = Step::idle;
                return;
            }
            op_.kind = DiskOp::Kind::remove;
            op_.name = to_remove_.back();
            to_remove_.pop_back();
            op_in_flight_ = true;
            submit(op_);
            return;
        case Step::idle:
        case Step::verifying:
        case Step::dropping:
            return;
    }
}

// Reads the published files back, a frame at a time.
void SnapshotCore::verify_next(const DiskOp* done) {
    if (done != nullptr && failure_.empty()) {
        base::Bytes body;
        const base::Bytes bytes{verify_memory_.get(), static_cast<std::size_t>(done->result)};
        if (checker_->next(bytes, body) == 0) {
            fail(fmt::format("{} does not read back as written at byte {}", files_[at_].name,
                             checker_->position()));
        }
    }
    if (!failure_.empty()) {
        go_on();
        return;
    }
    if (checker_ != nullptr && checker_->complete()) {
        checker_.reset();
        ++at_;
    }
    if (at_ == parts) {
        step_ = Step::closing;
        at_ = 0;
        next_op(DiskOp::Kind::close, files_[0]);
        return;
    }
    if (verify_memory_ == nullptr) {
        verify_memory_ = allocate_aligned(frame_bytes_max);
    }
    if (checker_ == nullptr) {
        checker_ = std::make_unique<SnapshotChecker>(files_[at_].key);
    }
    op_.position = checker_->position();
    op_.buffer = {verify_memory_.get(),
                  static_cast<std::size_t>(std::min<std::uint64_t>(
                      frame_bytes_max, files_[at_].position - checker_->position()))};
    next_op(DiskOp::Kind::read, files_[at_]);
}

// Closes and removes both files, whatever they are called by now.
void SnapshotCore::drop_next() {
    while (at_ < parts) {
        File& file = files_[at_];
        if (file.is_open) {
            file.is_open = false;
            next_op(DiskOp::Kind::close, file);
            return;
        }
        if (!file.name.empty()) {
            next_op(DiskOp::Kind::remove, file);
            file.name.clear();
            ++at_;
            return;
        }
        ++at_;
    }
    for (File& file : files_) {
        file.frames.clear();
    }
    free_frames_.clear();
    verify_memory_.reset();
    checker_.reset();
    step_ = Step::idle;
    if (!abandoned_) {
        report(false);
    }
}

void SnapshotCore::report(bool ok) {
    has_finished_ = true;
    finished_.group = group_;
    finished_.id = id_;
    finished_.ok = ok;
    finished_.reason = failure_;
    finished_.image_bytes = files_[0].data_bytes;
    finished_.locations_bytes = files_[1].data_bytes;
}

bool SnapshotCore::take_finished(SnapshotStore::Finished& out) {
    if (!has_finished_) {
        return false;
    }
    has_finished_ = false;
    out = finished_;
    return true;
}

// --- the public face ---

SnapshotStore::SnapshotStore(Disk& disk, std::uint64_t salt)
    : core_(std::make_unique<SnapshotCore>(disk, salt)) {}
SnapshotStore::~SnapshotStore() = default;
base::Result<void> SnapshotStore::open() {
    return core_->open();
}
base::Result<SnapshotStore::Loaded> SnapshotStore::load(base::GroupId group, std::string& damage) {
    return core_->load(group, damage);
}
bool SnapshotStore::busy() const {
    return core_->busy();
}
void SnapshotStore::begin(base::GroupId group, base::EntryId id) {
    core_->begin(group, id);
}
bool SnapshotStore::ready() const {
    return core_->ready();
}
void SnapshotStore::append(Part part, base::Bytes bytes) {
    core_->append(part, bytes);
}
void SnapshotStore::finish() {
    core_->finish();
}
void SnapshotStore::abandon() {
    core_->abandon();
}
bool SnapshotStore::take_finished(Finished& out) {
    return core_->take_finished(out);
}

}  // namespace ursula::storage
