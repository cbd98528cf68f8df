#include "admin_listener.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/log.h"
#include "net/listener.h"

namespace ursula {

namespace {

constexpr int port_tries = 100;  // of 10 ms: a server that was just killed keeps its port so long

bool is_directory(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

base::Result<AdminListener> open_unix(const std::string& path) {
    auto file = net::UnixListener::open(path);
    if (!file) {
        return tl::unexpected(std::move(file.error()));
    }
    AdminListener listener;
    listener.file = std::move(*file);
    listener.where = "unix:" + path;
    return listener;
}

base::Result<AdminListener> open_tcp(ListenAddress address) {
    auto opened = net::open_listeners({address.host, address.port}, 1);
    for (int tries = 0; !opened && opened.error().errno_value == EADDRINUSE && tries < port_tries;
         ++tries) {
        const timespec pause{0, 10'000'000};
        ::nanosleep(&pause, nullptr);
        opened = net::open_listeners({address.host, address.port}, 1);
    }
    if (!opened) {
        return tl::unexpected(std::move(opened.error()));
    }
    AdminListener listener;
    listener.tcp = opened->sockets.front();
    address.port = opened->port;
    listener.where = "http://" + address.text();
    return listener;
}

}  // namespace

void AdminListener::close() {
    file = net::UnixListener();
    if (tcp >= 0) {
        ::close(tcp);
        tcp = -1;
    }
}

base::Result<AdminListener> open_admin_listener(const AdminListen& wanted,
                                                const std::string& data_dir) {
    if (wanted.kind == AdminListen::Kind::none) {
        return AdminListener();
    }
    if (wanted.kind == AdminListen::Kind::tcp) {
        return open_tcp(wanted.address);
    }
    if (!wanted.is_default()) {
        return open_unix(wanted.path);
    }
    std::vector<std::string> places;
    if (is_directory(wanted.path.substr(0, wanted.path.rfind('/')))) {
        places.push_back(wanted.path);
    }
    if (!data_dir.empty()) {
        places.push_back(data_dir + (data_dir.back() == '/' ? "" : "/") + "admin.sock");
    }
    std::string why;
    for (const std::string& place : places) {
        auto opened = open_unix(place);
        if (opened) {
            return opened;
        }
        why += (why.empty() ? "" : "; ") + opened.error().message;
    }
    if (!why.empty()) {
        base::log(base::Event::admin_unavailable, {{"why", why}});
    }
    return AdminListener();
}

}  // namespace ursula
