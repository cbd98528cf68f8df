// A Disk over an existing directory that only reads: whatever would change it is answered with
// success and not done. Blocking calls only.
#pragma once

#include <string>
#include <vector>

#include "storage/disk.h"

namespace ursula::tools {

class FileDisk final : public storage::Disk {
  public:
    explicit FileDisk(std::string directory) : directory_(std::move(directory)) {}
    ~FileDisk() override;
    FileDisk(const FileDisk&) = delete;
    FileDisk& operator=(const FileDisk&) = delete;

    void submit(storage::DiskOp& op) override;
    void take_completions(std::vector<storage::DiskOp*>& done) override;
    std::uint32_t alignment() const override { return 512; }
    bool keeps_data() const override { return true; }
    base::Result<storage::Space> space() override { return storage::Space{}; }
    base::Result<std::vector<storage::FileInfo>> list_now() override;
    void run_now(storage::DiskOp& op) override;

  private:
    std::string directory_;
    std::vector<int> files_;
};

}  // namespace ursula::tools
