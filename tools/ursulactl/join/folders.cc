#include "tools/ursulactl/join/folders.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/limits.h"
#include "tools/ursulactl/command.h"

namespace ursula::ctl {

namespace {

constexpr mode_t folder_mode = 0700;
constexpr mode_t secret_mode = 0600;
constexpr mode_t public_mode = 0644;
constexpr std::size_t file_bytes_max = 256 * base::limits::kib;

[[noreturn]] void fail_at(const std::string& path, int error) {
    throw Failure(error == EACCES || error == EPERM ? exit_denied : exit_failed,
                  fmt::format("{}: {}", path, std::strerror(error)),
                  error == EACCES || error == EPERM
                      ? "run it as the user the server runs as, or as root"
                      : "nothing was changed there; see to it and run the command again");
}

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

  private:
    const int fd_;
};

std::vector<std::string> names_in(const std::string& dir) {
    std::vector<std::string> names;
    DIR* listing = ::opendir(dir.c_str());
    if (listing == nullptr) {
        if (errno != ENOENT) {
            fail_at(dir, errno);
        }
        return names;
    }
    while (const dirent* entry = ::readdir(listing)) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    ::closedir(listing);
    return names;
}

void sync_folder(const std::string& path) {
    const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0 || ::fsync(folder.get()) != 0) {
        fail_at(path, errno);
    }
}

// Made anew: whoever put something there before, a link for instance, is an error.
void write_file(const std::string& folder, const std::string& name, const FileText& file,
                const struct stat* owner) {
    const std::string path = folder + "/" + name;
    const mode_t mode = file.is_secret ? secret_mode : public_mode;
    const Descriptor out(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (out.get() < 0) {
        fail_at(path, errno);
    }
    std::string_view left = *file.text;
    while (!left.empty()) {
        const ssize_t size = ::write(out.get(), left.data(), left.size());
        if (size <= 0) {
            fail_at(path, size == 0 ? ENOSPC : errno);
        }
        left.remove_prefix(static_cast<std::size_t>(size));
    }
    if (::fchmod(out.get(), mode) != 0 ||
        (owner != nullptr && ::fchown(out.get(), owner->st_uid, owner->st_gid) != 0) ||
        ::fsync(out.get()) != 0) {
        fail_at(path, errno);
    }
}

// A folder of files, no deeper.
void remove_folder(const std::string& path) {
    for (const std::string& name : names_in(path)) {
        ::unlink((path + "/" + name).c_str());
    }
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) {
        fail_at(path, errno);
    }
}

bool has_name(const std::vector<std::string>& names, std::string_view name) {
    for (const std::string& one : names) {
        if (one == name) {
            return true;
        }
    }
    return false;
}

}  // namespace

std::string read_file(const std::string& path, bool is_secret) {
    const Descriptor in(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    struct stat status {};
    if (in.get() < 0 || ::fstat(in.get(), &status) != 0) {
        fail_at(path, errno);
    }
    if (is_secret && (status.st_mode & 077) != 0) {
        throw Failure(exit_denied, path + " may be read by others", "chmod 600 " + path);
    }
    std::string text;
    std::array<char, 4096> buffer;
    ssize_t size = 0;
    while (text.size() <= file_bytes_max &&
           (size = ::read(in.get(), buffer.data(), buffer.size())) > 0) {
        text.append(buffer.data(), static_cast<std::size_t>(size));
    }
    if (size != 0) {
        fail_at(path, size < 0 ? errno : EFBIG);
    }
    return text;
}

DirectoryFacts look_at_directory(const std::string& dir) {
    const std::vector<std::string> names = names_in(dir);
    DirectoryFacts facts;
    facts.has_tls = has_name(names, tls_folder);
    facts.has_authority = has_name(names, authority_folder);
    const bool has_node = has_name(names, storage::node_file_name);
    if (has_node) {
        const std::string path = dir + "/" + std::string(storage::node_file_name);
        const std::string text = read_file(path, false);
        const auto node = storage::decode_node_file(base::as_bytes(text));
        if (!node) {
            throw Failure(exit_conflict, dir + ": " + node.error().message);
        }
        facts.stage = node->cluster.stage;
        facts.has_data = node->begun || facts.stage == storage::ClusterStage::formed;
        facts.node = facts.stage == storage::ClusterStage::none ? 0 : node->node.value;
    }
    for (const std::string& name : names) {
        const bool is_harmless = name.starts_with(tls_folder) || name == "LOCK" ||
                                 name == "lost+found" || name == "node.tmp" || name == "probe.tmp";
        facts.is_foreign = facts.is_foreign || (!has_node && !is_harmless);
    }
    return facts;
}

void make_directory(const std::string& dir) {
    if (::mkdir(dir.c_str(), folder_mode) == 0) {
        return;
    }
    const std::size_t slash = dir.find_last_of('/');
    if (errno == ENOENT && slash != std::string::npos && slash != 0) {
        make_directory(dir.substr(0, slash));
        if (::mkdir(dir.c_str(), folder_mode) == 0) {
            return;
        }
    }
    struct stat status {};
    if (errno != EEXIST) {
        fail_at(dir, errno);
    }
    if (::stat(dir.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
        fail_at(dir, ENOTDIR);
    }
}

void place_folder(const std::string& dir, const std::string& name,
                  const std::vector<FileText>& files, bool replaces, bool for_server) {
    const std::string place = dir + "/" + name;
    const std::string fresh = place + ".new";
    struct stat owner {};
    if (::stat(dir.c_str(), &owner) != 0) {
        fail_at(dir, errno);
    }
    const bool gives = for_server && ::geteuid() == 0 && owner.st_uid != 0;
    remove_folder(fresh);
    if (::mkdir(fresh.c_str(), folder_mode) != 0) {
        fail_at(fresh, errno);
    }
    for (const FileText& file : files) {
        write_file(fresh, file.name, file, gives ? &owner : nullptr);
    }
    if (gives && ::lchown(fresh.c_str(), owner.st_uid, owner.st_gid) != 0) {
        fail_at(fresh, errno);
    }
    sync_folder(fresh);
    bool placed =
        ::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, place.c_str(), RENAME_NOREPLACE) == 0;
    if (!placed && errno == EEXIST && replaces) {
        placed =
            ::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) == 0;
        if (placed) {
            remove_folder(fresh);  // it is the old one now
        }
    }
    if (!placed) {
        const int error = errno;
        remove_folder(fresh);
        if (error == EEXIST) {
            throw Failure(exit_conflict, place + " is there already",
                          "move it away if it is of no use any more");
        }
        fail_at(place, error);
    }
    sync_folder(dir);
}

void replace_file(const std::string& folder, const FileText& file) {
    const std::string fresh = std::string(file.name) + ".new";
    ::unlink((folder + "/" + fresh).c_str());
    write_file(folder, fresh, file, nullptr);
    if (::rename((folder + "/" + fresh).c_str(), (folder + "/" + file.name).c_str()) != 0) {
        fail_at(folder, errno);
    }
    sync_folder(folder);
}

}  // namespace ursula::ctl
