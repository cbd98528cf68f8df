#include "tools/ursulactl/target.h"

namespace ursula::ctl {

namespace {

constexpr const char* package_socket = "/run/ursula/admin.sock";
constexpr const char* default_url = "http://127.0.0.1:4437";

Target at_socket(std::string path) {
    return {std::move(path), "http://localhost"};
}

Target in_directory(const std::string& directory) {
    return at_socket(directory + (directory.ends_with('/') ? "" : "/") + "admin.sock");
}

Target parse_server(const std::string& server, const std::string& origin) {
    if (server.starts_with("unix:")) {
        std::string path = server.substr(5);
        if (path.starts_with("//")) {
            path = path.substr(2);  // unix:///run/... as others write it
        }
        if (path.empty()) {
            throw Failure(exit_usage, origin + " names no socket",
                          "write it as unix:/run/ursula/admin.sock");
        }
        return at_socket(path);
    }
    if (server.starts_with('/')) {
        return at_socket(server);
    }
    std::string url = server;
    if (url.find("://") == std::string::npos) {
        url = "http://" + url;
    }
    const bool http = url.starts_with("http://") || url.starts_with("https://");
    const std::string host = url.substr(url.find("://") + 3);
    const std::size_t slash = host.find('/');
    const bool bare = slash == std::string::npos || slash + 1 == host.size();
    if (!http || host.empty() || slash == 0 || !bare ||
        url.find_first_of(" ?#@\"'\\") != std::string::npos) {
        throw Failure(exit_usage, origin + ": '" + server + "' is no address of a node",
                      "write it as http://127.0.0.1:4437 or unix:/run/ursula/admin.sock");
    }
    while (url.ends_with('/')) {
        url.pop_back();
    }
    return {"", url};
}

}  // namespace

Target choose_target(const GlobalFlags& flags, const Environment& environment,
                     const SocketExists& exists) {
    if (!flags.server.empty() && !flags.data_dir.empty()) {
        throw Failure(exit_usage, "--server and --data-dir both name a node", "give one of them");
    }
    if (!flags.server.empty()) {
        return parse_server(flags.server, "--server");
    }
    if (!flags.data_dir.empty()) {
        return in_directory(flags.data_dir);
    }
    if (const std::string server = environment("URSULACTL_SERVER"); !server.empty()) {
        return parse_server(server, "URSULACTL_SERVER");
    }
    if (const std::string directory = environment("URSULACTL_DATA_DIR"); !directory.empty()) {
        return in_directory(directory);
    }
    if (exists(package_socket)) {
        return at_socket(package_socket);
    }
    if (const std::string path = environment("URSULA_STORAGE__PATH"); !path.empty()) {
        const Target target = in_directory(path);
        if (exists(target.socket)) {
            return target;
        }
    }
    return {"", default_url};
}

}  // namespace ursula::ctl
