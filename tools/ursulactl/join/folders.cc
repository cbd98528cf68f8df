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

// Takes the descriptor.
std::vector<std::string> names_in(int folder, const std::string& path) {
    std::vector<std::string> names;
    DIR* listing = ::fdopendir(folder);
    if (listing == nullptr) {
        fail_at(path, errno);
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

// Root may write here into a directory of another user, who could put links in the way: a folder is
// opened once, as no link, and what is in it is reached through that.
int open_folder(const std::string& path) {
    return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// `path` is the folder's, for messages.
void write_file(int folder, const std::string& path, const std::string& name, const FileText& file,
                const struct stat* owner) {
    const mode_t mode = file.is_secret ? secret_mode : public_mode;
    const Descriptor out(
        ::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (out.get() < 0) {
        fail_at(path + "/" + name, errno);
    }
    std::string_view left = *file.text;
    while (!left.empty()) {
        const ssize_t size = ::write(out.get(), left.data(), left.size());
        if (size <= 0) {
            fail_at(path + "/" + name, size == 0 ? ENOSPC : errno);
        }
        left.remove_prefix(static_cast<std::size_t>(size));
    }
    if (::fchmod(out.get(), mode) != 0 ||
        (owner != nullptr && ::fchown(out.get(), owner->st_uid, owner->st_gid) != 0) ||
        ::fsync(out.get()) != 0) {
        fail_at(path + "/" + name, errno);
    }
}

// A folder of files, no deeper; or a link, which goes itself.
void remove_folder(const std::string& path) {
    const int folder = open_folder(path);
    if (folder < 0) {
        if (errno != ENOENT && ::unlink(path.c_str()) != 0) {
            fail_at(path, errno);
        }
        return;
    }
    const Descriptor kept(::fcntl(folder, F_DUPFD_CLOEXEC, 0));
    for (const std::string& name : names_in(folder, path)) {
        ::unlinkat(kept.get(), name.c_str(), 0);
    }
    if (::rmdir(path.c_str()) != 0) {
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

net::TlsFiles read_tls_folder(const std::string& dir) {
    const std::string folder = dir + "/" + tls_folder;
    net::TlsFiles files;
    files.authority = read_file(folder + "/ca.pem", false);
    files.certificate = read_file(folder + "/node.pem", false);
    files.key = read_file(folder + "/node.key", true);
    return files;
}

DirectoryFacts look_at_directory(const std::string& dir) {
    DirectoryFacts facts;
    const int folder = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        if (errno != ENOENT) {
            fail_at(dir, errno);
        }
        return facts;
    }
    const std::vector<std::string> names = names_in(folder, dir);
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
    const std::size_t slash = dir.find_last_of('/');
    const std::string above = slash == std::string::npos ? "."
                              : slash == 0               ? "/"
                                                         : dir.substr(0, slash);
    int made = ::mkdir(dir.c_str(), folder_mode);
    if (made != 0 && errno == ENOENT && above.size() > 1) {
        make_directory(above);
        made = ::mkdir(dir.c_str(), folder_mode);
    }
    if (made == 0) {
        sync_folder(above);  // else a power cut could take what is put there with it
        return;
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
    const Descriptor folder(open_folder(fresh));
    struct stat made {};
    if (folder.get() < 0 || ::fstat(folder.get(), &made) != 0) {
        fail_at(fresh, errno);
    }
    if (made.st_uid != ::geteuid()) {
        fail_at(fresh, EPERM);  // not what was made a moment ago
    }
    for (const FileText& file : files) {
        write_file(folder.get(), fresh, file.name, file, gives ? &owner : nullptr);
    }
    if ((gives && ::fchown(folder.get(), owner.st_uid, owner.st_gid) != 0) ||
        ::fsync(folder.get()) != 0) {
        fail_at(fresh, errno);
    }
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

void replace_file(const std::string& path, const FileText& file) {
    const std::string fresh = std::string(file.name) + ".new";
    const Descriptor folder(open_folder(path));
    if (folder.get() < 0) {
        fail_at(path, errno);
    }
    ::unlinkat(folder.get(), fresh.c_str(), 0);
    write_file(folder.get(), path, fresh, file, nullptr);
    if (::renameat(folder.get(), fresh.c_str(), folder.get(), file.name) != 0 ||
        ::fsync(folder.get()) != 0) {
        fail_at(path + "/" + file.name, errno);
    }
}

}  // namespace ursula::ctl
