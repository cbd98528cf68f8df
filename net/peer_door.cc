#include "net/peer_door.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "net/ring.h"

namespace ursula::net {

namespace limits = base::limits;

namespace {

// After running out of file descriptors and the like.
constexpr base::Duration accept_pause = base::milliseconds(100);

}  // namespace

PeerDoor::PeerDoor(Ring& ring, int listener) : ring_(ring), listener_(listener) {
    accept_.reap = reap_accept;
    accept_.door = this;
    accept_.under_way = true;
    ring_.accept_multishot(accept_, listener_);
}

PeerDoor::~PeerDoor() {
    for (const auto& stranger : strangers_) {
        ::close(stranger->socket);
    }
    for (const int socket : accept_.sockets) {
        ::close(socket);
    }
}

void PeerDoor::reap_accept(Op* op, std::int32_t result, std::uint32_t flags) {
    auto* accept = static_cast<Accept*>(op);
    accept->under_way = more_follow(flags);
    if (result >= 0) {
        accept->sockets.push_back(result);
    } else {
        accept->error = -result;
    }
}

void PeerDoor::reap_receive(Op* op, std::int32_t result, std::uint32_t) {
    auto* stranger = static_cast<Stranger*>(op);
    stranger->result = result;
    stranger->done = true;
}

void PeerDoor::begin_turn(base::Instant now, std::vector<Arrival>& arrivals) {
    for (const int socket : accept_.sockets) {
        if (closing_) {
            ++turned_away_;
            ::close(socket);
            continue;
        }
        make_room();
        auto stranger = std::make_unique<Stranger>();
        stranger->reap = reap_receive;
        stranger->socket = socket;
        stranger->until = now + base::milliseconds(limits::peer_greeting_timeout_ms);
        read_on(*stranger);
        strangers_.push_back(std::move(stranger));
    }
    accept_.sockets.clear();
    std::erase_if(strangers_,
                  [&](const auto& stranger) { return look_at(*stranger, now, arrivals); });
    if (accept_.under_way || closing_) {
        return;
    }
    if (accept_again_ == base::Instant::never() && accept_.error != 0) {
        accept_again_ = now + accept_pause;
    }
    if (accept_.error == 0 || now >= accept_again_) {
        accept_again_ = base::Instant::never();
        accept_.error = 0;
        accept_.under_way = true;
        ring_.accept_multishot(accept_, listener_);
    }
}

// A peer sends its preamble with its first packet: of those who wait, the one that has waited for
// longest is the least likely to be one.
void PeerDoor::make_room() {
    std::size_t waiting = 0;
    Stranger* oldest = nullptr;
    for (const auto& stranger : strangers_) {
        if (!stranger->ending) {
            oldest = oldest == nullptr ? stranger.get() : oldest;
            ++waiting;
        }
    }
    if (waiting >= limits::peer_strangers_max) {
        turn_away(*oldest);
    }
}

void PeerDoor::read_on(Stranger& stranger) {
    stranger.under_way = true;
    stranger.done = false;
    ring_.receive(stranger, stranger.socket,
                  base::MutableBytes(stranger.bytes).subspan(stranger.size));
}

void PeerDoor::turn_away(Stranger& stranger) {
    ++turned_away_;
    stranger.ending = true;
    ::shutdown(stranger.socket, SHUT_RDWR);
}

// True: it is gone from here, with its socket handed on or closed.
bool PeerDoor::look_at(Stranger& stranger, base::Instant now, std::vector<Arrival>& arrivals) {
    if (stranger.done) {
        stranger.done = false;
        stranger.under_way = false;
        if (stranger.result <= 0) {
            stranger.ending = true;
        } else {
            stranger.size += static_cast<std::size_t>(stranger.result);
        }
    }
    if (!stranger.under_way && !stranger.ending) {
        if (stranger.size < preamble_bytes) {
            read_on(stranger);
        } else if (const auto target = decode_preamble(stranger.bytes)) {
            arrivals.push_back({stranger.socket, *target});
            return true;
        } else {
            turn_away(stranger);
        }
    }
    if (!stranger.ending && (now >= stranger.until || closing_)) {
        turn_away(stranger);
    }
    if (stranger.ending && !stranger.under_way) {
        ::close(stranger.socket);
        return true;
    }
    return false;
}

base::Instant PeerDoor::deadline() const {
    base::Instant at = accept_again_;
    for (const auto& stranger : strangers_) {
        if (!stranger->ending) {
            at = std::min(at, stranger->until);
        }
    }
    return at;
}

void PeerDoor::close() {
    if (!closing_) {
        closing_ = true;
        if (accept_.under_way) {
            ring_.cancel(accept_);
        }
    }
}

bool PeerDoor::idle() const {
    return !accept_.under_way && strangers_.empty();
}

}  // namespace ursula::net
