// cluster init, cluster invite, cluster join: certificates for the nodes of a cluster. They work on
// data directories and with each other; no server is asked, and none needs to run.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "config_report.h"
#include "tools/ursulactl/join/authority.h"
#include "tools/ursulactl/join/desk.h"
#include "tools/ursulactl/join/dial.h"
#include "tools/ursulactl/join/join_line.h"
#include "tools/ursulactl/join/listener.h"
#include "tools/ursulactl/join/wall_clock.h"
#include "tools/ursulactl/output.h"
#include "units.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint16_t peer_port = 4439;
constexpr std::uint16_t invite_port = 4440;  // the node itself may have 4439 already
constexpr std::chrono::milliseconds usual_expiry{30 * 60'000};
constexpr std::chrono::milliseconds longest_expiry{24 * 3'600'000};
constexpr std::chrono::milliseconds usual_timeout{10'000};
constexpr std::uint16_t client_port = 4437;

std::string date_of(std::int64_t time_s) {
    const auto time = static_cast<time_t>(time_s);
    tm parts{};
    ::gmtime_r(&time, &parts);
    return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

template <class T>
T value_or_fail(base::Result<T> result) {
    if (!result) {
        throw Failure(exit_failed, result.error().message);
    }
    return std::move(*result);
}

// As the server's configuration, which has another working directory, needs it.
std::string absolute(const std::string& dir) {
    std::error_code error;
    const std::filesystem::path path = std::filesystem::absolute(dir, error);
    std::string text = error ? dir : path.lexically_normal().string();
    while (text.size() > 1 && text.ends_with('/')) {
        text.pop_back();
    }
    return text;
}

std::string data_dir_of(const Context& context) {
    std::string dir = context.flags.data_dir;
    if (const char* variable = std::getenv("URSULACTL_DATA_DIR");
        dir.empty() && variable != nullptr) {
        dir = variable;
    }
    if (dir.empty()) {
        throw Failure(exit_usage, "which data directory?",
                      "--data-dir DIR, which is what the node has as storage.path");
    }
    return absolute(dir);
}

// A directory that may belong to another cluster gets no certificate by mistake.
void check_directory(const Context& context, const std::string& dir, const DirectoryFacts& facts,
                     std::uint32_t node) {
    if (facts.is_foreign) {
        throw Failure(exit_conflict, dir + " is not empty and is no data directory of ursula",
                      "give an empty or a new directory");
    }
    if (facts.node != 0 && facts.node != node) {
        throw Failure(exit_conflict,
                      fmt::format("{} is the data directory of node {}, not of node {}", dir,
                                  facts.node, node),
                      "a directory's node never changes: give the right one");
    }
    if (facts.has_data && !context.has("--existing")) {
        throw Failure(exit_conflict, dir + " holds data already, maybe another cluster's",
                      "if that is meant, --existing keeps the data and adds certificates to it");
    }
}

std::string address_in(const JoinReply& known, std::uint32_t node) {
    for (const JoinMember& member : known.members) {
        if (member.node == node) {
            return member.address;
        }
    }
    return {};
}

// Where clients reach a node unless somebody chose another port.
std::string client_url(const std::string& address) {
    return fmt::format("http://{}:{}", address.substr(0, address.rfind(':')), client_port);
}

// The [server] of its file: where client_url() says that clients reach it.
std::string server_part(const std::string& address) {
    const std::string host = address.substr(0, address.rfind(':'));
    const bool loopback = host.starts_with("127.") || host == "[::1]";
    return fmt::format("[server]\nlisten = \"{}:{}\"\n{}\n", host, client_port,
                       loopback ? "" : "insecure = true  # clients' connections have no TLS\n");
}

// The [server], [storage] and [cluster] of its file.
std::string configuration(const std::string& dir, const std::string& cluster, std::uint32_t node,
                          const JoinReply& known) {
    std::string text = server_part(address_in(known, node));
    text += fmt::format("[storage]\npath = \"{}\"\n\n[cluster]\nname = \"{}\"\nnode_id = {}\n", dir,
                        cluster, node);
    if (known.formed) {
        return text + fmt::format("listen = \"{}\"\n", address_in(known, node));
    }
    text += "members = [\n";
    for (const JoinMember& member : known.members) {
        text += fmt::format("  {{ id = {}, address = \"{}\", client = \"{}\" }},\n", member.node,
                            member.address, client_url(member.address));
    }
    for (const std::uint32_t awaited : known.awaited) {
        text += fmt::format("  # node {} belongs here too, and has yet to join\n", awaited);
    }
    return text + "]\n";
}

void print_text(Output& out, std::string text) {
    text.pop_back();  // Output ends the line
    out.line(text);
}

JoinReply known_to(const AuthorityFolder& folder, bool formed) {
    JoinReply known;
    known.formed = formed;
    for (const Issued& one : folder.issued()) {
        JoinMember member;
        member.node = one.node;
        member.address = one.address;
        known.members.push_back(std::move(member));
    }
    return known;
}

std::string list_of(const std::vector<std::uint32_t>& nodes) {
    std::string list;
    for (const std::uint32_t node : nodes) {
        list += (list.empty() ? "" : ",") + std::to_string(node);
    }
    return list;
}

// What --listen and --expires say.
struct InviteOptions {
    std::vector<std::uint32_t> nodes;
    std::string listen;
    std::chrono::milliseconds expiry = usual_expiry;
};

InviteOptions read_invite_options(const Context& context, const std::string& nodes_from) {
    InviteOptions options;
    options.nodes = parse_nodes(nodes_from, context.text(nodes_from));
    options.listen = context.text("--listen");
    if (!options.listen.empty()) {
        (void)parse_node_address("--listen", options.listen, invite_port, true);
    }
    if (context.has("--expires")) {
        const auto parsed = parse_duration(context.text("--expires"));
        if (!parsed) {
            throw Failure(exit_usage, "--expires: " + parsed.error().message, parsed.error().hint);
        }
        options.expiry = std::chrono::milliseconds(parsed->ms());
        if (options.expiry < std::chrono::seconds(1) || options.expiry > longest_expiry) {
            throw Failure(exit_usage, "--expires is from 1s to 24h", "30m is usual");
        }
    }
    return options;
}

// Where to listen, and what the lines say.
struct Places {
    ListenAddress listen;
    ListenAddress told;
};

Places choose_places(const AuthorityFolder& folder, const std::string& listen) {
    const ListenAddress own = parse_node_address(
        "its address", folder.find(folder.own_node())->address, peer_port, false);
    Places places;
    places.listen = own;
    places.listen.port = invite_port;
    if (!listen.empty()) {
        places.listen = parse_node_address("--listen", listen, invite_port, true);
    }
    places.told = places.listen;
    if (places.told.host == "0.0.0.0" || places.told.host == "::") {
        places.told = own;
    }
    return places;
}

int end_of_invite(Context& context, const std::string& dir, const AuthorityFolder& folder,
                  const JoinDesk& desk, bool formed) {
    const std::vector<std::uint32_t> open = desk.invitations().open();
    if (desk.invitations().guessed()) {
        throw Failure(exit_denied,
                      fmt::format("{} requests came with tokens that are nobody's: this is over, "
                                  "its lines are worth nothing now",
                                  Invitations::unknown_max),
                      "who sends them? Then run it again");
    }
    if (!open.empty()) {
        throw Failure(exit_unreachable, fmt::format("too late for nodes {}", list_of(open)),
                      fmt::format("new lines: ursulactl cluster invite {} --data-dir {}",
                                  list_of(open), dir));
    }
    if (!context.flags.quiet) {
        talk("all have joined");
    }
    if (context.flags.format == Format::table || context.flags.format == Format::wide) {
        if (formed) {
            for (const JoinMember& member : known_to(folder, true).members) {
                context.out.line(fmt::format("node {} at {}", member.node, member.address));
            }
        } else {
            context.out.line("\nOn every node, with its own node_id and path:\n");
            print_text(context.out, configuration(dir, folder.cluster(), folder.own_node(),
                                                  known_to(folder, false)));
        }
    }
    return exit_ok;
}

// Listens until all joined. `said`: what -o json prints before the invitations.
int invite(Context& context, const std::string& dir, const InviteOptions& options, Json said) {
    const bool formed = look_at_directory(dir).stage == storage::ClusterStage::formed;
    AuthorityFolder folder(dir);
    for (const std::uint32_t node : options.nodes) {
        const Issued* before = folder.find(node);
        if (before != nullptr && !context.has("--replace")) {
            throw Failure(exit_conflict,
                          fmt::format("node {} has a certificate, good until {}", node,
                                      date_of(before->ends_s)),
                          "to renew it, or for a node that lost its disk: --replace");
        }
    }
    const Places places = choose_places(folder, options.listen);
    JoinListener listener(
        places.listen,
        value_or_fail(make_issuer(folder.authority(), folder.cluster(), wall_seconds())),
        folder.authority().certificate);
    Invitations invitations(std::chrono::steady_clock::now() + options.expiry);
    JoinLine line;
    line.issuer = places.told;
    line.issuer.port = listener.address().port;
    line.cluster = folder.cluster();
    line.authority = value_or_fail(fingerprint_of(folder.authority().certificate));
    said["cluster"] = folder.cluster();
    said["listen"] = listener.address().text();
    said["expires_seconds"] =
        std::chrono::duration_cast<std::chrono::seconds>(options.expiry).count();
    said["invitations"] = Json::array();
    for (const std::uint32_t node : options.nodes) {
        line.node = node;
        line.token = invitations.invite(node);
        said["invitations"].push_back(Json{{"node", node}, {"line", line.text()}});
    }
    if (!context.out.json(said.dump(), "invitations")) {
        context.out.line(fmt::format(
            "One line for one node, good for {} and once, while this command runs. On each of "
            "them:\n",
            format_duration(base::milliseconds(options.expiry.count()))));
        for (const Json& one : said["invitations"]) {
            context.out.line(
                fmt::format("  ursulactl cluster join '{}' \\\n"
                            "      --advertise ADDR --data-dir DIR\n",
                            one["line"].get<std::string>()));
        }
    }
    const bool quiet = context.flags.quiet;
    JoinDesk desk(folder, invitations, formed, [quiet](const std::string& sentence) {
        if (!quiet) {
            talk(sentence);
        }
    });
    if (!quiet) {
        talk(fmt::format("waiting on {} for nodes {}; Ctrl-C ends it and voids the lines",
                         listener.address().text(), list_of(options.nodes)));
    }
    listener.serve(desk);
    if (!quiet && listener.fruitless() > 0) {
        talk(fmt::format("{} connections came to nothing", listener.fruitless()));
    }
    return end_of_invite(context, dir, folder, desk, formed);
}

int run_init(Context& context) {
    ::signal(SIGPIPE, SIG_IGN);
    const std::string dir = data_dir_of(context);
    const std::string cluster = parse_cluster_name("--name", context.text("--name"));
    const auto node =
        static_cast<std::uint32_t>(context.number("--node-id", 1, base::limits::node_id_max));
    const std::string address =
        parse_node_address("--advertise", context.text("--advertise"), peer_port, false).text();
    InviteOptions options;
    if (context.has("--invite")) {
        options = read_invite_options(context, "--invite");
        if (std::find(options.nodes.begin(), options.nodes.end(), node) != options.nodes.end()) {
            throw Failure(exit_usage, "--invite names this node itself",
                          "name the others: this one gets its certificate at once");
        }
    } else if (context.has("--listen") || context.has("--expires")) {
        throw Failure(exit_usage, "--listen and --expires belong to --invite NODES");
    }
    const DirectoryFacts facts = look_at_directory(dir);
    if (facts.has_authority) {
        throw Failure(
            exit_conflict, dir + " holds the authority of a cluster already",
            facts.has_tls
                ? "further nodes: ursulactl cluster invite NODES --data-dir " + dir
                : fmt::format("a certificate for this node: ursulactl cluster invite {} --replace "
                              "--data-dir {}, and join",
                              node, dir));
    }
    if (facts.has_tls) {
        throw Failure(exit_conflict, dir + "/tls holds the certificate of a cluster already",
                      "begin a new cluster with an empty directory, or move tls away");
    }
    check_directory(context, dir, facts, node);
    make_directory(dir);
    CertifiedKey authority = value_or_fail(make_authority(cluster, wall_seconds()));
    KeyWithRequest own = value_or_fail(make_request());
    const NodeCertificate made =
        value_or_fail(certify(authority, own.request, {cluster, node}, wall_seconds()));
    Issued issued;
    issued.node = node;
    issued.address = address;
    issued.serial = made.serial;
    issued.ends_s = made.ends_s;
    AuthorityFolder::create(dir, cluster, authority, issued);
    place_folder(dir, tls_folder,
                 {{"ca.pem", &authority.certificate, false},
                  {"node.pem", &made.certificate, false},
                  {"node.key", &own.key, true}},
                 false, true);
    forget(authority.key);
    forget(own.key);
    Json said;
    said["schema"] = 1;
    said["cluster"] = cluster;
    said["node"] = node;
    said["directory"] = dir;
    said["ends"] = date_of(made.ends_s);
    if (context.has("--invite")) {
        if (!context.flags.quiet) {
            talk(fmt::format("cluster {} has its authority in {}/{}", cluster, dir,
                             authority_folder));
        }
        return invite(context, dir, options, std::move(said));
    }
    if (!context.out.json(said.dump())) {
        context.out.line(
            fmt::format("cluster {} has its authority in {}/{}: keep a copy of it in a safe place\n"
                        "node {} has its certificate, good until {}\n"
                        "next: ursulactl cluster invite NODES --data-dir {}",
                        cluster, dir, authority_folder, node, date_of(made.ends_s), dir));
    }
    return exit_ok;
}

int run_invite(Context& context) {
    ::signal(SIGPIPE, SIG_IGN);
    const std::string dir = data_dir_of(context);
    Json said;
    said["schema"] = 1;
    return invite(context, dir, read_invite_options(context, "NODES"), std::move(said));
}

// Whether the directory has a certificate that this line renews; a Failure when it has another's.
bool is_renewal(const std::string& dir, const DirectoryFacts& facts, const JoinLine& line) {
    if (!facts.has_tls) {
        return false;
    }
    const std::string next = "give another directory, or move its tls folder away";
    const net::TlsFiles files = read_tls_folder(dir);
    auto context = net::TlsContext::make(files);
    if (!context) {
        throw Failure(exit_conflict, dir + "/tls: " + context.error().message, next);
    }
    const net::TlsIdentity& identity = (*context)->own_identity();
    const auto authority = fingerprint_of(files.authority);
    const bool is_other = !authority || *authority != line.authority;
    if (is_other || identity != net::TlsIdentity{line.cluster, line.node}) {
        throw Failure(exit_conflict,
                      fmt::format("{} belongs to node {} of {} {}", dir, identity.node,
                                  is_other && identity.cluster == line.cluster ? "another cluster"
                                                                               : "cluster",
                                  identity.cluster),
                      next);
    }
    return true;
}

Failure failure_of(const JoinReply& reply, const JoinLine& line) {
    const std::string again = fmt::format(
        "where the line came from, run: ursulactl cluster invite {} --replace", line.node);
    const std::string what = line.issuer.text() + " refuses: " + reply.why;
    switch (reply.refusal) {
        case Refusal::unknown_token:
            return {exit_denied, what, "copy the line again, or for a new one " + again};
        case Refusal::used_token:
            return {exit_denied, what,
                    "if it was not you, somebody else has that certificate; else " + again};
        case Refusal::expired_token:
            return {exit_denied, what, again};
        case Refusal::conflict:
            return {exit_conflict, what, "the line is still good: run it again, put right"};
        case Refusal::failed:
            return {exit_failed, what, again};
        case Refusal::none:
        case Refusal::bad_request:
            break;
    }
    return {exit_failed, what, "see both: ursulactl version"};
}

// Nothing is written that the server would refuse.
void check_answer(const net::TlsFiles& files, const JoinLine& line) {
    const auto authority = fingerprint_of(files.authority);
    const auto context = net::TlsContext::make(files);
    if (!authority || *authority != line.authority || !context ||
        (*context)->own_identity() != net::TlsIdentity{line.cluster, line.node}) {
        throw Failure(exit_failed,
                      line.issuer.text() + " sent a certificate that does not fit" +
                          (context ? "" : ": " + context.error().message),
                      "see both: ursulactl version");
    }
}

std::string line_from(const Context& context) {
    std::string text = context.text("LINE");
    if (text == "-") {
        text.clear();
        for (int c = 0; (c = std::getchar()) != EOF && c != '\n' && text.size() < 1024;) {
            text += static_cast<char>(c);
        }
    }
    return text;
}

int run_join(Context& context) {
    ::signal(SIGPIPE, SIG_IGN);
    const std::string dir = data_dir_of(context);
    const JoinLine line = parse_join_line(line_from(context));
    if (context.has("--node-id") &&
        context.number("--node-id", 1, base::limits::node_id_max) != line.node) {
        throw Failure(exit_usage,
                      fmt::format("the join line is for node {}, not for node {}", line.node,
                                  context.text("--node-id")),
                      "use the line of this node; --node-id may be left out");
    }
    JoinRequest request;
    request.node = line.node;
    if (context.has("--advertise")) {
        request.address =
            parse_node_address("--advertise", context.text("--advertise"), peer_port, false).text();
    }
    const DirectoryFacts facts = look_at_directory(dir);
    const bool renews = is_renewal(dir, facts, line);
    if (!renews) {
        check_directory(context, dir, facts, line.node);
    }
    make_directory(dir);
    KeyWithRequest own = value_or_fail(make_request());
    request.request = own.request;
    request.token.assign(line.token.begin(), line.token.end());
    const JoinReply reply = ask_to_join(line, request, context.timeout_or(usual_timeout));
    if (reply.refusal != Refusal::none) {
        throw failure_of(reply, line);
    }
    net::TlsFiles files;
    files.authority = reply.authority;
    files.certificate = reply.certificate;
    files.key = own.key;
    check_answer(files, line);
    place_folder(dir, tls_folder,
                 {{"ca.pem", &files.authority, false},
                  {"node.pem", &files.certificate, false},
                  {"node.key", &files.key, true}},
                 renews, true);
    const std::int64_t ends_s = value_or_fail(net::TlsContext::make(files))->expires_at();
    forget(own.key);
    forget(files.key);
    Json said;
    said["schema"] = 1;
    said["cluster"] = line.cluster;
    said["node"] = line.node;
    said["directory"] = dir;
    said["ends"] = date_of(ends_s);
    said["renewed"] = renews;
    said["formed"] = reply.formed;
    said["members"] = Json::array();
    for (const JoinMember& member : reply.members) {
        said["members"].push_back(Json{{"id", member.node}, {"address", member.address}});
    }
    if (context.out.json(said.dump())) {
        return exit_ok;
    }
    context.out.line(fmt::format("node {} of cluster {} has its certificate, good until {}",
                                 line.node, line.cluster, date_of(ends_s)));
    if (renews || facts.has_data) {
        context.out.line("next: restart the node, which reads it at its start");
        return exit_ok;
    }
    if (reply.formed && reply.again) {
        context.out.line(fmt::format(
            "next: start it with the configuration it had; it has lost its data, so then, on "
            "another node:\n  ursulactl cluster replace {}",
            line.node));
        return exit_ok;
    }
    context.out.line(reply.formed ? "next: start it with this in its configuration\n"
                                  : "next: start it with this in its configuration; members are "
                                    "the same on all\n");
    print_text(context.out, configuration(dir, line.cluster, line.node, reply));
    if (reply.formed) {
        const std::string address = address_in(reply, line.node);
        context.out.line(fmt::format(
            "\nthen, on a node of the cluster: ursulactl cluster add --id {} --address {} --client "
            "{}",
            line.node, address, client_url(address)));
    }
    return exit_ok;
}

constexpr Parameter listen_parameter = {"--listen", "ADDRESS",
                                        "where nodes ask: this node's address, port 4440"};
constexpr Parameter expires_parameter = {"--expires", "TIME", "how long lines are good: 30m"};
constexpr Parameter existing_parameter = {"--existing", "",
                                          "the directory has this node's data; keep it"};

constexpr Parameter init_parameters[] = {
    {"--name", "NAME", "what the cluster is called: cluster.name", true},
    {"--node-id", "N", "this node's: cluster.node_id", true},
    {"--advertise", "ADDR", "where the other nodes reach it; port 4439", true},
    {"--invite", "NODES", "go on with `cluster invite NODES`"},
    listen_parameter,
    expires_parameter,
    existing_parameter,
};

constexpr Parameter invite_parameters[] = {
    {"NODES", "", "ids of nodes to join, as in 2,3", true},
    listen_parameter,
    expires_parameter,
    {"--replace", "", "also for a node that has one: renewal, lost disk"},
};

constexpr Parameter join_parameters[] = {
    {"LINE", "", "what `cluster invite` printed; - reads it from stdin", true},
    {"--node-id", "N", "checked against the line's"},
    {"--advertise", "ADDR", "where the other nodes reach it; port 4439"},
    existing_parameter,
};

const Command commands[] = {
    {"cluster init", "Make a cluster's own authority and its first certificate.", init_parameters,
     "  ursulactl cluster init --name prod --node-id 1 --advertise 10.0.0.1 \\\n"
     "      --data-dir /var/lib/ursula --invite 2,3\n",
     "6 the directory holds a cluster's certificates, or data.", run_init},
    {"cluster invite", "Print one join line per node and wait until they join.", invite_parameters,
     "  ursulactl cluster invite 4 --data-dir /var/lib/ursula    a further node\n"
     "  ursulactl cluster invite 2 --replace --data-dir DIR      renew node 2's\n",
     "3 no authority; 4 somebody guesses; 5 too late; 6 it has one.", run_invite},
    {"cluster join", "Get a certificate for this node with a join line.", join_parameters,
     "  ursulactl cluster join 'ursula-join://10.0.0.1:4440/prod/2#...' \\\n"
     "      --advertise 10.0.0.2 --data-dir /var/lib/ursula\n",
     "4 wrong, used or old line; 5 nobody there; 6 another's directory.", run_join},
};

}  // namespace

std::span<const Command> join_commands() {
    return commands;
}

}  // namespace ursula::ctl
