// A directory of its own for one test, removed with all in it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/verify.h"

namespace ursula::test_support {

class TempDir {
  public:
    // Under $TMPDIR or /tmp, unless the test wants another file system.
    explicit TempDir(const std::filesystem::path& under = std::filesystem::temp_directory_path())
        : path_((under / "ursula-test-XXXXXX").string()) {
        VERIFY(::mkdtemp(path_.data()) != nullptr);
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

}  // namespace ursula::test_support
