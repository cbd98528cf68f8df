#include "forming.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "net/listener.h"
#include "net/peer_socket.h"
#include "net/ring.h"
#include "peer_gate.h"
#include "random_number.h"

namespace ursula {

namespace limits = base::limits;

namespace {

constexpr base::Duration ask_again = base::milliseconds(100);  // while things move
constexpr base::Duration ask_again_idle = base::milliseconds(limits::peer_retry_last_ms);
constexpr base::Duration moving = base::seconds(5);  // after the last news
constexpr base::Duration log_first = base::seconds(1);
constexpr base::Duration log_repeat = base::seconds(60);
constexpr base::Duration signal_poll = base::milliseconds(50);
constexpr int last_turns_max = 100;

base::Instant mono_now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return {time.tv_sec * 1'000'000'000 + time.tv_nsec};
}

// One other member, asked again and again.
struct Contact {
    base::NodeId node;
    net::PeerAddress address;
    std::unique_ptr<net::PeerSocket> socket;
    base::Instant again{};
    base::Instant until{};
};

class Former {
  public:
    Former(const FormingOptions& options, storage::Disk& root, storage::NodeFile& node,
           net::Ring& ring)
        : options_(options),
          root_(root),
          node_(node),
          ring_(ring),
          gate_(ring, options.listener, options.tls),
          formation_(options.plan, standing_of(node, options.plan.hash())) {}

    base::Result<FormingEnd> run() {
        TRY(begin());
        while (!formation_.formed()) {
            if (signal_came()) {
                return finish(FormingEnd::stopped);
            }
            TRY(turn());
        }
        return finish(FormingEnd::formed);
    }

  private:
    base::Result<void> begin() {
        now_ = started_ = news_ = mono_now();
        for (const ClusterPlan::Member& member : options_.plan.members) {
            if (member.id == node_.node) {
                continue;
            }
            const auto parsed = net::parse_listen_address(member.address);
            if (!parsed) {
                return tl::unexpected(parsed.error());
            }
            auto address = net::peer_address(parsed->host, parsed->port);
            if (!address) {
                return tl::unexpected(std::move(address.error()));
            }
            Contact contact;
            contact.node = member.id;
            contact.address = *address;
            contacts_.push_back(std::move(contact));
        }
        return take(formation_.begin(random_number()));
    }

    base::Result<void> turn() {
        ring_.reap();
        now_ = mono_now();
        gate_.begin_turn(now_);
        arrivals_.clear();
        gate_.take_arrivals(arrivals_);
        for (const net::PeerDoor::Arrival& arrival : arrivals_) {
            ::close(arrival.socket);  // a formed node's shard: it will come again
        }
        PeerRequest request;
        while (gate_.next_request(request)) {
            std::string refusal = request.admits ? refusal_of(request.admission, formation_.self(),
                                                              options_.plan.name)
                                                 : formation_.refusal_of(request.standing);
            if (refusal.empty()) {
                TRY(request.admits ? admit(request.admission) : hear(request.standing));
                gate_.answer(encode_standing(formation_.self()));
            } else {
                log_refusal("refused", gate_.guest_name(), refusal);
                gate_.answer(encode_refusal(refusal));
            }
        }
        for (Contact& contact : contacts_) {
            TRY(look_at(contact));
        }
        gate_.flush();
        for (Contact& contact : contacts_) {
            if (contact.socket != nullptr) {
                contact.socket->flush();
            }
        }
        log_waiting();
        return ring_.submit_and_wait(wait());
    }

    base::Result<void> look_at(Contact& contact) {
        if (contact.socket == nullptr) {
            if (now_ >= contact.again) {
                contact.socket = std::make_unique<net::PeerSocket>(ring_, options_.tls);
                contact.until = now_ + base::milliseconds(limits::peer_greeting_timeout_ms);
                TRY(contact.socket->dial(contact.address, net::target_control));
                contact.socket->write(encode_standing(formation_.self()));
            }
            return {};
        }
        net::PeerSocket& socket = *contact.socket;
        socket.begin_turn();
        base::Bytes block;
        switch (socket.next_block(standing_kinds, block)) {
            case net::PeerSocket::Next::block:
                TRY(on_answer(contact, block));
                socket.close();
                break;
            case net::PeerSocket::Next::malformed:
                log_refusal("refused", socket.peer_name(), "what answers there is no member");
                socket.close();
                break;
            case net::PeerSocket::Next::none:
                break;
        }
        if (now_ >= contact.until) {
            socket.close();
        }
        if (socket.state() == net::PeerSocket::State::closed) {
            if (const std::string_view why = socket.tls_failure(); !why.empty()) {
                log_refusal("refused", socket.peer_name(), std::string(why));
            }
            contact.socket.reset();
            contact.again = now_ + (now_ - news_ < moving ? ask_again : ask_again_idle);
        }
        return {};
    }

    base::Result<void> on_answer(const Contact& contact, base::Bytes block) {
        if (net::magic_of(block) == refusal_magic) {
            log_refusal("refused_by", contact.socket->peer_name(), decode_refusal(block));
            return {};
        }
        Standing other;
        std::string refusal = decode_standing(block, other);
        if (refusal.empty()) {
            refusal = formation_.refusal_of(other);
        }
        if (refusal.empty() && !contact.socket->proves(other.node.value)) {
            refusal = not_proved(other.node);
        }
        if (refusal.empty() && other.node != contact.node) {
            refusal = "node " + std::to_string(other.node.value) +
                      " answers at the address of node " + std::to_string(contact.node.value);
        }
        if (!refusal.empty()) {
            log_refusal("refused", contact.socket->peer_name(), refusal);
            return {};
        }
        return hear(other);
    }

    base::Result<void> hear(const Standing& other) {
        return take(formation_.hear(other, random_number()));
    }

    base::Result<void> take(std::optional<storage::ClusterRecord> record) {
        if (!record) {
            return {};
        }
        storage::NodeFile next = node_;
        next.cluster = *record;
        TRY(storage::store_node_file(root_, next));
        node_ = std::move(next);
        formation_.stored(*record);
        news_ = now_;
        for (Contact& contact : contacts_) {
            contact.again = std::min(contact.again, now_);
        }
        base::log(formation_.formed() ? base::Event::cluster_formed : base::Event::cluster_forming,
                  {{"id", cluster_name(record->id)}, {"members", record->members.size()}});
        return {};
    }

    base::Result<void> admit(const Admission& admission) {
        const Standing next = formation_.admitted(admission);
        if (next == formation_.self()) {
            return {};
        }
        storage::NodeFile file = node_;
        file.cluster = next.cluster;
        file.shards = next.shards;
        file.groups = next.groups;
        TRY(storage::store_node_file(root_, file));
        node_ = std::move(file);
        formation_.stored(next);
        base::log(base::Event::cluster_joined, {{"id", cluster_name(next.cluster.id)},
                                                {"by", admission.by.value},
                                                {"groups", next.groups}});
        return {};
    }

    bool signal_came() {
        const timespec none{};
        const int signal = sigtimedwait(options_.signals, nullptr, &none);
        return signal == SIGTERM || signal == SIGINT;
    }

    base::Duration wait() const {
        base::Instant at = std::min(gate_.deadline(), now_ + signal_poll);
        for (const Contact& contact : contacts_) {
            at = std::min(at, contact.socket == nullptr ? contact.again : contact.until);
        }
        return at - now_;
    }

    void log_waiting() {
        std::string sentence = formation_.waits_for();
        const bool due = waiting_said_.empty()
                             ? now_ - started_ >= log_first
                             : now_ - waiting_at_ >= log_repeat ||
                                   (sentence != waiting_said_ && now_ - waiting_at_ >= log_first);
        if (due) {
            base::log(base::Event::cluster_waits, {{"why", sentence}});
            waiting_said_ = std::move(sentence);
            waiting_at_ = now_;
        }
    }

    void log_refusal(std::string_view what, const std::string& peer, const std::string& why) {
        if (why == refusal_said_ && now_ - refusal_at_ < log_repeat) {
            return;
        }
        refusal_said_ = why;
        refusal_at_ = now_;
        base::log(base::Event::peer_refused, {{"peer", peer}, {"side", what}, {"why", why}});
    }

    // Nothing of ours may be under way when the ring goes; the last answers leave on the way.
    base::Result<FormingEnd> finish(FormingEnd end) {
        for (int turns = 0; turns < last_turns_max; ++turns) {
            ring_.reap();
            now_ = mono_now();
            gate_.begin_turn(now_);
            arrivals_.clear();
            gate_.take_arrivals(arrivals_);
            for (const net::PeerDoor::Arrival& arrival : arrivals_) {
                ::close(arrival.socket);
            }
            bool idle = true;
            for (Contact& contact : contacts_) {
                if (contact.socket != nullptr) {
                    contact.socket->begin_turn();
                    contact.socket->close();
                    idle = idle && contact.socket->state() == net::PeerSocket::State::closed;
                }
            }
            gate_.flush();
            if (turns > 0) {
                gate_.close();
            }
            if (idle && gate_.idle()) {
                break;
            }
            TRY(ring_.submit_and_wait(base::milliseconds(10)));
        }
        return end;
    }

    const FormingOptions& options_;
    storage::Disk& root_;
    storage::NodeFile& node_;
    net::Ring& ring_;
    PeerGate gate_;
    Formation formation_;
    std::vector<Contact> contacts_;
    std::vector<net::PeerDoor::Arrival> arrivals_;
    base::Instant now_;
    base::Instant started_;
    base::Instant news_;
    std::string waiting_said_;
    base::Instant waiting_at_{};
    std::string refusal_said_;
    base::Instant refusal_at_{};
};

}  // namespace

Standing standing_of(const storage::NodeFile& node, std::uint64_t plan) {
    Standing standing;
    standing.plan = plan;
    standing.incarnation = node.incarnation();
    standing.node = node.node;
    standing.shards = node.shards;
    standing.groups = node.groups;
    standing.cluster = node.cluster;
    return standing;
}

base::Result<FormingEnd> form_cluster(const FormingOptions& options, storage::Disk& root,
                                      storage::NodeFile& node) {
    net::RingOptions small;
    small.sq_entries = 256;
    small.cq_entries = 1024;
    auto ring = net::Ring::open(small);
    if (!ring) {
        return tl::unexpected(std::move(ring.error()));
    }
    Former former(options, root, node, **ring);
    return former.run();
}

}  // namespace ursula
