#include "peer_gate.h"

#include <unistd.h>

#include <algorithm>

#include "base/limits.h"

namespace ursula {

namespace limits = base::limits;

PeerGate::PeerGate(net::Ring& ring, int listener, net::TlsContext* tls)
    : ring_(ring), tls_(tls), door_(ring, listener) {}

void PeerGate::begin_turn(base::Instant now) {
    door_.begin_turn(now, arrivals_);
    for (const net::PeerDoor::Arrival& arrival : arrivals_) {
        if (arrival.target != net::target_control) {
            continue;
        }
        if (guests_.size() >= limits::peer_strangers_max) {
            ::close(arrival.socket);
            continue;
        }
        Guest guest;
        guest.socket = std::make_unique<net::PeerSocket>(ring_, tls_);
        guest.socket->adopt(arrival.socket);
        guest.until = now + base::milliseconds(limits::peer_greeting_timeout_ms);
        guests_.push_back(std::move(guest));
    }
    std::erase_if(arrivals_, [](const net::PeerDoor::Arrival& arrival) {
        return arrival.target == net::target_control;
    });
    for (Guest& guest : guests_) {
        guest.socket->begin_turn();
        if (now >= guest.until) {
            guest.socket->close();
        }
    }
    std::erase_if(guests_, [](const Guest& guest) {
        return guest.socket->state() == net::PeerSocket::State::closed;
    });
}

void PeerGate::take_arrivals(std::vector<net::PeerDoor::Arrival>& arrivals) {
    arrivals.insert(arrivals.end(), arrivals_.begin(), arrivals_.end());
    arrivals_.clear();
}

bool PeerGate::next_request(PeerRequest& request) {
    for (Guest& guest : guests_) {
        base::Bytes block;
        const auto next = guest.socket->next_block(request_kinds, block);
        if (next == net::PeerSocket::Next::none) {
            continue;
        }
        std::string refusal = "a greeting was expected";
        base::NodeId by;
        if (next == net::PeerSocket::Next::block) {
            request.admits = net::magic_of(block) == admission_magic;
            refusal = request.admits ? decode_admission(block, request.admission)
                                     : decode_standing(block, request.standing);
            by = request.admits ? request.admission.by : request.standing.node;
        }
        if (refusal.empty() && !guest.socket->proves(by.value)) {
            refusal = not_proved(by);
        }
        if (refusal.empty()) {
            asking_ = guest.socket.get();
            return true;
        }
        guest.socket->write(encode_refusal(refusal));
        guest.socket->close_after_flush();
    }
    return false;
}

void PeerGate::answer(base::Bytes block) {
    asking_->write(block);
    asking_->close_after_flush();
    asking_ = nullptr;
}

void PeerGate::flush() {
    for (Guest& guest : guests_) {
        guest.socket->flush();
    }
}

base::Instant PeerGate::deadline() const {
    base::Instant at = door_.deadline();
    for (const Guest& guest : guests_) {
        at = std::min(at, guest.until);
    }
    return at;
}

void PeerGate::close() {
    door_.close();
    for (Guest& guest : guests_) {
        guest.socket->close();
    }
}

}  // namespace ursula
