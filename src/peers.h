// Peers: the links of one loop to the shards of other nodes that have groups of its shard; what a
// shard sees of the network (shard/peer_net.h). The shard says who the other nodes are; of each
// pair the one with the higher id dials. The other one helps when nothing comes for a while: who is
// behind does not know the newest members, nor where they are now, and they come to it.
//
// A connection is a link once both have sent their Hello and found the other's right. Its frames
// are whole, but nothing more is known of them here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "net/peer_socket.h"
#include "peer_greeting.h"
#include "shard/peer_net.h"

namespace ursula {

struct PeersOptions {
    base::NodeId node;
    base::ShardId shard;
    std::uint32_t shards = 1;
    std::uint32_t groups = 1;
    std::uint64_t cluster = 0;  // 0: the node is alone
    std::uint64_t incarnation = 0;
    std::uint64_t boot = 0;
    std::uint64_t run = 0;
    std::uint64_t random_seed = 0;
};

struct PeersCounters {
    std::uint64_t frames_sent = 0;
    std::uint64_t frames_received = 0;
    std::uint64_t sent_bytes = 0;  // of frames
    std::uint64_t received_bytes = 0;
    std::uint64_t links_made = 0;
    std::uint32_t links = 0;         // there now
    std::uint32_t links_in_all = 0;  // when all nodes are well
    base::Instant dismissed{};       // when a leader last said that no group names this node
};

class Peers final : public shard::PeerNet {
  public:
    // `tls` may be null and outlives this.
    Peers(const PeersOptions& options, net::Ring& ring, net::TlsContext* tls, base::Instant now);

    // --- the shard's view ---
    void know(base::NodeId node, std::span<const shard::MemberInfo> infos) override;
    void dismiss(base::NodeId node, std::uint64_t incarnation) override;
    void take(std::vector<shard::ReceivedFrame>& frames,
              std::vector<shard::LinkEvent>& events) override;
    bool takes(shard::PeerShard to) const override;
    std::size_t unsent(shard::PeerShard to) const override;
    void send(shard::PeerShard to, base::Bytes frame) override;

    // --- the loop's, once a turn: begin_turn first thing, flush before the submit ---
    // A connection to this shard that came in by the cluster listener.
    void adopt(int socket);
    void begin_turn(base::Instant now);
    void flush();
    base::Instant deadline() const;
    // Ends everything; nothing is dialled any more. Turns go on until idle().
    void close();
    bool idle() const;

    const PeersCounters& counters() const { return counters_; }

  private:
    using Socket = std::unique_ptr<net::PeerSocket>;
    struct Link {
        shard::PeerShard peer;
        net::PeerAddress address;
        std::string where;   // the address as the members' list has it
        bool named = false;  // a member; else it came by itself, and goes with its connection
        bool dials = false;  // its address is known
        bool up = false;
        Hello hello;                 // up: the other side's
        std::uint64_t received = 0;  // up: its bytes when it was last read
        Socket socket;               // up, or being dialled
        bool reached = false;        // dialled: the connection is there
        base::Instant until{};       // of the connection, then of the greeting
        base::Instant again{};       // when to dial
        base::Duration pause{};      // before the next but one
        bool ended = false;          // the shard is to be told, after the frames it still gets
        // Of the log: what was said last, so that a state is one line.
        std::string said;
        base::Instant said_at{};
    };
    struct Stranger {
        Socket socket;
        base::Instant until;
    };
    struct Dismissed {
        base::NodeId node;
        std::uint64_t incarnation = 0;
        base::Instant until;
    };

    void name_links(const shard::MemberInfo& member);
    bool comes_first(const Link& link) const { return options_.node > link.peer.node; }
    std::size_t unnamed_links() const;
    bool is_member(const Hello& hello) const;
    bool is_dismissed(const Hello& hello) const;
    // Empty, or the refusal of an older directory than this node has met of that storage (R11).
    std::string refuse_older(const Hello& hello) const;
    void note_life(const Hello& hello);
    void on_refusal(Link& link, base::Bytes block);
    Hello own_hello(shard::PeerShard to) const;
    Link* find(shard::PeerShard peer);
    const Link* find(shard::PeerShard peer) const;
    void dial(Link& link);
    void look_at(Link& link);
    void greet(Link& link);
    void read_frames(Link& link);
    void bring_up(Link& link, const Hello& hello);
    void end(Link& link, const std::string& why);
    void retire(Socket socket);
    bool look_at(Stranger& stranger);
    void refuse(net::PeerSocket& socket, const Hello& theirs, const std::string& why);
    void say_refused(std::string_view side, const std::string& peer, const std::string& why);

    const PeersOptions options_;
    net::Ring& ring_;
    net::TlsContext* tls_;
    base::Random random_;
    base::Instant now_;
    std::vector<shard::MemberInfo> members_;  // as the shard said
    std::vector<Link> links_;
    std::vector<Stranger> strangers_;  // greeted by nobody yet
    std::vector<Dismissed> dismissed_;
    std::vector<Hello> lives_;    // the newest of each storage met since this node's start
    std::vector<Socket> ending_;  // until the kernel let go of them
    std::vector<shard::ReceivedFrame> frames_;
    std::vector<shard::LinkEvent> events_;
    std::vector<shard::LinkEvent> ends_;  // told with the next turn's
    std::string refusal_said_;
    base::Instant refusal_at_{};
    bool closing_ = false;
    PeersCounters counters_;
};

}  // namespace ursula
