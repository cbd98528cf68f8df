#include "peers.h"

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "net/listener.h"
#include "shard/frame.h"

namespace ursula {

namespace limits = base::limits;

namespace {

constexpr base::Duration greeting_max = base::milliseconds(limits::peer_greeting_timeout_ms);
// Without an answer to its first packet a connection is tried anew: the kernel would double its own
// pauses, and a cut that ends is to be noticed soon.
constexpr base::Duration connect_max = base::milliseconds(700);
constexpr base::Duration retry_first = base::milliseconds(limits::peer_retry_first_ms);
constexpr base::Duration retry_last = base::milliseconds(limits::peer_retry_last_ms);
// Without a link for so long the node with the lower id dials too.
constexpr base::Duration help_first = base::milliseconds(limits::peer_help_first_ms);
constexpr base::Duration help_after = base::milliseconds(limits::peer_help_ms);
constexpr base::Duration dismissed_for = base::milliseconds(limits::dismissed_ms);
// Who was dismissed asks again after this long: it may be named anew.
constexpr base::Duration dismissed_pause = base::seconds(5);
// A state that lasts is repeated in the log this often; refusals of strangers are a line each.
constexpr base::Duration say_again = base::seconds(60);
constexpr base::Duration refusal_pause = base::seconds(1);

constexpr std::array<net::BlockKind, 3> link_kinds = {{
    {shard::frame_magic, shard::frame_header_bytes, limits::frame_bytes_max},
    refusal_kind,
    dismissal_kind,
}};

// Whether any group lives in both shards.
bool share_groups(std::uint32_t groups, base::ShardId a, std::uint32_t a_shards, base::ShardId b,
                  std::uint32_t b_shards) {
    for (std::uint32_t group = a.value; group < groups; group += a_shards) {
        if (group % b_shards == b.value) {
            return true;
        }
    }
    return false;
}

}  // namespace

Peers::Peers(const PeersOptions& options, net::Ring& ring, net::TlsContext* tls, base::Instant now)
    : options_(options), ring_(ring), tls_(tls), random_(options.random_seed), now_(now) {}

// --- who there is ---

void Peers::know(base::NodeId node, std::span<const shard::MemberInfo> infos) {
    const auto names = [infos](std::uint64_t incarnation) {
        return std::any_of(infos.begin(), infos.end(),
                           [=](const shard::MemberInfo& info) { return info.is(incarnation); });
    };
    // Its storage was replaced: the way is to be free for the new one, which may be elsewhere.
    for (Link& link : links_) {
        if (!infos.empty() && link.up && link.peer.node == node && is_member(link.hello) &&
            !names(link.hello.incarnation)) {
            end(link, "that node's storage was replaced");
        }
    }
    std::erase_if(members_,
                  [node](const shard::MemberInfo& member) { return member.node == node; });
    members_.insert(members_.end(), infos.begin(), infos.end());
    std::erase_if(dismissed_,
                  [&](const Dismissed& one) { return one.node == node && names(one.incarnation); });
    for (Link& link : links_) {
        if (link.peer.node == node) {
            link.named = false;
            link.dials = false;
        }
    }
    if (!infos.empty()) {
        name_links(infos.back());
    }
    // Who is connected goes on to be heard; begin_turn forgets those who are not.
    for (Link& link : links_) {
        if (!link.named && !link.up && link.socket != nullptr) {
            retire(std::move(link.socket));
        }
    }
    counters_.links_in_all = static_cast<std::uint32_t>(links_.size());
}

void Peers::name_links(const shard::MemberInfo& member) {
    const auto parsed = net::parse_listen_address(member.address);
    const auto address = parsed ? net::peer_address(parsed->host, parsed->port)
                                : base::Result<net::PeerAddress>(net::PeerAddress{});
    for (std::uint32_t i = 0; i < member.shards; ++i) {
        const shard::PeerShard peer{member.node, base::ShardId(i)};
        if (!share_groups(options_.groups, options_.shard, options_.shards, peer.shard,
                          member.shards)) {
            continue;
        }
        Link* link = find(peer);
        if (link == nullptr) {
            links_.emplace_back();
            link = &links_.back();
            link->peer = peer;
        }
        if (link->where != member.address && parsed && address) {
            link->where = member.address;
            link->address = *address;
            link->pause = retry_first;
            link->again = comes_first(*link) ? now_ : now_ + help_first;
        }
        link->named = true;
        link->dials = parsed && address;
    }
}

void Peers::dismiss(base::NodeId node, std::uint64_t incarnation) {
    std::erase_if(dismissed_, [&](const Dismissed& one) {
        return now_ >= one.until || (one.node == node && one.incarnation == incarnation);
    });
    if (dismissed_.size() >= limits::dismissed_max) {
        dismissed_.erase(dismissed_.begin());
    }
    dismissed_.push_back({node, incarnation, now_ + dismissed_for});
    for (Link& link : links_) {
        if (!link.up || link.peer.node != node || link.hello.incarnation != incarnation) {
            continue;
        }
        const std::string why = dismissal_of(link.hello, members_);
        say_refused("refused", link.where, why);
        refuse(*link.socket, link.hello, why);
        ending_.push_back(std::move(link.socket));
        link.pause = retry_last;
        end(link, "this node dismissed it");
    }
}

bool Peers::is_member(const Hello& hello) const {
    return std::any_of(members_.begin(), members_.end(), [&hello](const shard::MemberInfo& one) {
        return one.node == hello.node && one.is(hello.incarnation);
    });
}

bool Peers::is_dismissed(const Hello& hello) const {
    return std::any_of(dismissed_.begin(), dismissed_.end(), [this, &hello](const Dismissed& one) {
        return one.node == hello.node && one.incarnation == hello.incarnation && now_ < one.until;
    });
}

Peers::Link* Peers::find(shard::PeerShard peer) {
    for (Link& link : links_) {
        if (link.peer == peer) {
            return &link;
        }
    }
    return nullptr;
}

const Peers::Link* Peers::find(shard::PeerShard peer) const {
    return const_cast<Peers*>(this)->find(peer);
}

// --- the shard's view ---

void Peers::take(std::vector<shard::ReceivedFrame>& frames, std::vector<shard::LinkEvent>& events) {
    frames.insert(frames.end(), frames_.begin(), frames_.end());
    events.insert(events.end(), events_.begin(), events_.end());
    frames_.clear();
    events_.clear();
}

bool Peers::takes(shard::PeerShard to) const {
    const Link* link = find(to);
    return link != nullptr && link->up && link->socket->unsent() < limits::peer_queue_bytes_max;
}

std::size_t Peers::unsent(shard::PeerShard to) const {
    const Link* link = find(to);
    return link != nullptr && link->up ? link->socket->unsent() : 0;
}

void Peers::send(shard::PeerShard to, base::Bytes frame) {
    Link* link = find(to);
    if (link == nullptr || !link->up) {
        return;
    }
    link->socket->write(frame);
    ++counters_.frames_sent;
    counters_.sent_bytes += frame.size();
}

// --- the loop's ---

void Peers::adopt(int socket) {
    auto connection = std::make_unique<net::PeerSocket>(ring_, tls_);
    connection->adopt(socket);
    if (closing_) {
        retire(std::move(connection));
        return;
    }
    if (strangers_.size() >= limits::peer_strangers_max) {
        // A peer greets at once: who has waited for longest is the least likely to be one.
        retire(std::move(strangers_.front().socket));
        strangers_.erase(strangers_.begin());
    }
    strangers_.push_back({std::move(connection), now_ + greeting_max});
}

void Peers::begin_turn(base::Instant now) {
    now_ = now;
    // Not taken: the shard had no turn in between.
    frames_.clear();
    events_.insert(events_.end(), ends_.begin(), ends_.end());
    ends_.clear();
    for (Socket& socket : ending_) {
        socket->begin_turn();
    }
    std::erase_if(ending_, [](const Socket& socket) {
        return socket->state() == net::PeerSocket::State::closed;
    });
    for (Link& link : links_) {
        look_at(link);
    }
    std::erase_if(links_, [](const Link& link) { return !link.named && link.socket == nullptr; });
    std::erase_if(strangers_, [this](Stranger& stranger) { return look_at(stranger); });
    counters_.links_in_all = static_cast<std::uint32_t>(links_.size());
}

void Peers::flush() {
    for (Link& link : links_) {
        if (link.socket != nullptr) {
            link.socket->flush();
        }
    }
    for (Stranger& stranger : strangers_) {
        stranger.socket->flush();
    }
    for (Socket& socket : ending_) {
        socket->flush();
    }
}

base::Instant Peers::deadline() const {
    if (!ends_.empty()) {
        return now_;
    }
    base::Instant at = base::Instant::never();
    for (const Link& link : links_) {
        if (link.socket != nullptr && !link.up) {
            at = std::min(at, link.until);
        } else if (link.socket == nullptr && link.dials && !closing_) {
            at = std::min(at, link.again);
        }
    }
    for (const Stranger& stranger : strangers_) {
        at = std::min(at, stranger.until);
    }
    return at;
}

void Peers::close() {
    closing_ = true;
    for (Link& link : links_) {
        if (link.socket != nullptr) {
            link.up = false;
            retire(std::move(link.socket));
        }
    }
    for (Stranger& stranger : strangers_) {
        retire(std::move(stranger.socket));
    }
    strangers_.clear();
    counters_.links = 0;
}

bool Peers::idle() const {
    return ending_.empty() && std::all_of(links_.begin(), links_.end(),
                                          [](const Link& link) { return link.socket == nullptr; });
}

void Peers::retire(Socket socket) {
    socket->close();
    ending_.push_back(std::move(socket));
}

Hello Peers::own_hello(shard::PeerShard to) const {
    Hello hello;
    hello.cluster = options_.cluster;
    hello.incarnation = options_.incarnation;
    hello.boot = options_.boot;
    hello.run = options_.run;
    hello.node = options_.node;
    hello.shard = options_.shard;
    hello.shards = options_.shards;
    hello.groups = options_.groups;
    hello.to_node = to.node;
    hello.to_shard = to.shard;
    return hello;
}

// --- links ---

void Peers::look_at(Link& link) {
    if (link.socket == nullptr) {
        if (link.dials && now_ >= link.again && !closing_) {
            dial(link);
        }
        return;
    }
    link.socket->begin_turn();
    if (!link.reached && link.socket->state() == net::PeerSocket::State::open) {
        link.reached = true;
        link.until = now_ + greeting_max;
    }
    if (link.up) {
        read_frames(link);
    } else {
        greet(link);
    }
    if (link.socket == nullptr) {
        return;
    }
    const net::PeerSocket::State state = link.socket->state();
    if (state == net::PeerSocket::State::ending || state == net::PeerSocket::State::closed) {
        end(link, link.socket->why());
    } else if (!link.up && now_ >= link.until) {
        end(link, link.reached ? "it did not greet in time" : "it did not answer in time");
    }
}

void Peers::dial(Link& link) {
    link.socket = std::make_unique<net::PeerSocket>(ring_, tls_);
    link.reached = false;
    link.until = now_ + connect_max;
    if (auto dialled = link.socket->dial(link.address, link.peer.shard.value); !dialled) {
        end(link, dialled.error().message);
        return;
    }
    link.socket->write(encode_hello(own_hello(link.peer)));
}

// The answer to our greeting.
void Peers::greet(Link& link) {
    base::Bytes block;
    const auto next = link.socket->next_block(hello_kinds, block);
    if (next == net::PeerSocket::Next::none) {
        return;
    }
    if (next == net::PeerSocket::Next::malformed) {
        end(link, "what answers there is no node of ours");
        return;
    }
    if (net::magic_of(block) != hello_magic) {
        on_refusal(link, block);
        return;
    }
    Hello theirs;
    std::string why = decode_hello(block, theirs);
    if (why.empty()) {
        why = check_hello(theirs, own_hello(link.peer), members_);
    }
    if (why.empty() && !link.socket->proves(theirs.node.value)) {
        why = not_proved(theirs.node);
    }
    if (why.empty() && shard::PeerShard{theirs.node, theirs.shard} != link.peer) {
        why = "node " + std::to_string(theirs.node.value) + " answers at the address of node " +
              std::to_string(link.peer.node.value);
    }
    if (why.empty()) {
        why = refuse_older(theirs);
    }
    if (why.empty() && is_dismissed(theirs)) {
        why = dismissal_of(theirs, members_);
    }
    if (!why.empty()) {
        say_refused("refused", link.where, why);
        link.pause = retry_last;
        Socket socket = std::move(link.socket);
        refuse(*socket, theirs, why);
        ending_.push_back(std::move(socket));
        end(link, "this node refused it");
        return;
    }
    bring_up(link, theirs);
    read_frames(link);
}

// One sentence instead of a greeting or a frame.
void Peers::on_refusal(Link& link, base::Bytes block) {
    const std::string why = decode_refusal(block);
    say_refused("refused_by", link.where, why);
    const bool dismissed = net::magic_of(block) == dismissal_magic;
    if (dismissed) {
        counters_.dismissed = now_;
    }
    link.pause = dismissed ? dismissed_pause : retry_last;
    end(link, "it refused this node");
}

std::string Peers::refuse_older(const Hello& hello) const {
    for (const Hello& known : lives_) {
        if (known.node == hello.node && known.incarnation == hello.incarnation &&
            (hello.run < known.run ||
             (hello.run == known.run && hello.run != 0 && hello.boot != known.boot))) {
            return older_copy(hello, known.run);
        }
    }
    return {};
}

void Peers::note_life(const Hello& hello) {
    std::erase_if(lives_, [&hello](const Hello& known) {
        return known.node == hello.node && known.incarnation == hello.incarnation;
    });
    if (lives_.size() >= limits::peer_lives_max) {
        lives_.erase(lives_.begin());
    }
    lives_.push_back(hello);
}

void Peers::bring_up(Link& link, const Hello& hello) {
    note_life(hello);
    link.up = true;
    link.hello = hello;
    link.pause = retry_first;
    link.said.clear();
    ++counters_.links;
    ++counters_.links_made;
    events_.push_back({link.peer, true});
    base::log(base::Event::peer_up, {{"shard", options_.shard.value},
                                     {"node", link.peer.node.value},
                                     {"its_shard", link.peer.shard.value},
                                     {"address", link.where}});
}

void Peers::read_frames(Link& link) {
    const std::size_t before = frames_.size();
    for (;;) {
        base::Bytes block;
        switch (link.socket->next_block(link_kinds, block)) {
            case net::PeerSocket::Next::none: {
                const bool more = link.socket->received_bytes() != link.received;
                link.received = link.socket->received_bytes();
                if (more && frames_.size() == before) {  // a whole frame tells as much
                    events_.push_back({link.peer, true, true});
                }
                return;
            }
            case net::PeerSocket::Next::malformed:
                end(link, "it sent what is no frame");
                return;
            case net::PeerSocket::Next::block:
                break;
        }
        if (net::magic_of(block) != shard::frame_magic) {
            on_refusal(link, block);
            return;
        }
        frames_.push_back({link.peer, block});
        ++counters_.frames_received;
        counters_.received_bytes += block.size();
    }
}

// The frames of this turn are in the socket's memory, which lives on among those that are ending.
void Peers::end(Link& link, const std::string& why) {
    if (link.socket != nullptr) {
        retire(std::move(link.socket));
    }
    if (link.up) {
        link.up = false;
        --counters_.links;
        ends_.push_back({link.peer, false});
    }
    const std::int64_t quarter = link.pause.ns / 4;
    link.again = now_ + link.pause +
                 base::Duration{
                     static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(quarter)))};
    link.again = comes_first(link) ? link.again : link.again + help_after;
    link.pause = std::min(link.pause * 2, retry_last);
    if (why != link.said || now_ - link.said_at >= say_again) {
        link.said = why;
        link.said_at = now_;
        base::log(base::Event::peer_down, {{"shard", options_.shard.value},
                                           {"node", link.peer.node.value},
                                           {"its_shard", link.peer.shard.value},
                                           {"address", link.where},
                                           {"why", why}});
    }
}

// --- those who dialled us ---

// True: it is not a stranger any more, in one way or the other.
bool Peers::look_at(Stranger& stranger) {
    net::PeerSocket& socket = *stranger.socket;
    socket.begin_turn();
    base::Bytes block;
    const auto next = socket.next_block(hello_kinds, block);
    if (next == net::PeerSocket::Next::none) {
        if (socket.state() == net::PeerSocket::State::open && now_ < stranger.until) {
            return false;
        }
        if (!socket.tls_failure().empty()) {
            say_refused("refused", socket.peer_name(), std::string(socket.tls_failure()));
        }
        retire(std::move(stranger.socket));
        return true;
    }
    Hello theirs;
    std::string why = "a greeting was expected";
    if (next == net::PeerSocket::Next::block && net::magic_of(block) == hello_magic) {
        why = decode_hello(block, theirs);
    }
    const shard::PeerShard peer{theirs.node, theirs.shard};
    Link* link = nullptr;
    if (why.empty()) {
        why = check_hello(theirs, own_hello(peer), members_);
        if (why.empty() && !socket.proves(theirs.node.value)) {
            why = not_proved(theirs.node);
        }
        if (why.empty()) {
            why = refuse_older(theirs);
        }
        link = find(peer);
        if (why.empty() && !share_groups(options_.groups, options_.shard, options_.shards,
                                         theirs.shard, theirs.shards)) {
            why = "the two shards share no group";
        } else if (why.empty() && is_dismissed(theirs)) {
            why = dismissal_of(theirs, members_);
        } else if (why.empty() && link != nullptr && link->up && is_member(link->hello) &&
                   !is_member(theirs)) {
            // Two nodes of one id: the member is not to lose its connection to the other one.
            why = dismissal_of(theirs, members_);
        } else if (why.empty() && link != nullptr && link->up && comes_first(*link) &&
                   (is_member(link->hello) || !is_member(theirs))) {
            why = "of two nodes the one with the higher id dials";
        } else if (why.empty() && link == nullptr &&
                   unnamed_links() >= limits::stranger_links_max) {
            why = "too many nodes that no group names are connected";
        }
    }
    if (!why.empty()) {
        say_refused("refused", socket.peer_name(), why);
        refuse(socket, theirs, why);
        ending_.push_back(std::move(stranger.socket));
        return true;
    }
    if (link == nullptr) {
        links_.emplace_back();
        link = &links_.back();
        link->peer = peer;
        link->where = socket.peer_name();
        link->again = now_;
        link->pause = retry_first;
    }
    // A connection that it has given up may look alive here for a while: the newer one counts.
    if (link->socket != nullptr) {
        retire(std::move(link->socket));
        counters_.links -= link->up ? 1 : 0;
    }
    link->socket = std::move(stranger.socket);
    link->socket->write(encode_hello(own_hello(peer)));
    bring_up(*link, theirs);
    read_frames(*link);
    return true;
}

std::size_t Peers::unnamed_links() const {
    return static_cast<std::size_t>(
        std::count_if(links_.begin(), links_.end(), [](const Link& link) { return !link.named; }));
}

void Peers::refuse(net::PeerSocket& socket, const Hello& theirs, const std::string& why) {
    socket.write(is_dismissed(theirs) ? encode_dismissal(why) : encode_refusal(why));
    socket.close_after_flush();
}

void Peers::say_refused(std::string_view side, const std::string& peer, const std::string& why) {
    const base::Duration since = now_ - refusal_at_;
    if (since < (why == refusal_said_ ? say_again : refusal_pause)) {
        return;
    }
    refusal_said_ = why;
    refusal_at_ = now_;
    base::log(base::Event::peer_refused,
              {{"shard", options_.shard.value}, {"peer", peer}, {"side", side}, {"why", why}});
}

}  // namespace ursula
