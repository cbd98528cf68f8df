#include "io/uring_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/verify.h"

namespace ursula::io {
namespace {

using storage::DiskOp;
using storage::FileId;

// What fill_zero writes, of every disk. Never written to; aligned for direct I/O.
alignas(4096) std::byte zero_bytes[UringDisk::fill_bytes];

constexpr mode_t file_mode = 0600;

base::Bytes next_zeros(const DiskOp& op, std::uint64_t moved) {
    return {zero_bytes, std::min<std::uint64_t>(op.size - moved, sizeof zero_bytes)};
}

// The result of a system call in the ring's convention.
std::int64_t result_of(ssize_t returned) {
    return returned < 0 ? -errno : returned;
}

std::int64_t write_now(int fd, base::Bytes bytes, std::uint64_t position, int flags) {
    const iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return result_of(::pwritev2(fd, &part, 1, static_cast<off_t>(position), flags));
}

}  // namespace

struct UringDisk::ReadAhead {
    io_uring ring;
    bool usable = false;
    bool under_way = false;

    ReadAhead() { usable = io_uring_queue_init(2, &ring, 0) == 0; }
    ~ReadAhead() {
        if (usable) {
            io_uring_queue_exit(&ring);
        }
    }
    ReadAhead(const ReadAhead&) = delete;
    ReadAhead& operator=(const ReadAhead&) = delete;
};

UringDisk::UringDisk(int directory, const DiskProfile& profile)
    : directory_(directory), direct_(profile.direct), alignment_(profile.alignment) {}

UringDisk::~UringDisk() {
    for (const File& file : files_) {
        if (file.fd >= 0) {
            ::close(file.fd);
        }
    }
}

void UringDisk::submit(DiskOp& op) {
    VERIFY(ring_ != nullptr);
    read_ahead_.reset();
    Slot& slot = take_slot();
    begin(slot, op);
    ++in_flight_;
    start_step(slot);
}

void UringDisk::take_completions(std::vector<DiskOp*>& done) {
    for (Slot* slot : reaped_) {
        if (finish_step(*slot, slot->result)) {
            done.push_back(std::exchange(slot->op, nullptr));
            free_slots_.push_back(slot);
            --in_flight_;
        } else {
            start_step(*slot);
        }
    }
    reaped_.clear();
}

void UringDisk::run_now(DiskOp& op) {
    Slot slot;
    begin(slot, op);
    while (!finish_step(slot, step_now(slot))) {
    }
}

void UringDisk::begin_now(DiskOp& op) {
    VERIFY(op.kind == DiskOp::Kind::read);
    if (read_ahead_ == nullptr) {
        read_ahead_ = std::make_unique<ReadAhead>();
    }
    VERIFY(!read_ahead_->under_way);
    if (!read_ahead_->usable) {
        return;  // finish_now reads
    }
    io_uring_sqe* sqe = io_uring_get_sqe(&read_ahead_->ring);
    VERIFY(sqe != nullptr);
    io_uring_prep_read(sqe, file_of(op.file).fd, op.buffer.data(),
                       static_cast<unsigned>(op.buffer.size()), op.position);
    read_ahead_->under_way = io_uring_submit(&read_ahead_->ring) == 1;
    if (!read_ahead_->under_way) {
        read_ahead_.reset();  // with what it may have queued
    }
}

void UringDisk::finish_now(DiskOp& op) {
    op.result = -EAGAIN;
    if (read_ahead_ != nullptr && read_ahead_->under_way) {
        read_ahead_->under_way = false;
        io_uring_cqe* cqe = nullptr;
        int waited = -EINTR;
        while (waited == -EINTR) {
            waited = io_uring_wait_cqe(&read_ahead_->ring, &cqe);
        }
        VERIFY(waited == 0);  // the kernel still has the buffer: there is no way on
        op.result = cqe->res;
        io_uring_cqe_seen(&read_ahead_->ring, cqe);
    }
    if (op.result != static_cast<std::int64_t>(op.buffer.size())) {
        run_now(op);  // short, failed or never begun: once more, to the end
    }
}

void UringDisk::on_reaped(net::Op* reaped, std::int32_t result, std::uint32_t /*flags*/) {
    Slot* slot = static_cast<Slot*>(reaped);
    slot->result = result;
    slot->disk->reaped_.push_back(slot);
}

UringDisk::Slot& UringDisk::take_slot() {
    if (free_slots_.empty()) {
        Slot& slot = slots_.emplace_back();
        slot.reap = on_reaped;
        slot.disk = this;
        // Room for every slot in both lists: a reap and a completion never allocate.
        free_slots_.reserve(slots_.size());
        reaped_.reserve(slots_.size());
        return slot;
    }
    Slot& slot = *free_slots_.back();
    free_slots_.pop_back();
    return slot;
}

const UringDisk::File& UringDisk::file_of(FileId file) const {
    VERIFY(file.value < files_.size() && files_[file.value].fd >= 0);
    return files_[file.value];
}

int UringDisk::open_flags(const DiskOp& op) const {
    return O_RDWR | O_CLOEXEC | O_NOFOLLOW | (op.create ? O_CREAT : 0) |
           (op.direct && direct_ ? O_DIRECT : 0);
}

void UringDisk::begin(Slot& slot, DiskOp& op) {
    slot.op = &op;
    slot.moved = 0;
    slot.step = Step::only;
    slot.file = {};
    switch (op.kind) {
        case DiskOp::Kind::rename:
            slot.step = op.no_replace ? Step::rename_new : Step::only;
            break;
        case DiskOp::Kind::open:
        case DiskOp::Kind::remove:
            break;
        case DiskOp::Kind::fill_zero:
            slot.file = file_of(op.file);
            slot.step = Step::allocate;
            break;
        case DiskOp::Kind::write:
        case DiskOp::Kind::read:
            slot.file = file_of(op.file);
            slot.step = Step::transfer;
            break;
        case DiskOp::Kind::sync:
            slot.file = file_of(op.file);
            break;
        case DiskOp::Kind::sync_directory:
            slot.file.fd = directory_;
            break;
        case DiskOp::Kind::close:
            slot.file = file_of(op.file);
            files_[op.file.value] = {};  // no later op may name it; the id is free when closed
            break;
    }
}

void UringDisk::start_step(Slot& slot) {
    const DiskOp& op = *slot.op;
    const int fd = slot.file.fd;
    switch (slot.step) {
        case Step::transfer:
            if (op.kind == DiskOp::Kind::read) {
                ring_->read(slot, fd, op.buffer.subspan(slot.moved), op.position + slot.moved);
            } else if (op.durable && direct_) {
                ring_->write_durable(slot, fd, op.bytes.subspan(slot.moved),
                                     op.position + slot.moved);
            } else {
                ring_->write(slot, fd, op.bytes.subspan(slot.moved), op.position + slot.moved);
            }
            return;
        case Step::sync_data:
            ring_->sync(slot, fd, true);
            return;
        case Step::allocate:
            ring_->allocate(slot, fd, 0, op.position, op.size);
            return;
        case Step::zeros:
            ring_->write(slot, fd, next_zeros(op, slot.moved), op.position + slot.moved);
            return;
        case Step::rename_new:
            ring_->rename_at(slot, directory_, op.name.c_str(), op.new_name.c_str(),
                             RENAME_NOREPLACE);
            return;
        case Step::only:
            break;
    }
    switch (op.kind) {
        case DiskOp::Kind::open:
            ring_->open_at(slot, directory_, op.name.c_str(), open_flags(op), file_mode);
            return;
        case DiskOp::Kind::sync:
        case DiskOp::Kind::sync_directory:
            ring_->sync(slot, fd, false);
            return;
        case DiskOp::Kind::rename:
            ring_->rename_at(slot, directory_, op.name.c_str(), op.new_name.c_str());
            return;
        case DiskOp::Kind::remove:
            ring_->unlink_at(slot, directory_, op.name.c_str());
            return;
        case DiskOp::Kind::close:
            ring_->close(slot, fd);
            return;
        case DiskOp::Kind::fill_zero:
        case DiskOp::Kind::write:
        case DiskOp::Kind::read:
            break;
    }
    VERIFY(false);
}

std::int64_t UringDisk::step_now(const Slot& slot) const {
    const DiskOp& op = *slot.op;
    const int fd = slot.file.fd;
    switch (slot.step) {
        case Step::transfer: {
            const std::uint64_t position = op.position + slot.moved;
            if (op.kind == DiskOp::Kind::read) {
                const base::MutableBytes to = op.buffer.subspan(slot.moved);
                return result_of(::pread(fd, to.data(), to.size(), static_cast<off_t>(position)));
            }
            return write_now(fd, op.bytes.subspan(slot.moved), position,
                             op.durable && direct_ ? RWF_DSYNC : 0);
        }
        case Step::sync_data:
            return result_of(::fdatasync(fd));
        case Step::allocate:
            return result_of(
                ::fallocate(fd, 0, static_cast<off_t>(op.position), static_cast<off_t>(op.size)));
        case Step::zeros:
            return write_now(fd, next_zeros(op, slot.moved), op.position + slot.moved, 0);
        case Step::rename_new:
            return result_of(::renameat2(directory_, op.name.c_str(), directory_,
                                         op.new_name.c_str(), RENAME_NOREPLACE));
        case Step::only:
            break;
    }
    switch (op.kind) {
        case DiskOp::Kind::open:
            return result_of(::openat(directory_, op.name.c_str(), open_flags(op), file_mode));
        case DiskOp::Kind::sync:
        case DiskOp::Kind::sync_directory:
            return result_of(::fsync(fd));
        case DiskOp::Kind::rename:
            return result_of(
                ::renameat(directory_, op.name.c_str(), directory_, op.new_name.c_str()));
        case DiskOp::Kind::remove:
            return result_of(::unlinkat(directory_, op.name.c_str(), 0));
        case DiskOp::Kind::close:
            return result_of(::close(fd));
        case DiskOp::Kind::fill_zero:
        case DiskOp::Kind::write:
        case DiskOp::Kind::read:
            break;
    }
    VERIFY(false);
    return 0;
}

bool UringDisk::finish_step(Slot& slot, std::int64_t result) {
    DiskOp& op = *slot.op;
    // A signal came in between: the same step again. Never a sync, whose second try may find
    // nothing left to report (notes/reliability-anchors.md 3.3), and never a close, which has
    // happened.
    const bool may_repeat = slot.step != Step::sync_data && op.kind != DiskOp::Kind::sync &&
                            op.kind != DiskOp::Kind::sync_directory &&
                            op.kind != DiskOp::Kind::close;
    if (result == -EINTR && may_repeat) {
        return false;
    }
    switch (slot.step) {
        case Step::only:
            finish_only(slot, result);
            return true;
        case Step::transfer:
            return finish_transfer(slot, result);
        case Step::sync_data:
            op.result = result < 0 ? result : static_cast<std::int64_t>(slot.moved);
            return true;
        case Step::allocate:
            // A file system without fallocate still takes the zeros.
            if (result < 0 && result != -EOPNOTSUPP) {
                op.result = result;
                return true;
            }
            slot.step = Step::zeros;
            op.result = 0;
            return op.size == 0;
        case Step::rename_new:
            // The file system has no such rename: the plain one.
            if (result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP) {
                slot.step = Step::only;
                return false;
            }
            op.result = result < 0 ? result : 0;
            return true;
        case Step::zeros:
            if (result <= 0) {
                op.result = result < 0 ? result : -EIO;
                return true;
            }
            slot.moved += static_cast<std::uint64_t>(result);
            op.result = 0;
            return slot.moved == op.size;
    }
    VERIFY(false);
    return true;
}

bool UringDisk::finish_transfer(Slot& slot, std::int64_t result) const {
    DiskOp& op = *slot.op;
    const bool reads = op.kind == DiskOp::Kind::read;
    const std::uint64_t wanted = reads ? op.buffer.size() : op.bytes.size();
    if (result < 0) {
        op.result = result;
        return true;
    }
    slot.moved += static_cast<std::uint64_t>(result);
    op.result = static_cast<std::int64_t>(slot.moved);
    if (reads) {
        // The end of the file. A direct read that stops within a block has met it too, and could
        // not go on from there.
        const bool at_end = result == 0 || (slot.file.direct && slot.moved % alignment_ != 0);
        return at_end || slot.moved == wanted;
    }
    if (result == 0 && wanted != 0) {
        op.result = -EIO;  // a disk that takes nothing and says nothing
        return true;
    }
    if (slot.moved < wanted) {
        return false;
    }
    if (op.durable && !direct_) {
        slot.step = Step::sync_data;
        return false;
    }
    return true;
}

void UringDisk::finish_only(Slot& slot, std::int64_t result) {
    DiskOp& op = *slot.op;
    op.result = result < 0 ? result : 0;
    if (op.kind == DiskOp::Kind::close) {
        free_files_.push_back(op.file.value);
        return;
    }
    if (op.kind != DiskOp::Kind::open || result < 0) {
        return;
    }
    if (free_files_.empty()) {
        free_files_.push_back(static_cast<std::uint32_t>(files_.size()));
        files_.emplace_back();
    }
    op.file = FileId(free_files_.back());
    free_files_.pop_back();
    files_[op.file.value] = {.fd = static_cast<int>(result), .direct = op.direct && direct_};
}

base::Result<std::vector<storage::FileInfo>> UringDisk::list_now() {
    std::vector<storage::FileInfo> files;
    TRY(list(&files, nullptr));
    return files;
}

base::Result<std::vector<std::string>> UringDisk::list_others_now() {
    std::vector<std::string> others;
    TRY(list(nullptr, &others));
    return others;
}

base::Result<void> UringDisk::list(std::vector<storage::FileInfo>* files,
                                   std::vector<std::string>* others) const {
    const int fd = ::openat(directory_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        const int error = errno;
        return base::fail(std::string("cannot list a directory: ") + std::strerror(error), error);
    }
    DIR* listing = ::fdopendir(fd);
    if (listing == nullptr) {
        const int error = errno;
        ::close(fd);
        return base::fail(std::string("cannot list a directory: ") + std::strerror(error), error);
    }
    errno = 0;
    while (const dirent* entry = ::readdir(listing)) {
        const std::string_view name = entry->d_name;
        struct stat status {};
        if (name != "." && name != ".." &&
            ::fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
            if (!S_ISREG(status.st_mode)) {
                if (others != nullptr) {
                    others->emplace_back(name);
                }
            } else if (files != nullptr) {
                files->push_back({entry->d_name, static_cast<std::uint64_t>(status.st_size)});
            }
        }
        errno = 0;
    }
    const int error = errno;
    ::closedir(listing);
    if (error != 0) {
        return base::fail(std::string("cannot list a directory: ") + std::strerror(error), error);
    }
    return {};
}

}  // namespace ursula::io
