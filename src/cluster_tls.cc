#include "cluster_tls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/limits.h"

namespace ursula {

namespace {

constexpr std::size_t file_bytes_max = 64 * base::limits::kib;

base::Result<std::string> read_file(const std::string& path, bool is_secret) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat status {};
    if (fd < 0 || ::fstat(fd, &status) != 0) {
        const int error = errno;
        if (fd >= 0) {
            ::close(fd);
        }
        return base::fail(fmt::format("{}: {}: a node with TLS has ca.pem, node.pem and node.key "
                                      "there",
                                      path, std::strerror(error)),
                          error);
    }
    if (is_secret && (status.st_mode & 077) != 0) {
        ::close(fd);
        return base::fail(fmt::format("{} may be read by others: chmod 600 {}", path, path));
    }
    std::string text;
    std::array<char, 4096> buffer;
    ssize_t size = 0;
    while (text.size() <= file_bytes_max && (size = ::read(fd, buffer.data(), buffer.size())) > 0) {
        text.append(buffer.data(), static_cast<std::size_t>(size));
    }
    ::close(fd);
    if (size != 0) {
        return base::fail(fmt::format("{} cannot be read, or is longer than 64KiB", path));
    }
    return text;
}

}  // namespace

base::Result<net::TlsFiles> load_tls_files(const std::string& data_dir) {
    const std::string folder = data_dir + "/tls";
    net::TlsFiles files;
    if (::access(folder.c_str(), F_OK) != 0 && errno == ENOENT) {
        return files;
    }
    struct Part {
        const char* name;
        std::string* text;
        bool is_secret;
    };
    for (const Part& part :
         {Part{"/ca.pem", &files.authority, false}, Part{"/node.pem", &files.certificate, false},
          Part{"/node.key", &files.key, true}}) {
        auto text = read_file(folder + part.name, part.is_secret);
        if (!text) {
            return tl::unexpected(std::move(text.error()));
        }
        *part.text = std::move(*text);
    }
    return files;
}

base::Result<void> check_tls_identity(const net::TlsIdentity& identity, const Config& config) {
    if (identity.node != config.cluster.node_id) {
        return base::fail(fmt::format(
            "tls/node.pem is the certificate of node {} and cluster.node_id = {}: put the right "
            "one there",
            identity.node, config.cluster.node_id));
    }
    if (!config.cluster.name.empty() && identity.cluster != config.cluster.name) {
        return base::fail(fmt::format(
            "tls/node.pem is a certificate of cluster \"{}\" and cluster.name = \"{}\": put the "
            "right one there",
            identity.cluster, config.cluster.name));
    }
    return {};
}

}  // namespace ursula
