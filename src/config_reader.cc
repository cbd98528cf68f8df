#include "config_reader.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/client_url.h"
#include "base/limits.h"
#include "units.h"

namespace ursula {

namespace limits = base::limits;

namespace {

constexpr std::size_t listen_addresses_max = 16;
constexpr std::size_t cors_origins_max = 100;
constexpr std::uint64_t reserve_bytes_max = 1ull << 50;
constexpr std::uint32_t reserve_share_max = 9'000;  // hundredths of a percent

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
        case ConfigValue::Kind::table:
            return "a table";
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
std::string parse_address(const std::string& text, ListenAddress& address,
                          const std::string& usual_port = "4437") {
    const std::string usual =
        "write it as \"127.0.0.1:" + usual_port + "\" or \"[::1]:" + usual_port + "\"";
    const std::size_t colon = text.rfind(':');
    ListenAddress parsed;
    if (colon == std::string::npos) {
        if (parse_number<std::uint16_t>(text)) {
            return "did you mean \"127.0.0.1:" + text + "\"?";
        }
        return canonical_address(text, parsed) ? "did you mean \"" + text + ":" + usual_port + "\"?"
                                               : usual;
    }
    if (canonical_address(text, parsed)) {
        return "did you mean \"[" + text + "]:" + usual_port + "\"?";
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
        return host == "localhost"
                   ? "did you mean \"127.0.0.1" + all + "?"
                   : "write \"127.0.0.1" + all + " for this machine alone, or \"0.0.0.0" + all +
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

// Empty: fine. What a browser sends in Origin (RFC 6454 7): scheme://host[:port], nothing behind.
std::string origin_hint(const std::string& origin) {
    const std::string usual =
        "write \"*\" or scheme://host[:port], such as \"https://example.com\"";
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

}  // namespace

void ConfigReader::refuse(std::string message, std::string hint) const {
    problems.error(value.place, std::move(message), std::move(hint));
}
void ConfigReader::wrong_type(std::string_view wanted, std::string hint) const {
    refuse(key + " must be " + std::string(wanted) + ", not " + std::string(kind_name(value)),
           std::move(hint));
}

void ConfigReader::boolean(bool& field) const {
    if (value.kind == ConfigValue::Kind::boolean) {
        field = value.boolean;
    } else if (value.kind == ConfigValue::Kind::untyped &&
               (value.text == "true" || value.text == "false")) {
        field = value.text == "true";
    } else if (value.kind == ConfigValue::Kind::untyped) {
        refuse(key + " must be true or false, not " + in_quotes(value.text), "write true or false");
    } else {
        wrong_type("true or false", value.kind == ConfigValue::Kind::text
                                        ? "write true or false, without quotes"
                                        : "write true or false");
    }
}

void ConfigReader::integer(std::uint32_t& field, std::uint32_t low, std::uint32_t high) const {
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

void ConfigReader::duration(base::Duration& field, base::Duration low, base::Duration high) const {
    if (!is_text(value)) {
        const bool number = value.kind == ConfigValue::Kind::integer && value.integer >= 0;
        const std::string example = number ? std::to_string(value.integer) + "s" : "20s";
        return wrong_type(
            "a duration with a unit",
            (number ? "did you mean \"" : "write it as \"") + example + (number ? "\"?" : "\""));
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

void ConfigReader::size(std::uint64_t& field, std::uint64_t low, std::uint64_t high) const {
    const std::string range =
        "write a size from \"" + format_size(low) + "\" to \"" + format_size(high) + "\"";
    std::uint64_t bytes = 0;
    if (value.kind == ConfigValue::Kind::integer) {
        if (value.integer < 0) {
            return refuse(key + " = " + std::to_string(value.integer) + " is out of range", range);
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

void ConfigReader::path(std::string& field) const {
    if (!is_text(value)) {
        return wrong_type("text", "write it as \"/var/lib/ursula\"");
    }
    if (value.text.empty()) {
        // Not "in memory": an unset shell variable must not turn a durable server into one that
        // forgets.
        return refuse(key + " is empty",
                      "name a directory, or leave the key out to keep everything in memory");
    }
    if (value.text.find('\0') != std::string::npos) {
        return refuse(key + " contains a NUL character", "name a directory without it");
    }
    field = value.text;
}

void ConfigReader::direct(DirectIo& field) const {
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

void ConfigReader::reserve(Reserve& field) const {
    const std::string choices = "write a share such as \"5%\" or a size such as \"10GiB\"";
    if (value.kind == ConfigValue::Kind::integer) {
        const bool share = value.integer >= 0 && value.integer * 100 <= reserve_share_max;
        return wrong_type(
            "a share or a size",
            share ? "did you mean \"" + std::to_string(value.integer) + "%\"?" : choices);
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
                          "write a share from \"0%\" to \"" + format_percent(reserve_share_max) +
                              "\", or a size");
        }
        reserve.share_hundredths = *share;
    } else {
        const auto bytes = parse_size(value.text);
        if (!bytes) {
            return refuse(
                key + ": " + parse_percent(value.text).error().message + " or a size",
                bytes.error().hint.starts_with("did you mean") ? bytes.error().hint : choices);
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

std::optional<std::vector<ConfigValue>> ConfigReader::texts(std::string example) const {
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
            rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
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
                           key + " must be a list of texts, not of " + std::string(kind_name(item)),
                           std::move(example));
            return std::nullopt;
        }
    }
    return value.items;
}

void ConfigReader::addresses(std::vector<ListenAddress>& field) const {
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

void ConfigReader::admin_listen(AdminListen& field) const {
    if (!is_text(value)) {
        return wrong_type("text", "write it as \"unix:/run/ursula/admin.sock\"");
    }
    constexpr std::string_view scheme = "unix:";
    AdminListen listen;
    if (value.text.empty()) {
        listen.kind = AdminListen::Kind::none;
    } else if (value.text.starts_with(scheme)) {
        listen.path = value.text.substr(scheme.size());
        if (listen.path.empty() || listen.path.back() == '/' ||
            listen.path.find('\0') != std::string::npos) {
            return refuse(key + ": " + in_quotes(value.text) + " names no file",
                          "write it as \"unix:/run/ursula/admin.sock\"");
        }
    } else {
        const std::string hint = parse_address(value.text, listen.address);
        if (value.text.find('/') != std::string::npos) {
            return refuse(key + ": " + in_quotes(value.text) + " is not unix:PATH",
                          "did you mean \"unix:" + value.text + "\"?");
        }
        if (!hint.empty()) {
            return refuse(key + ": " + in_quotes(value.text) + " is not unix:PATH or ADDR:PORT",
                          hint);
        }
        listen.kind = AdminListen::Kind::tcp;
    }
    field = listen;
}

void ConfigReader::origins(std::vector<std::string>& field) const {
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

void ConfigReader::public_url(std::string& field) const {
    const std::string example = "write it as \"https://streams.example.com\"";
    if (!is_text(value)) {
        return wrong_type("text", example);
    }
    std::string text = value.text;
    while (text.ends_with('/')) {
        text.pop_back();
    }
    if (!text.empty() && !base::is_client_url(text)) {
        return refuse(key + " = " + in_quotes(value.text) + " is no http:// or https:// URL",
                      example);
    }
    field = std::move(text);
}

void ConfigReader::switched(Config::Webhooks& field) const {
    Config::Webhooks read = field;
    read.given = true;
    boolean(read.allow_loopback_http);
    field = read;
}

void ConfigReader::cluster_name(std::string& field) const {
    const std::string usual = "write it with a-z, A-Z, 0-9, _, - and ., such as \"prod\"";
    if (!is_text(value)) {
        return wrong_type("text", usual);
    }
    const bool clean = std::all_of(value.text.begin(), value.text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '.';
    });
    if (value.text.empty() || !clean || value.text.size() > limits::cluster_name_bytes_max) {
        return refuse(
            key + " = " + in_quotes(value.text) + " is no name of a cluster",
            usual + ", at most " + std::to_string(limits::cluster_name_bytes_max) + " characters");
    }
    field = value.text;
}

void ConfigReader::cluster_listen(std::vector<ListenAddress>& field) const {
    if (!is_text(value)) {
        return wrong_type("text", "write it as \"10.0.0.1:4439\"");
    }
    ListenAddress address;
    std::string hint = parse_address(value.text, address, "4439");
    if (!hint.empty()) {
        return refuse(key + ": " + in_quotes(value.text) + " is not ADDR:PORT", std::move(hint));
    }
    field = {std::move(address)};
}

// One row: { id = 1, address = "10.0.0.1:4439", client = "http://10.0.0.1:4437" }. False: reported.
bool ConfigReader::member(const ConfigValue& table, Config::Member& out) const {
    const std::size_t before = problems.errors.size();
    bool has_id = false;
    bool has_address = false;
    bool has_client = false;
    for (std::size_t i = 0; i < table.items.size(); ++i) {
        const std::string& name = table.names[i].name;
        const ConfigValue& item = table.items[i];
        const std::string full = key + " " + name;
        const ConfigReader field{full, item, problems};
        if (name == "id") {
            has_id = true;
            field.integer(out.id, 1, limits::node_id_max);
        } else if (name == "address") {
            has_address = true;
            std::vector<ListenAddress> address;
            field.cluster_listen(address);
            if (!address.empty() && address.front().port == 0) {
                problems.error(item.place, full + ": " + in_quotes(item.text) + " has no port",
                               "the other members need to know it: write one");
            } else if (!address.empty()) {
                out.address = std::move(address.front());
            }
        } else if (name == "client") {
            has_client = true;
            if (item.kind != ConfigValue::Kind::text || !base::is_client_url(item.text)) {
                problems.error(item.place, full + ": " + in_quotes(item.text) + " is no URL",
                               "write it as \"http://10.0.0.1:4437\"");
            } else {
                out.client = item.text;
            }
        } else {
            const std::string_view near = nearest_name(name, {"id", "address", "client"});
            problems.error(table.names[i].place, "unknown key " + in_quotes(name) + " in " + key,
                           near.empty() ? "a member has id, address and client"
                                        : "did you mean \"" + std::string(near) + "\"?");
        }
    }
    const std::string_view missing = !has_id        ? "id"
                                     : !has_address ? "address"
                                     : !has_client  ? "client"
                                                    : "";
    if (!missing.empty() && problems.errors.size() == before) {
        problems.error(table.place, "a member of " + key + " has no " + std::string(missing),
                       "write { id = 1, address = \"10.0.0.1:4439\", client = "
                       "\"http://10.0.0.1:4437\" }");
    }
    return problems.errors.size() == before;
}

void ConfigReader::members(std::vector<Config::Member>& field) const {
    const std::string example =
        "write [ { id = 1, address = \"10.0.0.1:4439\", client = \"http://10.0.0.1:4437\" }, ... ]";
    if (value.kind != ConfigValue::Kind::array) {
        return wrong_type("a list of members", example);
    }
    if (value.items.empty() || value.items.size() > limits::cluster_members_max) {
        return refuse(key + " has " + std::to_string(value.items.size()) + " members",
                      "write 1 to " + std::to_string(limits::cluster_members_max) +
                          "; a cluster of one needs no [cluster]");
    }
    std::vector<Config::Member> members;
    bool good = true;
    for (const ConfigValue& item : value.items) {
        if (item.kind != ConfigValue::Kind::table) {
            problems.error(
                item.place,
                key + " must be a list of members, not of " + std::string(kind_name(item)),
                example);
            return;
        }
        Config::Member one;
        if (!member(item, one)) {
            good = false;
            continue;
        }
        for (const Config::Member& other : members) {
            const bool same_id = other.id == one.id;
            const bool same_address = other.address == one.address;
            if (same_id || same_address || other.client == one.client) {
                problems.error(item.place,
                               "two of " + key + " have " +
                                   (same_id        ? "id " + std::to_string(one.id)
                                    : same_address ? "address \"" + one.address.text() + "\""
                                                   : "client \"" + one.client + "\""),
                               "each node has its own");
                good = false;
                break;
            }
        }
        members.push_back(std::move(one));
    }
    if (good) {
        std::sort(members.begin(), members.end(),
                  [](const Config::Member& a, const Config::Member& b) { return a.id < b.id; });
        field = std::move(members);
    }
}

}  // namespace ursula
