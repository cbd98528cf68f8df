#include "tools/ursulactl/join/join_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/base64url.h"
#include "base/limits.h"
#include "config_reader.h"
#include "tools/ursulactl/command.h"

namespace ursula::ctl {

namespace {

constexpr std::string_view scheme = "ursula-join://";
constexpr std::size_t line_bytes_max = 512;

[[noreturn]] void refuse_line(const std::string& why) {
    throw Failure(exit_usage, "that is no join line: " + why,
                  "copy the whole line that `ursulactl cluster invite` printed, in 'quotes'");
}

std::uint32_t parse_node(std::string_view text) {
    std::uint32_t node = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), node);
    return error == std::errc() && rest == text.data() + text.size() && !text.starts_with('0') &&
                   node <= base::limits::node_id_max
               ? node
               : 0;
}

// The configuration's own reader, so that an address or a name that is taken here is taken there.
template <class Read>
void read_as_configured(const std::string& option, const std::string& text, Read read) {
    ConfigValue value;
    value.kind = ConfigValue::Kind::text;
    value.text = text;
    ConfigProblems problems;
    read(ConfigReader{option, value, problems});
    if (!problems.errors.empty()) {
        throw Failure(exit_usage, problems.errors.front().message, problems.errors.front().hint);
    }
}

}  // namespace

std::string JoinLine::text() const {
    std::vector<std::byte> secret(token.begin(), token.end());
    secret.insert(secret.end(), authority.begin(), authority.end());
    return fmt::format("{}{}/{}/{}#{}", scheme, issuer.text(), cluster, node,
                       base::to_base64url(secret));
}

JoinLine parse_join_line(const std::string& text) {
    std::string_view left = text;
    while (!left.empty() && (left.back() == '\n' || left.back() == '\r' || left.back() == ' ')) {
        left.remove_suffix(1);
    }
    if (!left.starts_with(scheme) || left.size() > line_bytes_max) {
        refuse_line("it does not begin with " + std::string(scheme));
    }
    left.remove_prefix(scheme.size());
    const std::size_t hash = left.find('#');
    if (hash == std::string_view::npos) {
        refuse_line("there is nothing behind a '#' in it");
    }
    const std::string_view place = left.substr(0, hash);
    const std::size_t first = place.find('/');
    const std::size_t second = place.find('/', first == std::string_view::npos ? first : first + 1);
    if (second == std::string_view::npos) {
        refuse_line("it names no cluster and node");
    }
    JoinLine line;
    line.issuer =
        parse_node_address("the join line", std::string(place.substr(0, first)), 0, false);
    line.cluster = parse_cluster_name("the join line's cluster",
                                      std::string(place.substr(first + 1, second - first - 1)));
    line.node = parse_node(place.substr(second + 1));
    if (line.node == 0) {
        refuse_line("its node is no number");
    }
    if (line.issuer.port == 0) {
        refuse_line("its address has no port");
    }
    const auto secret = base::from_base64url(left.substr(hash + 1));
    if (!secret || secret->size() != line.token.size() + line.authority.size()) {
        refuse_line("what stands behind its '#' is cut off or changed");
    }
    const auto middle = secret->begin() + static_cast<std::ptrdiff_t>(line.token.size());
    std::copy(secret->begin(), middle, line.token.begin());
    std::copy(middle, secret->end(), line.authority.begin());
    return line;
}

ListenAddress parse_node_address(const std::string& option, const std::string& text,
                                 std::uint16_t usual_port, bool any_fits) {
    const bool is_bare = text.starts_with('[') ? text.ends_with(']')
                                               : text.find(':') == std::string::npos &&
                                                     text.find('.') != std::string::npos;
    const std::string whole = is_bare ? fmt::format("{}:{}", text, usual_port) : text;
    std::vector<ListenAddress> addresses;
    read_as_configured(option, whole, [&addresses](const ConfigReader& reader) {
        reader.cluster_listen(addresses);
    });
    const ListenAddress address = addresses.front();
    if (!any_fits && (address.host == "0.0.0.0" || address.host == "::")) {
        throw Failure(exit_usage, option + " " + text + " is no address of one machine",
                      "write the one where the other nodes reach it, such as 10.0.0.1");
    }
    return address;
}

std::string parse_cluster_name(const std::string& option, const std::string& text) {
    std::string name;
    read_as_configured(option, text,
                       [&name](const ConfigReader& reader) { reader.cluster_name(name); });
    return name;
}

std::vector<std::uint32_t> parse_nodes(const std::string& option, const std::string& text) {
    std::vector<std::uint32_t> nodes;
    std::string_view left = text;
    for (bool more = true; more;) {
        const std::size_t comma = left.find(',');
        const std::uint32_t node = parse_node(left.substr(0, comma));
        if (node == 0 || std::find(nodes.begin(), nodes.end(), node) != nodes.end()) {
            throw Failure(exit_usage, option + " " + in_quotes(text) + " is no list of node ids",
                          "write each once, as in 2,3");
        }
        nodes.push_back(node);
        more = comma != std::string_view::npos;
        left.remove_prefix(more ? comma + 1 : 0);
    }
    if (nodes.size() > base::limits::cluster_members_max) {
        throw Failure(exit_usage, fmt::format("{} names {} nodes: a cluster has {} at most", option,
                                              nodes.size(), base::limits::cluster_members_max));
    }
    return nodes;
}

}  // namespace ursula::ctl
