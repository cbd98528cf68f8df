#include "storage/memory_disk.h"

#include "base/verify.h"

namespace ursula::storage {

void MemoryDisk::submit(DiskOp& op) {
    run_now(op);
    done_.push_back(&op);
}

void MemoryDisk::take_completions(std::vector<DiskOp*>& done) {
    done.insert(done.end(), done_.begin(), done_.end());
    done_.clear();
}

void MemoryDisk::run_now(DiskOp& op) {
    VERIFY(op.kind != DiskOp::Kind::read);  // there is nothing to read back
    op.result = op.kind == DiskOp::Kind::write ? static_cast<std::int64_t>(op.bytes.size()) : 0;
}

}  // namespace ursula::storage
