#include "config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "config_file.h"
#include "config_report.h"
#include "units.h"

namespace ursula {

namespace {

namespace limits = base::limits;

constexpr std::size_t file_bytes_max = limits::mib;
constexpr std::size_t listen_addresses_max = 16;
constexpr std::size_t cors_origins_max = 100;
constexpr std::uint32_t connections_max = 1'000'000;
constexpr base::Duration wait_min = base::milliseconds(100);  // below, a tail is a busy loop
constexpr base::Duration wait_max = base::seconds(24 * 3600);
constexpr base::Duration drain_max = base::seconds(3600);
constexpr std::uint64_t body_min = 1 * limits::kib;
constexpr std::uint64_t body_max = 256 * limits::mib;  // one body is one command is one block of memory
constexpr std::uint64_t hot_min = 64 * limits::kib;
constexpr std::uint64_t hot_max = 1ull << 44;
constexpr std::uint64_t segment_min = 1 * limits::mib;    // one batch of the log must fit
constexpr std::uint64_t segment_max = 1024 * limits::mib;
constexpr std::uint64_t segment_step = 4 * limits::kib;   // whole blocks, for direct I/O
constexpr std::uint64_t reserve_bytes_max = 1ull << 50;
constexpr std::uint32_t reserve_share_max = 9'000;
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

std::string_view kind_name(const ConfigValue& value) {
    switch (value.kind) {
        case ConfigValue::Kind::text:
        case ConfigValue::Kind::untyped:
            return "text";
        case ConfigValue::Kind::integer:
            return "a number";
        case ConfigValue::Kind::boolean:
            return "true or false";
        case ConfigValue::Kind::array:
            return "a list";
        case ConfigValue::Kind::other:
            return value.text;
    }
    return {};
}

bool is_text(const ConfigValue& value) {
    return value.kind == ConfigValue::Kind::text || value.kind == ConfigValue::Kind::untyped;
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
    T number{};
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || rest != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

// --- one value into one field -----------------------------------------------------------------------------------

// Reads the value of one key into its field, or reports why not and leaves the field alone.
struct Reader {
    const std::string& key;  // "server.shards"
    const ConfigValue& value;
    ConfigProblems& problems;

    void refuse(std::string message, std::string hint) const {
        problems.error(value.place, std::move(message), std::move(hint));
    }
    void wrong_type(std::string_view wanted, std::string hint) const {
        refuse(key + " must be " + std::string(wanted) + ", not " + std::string(kind_name(value)),
               std::move(hint));
    }

    void boolean(bool& field) const {
        if (value.kind == ConfigValue::Kind::boolean) {
            field = value.boolean;
        } else if (value.kind == ConfigValue::Kind::untyped &&
                   (value.text == "true" || value.text == "false")) {
            field = value.text == "true";
        } else if (value.kind == ConfigValue::Kind::untyped) {
            refuse(key + " must be true or false, not " + in_quotes(value.text),
                   "write true or false");
        } else {
            wrong_type("true or false", "write true or false, without quotes");
        }
    }

    void integer(std::uint32_t& field, std::uint32_t low, std::uint32_t high) const {
        const std::string range =
            "write a number from " + std::to_string(low) + " to " + std::to_string(high);
        std::optional<std::int64_t> number;
        if (value.kind == ConfigValue::Kind::integer) {
            number = value.integer;
        } else if (value.kind == ConfigValue::Kind::untyped) {
            number = parse_number<std::int64_t>(value.text);
            if (!number) {
                return refuse(key + " must be a number, not " + in_quotes(value.text), range);
            }
        } else {
            const bool number_in_quotes = value.kind == ConfigValue::Kind::text &&
                                   parse_number<std::int64_t>(value.text).has_value();
            return wrong_type("a number",
                              number_in_quotes ? "write " + value.text + " without quotes" : range);
        }
        if (*number < low || *number > high) {
            return refuse(key + " = " + std::to_string(*number) + " is out of range", range);
        }
        field = static_cast<std::uint32_t>(*number);
    }

    void duration(base::Duration& field, base::Duration low, base::Duration high) const {
        if (!is_text(value)) {
            const bool number = value.kind == ConfigValue::Kind::integer && value.integer >= 0;
            const std::string example = number ? std::to_string(value.integer) + "s" : "20s";
            return wrong_type("a duration with a unit",
                              (number ? "did you mean \"" : "write it as \"") + example +
                                  (number ? "\"?" : "\""));
        }
        const auto parsed = parse_duration(value.text);
        if (!parsed) {
            return refuse(key + ": " + parsed.error().message, parsed.error().hint);
        }
        if (*parsed < low || *parsed > high) {
            return refuse(key + " = " + in_quotes(value.text) + " is out of range",
                          "write a duration from \"" + format_duration(low) + "\" to \"" +
                              format_duration(high) + "\"");
        }
        field = *parsed;
    }

    void size(std::uint64_t& field, std::uint64_t low, std::uint64_t high) const {
        const std::string range =
            "write a size from \"" + format_size(low) + "\" to \"" + format_size(high) + "\"";
        std::uint64_t bytes = 0;
        if (value.kind == ConfigValue::Kind::integer) {
            if (value.integer < 0) {
                return refuse(key + " = " + std::to_string(value.integer) + " is out of range",
                              range);
            }
            bytes = static_cast<std::uint64_t>(value.integer);
        } else if (is_text(value)) {
            const auto parsed = parse_size(value.text);
            if (!parsed) {
                return refuse(key + ": " + parsed.error().message, parsed.error().hint);
            }
            bytes = *parsed;
        } else {
            return wrong_type("a size", "write it as \"64MiB\"");
        }
        if (bytes < low || bytes > high) {
            const std::string written = value.kind == ConfigValue::Kind::integer
                                            ? std::to_string(value.integer)
                                            : in_quotes(value.text);
            return refuse(key + " = " + written + " is out of range", range);
        }
        field = bytes;
    }

    void path(std::string& field) const {
        if (!is_text(value)) {
            return wrong_type("text", "write it as \"/var/lib/ursula\"");
        }
        if (value.text.empty()) {
            // Not "in memory": an unset shell variable must not turn a durable server into one that forgets.
            return refuse(key + " is empty",
                          "name a directory, or leave the key out to keep everything in memory");
        }
        if (value.text.find('\0') != std::string::npos) {
            return refuse(key + " contains a NUL character", "name a directory without it");
        }
        field = value.text;
    }

    void direct(DirectIo& field) const {
        const std::string choices = "write \"auto\", \"on\" or \"off\"";
        if (!is_text(value)) {
            return wrong_type("text", choices);
        }
        if (value.text == "auto") {
            field = DirectIo::by_probe;
        } else if (value.text == "on") {
            field = DirectIo::on;
        } else if (value.text == "off") {
            field = DirectIo::off;
        } else {
            refuse(key + " has no choice " + in_quotes(value.text), choices);
        }
    }

    void reserve(Reserve& field) const {
        const std::string choices = "write a share such as \"5%\" or a size such as \"10GiB\"";
        if (value.kind == ConfigValue::Kind::integer) {
            const bool share = value.integer >= 0 && value.integer * 100 <= reserve_share_max;
            return wrong_type("a share or a size",
                              share ? "did you mean \"" + std::to_string(value.integer) + "%\"?"
                                    : choices);
        }
        if (!is_text(value)) {
            return wrong_type("text", choices);
        }
        Reserve reserve;
        if (value.text.ends_with('%')) {
            const auto share = parse_percent(value.text);
            if (!share) {
                return refuse(key + ": " + share.error().message, share.error().hint);
            }
            if (*share > reserve_share_max) {
                return refuse(key + " = " + in_quotes(value.text) + " is out of range",
                              "write a share from \"0%\" to \"" +
                                  format_percent(reserve_share_max) + "\", or a size");
            }
            reserve.share_hundredths = *share;
        } else {
            const auto bytes = parse_size(value.text);
            if (!bytes) {
                return refuse(key + ": " + parse_percent(value.text).error().message + " or a size",
                              bytes.error().hint.starts_with("did you mean") ? bytes.error().hint
                                                                            : choices);
            }
            if (*bytes > reserve_bytes_max) {
                return refuse(key + " = " + in_quotes(value.text) + " is out of range",
                              "write a size up to \"" + format_size(reserve_bytes_max) + "\"");
            }
            reserve.is_share = false;
            reserve.share_hundredths = 0;
            reserve.bytes = *bytes;
        }
        field = reserve;
    }

    // A text or a list of texts, each with its place. Nothing: refused.
    std::optional<std::vector<ConfigValue>> texts(std::string example) const {
        if (is_text(value)) {
            std::vector<ConfigValue> items;
            if (value.kind == ConfigValue::Kind::text) {
                items.push_back(value);
                return items;
            }
            // Outside a file a list is written with commas; neither addresses nor origins contain one.
            std::string_view rest = value.text;
            while (!rest.empty()) {
                const std::size_t comma = rest.find(',');
                ConfigValue item = value;
                item.text = std::string(rest.substr(0, comma));
                items.push_back(std::move(item));
                rest = comma == std::string_view::npos ? std::string_view{}
                                                       : rest.substr(comma + 1);
            }
            return items;
        }
        if (value.kind != ConfigValue::Kind::array) {
            wrong_type("text or a list of texts", std::move(example));
            return std::nullopt;
        }
        for (const ConfigValue& item : value.items) {
            if (item.kind != ConfigValue::Kind::text) {
                problems.error(item.place,
                               key + " must be a list of texts, not of " +
                                   std::string(kind_name(item)),
                               std::move(example));
                return std::nullopt;
            }
        }
        return value.items;
    }

    void addresses(std::vector<ListenAddress>& field) const;
    void origins(std::vector<std::string>& field) const;
};

// --- addresses and origins --------------------------------------------------------------------------------------

bool canonical_address(const std::string& host, ListenAddress& address) {
    std::array<unsigned char, sizeof(in6_addr)> binary{};
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = host.find(':') == std::string::npos ? AF_INET : AF_INET6;
    if (inet_pton(family, host.c_str(), binary.data()) != 1 ||
        inet_ntop(family, binary.data(), text.data(), text.size()) == nullptr) {
        return false;
    }
    address.host = text.data();
    address.ipv6 = family == AF_INET6;
    return true;
}

// Empty: `address` is set. Else the hint.
std::string parse_address(const std::string& text, ListenAddress& address) {
    const std::string usual = "write it as \"127.0.0.1:4437\" or \"[::1]:4437\"";
    const std::size_t colon = text.rfind(':');
    ListenAddress parsed;
    if (colon == std::string::npos) {
        if (parse_number<std::uint16_t>(text)) {
            return "did you mean \"127.0.0.1:" + text + "\"?";
        }
        return canonical_address(text, parsed) ? "did you mean \"" + text + ":4437\"?" : usual;
    }
    if (canonical_address(text, parsed)) {
        return "did you mean \"[" + text + "]:4437\"?";
    }
    const std::optional<std::uint16_t> port = parse_number<std::uint16_t>(text.substr(colon + 1));
    std::string host = text.substr(0, colon);
    if (!port) {
        const bool number = !text.substr(colon + 1).empty() &&
                            text.find_first_not_of("0123456789", colon + 1) == std::string::npos;
        return number ? "a port is at most 65535" : usual;
    }
    if (host.empty() || host == "localhost" || host == "*") {
        const std::string all = ":" + std::to_string(*port) + "\"";
        return host == "localhost" ? "did you mean \"127.0.0.1" + all + "?"
                                   : "write \"127.0.0.1" + all +
                                         " for this machine alone, or \"0.0.0.0" + all +
                                         " for every interface";
    }
    const bool in_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (in_brackets) {
        host = host.substr(1, host.size() - 2);
    }
    if (in_brackets != (host.find(':') != std::string::npos)) {
        return usual;
    }
    if (!canonical_address(host, parsed)) {
        return "names are not looked up; " + usual;
    }
    parsed.port = *port;
    address = parsed;
    return {};
}

void Reader::addresses(std::vector<ListenAddress>& field) const {
    const std::string example = "write it as \"127.0.0.1:4437\"";
    const std::optional<std::vector<ConfigValue>> items = texts(example);
    if (!items) {
        return;
    }
    if (items->empty() || items->size() > listen_addresses_max) {
        return refuse(key + " has " + std::to_string(items->size()) + " addresses",
                      "write 1 to " + std::to_string(listen_addresses_max) + " addresses");
    }
    std::vector<ListenAddress> addresses;
    for (const ConfigValue& item : *items) {
        ListenAddress address;
        std::string hint = parse_address(item.text, address);
        if (!hint.empty()) {
            problems.error(item.place, key + ": " + in_quotes(item.text) + " is not ADDR:PORT",
                           std::move(hint));
            continue;
        }
        // Port 0 may stand twice: each gets a port of its own.
        if (address.port != 0 &&
            std::find(addresses.begin(), addresses.end(), address) != addresses.end()) {
            problems.error(item.place, key + " names " + in_quotes(item.text) + " twice",
                           "remove one of the two");
            continue;
        }
        addresses.push_back(std::move(address));
    }
    if (addresses.size() == items->size()) {
        field = std::move(addresses);
    }
}

// Empty: fine. What a browser sends in Origin (RFC 6454 7): scheme://host[:port], nothing behind.
std::string origin_hint(const std::string& origin) {
    const std::string usual = "write \"*\" or scheme://host[:port], such as \"https://example.com\"";
    if (origin == "*") {
        return {};
    }
    const std::size_t scheme = origin.find("://");
    if (scheme == std::string::npos || scheme == 0) {
        return usual;
    }
    const std::string host = origin.substr(scheme + 3);
    if (host.ends_with('/') && host.find('/') == host.size() - 1 && host.size() > 1) {
        return "did you mean \"" + origin.substr(0, origin.size() - 1) + "\"?";
    }
    const bool clean = std::all_of(origin.begin(), origin.end(), [](char c) {
        return c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != '*';
    });
    return host.empty() || !clean || host.find_first_of("/?#@") != std::string::npos ? usual : "";
}

void Reader::origins(std::vector<std::string>& field) const {
    const std::string example = "write it as [\"https://example.com\"]";
    const std::optional<std::vector<ConfigValue>> items = texts(example);
    if (!items) {
        return;
    }
    if (items->size() > cors_origins_max) {
        return refuse(key + " has " + std::to_string(items->size()) + " origins",
                      "write at most " + std::to_string(cors_origins_max) + ", or \"*\"");
    }
    std::vector<std::string> origins;
    for (const ConfigValue& item : *items) {
        std::string hint = origin_hint(item.text);
        if (!hint.empty()) {
            problems.error(item.place, key + ": " + in_quotes(item.text) + " is not an origin",
                           std::move(hint));
            continue;
        }
        origins.push_back(item.text);
    }
    if (origins.size() == items->size()) {
        field = std::move(origins);
    }
}

// --- the keys ---------------------------------------------------------------------------------------------------

std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(std::uint32_t value) { return std::to_string(value); }
std::string text_of(std::uint64_t bytes) { return '"' + format_size(bytes) + '"'; }
std::string text_of(base::Duration value) { return '"' + format_duration(value) + '"'; }
std::string text_of(const std::string& value) { return '"' + value + '"'; }
std::string text_of(const ListenAddress& value) { return '"' + value.text() + '"'; }
std::string text_of(DirectIo value) {
    return value == DirectIo::by_probe ? "\"auto\"" : value == DirectIo::on ? "\"on\"" : "\"off\"";
}
std::string text_of(const Reserve& value) {
    return '"' +
           (value.is_share ? format_percent(value.share_hundredths) : format_size(value.bytes)) +
           '"';
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
    void (*read)(const Reader&, Config&);
    std::string (*text)(const Config&);
    std::string_view meaning;

    std::string full() const { return std::string(section) + "." + std::string(name); }
    std::string environment_name() const {
        return std::string(environment_prefix) + upper_case(section) + "__" +
               upper_case(name);
    }
};

constexpr bool at_start = false;
constexpr bool at_reload = true;

// One row per key of INTERFACE.md that is built. `field` is read with `reader.how` and printed with text_of.
#define URSULA_KEY(section, name, when, how, ...)                                               \
    Key {                                                                                       \
        #section, #name, when,                                                                  \
            [](const Reader& reader, Config& c) { reader.how; },                                \
            [](const Config& c) { return text_of(c.section.name); }, __VA_ARGS__                \
    }

const std::array<Key, 18> keys = {{
    URSULA_KEY(server, listen, at_start, addresses(c.server.listen),
               "where clients connect, ADDR:PORT or a list; port 0 picks a free one"),
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
    URSULA_KEY(server, sse_lifetime, at_reload,
               duration(c.server.sse_lifetime, wait_min, wait_max),
               "an SSE tail ends, to be resumed, after about this long"),
    URSULA_KEY(server, drain_timeout, at_reload,
               duration(c.server.drain_timeout, base::Duration{}, drain_max),
               "how long SIGTERM waits for what was accepted"),
    URSULA_KEY(server, max_body, at_start, size(c.server.max_body, body_min, body_max),
               "largest request body; at most segment_size / 4"),
    URSULA_KEY(server, max_connections, at_start,
               integer(c.server.max_connections, 0, connections_max),
               "0: from the limit on open files"),
    URSULA_KEY(storage, path, at_start, path(c.storage.path),
               "data directory; left out: everything in memory, nothing kept"),
    URSULA_KEY(storage, hot_bytes, at_start, size(c.storage.hot_bytes, hot_min, hot_max),
               "stream bytes kept in memory; without a path, the capacity"),
    URSULA_KEY(storage, segment_size, at_start,
               size(c.storage.segment_size, segment_min, segment_max),
               "size of a log file"),
    URSULA_KEY(storage, direct, at_start, direct(c.storage.direct),
               "direct I/O: auto (by probe), on or off"),
    URSULA_KEY(storage, reserve, at_reload, reserve(c.storage.reserve),
               "free disk space below which appends are refused, share or size"),
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

std::string did_you_mean(const std::string& text) { return "did you mean " + text + "?"; }

// --- the sources, one after another -----------------------------------------------------------------------------

// Where each key's value came from, for errors that concern two keys.
using Places = std::map<std::string, ConfigPlace>;

struct Builder {
    Config config;
    Places places;
    std::set<std::string, std::less<>> refused;  // keys with a value that was not taken
    ConfigProblems problems;

    void take(const Key& key, const ConfigValue& value) {
        const std::string full = key.full();
        const std::size_t errors = problems.errors.size();
        places[full] = value.place;
        key.read(Reader{full, value, problems}, config);
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
                problems.error(entry.key_place,
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
        problems.error(entry.key_place, "unknown key " + in_quotes(entry.key) + " outside any section",
                       hint_in_file("", entry.key));
    }

    static std::string hint_in_file(const std::string& section, const std::string& name) {
        const Key* meant = suggest_key(section, name);
        if (meant == nullptr) {
            return std::string(no_idea);
        }
        const std::string key = '"' + std::string(meant->name) + '"';
        return did_you_mean(meant->section == section
                                ? key
                                : key + " in [" + std::string(meant->section) + "]");
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
                // Not an error: the environment is shared, and an older server must run in a newer one's.
                problems.warning(
                    place, "is not a key of ours and was ignored",
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

    void validate() {
        for (const ListenAddress& address : config.server.listen) {
            if (!address.loopback() && !config.server.insecure && good("server.insecure") &&
                good("server.listen")) {
                problems.error(place_of("server.listen"),
                               "server.listen = \"" + address.text() +
                                   "\" lets other machines in, without TLS and tokens",
                               (place_of("server.listen").source == ConfigSource::command_line
                                    ? "add --set server.insecure=true"
                                    : "set server.insecure = true") +
                                   std::string(" to allow that, or listen on 127.0.0.1"));
                break;
            }
        }
        if (!good("storage.segment_size")) {
            return;
        }
        if (config.storage.segment_size % segment_step != 0) {
            const std::uint64_t below = config.storage.segment_size / segment_step * segment_step;
            problems.error(place_of("storage.segment_size"),
                           "storage.segment_size = " + text_of(config.storage.segment_size) +
                               " is not a multiple of 4KiB",
                           "did you mean " + text_of(below) + "?");
        }
        if (good("server.max_body") && config.server.max_body > config.storage.segment_size / 4) {
            const bool body_is_set =
                place_of("server.max_body").source >= place_of("storage.segment_size").source;
            problems.error(
                place_of(body_is_set ? "server.max_body" : "storage.segment_size"),
                "server.max_body = " + text_of(config.server.max_body) +
                    " is more than a quarter of storage.segment_size = " +
                    text_of(config.storage.segment_size),
                "set server.max_body to at most " + text_of(config.storage.segment_size / 4) +
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
            continue;  // URSULA_SERVER_LISTEN is almost a key of ours; URSULA_HOME is somebody else's
        }
        settings.push_back(
            Setting{"environment " + std::string(name), std::move(key),
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
