// Everything a person can set, as one plain struct, and how it is read: built-in default < file <
// environment < command line. Strict: an unknown key, a wrong type, a bad unit and a value out of
// range are errors, all of them are reported at once with their place and a way out, and nothing
// starts (INTERFACE.md section 1).
//
// Values here are checked and in base units; nothing below main parses text. Owned by main,
// read-only afterwards: every shard may look at it without a lock. The code behind this header
// throws nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/time.h"

namespace ursula {

struct ListenAddress {
    std::string host = "127.0.0.1";  // numeric and canonical, without brackets
    std::uint16_t port = 4437;       // 0: any free port
    bool ipv6 = false;

    bool operator==(const ListenAddress&) const = default;
    bool loopback() const;     // 127.0.0.0/8, ::1, and the IPv4 loopback written as IPv6
    std::string text() const;  // "127.0.0.1:4437", "[::1]:4437"
};

// server.admin_listen. The default, written out or not, is the first of /run/ursula/admin.sock and
// admin.sock in the data directory that can be had (src/admin_listener.h); anything else is meant.
struct AdminListen {
    enum class Kind : std::uint8_t { none, unix_socket, tcp };
    Kind kind = Kind::unix_socket;
    std::string path = "/run/ursula/admin.sock";  // of a Unix socket
    ListenAddress address;                        // tcp

    bool operator==(const AdminListen&) const = default;
    bool is_default() const { return *this == AdminListen(); }
    std::string text() const;  // "unix:/run/ursula/admin.sock", "127.0.0.1:4438", ""
};

enum class DirectIo : std::uint8_t { by_probe, on, off };  // storage.direct: auto, on, off

// storage.reserve: a share of the file system or a size.
struct Reserve {
    bool is_share = true;
    std::uint32_t share_hundredths = 500;  // of a percent
    std::uint64_t bytes = 0;               // when not a share

    bool operator==(const Reserve&) const = default;
    std::uint64_t of(std::uint64_t file_system_bytes) const;
};

// Fields have the names of their keys; sizes are bytes.
struct Config {
    struct Server {
        std::vector<ListenAddress> listen = {ListenAddress{}};  // never empty
        AdminListen admin_listen;
        std::uint32_t shards = 0;  // 0: the remembered value, at first start one per usable CPU
        bool pin = true;
        bool insecure = false;
        std::vector<std::string> cors_origins = {"*"};  // empty: no CORS headers
        bool auto_create_buckets = false;
        base::Duration long_poll_timeout = base::seconds(20);
        base::Duration sse_heartbeat = base::seconds(15);
        base::Duration sse_lifetime = base::seconds(60);
        base::Duration drain_timeout = base::seconds(5);
        std::uint64_t max_body = base::limits::body_bytes_default;
        std::uint64_t read_chunk = base::limits::read_chunk_bytes_default;
        std::uint32_t max_connections = 0;  // 0: from the file limit
        std::string public_url;             // without a slash at its end; empty: by the Host
        bool operator==(const Server&) const = default;
    };
    struct Storage {
        std::string path;  // empty: in memory
        std::uint64_t hot_bytes = 256 * base::limits::mib;
        std::uint64_t segment_size = base::limits::segment_bytes_default;
        DirectIo direct = DirectIo::by_probe;
        Reserve reserve;
        bool operator==(const Storage&) const = default;
    };
    // One of cluster.members.
    struct Member {
        std::uint32_t id = 0;
        ListenAddress address;  // of its cluster.listen, as its peers reach it; port not 0
        std::string client;     // http:// or https:// URL where clients reach it
        bool operator==(const Member&) const = default;
    };
    struct Cluster {
        std::string name;
        std::uint32_t node_id = 0;          // 0: not given
        std::vector<ListenAddress> listen;  // one; none: a node alone has no cluster listener
        bool insecure = false;
        std::vector<Member> members;  // by rising id
        std::uint32_t groups = base::limits::groups_default;
        // Somebody wrote `groups`: a data directory with another number is refused then, and its
        // number is taken otherwise.
        bool groups_given = false;
        bool operator==(const Cluster&) const = default;
    };
    struct Webhooks {
        bool allow_loopback_http = true;
        bool given = false;  // else it is so while every client listener is loopback
        bool operator==(const Webhooks&) const = default;
    };
    Server server;
    Webhooks webhooks;
    Storage storage;
    Cluster cluster;

    bool operator==(const Config&) const = default;
    bool in_memory() const { return storage.path.empty(); }
    // The node is, or is to become, one of a cluster.
    bool clustered() const { return cluster.node_id != 0; }
};

// One value given outside the file. `origin` is how the user spelt its name ("--shards", "--set
// server.shards", "URSULA_SERVER__SHARDS") and names it in an error.
struct Setting {
    std::string origin;
    std::string key;  // "server.shards"
    std::string value;
};

struct ConfigSources {
    std::string file;  // path; empty: no file
    std::vector<Setting> environment;
    std::vector<Setting>
        command_line;  // in the order given; the last one wins, lists do not add up
};

struct LoadedConfig {
    Config config;         // meaningful when `errors` is empty
    std::string errors;    // every error, for stderr, ending in the count; empty: none
    std::string warnings;  // for stderr; empty: none
};

// Reads the file and puts everything together. Called at start, by `ursula check` and again at
// SIGHUP.
[[nodiscard]] LoadedConfig load_config(const ConfigSources& sources);
// The same with the file's text at hand; `sources.file` is only its name in messages.
[[nodiscard]] LoadedConfig load_config_text(const ConfigSources& sources, std::string_view text);

// The entries of an environment ("NAME=value", ended by a null pointer) that are meant for the
// configuration: URSULA_SECTION__KEY. Other URSULA_* names are left alone, unless a key is one
// underscore away (load_config warns).
[[nodiscard]] std::vector<Setting> environment_settings(const char* const* environment);

// Keys that differ between two configurations and only take effect at a start, "section.key", for
// SIGHUP's refusal.
[[nodiscard]] std::vector<std::string> keys_needing_restart(const Config& running,
                                                            const Config& wanted);

// The key table of --help: "section.key", default and meaning, one line each.
[[nodiscard]] std::string describe_keys();

}  // namespace ursula
