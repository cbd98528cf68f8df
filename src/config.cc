#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "config_file.h"
#include "config_reader.h"
#include "config_report.h"
#include "units.h"

namespace ursula {

namespace {

namespace limits = base::limits;

constexpr std::size_t file_bytes_max = limits::mib;
constexpr std::uint32_t connections_max = 1'000'000;
constexpr base::Duration wait_min = base::milliseconds(100);  // below, a tail is a busy loop
constexpr base::Duration wait_max = base::seconds(24 * 3600);
constexpr base::Duration drain_max = base::seconds(3600);
constexpr std::uint64_t body_min = 1 * limits::kib;
constexpr std::uint64_t chunk_min = 1 * limits::kib;
constexpr std::uint64_t chunk_max = 16 * limits::mib;
constexpr std::uint64_t body_max =
    256 * limits::mib;  // one body is one command is one block of memory
constexpr std::uint64_t hot_min = 64 * limits::kib;
constexpr std::uint64_t hot_max = 1ull << 44;
constexpr std::uint64_t segment_min = 2 * limits::wal_batch_bytes_max;  // the log's own floor
constexpr std::uint64_t segment_max = 1024 * limits::mib;
constexpr std::uint64_t segment_step = 4 * limits::kib;  // whole blocks, for direct I/O
constexpr std::string_view environment_prefix = "URSULA_";

std::string upper_case(std::string_view text) {
    std::string upper(text);
    for (char& c : upper) {
        c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return upper;
}

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return lower;
}

// --- the keys ---

std::string text_of(bool value) {
    return value ? "true" : "false";
}
std::string text_of(std::uint32_t value) {
    return std::to_string(value);
}
std::string text_of(std::uint64_t bytes) {
    return '"' + format_size(bytes) + '"';
}
std::string text_of(base::Duration value) {
    return '"' + format_duration(value) + '"';
}
std::string text_of(const std::string& value) {
    return '"' + value + '"';
}
std::string text_of(const ListenAddress& value) {
    return '"' + value.text() + '"';
}
std::string text_of(const AdminListen& value) {
    return '"' + value.text() + '"';
}
std::string text_of(DirectIo value) {
    return value == DirectIo::by_probe ? "\"auto\"" : value == DirectIo::on ? "\"on\"" : "\"off\"";
}
std::string text_of(const Reserve& value) {
    return '"' +
           (value.is_share ? format_percent(value.share_hundredths) : format_size(value.bytes)) +
           '"';
}
std::string text_of(const Config::Member& value) {
    return "{ id = " + std::to_string(value.id) + ", address = " + text_of(value.address) +
           ", client = " + text_of(value.client) + " }";
}
template <class T>
std::string text_of(const std::vector<T>& list) {
    std::string text = "[";
    for (const T& item : list) {
        text += (text.size() > 1 ? ", " : "") + text_of(item);
    }
    return text + "]";
}

struct Key {
    std::string_view section;
    std::string_view name;
    bool at_reload;  // takes effect at SIGHUP
    void (*read)(const ConfigReader&, Config&);
    std::string (*text)(const Config&);
    std::string_view meaning;

    std::string full() const { return std::string(section) + "." + std::string(name); }
    std::string environment_name() const {
        return std::string(environment_prefix) + upper_case(section) + "__" + upper_case(name);
    }
};

constexpr bool at_start = false;
constexpr bool at_reload = true;

// One row per key of INTERFACE.md that is built. `field` is read with `reader.how` and printed with
// text_of.
#define URSULA_KEY(section, name, when, how, ...)                                                  \
    Key {                                                                                          \
#section, #name, when,                                                                     \
            [](const ConfigReader& reader,                                                         \
               Config& c) { reader.how; }, [](const Config&                                        \
                                                  c) { return text_of(c.section.name); },          \
                                                                                       __VA_ARGS__ \
    }

const std::array<Key, 27> keys = {{
    URSULA_KEY(server, listen, at_start, addresses(c.server.listen),
               "where clients connect, ADDR:PORT or a list; port 0 picks a free one"),
    URSULA_KEY(server, admin_listen, at_start, admin_listen(c.server.admin_listen),
               "for ursulactl: unix:PATH or ADDR:PORT; no /run/ursula: DATA_DIR/admin.sock"),
    URSULA_KEY(server, shards, at_start, integer(c.server.shards, 0, limits::shards_max),
               "cores to use; 0: as before, at first start one per usable CPU"),
    URSULA_KEY(server, pin, at_start, boolean(c.server.pin),
               "keep each shard on its CPU; false: several nodes on one machine"),
    URSULA_KEY(server, insecure, at_start, boolean(c.server.insecure),
               "allow listening beyond loopback without TLS and tokens"),
    URSULA_KEY(server, cors_origins, at_reload, origins(c.server.cors_origins),
               "web pages that may call; [] turns CORS off"),
    URSULA_KEY(server, auto_create_buckets, at_reload, boolean(c.server.auto_create_buckets),
               "create a missing bucket with its first stream"),
    URSULA_KEY(server, long_poll_timeout, at_reload,
               duration(c.server.long_poll_timeout, wait_min, wait_max),
               "how long a long-poll waits for data"),
    URSULA_KEY(server, sse_heartbeat, at_reload,
               duration(c.server.sse_heartbeat, wait_min, wait_max),
               "a comment line on a silent SSE tail this often"),
    URSULA_KEY(server, sse_lifetime, at_reload, duration(c.server.sse_lifetime, wait_min, wait_max),
               "an SSE tail ends, to be resumed, after about this long"),
    URSULA_KEY(server, drain_timeout, at_reload,
               duration(c.server.drain_timeout, base::Duration{}, drain_max),
               "how long SIGTERM waits for what was accepted"),
    URSULA_KEY(server, max_body, at_start, size(c.server.max_body, body_min, body_max),
               "largest request body; at most segment_size / 4"),
    URSULA_KEY(server, read_chunk, at_reload, size(c.server.read_chunk, chunk_min, chunk_max),
               "a read returns whole appends of about this size"),
    URSULA_KEY(server, max_connections, at_start,
               integer(c.server.max_connections, 0, connections_max),
               "0: from the limit on open files"),
    URSULA_KEY(server, public_url, at_start, public_url(c.server.public_url),
               "what clients call this server, https://...; default: what their Host says"),
    URSULA_KEY(webhooks, allow_loopback_http, at_start, switched(c.webhooks),
               "let webhooks go to this machine; default: while only it can connect here"),
    URSULA_KEY(storage, path, at_start, path(c.storage.path),
               "data directory; left out: everything in memory, nothing kept"),
    URSULA_KEY(storage, hot_bytes, at_start, size(c.storage.hot_bytes, hot_min, hot_max),
               "stream bytes kept in memory; without a path, the capacity"),
    URSULA_KEY(storage, segment_size, at_start,
               size(c.storage.segment_size, segment_min, segment_max), "size of a log file"),
    URSULA_KEY(storage, direct, at_start, direct(c.storage.direct),
               "direct I/O: auto (by probe), on or off"),
    URSULA_KEY(storage, reserve, at_start, reserve(c.storage.reserve),
               "free disk space below which appends are refused, share or size"),
    URSULA_KEY(cluster, name, at_start, cluster_name(c.cluster.name),
               "what the cluster is called; the same on all members"),
    URSULA_KEY(cluster, node_id, at_start, integer(c.cluster.node_id, 1, limits::node_id_max),
               "which of the members this node is; 0: alone"),
    URSULA_KEY(cluster, listen, at_start, cluster_listen(c.cluster.listen),
               "where the other members connect; left out: this member's address"),
    URSULA_KEY(cluster, insecure, at_start, boolean(c.cluster.insecure),
               "allow peers without TLS beyond loopback"),
    URSULA_KEY(cluster, members, at_start, members(c.cluster.members),
               "who forms the cluster, same on all: { id = , address = , client = } each"),
    URSULA_KEY(cluster, groups, at_start, integer(c.cluster.groups, 1, limits::groups_max),
               "replicated logs that streams are spread over; fixed at first start"),
}};
#undef URSULA_KEY

const Key* find_key(std::string_view section, std::string_view name) {
    for (const Key& key : keys) {
        if (key.section == section && key.name == name) {
            return &key;
        }
    }
    return nullptr;
}

std::vector<std::string_view> section_names() {
    std::vector<std::string_view> names;
    for (const Key& key : keys) {
        if (names.empty() || names.back() != key.section) {
            names.push_back(key.section);
        }
    }
    return names;
}

std::vector<std::string_view> key_names(std::string_view section) {
    std::vector<std::string_view> names;
    for (const Key& key : keys) {
        if (key.section == section) {
            names.push_back(key.name);
        }
    }
    return names;
}

// "server_listen": a key whose two parts are joined by one underscore.
const Key* find_single_underscore(std::string_view written) {
    for (const Key& key : keys) {
        if (written == std::string(key.section) + "_" + std::string(key.name)) {
            return &key;
        }
    }
    return nullptr;
}

// What other servers call it.
struct OtherName {
    std::string_view written;
    std::string_view section;
    std::string_view name;
};
constexpr std::array<OtherName, 9> other_names = {{
    {"address", "server", "listen"},
    {"bind", "server", "listen"},
    {"host", "server", "listen"},
    {"port", "server", "listen"},
    {"threads", "server", "shards"},
    {"workers", "server", "shards"},
    {"data", "storage", "path"},
    {"data_dir", "storage", "path"},
    {"dir", "storage", "path"},
}};

// The key meant by an unknown one; null: no idea.
const Key* suggest_key(std::string_view section, std::string_view name) {
    if (const Key* near = find_key(section, nearest_name(name, key_names(section)))) {
        return near;
    }
    const std::string_view near_section = nearest_name(section, section_names());
    if (const Key* near = find_key(near_section, nearest_name(name, key_names(near_section)))) {
        return near;
    }
    for (const std::string_view other : section_names()) {
        if (const Key* elsewhere = find_key(other, name)) {
            return elsewhere;
        }
    }
    for (const OtherName& other : other_names) {
        if (other.written == name) {
            return find_key(other.section, other.name);
        }
    }
    for (const std::string_view other : section_names()) {
        if (const Key* elsewhere = find_key(other, nearest_name(name, key_names(other)))) {
            return elsewhere;
        }
    }
    return nullptr;
}

constexpr std::string_view no_idea = "remove it; `ursula --help` lists the keys";

std::string did_you_mean(const std::string& text) {
    return "did you mean " + text + "?";
}

// --- the sources, one after another ---

// Where each key's value came from, for errors that concern two keys.
using Places = std::map<std::string, ConfigPlace>;

struct Builder {
    Config config;
    Places places;
    ConfigValue listen_value;                    // for the place of one address of a list
    ConfigValue members_value;                   // likewise
    std::set<std::string, std::less<>> refused;  // keys with a value that was not taken
    ConfigProblems problems;

    void take(const Key& key, const ConfigValue& value) {
        const std::string full = key.full();
        const std::size_t errors = problems.errors.size();
        places[full] = value.place;
        key.read(ConfigReader{full, value, problems}, config);
        if (full == "server.listen") {
            listen_value = value;
        } else if (full == "cluster.members") {
            members_value = value;
        } else if (full == "cluster.groups") {
            config.cluster.groups_given = true;
        }
        if (problems.errors.size() > errors) {
            refused.insert(full);
        }
    }

    void take_file(const ConfigFile& file) {
        const std::vector<std::string_view> sections = section_names();
        const auto known = [&sections](const std::string& name) {
            return std::find(sections.begin(), sections.end(), name) != sections.end();
        };
        for (const ConfigSection& section : file.sections) {
            if (!known(section.name)) {
                const std::string_view near = nearest_name(section.name, sections);
                problems.error(section.place, "unknown section [" + section.name + "]",
                               near.empty() ? std::string(no_idea)
                                            : "did you mean [" + std::string(near) + "]?");
            }
        }
        for (const ConfigEntry& entry : file.entries) {
            if (entry.section.empty()) {
                take_rootless(entry, known(entry.key));
            } else if (const Key* key = find_key(entry.section, entry.key)) {
                take(*key, entry.value);
            } else if (known(entry.section)) {
                problems.error(
                    entry.key_place,
                    "unknown key " + in_quotes(entry.key) + " in [" + entry.section + "]",
                    hint_in_file(entry.section, entry.key));
            }
        }
    }

    // A key above every section.
    void take_rootless(const ConfigEntry& entry, bool is_section_name) {
        if (is_section_name) {
            problems.error(entry.key_place, entry.key + " is a section, not a key",
                           "write [" + entry.key + "] on a line of its own");
            return;
        }
        problems.error(entry.key_place,
                       "unknown key " + in_quotes(entry.key) + " outside any section",
                       hint_in_file("", entry.key));
    }

    static std::string hint_in_file(const std::string& section, const std::string& name) {
        const Key* meant = suggest_key(section, name);
        if (meant == nullptr) {
            return std::string(no_idea);
        }
        const std::string key = '"' + std::string(meant->name) + '"';
        return did_you_mean(
            meant->section == section ? key : key + " in [" + std::string(meant->section) + "]");
    }

    void take_settings(const std::vector<Setting>& settings, ConfigSource source) {
        const bool from_environment = source == ConfigSource::environment;
        for (const Setting& setting : settings) {
            ConfigPlace place;
            place.source = source;
            place.origin = setting.origin;
            const std::size_t dot = setting.key.find('.');
            const std::string section = setting.key.substr(0, dot);
            const std::string name =
                dot == std::string::npos ? std::string() : setting.key.substr(dot + 1);
            if (const Key* key = find_key(section, name)) {
                take_text(*key, setting.value, place);
                continue;
            }
            const Key* meant = name.empty() ? find_single_underscore(section) : nullptr;
            if (meant == nullptr) {
                meant = suggest_key(section, name.empty() ? section : name);
            }
            const std::string none = "`ursula --help` lists the keys";
            if (from_environment) {
                // Not an error: the environment is shared, and an older server must run in a newer
                // one's.
                problems.warning(place, "is not a key of ours and was ignored",
                                 meant == nullptr ? none : did_you_mean(meant->environment_name()));
            } else {
                problems.error(place, "unknown key " + in_quotes(setting.key),
                               meant == nullptr ? none : did_you_mean(meant->full()));
            }
        }
    }

    void take_text(const Key& key, const std::string& text, const ConfigPlace& place) {
        ConfigValue value;
        value.text = text;
        value.place = place;
        // Lists and quoted text may be written as in the file; everything else is plain text.
        if (text.starts_with('[') || (text.starts_with('"') && text.size() > 1)) {
            ConfigValue parsed;
            if (read_config_value(text, place, parsed)) {
                value = std::move(parsed);
            }
        }
        take(key, value);
    }

    // --- rules between keys; silent about a key whose own error already stands ---

    const ConfigPlace& place_of(std::string_view key) { return places[std::string(key)]; }
    bool good(std::string_view key) const { return refused.find(key) == refused.end(); }

    const ConfigPlace& listen_place(const ListenAddress& address) {
        const auto index = static_cast<std::size_t>(&address - config.server.listen.data());
        return index < listen_value.items.size() ? listen_value.items[index].place
                                                 : place_of("server.listen");
    }

    // The place of one member of the list, or of the whole list.
    ConfigPlace member_place(std::uint32_t id) {
        for (const ConfigValue& item : members_value.items) {
            for (std::size_t i = 0; i < item.items.size(); ++i) {
                if (item.names[i].name == "id" && item.items[i].integer == id) {
                    return item.place;
                }
            }
        }
        return place_of("cluster.members");
    }

    void validate_cluster() {
        Config::Cluster& cluster = config.cluster;
        if (!good("cluster.members") || !good("cluster.node_id") || !good("cluster.listen")) {
            return;
        }
        if (cluster.node_id == 0) {
            if (!cluster.members.empty()) {
                problems.error(place_of("cluster.members"),
                               "cluster.members says who forms the cluster, and no "
                               "cluster.node_id which of them this node is",
                               "set cluster.node_id to this node's id");
            } else if (!cluster.listen.empty()) {
                problems.error(place_of("cluster.listen"),
                               "cluster.listen is for the other members of a cluster, and this "
                               "node is alone",
                               "set cluster.node_id and cluster.members, or remove it");
            }
            return;
        }
        if (good("storage.path") && config.in_memory()) {
            problems.error(place_of("cluster.node_id"),
                           "a member of a cluster keeps what it promised on disk, and there is no "
                           "storage.path",
                           "set storage.path");
        }
        const Config::Member* own = nullptr;
        std::string ids;
        for (const Config::Member& member : cluster.members) {
            ids += (ids.empty() ? "" : ", ") + text_of(member.id);
            own = member.id == cluster.node_id ? &member : own;
        }
        if (cluster.members.empty()) {
            if (cluster.listen.empty()) {
                problems.error(place_of("cluster.node_id"),
                               "this node is to be one of a cluster, and neither cluster.listen "
                               "nor cluster.members says where the others reach it",
                               "set cluster.listen");
            }
            return;
        }
        if (own == nullptr) {
            problems.error(place_of("cluster.node_id"),
                           "cluster.node_id " + text_of(cluster.node_id) +
                               " is not a member of this cluster (" + ids + ")",
                           "write one of these, or add the node to cluster.members on all nodes");
            return;
        }
        if (cluster.listen.empty()) {
            cluster.listen = {own->address};
            return;
        }
        const ListenAddress listen = cluster.listen.front();
        const bool any_host = listen.host == "0.0.0.0" || listen.host == "::";
        if (listen.port != own->address.port || (!any_host && listen.host != own->address.host)) {
            problems.error(member_place(own->id),
                           "member " + text_of(own->id) + " is this node, and its address \"" +
                               own->address.text() +
                               "\" is not cluster.listen = " + text_of(listen),
                           "make them the same; to listen on every interface write \"0.0.0.0:" +
                               std::to_string(own->address.port) + "\"");
        }
    }

    void validate_cluster_listen() {
        // What a node proves itself with lies in its data directory; whether it is good shows at
        // the start.
        const std::string certificate = config.storage.path + "/tls/node.pem";
        if (config.cluster.listen.empty() || config.cluster.listen.front().loopback() ||
            (!config.in_memory() && access(certificate.c_str(), F_OK) == 0) ||
            config.cluster.insecure || !good("cluster.insecure") || !good("cluster.listen") ||
            !good("cluster.members")) {
            return;
        }
        const bool named = place_of("cluster.listen").source != ConfigSource::built_in;
        problems.error(named ? place_of("cluster.listen") : member_place(config.cluster.node_id),
                       "cluster.listen = " + text_of(config.cluster.listen.front()) +
                           " lets other machines in, without TLS",
                       "put ca.pem, node.pem and node.key into the tls folder of storage.path "
                       "(ursulactl cluster init and join do), or set cluster.insecure = true on a "
                       "network that is yours alone");
    }

    void validate() {
        validate_cluster();
        validate_cluster_listen();
        for (const ListenAddress& address : config.server.listen) {
            if (!address.loopback() && !config.server.insecure && good("server.insecure") &&
                good("server.listen")) {
                problems.error(listen_place(address),
                               "server.listen = \"" + address.text() +
                                   "\" lets other machines in, without TLS and tokens",
                               (place_of("server.listen").source == ConfigSource::command_line
                                    ? "add --set server.insecure=true"
                                    : "set server.insecure = true") +
                                   std::string(" to allow that, or listen on 127.0.0.1"));
                break;
            }
        }
        const AdminListen& admin = config.server.admin_listen;
        if (admin.kind == AdminListen::Kind::tcp && !admin.address.loopback() &&
            !config.server.insecure && good("server.insecure") && good("server.admin_listen")) {
            problems.error(
                place_of("server.admin_listen"),
                "server.admin_listen = \"" + admin.text() +
                    "\" lets other machines administer this node, without TLS and tokens",
                "set server.insecure = true to allow that, or listen on 127.0.0.1");
        }
        if (config.server.shards > config.cluster.groups && good("server.shards") &&
            good("cluster.groups")) {
            const bool shards_are_set =
                place_of("server.shards").source >= place_of("cluster.groups").source;
            problems.error(place_of(shards_are_set ? "server.shards" : "cluster.groups"),
                           "server.shards = " + text_of(config.server.shards) +
                               " is more than cluster.groups = " + text_of(config.cluster.groups) +
                               ": a shard without a group has nothing to do",
                           "set server.shards to at most " + text_of(config.cluster.groups) +
                               ", or cluster.groups to at least " + text_of(config.server.shards));
        }
        if (!good("storage.segment_size")) {
            return;
        }
        if (config.storage.segment_size % segment_step != 0) {
            const std::uint64_t below = config.storage.segment_size / segment_step * segment_step;
            problems.error(place_of("storage.segment_size"),
                           "storage.segment_size = " + text_of(config.storage.segment_size) +
                               " is not a multiple of 4KiB",
                           did_you_mean(text_of(below)));
            return;
        }
        if (good("server.max_body") && config.server.max_body > config.storage.segment_size / 4) {
            const bool body_is_set =
                place_of("server.max_body").source >= place_of("storage.segment_size").source;
            problems.error(place_of(body_is_set ? "server.max_body" : "storage.segment_size"),
                           "server.max_body = " + text_of(config.server.max_body) +
                               " is more than a quarter of storage.segment_size = " +
                               text_of(config.storage.segment_size),
                           "set server.max_body to at most " +
                               text_of(config.storage.segment_size / 4) +
                               (config.server.max_body * 4 <= segment_max
                                    ? ", or storage.segment_size to at least " +
                                          text_of(config.server.max_body * 4)
                                    : std::string()));
        }
    }
};

// Nothing and `problem` set when the file cannot be read.
std::optional<std::string> read_file(const std::string& path, std::string& problem) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0) {
        problem = std::string("cannot be read: ") + std::strerror(errno);
        if (fd >= 0) {
            close(fd);
        }
        return std::nullopt;
    }
    std::string text;
    std::array<char, 16 * limits::kib> buffer;
    while (problem.empty()) {
        const ssize_t size = read(fd, buffer.data(), buffer.size());
        if (size == 0) {
            break;
        }
        if (size > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(size));
        } else if (errno != EINTR) {
            problem = std::string("cannot be read: ") + std::strerror(errno);
        }
        if (text.size() > file_bytes_max) {
            problem = "is larger than 1MiB and no configuration of ours";
        }
    }
    close(fd);
    return problem.empty() ? std::optional<std::string>(std::move(text)) : std::nullopt;
}

LoadedConfig load(const ConfigSources& sources, std::string_view text, Builder builder) {
    builder.take_file(read_config_text(text, builder.problems));
    builder.take_settings(sources.environment, ConfigSource::environment);
    builder.take_settings(sources.command_line, ConfigSource::command_line);
    builder.validate();
    LoadedConfig loaded;
    loaded.errors = render_errors(std::move(builder.problems.errors), sources.file, text);
    loaded.warnings = render_warnings(std::move(builder.problems.warnings), sources.file, text);
    loaded.config = std::move(builder.config);
    return loaded;
}

}  // namespace

bool ListenAddress::loopback() const {
    if (!ipv6) {
        return host.starts_with("127.");
    }
    return host == "::1" || host.starts_with("::ffff:127.");
}

std::string ListenAddress::text() const {
    return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string AdminListen::text() const {
    switch (kind) {
        case Kind::none:
            return {};
        case Kind::unix_socket:
            return "unix:" + path;
        case Kind::tcp:
            return address.text();
    }
    return {};
}

std::uint64_t Reserve::of(std::uint64_t file_system_bytes) const {
    // Divided first: the product would overflow above 1.8 PB. Off by less than a page.
    return is_share ? file_system_bytes / 10'000 * share_hundredths : bytes;
}

LoadedConfig load_config_text(const ConfigSources& sources, std::string_view text) {
    return load(sources, text, Builder{});
}

LoadedConfig load_config(const ConfigSources& sources) {
    Builder builder;
    std::string text;
    if (!sources.file.empty()) {
        std::string problem;
        std::optional<std::string> read = read_file(sources.file, problem);
        if (read) {
            text = std::move(*read);
        } else {
            ConfigPlace place;
            place.source = ConfigSource::file;
            builder.problems.error(place, std::move(problem),
                                   "--config names a readable TOML file");
        }
    }
    return load(sources, text, std::move(builder));
}

std::vector<Setting> environment_settings(const char* const* environment) {
    std::vector<Setting> settings;
    for (; environment != nullptr && *environment != nullptr; ++environment) {
        const std::string_view entry = *environment;
        const std::size_t equals = entry.find('=');
        if (!entry.starts_with(environment_prefix) || equals == std::string_view::npos) {
            continue;
        }
        const std::string_view name = entry.substr(0, equals);
        const std::string_view written = name.substr(environment_prefix.size());
        std::string key = lower_case(written);
        const std::size_t middle = key.find("__");
        if (middle != std::string::npos) {
            key.replace(middle, 2, ".");
        } else if (find_single_underscore(key) == nullptr) {
            continue;  // URSULA_SERVER_LISTEN is almost a key of ours; URSULA_HOME is somebody
                       // else's
        }
        settings.push_back(Setting{"environment " + std::string(name), std::move(key),
                                   std::string(entry.substr(equals + 1))});
    }
    return settings;
}

std::vector<std::string> keys_needing_restart(const Config& running, const Config& wanted) {
    std::vector<std::string> names;
    for (const Key& key : keys) {
        if (!key.at_reload && key.text(running) != key.text(wanted)) {
            names.push_back(key.full());
        }
    }
    return names;
}

std::string describe_keys() {
    const Config defaults;
    std::string out;
    for (const Key& key : keys) {
        std::string line = "  " + key.full();
        line.resize(std::max<std::size_t>(line.size() + 1, 29), ' ');
        line += key.name == "path" ? "(none)" : key.text(defaults);
        line += '\n';
        out += line;
        out += "      " + std::string(key.meaning) + '\n';
    }
    return out;
}

}  // namespace ursula
