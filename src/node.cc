#include "node.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "admin_listener.h"
#include "api/placement.h"
#include "base/limits.h"
#include "base/log.h"
#include "cluster_tls.h"
#include "forming.h"
#include "hooks/sender.h"
#include "io/data_dir.h"
#include "loop.h"
#include "net/listener.h"
#include "random_number.h"
#include "storage/node_file.h"
#include "systemd.h"

namespace ursula {

namespace limits = base::limits;

namespace {

constexpr int exit_failed = 1;
constexpr int exit_wrong_configuration = 2;
constexpr int exit_refused = 3;
constexpr int port_tries = 100;  // of 10 ms
constexpr std::int64_t certificate_days_low = 21;

void say(const std::string& line) {
    const std::string text = line + "\n";
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

int end_with(const std::string& why, int code) {
    say("ursula: " + why);
    return code;
}

std::vector<int> usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<int> cpus;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) {
                cpus.push_back(cpu);
            }
        }
    }
    return cpus.empty() ? std::vector<int>{0} : cpus;
}

// Every connection is a descriptor; the limit is raised as far as it may be.
std::uint64_t descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

// Shards and groups of this node: remembered by the data directory once it has them.
struct Layout {
    std::uint32_t shards = 1;
    std::uint32_t groups = 1;
    storage::NodeFile node;
    std::uint64_t boot = 0;  // of this life
};

// Whether the directory may be started with this configuration's [cluster].
base::Result<void> check_identity(const Config& config, const std::string& path,
                                  const storage::NodeFile& node) {
    const std::uint32_t wanted = config.cluster.node_id;
    if (node.cluster.stage == storage::ClusterStage::none) {
        if (config.clustered() && node.begun && config.cluster.members.size() != 1) {
            return base::fail(path +
                              " holds the data of a node that was alone: a cluster of several "
                              "begins with empty directories; start this one with itself as the "
                              "only one of cluster.members, or give an empty storage.path");
        }
        return {};
    }
    const std::string what = path + " is the directory of node " + std::to_string(node.node.value) +
                             " of " + cluster_name(node.cluster.id);
    if (!config.clustered()) {
        return base::fail(what + ": set cluster.node_id = " + std::to_string(node.node.value) +
                          " and cluster.listen to start it");
    }
    if (node.node.value != wanted) {
        return base::fail(what + ", and cluster.node_id = " + std::to_string(wanted) +
                          ": a directory's node never changes; set cluster.node_id = " +
                          std::to_string(node.node.value) + " or give node " +
                          std::to_string(wanted) + " its own storage.path");
    }
    return {};
}

base::Result<Layout> find_layout(const Config& config, io::DataDir* directory,
                                 const io::DiskProfile& profile, std::uint32_t cpus) {
    Layout layout;
    layout.shards =
        config.server.shards != 0 ? config.server.shards : std::min(cpus, limits::shards_max);
    layout.groups = config.cluster.groups;
    layout.shards = std::min(layout.shards, layout.groups);
    const base::NodeId own(config.clustered() ? config.cluster.node_id : 1);
    layout.node.node = own;
    if (directory == nullptr) {
        return layout;
    }
    io::UringDisk root(directory->directory(), profile);
    auto found = storage::load_node_file(root, layout.node);
    if (!found) {
        return tl::unexpected(std::move(found.error()));
    }
    if (*found == storage::NodeFileFound::absent) {
        layout.node.salt = random_number();
        layout.node.shards = layout.shards;
        layout.node.groups = layout.groups;
        layout.node.created_by = std::string("ursula ") + URSULA_VERSION;
        layout.node.run = config.clustered() ? 1 : 0;
        TRY(storage::store_node_file(root, layout.node));
        return layout;
    }
    // A node that was taken in later has its cluster's number of groups, whatever its file says.
    const bool admitted = layout.node.cluster.admitted();
    const std::uint32_t shards =
        admitted ? std::min(config.server.shards, layout.node.groups) : config.server.shards;
    if (shards != 0 && shards != layout.node.shards) {
        return base::fail(
            directory->path() + " was made with " + std::to_string(layout.node.shards) +
            " shards and server.shards asks for " + std::to_string(config.server.shards) +
            ": the layout of a data directory does not change; leave server.shards out (0) or set "
            "it to " +
            std::to_string(layout.node.shards));
    }
    if (config.cluster.groups_given && config.cluster.groups != layout.node.groups && !admitted) {
        return base::fail(
            directory->path() + " was made with " + std::to_string(layout.node.groups) +
            " groups and cluster.groups asks for " + std::to_string(config.cluster.groups) +
            ": the number of groups of a data directory never changes; leave cluster.groups out or "
            "set it to " +
            std::to_string(layout.node.groups));
    }
    TRY(check_identity(config, directory->path(), layout.node));
    if (config.clustered() || layout.node.node != own) {
        layout.node.node = own;  // nobody knows it yet if it is another one
        layout.node.run += config.clustered() ? 1 : 0;
        TRY(storage::store_node_file(root, layout.node));
    }
    layout.shards = layout.node.shards;
    layout.groups = layout.node.groups;
    return layout;
}

// What the admin plane shows of the cluster; a node that is alone is where its clients are.
admin::ClusterView cluster_of(const Config& config, const storage::NodeFile& node,
                              const std::string& url) {
    admin::ClusterView view;
    view.self = node.node.value == 0 ? base::NodeId(1) : node.node;
    view.name = config.clustered() ? config.cluster.name : std::string();
    for (const storage::ClusterMember& member : node.cluster.members) {
        view.nodes.push_back({member.id, member.address, member.client});
    }
    if (view.nodes.empty()) {
        const std::string address = config.clustered() ? config.cluster.listen.front().text()
                                                       : url.substr(url.find("//") + 2);
        view.nodes.push_back({view.self, address, url});
    }
    return view;
}

struct Listening {
    std::vector<std::vector<int>> by_shard;
    std::string url;  // of the first address
    std::string others;
    std::vector<ListenAddress> addresses;  // with their real ports
};

// A server that was just killed keeps its port until the kernel has taken its ring apart.
base::Result<net::Listeners> open_patiently(const ListenAddress& address, std::uint32_t count) {
    auto opened = net::open_listeners({address.host, address.port}, count);
    for (int tries = 0; !opened && opened.error().errno_value == EADDRINUSE && tries < port_tries;
         ++tries) {
        const timespec pause{0, 10'000'000};
        ::nanosleep(&pause, nullptr);
        opened = net::open_listeners({address.host, address.port}, count);
    }
    return opened;
}

base::Result<Listening> open_all(const Config& config, std::uint32_t shards) {
    Listening listening;
    listening.by_shard.resize(shards);
    for (const ListenAddress& address : config.server.listen) {
        auto opened = open_patiently(address, shards);
        if (!opened) {
            return tl::unexpected(std::move(opened.error()));
        }
        for (std::uint32_t i = 0; i < shards; ++i) {
            listening.by_shard[i].push_back(opened->sockets[i]);
        }
        ListenAddress real = address;
        real.port = opened->port;
        listening.addresses.push_back(real);
        (listening.url.empty() ? listening.url : listening.others) +=
            (listening.url.empty() ? "http://" : " http://") + real.text();
    }
    return listening;
}

ClusterPlan plan_of(const Config& config, std::uint32_t groups) {
    ClusterPlan plan;
    plan.name = config.cluster.name;
    plan.groups = groups;
    plan.address = config.cluster.listen.front().text();
    for (const Config::Member& member : config.cluster.members) {
        plan.members.push_back({base::NodeId(member.id), member.address.text(), member.client});
        if (member.id == config.cluster.node_id) {
            plan.address = member.address.text();
        }
    }
    return plan;
}

// Where webhooks may go: never to this node itself.
net::WebhookRules webhook_rules(const Config& config, const Listening& listening) {
    net::WebhookRules rules;
    rules.allow_loopback =
        config.webhooks.given
            ? config.webhooks.allow_loopback_http
            : std::all_of(listening.addresses.begin(), listening.addresses.end(),
                          [](const ListenAddress& one) { return one.loopback(); });
    for (const ListenAddress& address : listening.addresses) {
        rules.add_own(address.host, address.port);
    }
    for (const ListenAddress& address : config.cluster.listen) {
        rules.add_own(address.host, address.port);
    }
    if (config.server.admin_listen.kind == AdminListen::Kind::tcp) {
        rules.add_own(config.server.admin_listen.address.host,
                      config.server.admin_listen.address.port);
    }
    rules.find_local();
    return rules;
}

// A node that was taken in later and hears of no leader: its operator's command may have ended
// halfway.
std::string waits_for(const Config& config, const storage::NodeFile& node) {
    const std::string id = std::to_string(node.node.value);
    return "node " + id + " was taken into " + cluster_name(node.cluster.id) +
           " and has not heard of all groups' leaders; when no group names it yet, on a member run "
           "once more: ursulactl cluster add --id " +
           id + " --address " + plan_of(config, node.groups).address;
}

// What the node proves itself with, and a context of it for this thread; empty without TLS.
struct Tls {
    net::TlsFiles files;
    std::unique_ptr<net::TlsContext> context;
};

base::Result<Tls> open_tls(const Config& config, std::int64_t now_s) {
    Tls tls;
    auto files = load_tls_files(config.storage.path);
    if (!files) {
        return tl::unexpected(std::move(files.error()));
    }
    tls.files = std::move(*files);
    if (tls.files.key.empty()) {
        if (!config.cluster.listen.front().loopback()) {
            base::log(base::Event::cluster_plain,
                      {{"listen", config.cluster.listen.front().text()}});
        }
        return tls;
    }
    auto context = net::TlsContext::make(tls.files);
    if (!context) {
        context.error().message = config.storage.path + "/tls: " + context.error().message;
        return tl::unexpected(std::move(context.error()));
    }
    tls.context = std::move(*context);
    TRY(check_tls_identity(tls.context->own_identity(), config));
    const std::int64_t days = (tls.context->expires_at() - now_s) / (24 * 3600);
    base::log(
        days < certificate_days_low ? base::Event::cluster_tls_ends : base::Event::cluster_tls,
        {{"days", days}});
    return tls;
}

// Until the directory's node is one of a formed cluster.
base::Result<FormingEnd> find_cluster(const Config& config, const io::DataDir& directory,
                                      const io::DiskProfile& profile, Layout& layout, int listener,
                                      net::TlsContext* tls, const sigset_t& signals) {
    if (layout.node.cluster.stage == storage::ClusterStage::formed) {
        return FormingEnd::formed;
    }
    // Nobody's start shall hang on the others'.
    tell_systemd(config.cluster.members.empty()
                     ? "READY=1\nSTATUS=waiting to be added to a cluster"
                     : "READY=1\nSTATUS=waiting for the other members of the cluster");
    FormingOptions options;
    options.plan = plan_of(config, layout.groups);
    options.listener = listener;
    options.tls = tls;
    options.signals = &signals;
    io::UringDisk root(directory.directory(), profile);
    auto end = form_cluster(options, root, layout.node);
    layout.shards = layout.node.shards;
    layout.groups = layout.node.groups;
    return end;
}

void ring_all(Neighbours& neighbours) {
    for (std::uint32_t i = 0; i < neighbours.shards; ++i) {
        const int doorbell = neighbours.foreign_doorbells[i];
        if (doorbell >= 0) {
            net::Ring::ring_foreign_doorbell(doorbell);
        }
    }
}

// Waits on the main thread: for every shard, then for the first signal, then for the loops to end.
// A second signal ends the process at once.
class Supervisor {
  public:
    // `waits_for` is logged, now and then, as long as the node is not ready; may be empty.
    Supervisor(Neighbours& neighbours, const sigset_t& signals, const CommandLine& line,
               bool in_cluster, std::string waits_for)
        : neighbours_(neighbours),
          signals_(signals),
          line_(line),
          in_cluster_(in_cluster),
          waits_for_(std::move(waits_for)) {}

    void accept_connections() {
        neighbours_.accepting.store(true, std::memory_order_release);
        ring_all(neighbours_);
    }

    // Until every loop's groups lead, or one failed. False: the node stops before it was ready.
    bool wait_ready() {
        for (int polls = 0; neighbours_.ready.load() < neighbours_.shards; ++polls) {
            if (neighbours_.stopping || neighbours_.draining) {
                return false;
            }
            if (polls % waits_polls == waits_first_poll && !waits_for_.empty()) {
                base::log(base::Event::cluster_waits, {{"why", waits_for_}});
            }
            // A member whose others are away says so to whoever asks, instead of saying nothing.
            if (polls >= waits_first_poll && in_cluster_ && !neighbours_.accepting &&
                neighbours_.started == neighbours_.shards) {
                accept_connections();
            }
            // A majority may be long in coming.
            if (poll_signal(polls < 500 ? 2 : 50)) {
                ask_to_stop();
                (neighbours_.accepting ? neighbours_.draining : neighbours_.stopping) = true;
                return false;
            }
            ring_all(neighbours_);
        }
        return true;
    }

    void wait_end(const std::atomic<std::uint32_t>& running) {
        const bool was_ready = neighbours_.accepting;
        while (running.load() > 0) {
            if (!poll_signal(asked_ ? 20 : 200)) {
                if (neighbours_.draining || neighbours_.stopping) {
                    ring_all(neighbours_);
                }
                if (asked_ && !was_ready && --start_polls_left_ == 0) {
                    // A recovery under way has promised nothing to anybody: any moment is a good
                    // one to leave it.
                    base::log(base::Event::server_stopped, {});
                    ::_exit(0);
                }
                continue;
            }
            if (asked_) {
                ::_exit(exit_failed);
            }
            ask_to_stop();
            neighbours_.draining = true;
            ring_all(neighbours_);
        }
    }

  private:
    void ask_to_stop() {
        asked_ = true;
        base::log(base::Event::server_stopping, {});
        tell_systemd("STOPPING=1");
    }

    // True when SIGTERM or SIGINT came within the time.
    bool poll_signal(int ms) {
        const timespec wait{ms / 1000, (ms % 1000) * 1'000'000};
        const int signal = sigtimedwait(&signals_, nullptr, &wait);
        if (signal == SIGHUP) {
            reload();
        }
        return signal == SIGTERM || signal == SIGINT;
    }

    // All or nothing: a configuration with an error, or with a change that needs a restart, leaves
    // the running one in place.
    void reload() {
        LoadedConfig loaded = load_config(line_.sources);
        if (!loaded.errors.empty()) {
            say(loaded.errors);
            base::log(base::Event::config_refused, {{"why", "errors"}});
            return;
        }
        const Config& running = *neighbours_.config.load();
        std::string keys;
        for (const std::string& key : keys_needing_restart(running, loaded.config)) {
            keys += (keys.empty() ? "" : " ") + key;
        }
        if (!keys.empty()) {
            base::log(base::Event::config_refused, {{"needs_restart", keys}});
            return;
        }
        configs_.push_back(std::make_unique<Config>(loaded.config));
        neighbours_.config.store(configs_.back().get(), std::memory_order_release);
        ring_all(neighbours_);
        base::log(base::Event::config_reloaded, {});
    }

    static constexpr int waits_first_poll = 600;  // 6 s
    static constexpr int waits_polls = 12'600;    // ten minutes

    Neighbours& neighbours_;
    const sigset_t& signals_;
    const CommandLine& line_;
    const bool in_cluster_;
    const std::string waits_for_;
    bool asked_ = false;         // by the first signal
    int start_polls_left_ = 50;  // of 20 ms, for a recovery that was asked to stop
    std::vector<std::unique_ptr<Config>> configs_;
};

// Behind the sentence that refuses a directory. An older copy would have forgotten votes and
// appends, and nobody could tell (R11).
std::string in_a_cluster(const Config& config) {
    if (!config.clustered()) {
        return {};
    }
    return ". In a cluster never put back an older copy: it has forgotten what it acknowledged. "
           "Empty the directory, start the node, and run on another one: ursulactl cluster "
           "replace " +
           std::to_string(config.cluster.node_id);
}

LoopOptions options_of(const Config& config, const Layout& layout, base::ShardId shard,
                       Neighbours& neighbours, base::HashKey key) {
    LoopOptions options;
    options.shard = shard;
    shard::ShardOptions& below = options.shard_options;
    below.id = shard;
    below.shards = layout.shards;
    below.groups = layout.groups;
    below.node = layout.node.node;
    below.table_key = key;
    if (config.clustered()) {
        for (const storage::ClusterMember& member : layout.node.cluster.members) {
            below.founders.push_back(
                {member.id, member.shards, member.incarnation, member.address, member.client});
        }
        below.cluster = layout.node.cluster.id;
        below.incarnation = layout.node.incarnation();
        below.boot = layout.boot;
        below.spread_leaders = true;
        PeersOptions& peers = options.peers;
        peers.node = layout.node.node;
        peers.shard = shard;
        peers.shards = layout.shards;
        peers.groups = layout.groups;
        peers.cluster = layout.node.cluster.id;
        peers.incarnation = layout.node.incarnation();
        peers.boot = layout.boot;
        peers.run = layout.node.run;
        peers.random_seed = random_number();
    }
    if (config.in_memory()) {
        below.memory_capacity = &neighbours.memory;
    } else {
        below.hot_bytes = config.storage.hot_bytes / layout.shards;
    }
    below.salt = layout.node.shard_salt(shard);
    below.sync_duration = &neighbours.metrics[shard.value].wal_sync_duration;
    below.segment_bytes = static_cast<std::uint32_t>(config.storage.segment_size);
    http::EdgeOptions& edge = options.edge;
    edge.shard = shard;
    edge.shards = layout.shards;
    edge.groups = layout.groups;
    edge.table_key = key;
    edge.random_seed = random_number();
    edge.data_id = config.clustered() ? layout.node.cluster.id : layout.node.salt;
    edge.cors_origins = config.server.cors_origins;
    edge.auto_create_buckets = config.server.auto_create_buckets;
    edge.public_url = config.server.public_url;
    edge.max_body = config.server.max_body;
    edge.connections = &neighbours.connections;
    edge.bodies_in_flight_bytes_max = std::max<std::uint64_t>(
        limits::bodies_in_flight_bytes_max / layout.shards, config.server.max_body);
    edge.read_chunk_bytes = config.server.read_chunk;
    edge.read_held_bytes_max = std::max<std::uint64_t>(limits::read_held_bytes_max / layout.shards,
                                                       limits::read_held_bytes_max / 4);
    edge.long_poll_timeout = config.server.long_poll_timeout;
    edge.sse_heartbeat = config.server.sse_heartbeat;
    edge.sse_lifetime = config.server.sse_lifetime;
    edge.request_duration = &neighbours.metrics[shard.value].http_request_duration;
    edge.append_duration = &neighbours.metrics[shard.value].append_commit_duration;
    return options;
}

}  // namespace

int run_node(const CommandLine& line) {
    const Config& config = line.config;
    timespec started{};
    clock_gettime(CLOCK_REALTIME, &started);
    // Signals are taken by this thread alone; a peer that went away is an error of its send, not a
    // signal.
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
        sigaddset(&signals, signal);
    }
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    ::signal(SIGPIPE, SIG_IGN);

    const std::uint64_t descriptors = descriptor_limit();
    const std::vector<int> cpus = usable_cpus();
    std::unique_ptr<io::DataDir> directory;
    io::DiskProfile profile;
    if (config.in_memory()) {
        say("ursula keeps everything in memory and nothing survives a restart: give --data-dir DIR "
            "to keep it");
    } else {
        auto opened = io::DataDir::open(config.storage.path);
        if (!opened) {
            return end_with(opened.error().message,
                            opened.error().errno_value == 0 ? exit_refused : exit_failed);
        }
        directory = std::move(*opened);
        const auto wanted = static_cast<io::DirectIo>(config.storage.direct);
        auto probed = io::probe_disk(directory->directory(), wanted);
        if (!probed) {
            return end_with(probed.error().message, exit_failed);
        }
        profile = *probed;
        base::log(base::Event::disk_probed, {{"direct", profile.direct},
                                             {"alignment", profile.alignment},
                                             {"durable_write_us", profile.durable_write.ns / 1000},
                                             {"why", profile.reason}});
        if (profile.memory_backed) {
            base::log(base::Event::disk_volatile, {{"path", directory->path()}});
        }
    }
    auto layout =
        find_layout(config, directory.get(), profile, static_cast<std::uint32_t>(cpus.size()));
    if (!layout) {
        return end_with(layout.error().message,
                        layout.error().errno_value == 0 ? exit_refused : exit_failed);
    }
    layout->boot = random_number();
    int cluster_listener = -1;
    Tls tls;
    if (config.clustered()) {
        auto opened_tls = open_tls(config, started.tv_sec);
        if (!opened_tls) {
            return end_with(opened_tls.error().message, exit_wrong_configuration);
        }
        tls = std::move(*opened_tls);
        auto opened = open_patiently(config.cluster.listen.front(), 1);
        if (!opened) {
            return end_with(opened.error().message, exit_failed);
        }
        cluster_listener = opened->sockets.front();
        auto found = find_cluster(config, *directory, profile, *layout, cluster_listener,
                                  tls.context.get(), signals);
        if (!found) {
            return end_with(found.error().message,
                            found.error().errno_value == 0 ? exit_refused : exit_failed);
        }
        if (*found == FormingEnd::stopped) {
            base::log(base::Event::server_stopped, {});
            return 0;
        }
    }
    auto listening = open_all(config, layout->shards);
    if (!listening) {
        return end_with(listening.error().message, exit_failed);
    }
    auto admin = open_admin_listener(config.server.admin_listen, config.storage.path);
    if (!admin) {
        return end_with(admin.error().message, exit_failed);
    }
    const admin::ClusterView cluster = cluster_of(config, layout->node, listening->url);
    if (layout->shards > cpus.size()) {
        base::log(base::Event::shards_share_cpus,
                  {{"shards", layout->shards}, {"cpus", cpus.size()}});
    }
    base::log(base::Event::server_starting,
              {{"version", URSULA_VERSION},
               {"listen", listening->url},
               {"admin", admin->where},
               {"data_dir", config.in_memory() ? "none" : config.storage.path.c_str()},
               {"shards", layout->shards},
               {"groups", layout->groups}});

    std::uint64_t connections = config.server.max_connections;
    if (connections == 0) {
        connections = descriptors > 2 * limits::reserved_descriptors
                          ? descriptors - limits::reserved_descriptors
                          : descriptors / 2;
    }
    Neighbours neighbours(layout->shards, config.storage.hot_bytes, connections);
    neighbours.config = &config;
    const base::HashKey key{random_number(), random_number()};
    hooks::SenderOptions sending;
    sending.rules = webhook_rules(config, *listening);
    sending.user_agent = std::string("ursula/") + URSULA_VERSION;
    sending.doorbells = neighbours.foreign_doorbells.get();
    sending.shards = layout->shards;
    sending.duration = &neighbours.metrics[0].webhook_duration;
    hooks::Sender sender(sending);
    std::vector<std::unique_ptr<Loop>> loops;
    for (std::uint32_t i = 0; i < layout->shards; ++i) {
        LoopOptions options = options_of(config, *layout, base::ShardId(i), neighbours, key);
        options.cpu = config.server.pin ? cpus[i % cpus.size()] : -1;
        options.listeners = listening->by_shard[i];
        options.admin_listener = i == 0 ? admin->socket() : -1;
        options.cluster = &cluster;
        options.shard_options.webhooks = &sender.of_shard(i);
        options.webhooks = i == 0 ? &sender.counters() : nullptr;
        options.edge.webhooks = &sending.rules;
        options.disk_profile = profile;
        options.tls = tls.files;
        if (i == 0 && config.clustered()) {
            options.cluster_listener = cluster_listener;
            options.standing = standing_of(layout->node, plan_of(config, layout->groups).hash());
            options.cluster_name = config.cluster.name;
        }
        options.stop_after = line.stop_after;
        if (line.snapshot_after != 0) {
            options.shard_options.snapshot_log_bytes = line.snapshot_after;
        }
        options.started_at = base::WallTime{started.tv_sec * 1000 + started.tv_nsec / 1'000'000};
        if (directory != nullptr) {
            auto opened = directory->open_shard(base::ShardId(i), layout->node.begun);
            if (!opened) {
                return end_with(opened.error().message,
                                opened.error().errno_value == 0 ? exit_refused : exit_failed);
            }
            options.shard_options.begun = layout->node.begun;
            options.directory = *opened;
            options.data_directory = directory->directory();
            const Reserve& reserve = config.storage.reserve;
            if (const auto space = io::space_of(directory->directory())) {
                options.shard_options.reserve_bytes = reserve.of(space->total_bytes);
            }
        }
        loops.push_back(std::make_unique<Loop>(options, neighbours));
    }

    std::atomic<std::uint32_t> running{layout->shards};
    std::vector<std::optional<base::Error>> errors(layout->shards);
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < layout->shards; ++i) {
        threads.emplace_back([&, i] {
            if (auto ended = loops[i]->run(); !ended) {
                errors[i] = std::move(ended.error());
                neighbours.stopping = true;
            }
            --running;
        });
    }
    Supervisor supervisor(neighbours, signals, line, cluster_listener >= 0,
                          layout->node.cluster.admitted() ? waits_for(config, layout->node) : "");
    const bool ready = supervisor.wait_ready();
    if (ready && directory != nullptr && !layout->node.begun) {
        layout->node.begun = true;
        io::UringDisk root(directory->directory(), profile);
        if (auto noted = storage::store_node_file(root, layout->node); !noted) {
            ::_exit(end_with(noted.error().message, exit_failed));
        }
    }
    if (ready) {
        neighbours.node_ready = true;
        supervisor.accept_connections();
        say("ursula ready on " + listening->url + listening->others +
            (config.in_memory() ? " (in memory)" : " (data: " + config.storage.path + ")"));
        tell_systemd("READY=1");
    }
    supervisor.wait_end(running);
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (std::uint32_t i = 0; i < layout->shards; ++i) {
        if (errors[i]) {
            const bool refused = loops[i]->refused();
            // Operations may be in flight: nothing is taken apart under them.
            ::_exit(end_with(errors[i]->message + (refused ? in_a_cluster(config) : std::string()),
                             refused ? exit_refused : exit_failed));
        }
    }
    sender.stop();  // before the doorbells that it rings are closed
    loops.clear();
    for (const auto& sockets : listening->by_shard) {
        for (const int socket : sockets) {
            ::close(socket);
        }
    }
    admin->close();
    if (cluster_listener >= 0) {
        ::close(cluster_listener);
    }
    base::log(base::Event::server_stopped, {});
    return 0;
}

}  // namespace ursula
