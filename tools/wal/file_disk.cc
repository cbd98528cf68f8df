#include "file_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/verify.h"

namespace ursula::tools {

using storage::DiskOp;

FileDisk::~FileDisk() {
    for (const int file : files_) {
        if (file >= 0) {
            ::close(file);
        }
    }
}

void FileDisk::submit(DiskOp&) {
    VERIFY(false);
}
void FileDisk::take_completions(std::vector<DiskOp*>&) {}

base::Result<std::vector<storage::FileInfo>> FileDisk::list_now() {
    DIR* directory = ::opendir(directory_.c_str());
    if (directory == nullptr) {
        return base::fail(directory_ + ": " + std::strerror(errno), errno);
    }
    std::vector<storage::FileInfo> list;
    while (const dirent* entry = ::readdir(directory)) {
        struct stat status {};
        if (::stat((directory_ + "/" + entry->d_name).c_str(), &status) == 0 &&
            S_ISREG(status.st_mode)) {
            list.push_back({entry->d_name, static_cast<std::uint64_t>(status.st_size)});
        }
    }
    ::closedir(directory);
    return list;
}

void FileDisk::run_now(DiskOp& op) {
    op.result = 0;
    if (op.kind == DiskOp::Kind::open) {
        const int file = ::open((directory_ + "/" + op.name).c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            op.result = -errno;
            return;
        }
        op.file = storage::FileId(static_cast<std::uint32_t>(files_.size()));
        files_.push_back(file);
    } else if (op.kind == DiskOp::Kind::read) {
        std::size_t moved = 0;
        while (moved < op.buffer.size()) {
            const ssize_t result =
                ::pread(files_[op.file.value], op.buffer.data() + moved, op.buffer.size() - moved,
                        static_cast<off_t>(op.position + moved));
            if (result < 0) {
                op.result = -errno;
                return;
            }
            if (result == 0) {
                break;
            }
            moved += static_cast<std::size_t>(result);
        }
        op.result = static_cast<std::int64_t>(moved);
    } else if (op.kind == DiskOp::Kind::close) {
        ::close(files_[op.file.value]);
        files_[op.file.value] = -1;
    }
}

}  // namespace ursula::tools
