#include "net/peer_socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/limits.h"
#include "base/verify.h"
#include "net/ring.h"

namespace ursula::net {

namespace limits = base::limits;

namespace {

// A buffer that a long frame needed is given back when it is empty.
constexpr std::size_t kept_bytes_max = 2 * limits::mib;

// Keepalive finds a dead peer of an idle connection, TCP_USER_TIMEOUT one that is being sent to.
void tune(int socket) {
    const auto set = [socket](int level, int option, int value) {
        ::setsockopt(socket, level, option, &value, sizeof value);
    };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(limits::peer_unacknowledged_ms));
    set(IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(limits::peer_kernel_bytes_max));
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 1);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
    set(IPPROTO_TCP, TCP_KEEPCNT, 2);
}

}  // namespace

base::Result<PeerAddress> peer_address(const std::string& host, std::uint16_t port) {
    PeerAddress address;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address.size = sizeof *v4;
        return address;
    }
    if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        address.size = sizeof *v6;
        return address;
    }
    return base::fail(fmt::format("'{}' is not a numeric address", host));
}

PeerSocket::PeerSocket(Ring& ring, TlsContext* tls) : ring_(ring), context_(tls) {
    for (SocketOp* op : {&connect_, &receive_, &send_}) {
        op->reap = reap;
        op->socket = this;
    }
}

PeerSocket::~PeerSocket() {
    if (socket_ >= 0) {
        ::shutdown(socket_, SHUT_RDWR);
        ::close(socket_);
    }
}

void PeerSocket::reap(Op* op, std::int32_t result, std::uint32_t) {
    auto* done = static_cast<SocketOp*>(op);
    done->result = result;
    done->done = true;
}

void PeerSocket::start(SocketOp& op) {
    DVERIFY(!op.under_way);
    op.under_way = true;
    op.done = false;
}

bool PeerSocket::take(SocketOp& op) {
    if (!op.done) {
        return false;
    }
    op.done = false;
    op.under_way = false;
    return true;
}

base::Result<void> PeerSocket::dial(const PeerAddress& address, std::uint32_t target) {
    VERIFY(state_ == State::closed && socket_ < 0);
    socket_ = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (socket_ < 0) {
        return base::fail(fmt::format("socket: {}", std::strerror(errno)), errno);
    }
    tune(socket_);
    address_ = address;
    state_ = State::connecting;
    start(connect_);
    ring_.connect(connect_, socket_, reinterpret_cast<const sockaddr*>(&address_.storage),
                  address_.size);
    const auto preamble = encode_preamble(target);
    queued_.assign(preamble.begin(), preamble.end());
    begin_tls(true);
    return {};
}

void PeerSocket::begin_tls(bool dials) {
    if (context_ != nullptr) {
        tls_ = std::make_unique<TlsSession>(*context_, dials, dials ? peer_name() : std::string());
        tls_->take_output(queued_);
    }
}

void PeerSocket::adopt(int socket) {
    VERIFY(state_ == State::closed && socket_ < 0);
    socket_ = socket;
    tune(socket_);
    address_.size = sizeof address_.storage;
    ::getpeername(socket_, reinterpret_cast<sockaddr*>(&address_.storage), &address_.size);
    state_ = State::open;
    begin_tls(false);
}

std::string PeerSocket::why() const {
    if (tls_ != nullptr && !tls_->failure().empty()) {
        return tls_->failure();
    }
    return error_ == 0 ? "it closed the connection" : std::strerror(error_);
}

bool PeerSocket::proves(std::uint32_t node) const {
    return tls_ == nullptr ||
           (tls_->peer().node == node && tls_->peer().cluster == context_->own_identity().cluster);
}

std::string PeerSocket::peer_name() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (address_.storage.ss_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address_.storage);
        ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
        return fmt::format("{}:{}", text.data(), ntohs(v4->sin_port));
    }
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address_.storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(v6->sin6_port));
}

void PeerSocket::begin_turn() {
    if (take(connect_) && state_ == State::connecting) {
        if (connect_.result == 0) {
            state_ = State::open;
        } else {
            end(-connect_.result);
        }
    }
    if (take(receive_)) {
        if (receive_.result > 0) {
            const auto size = static_cast<std::size_t>(receive_.result);
            received_bytes_ += size;
            (tls_ != nullptr ? cipher_size_ : end_) += size;
            DVERIFY(end_ <= in_.capacity);
        } else if (state_ == State::open) {
            end(-receive_.result);
        }
    }
    decrypt();
    if (take(send_)) {
        if (send_.result >= 0) {
            sent_ += static_cast<std::size_t>(send_.result);
            sent_bytes_ += static_cast<std::uint64_t>(send_.result);
        } else if (state_ == State::open) {
            end(-send_.result);
        }
    }
    close_if_idle();
}

// What came becomes what is looked at, which lies behind the blocks of earlier turns or in the
// other buffer.
void PeerSocket::decrypt() {
    if (cipher_size_ == 0) {
        return;
    }
    tls_->feed({cipher_.bytes.get(), cipher_size_});
    cipher_size_ = 0;
    for (;;) {
        make_room();
        const std::size_t size = tls_->read({in_.bytes.get() + end_, in_.capacity - end_});
        if (size == 0) {
            break;
        }
        end_ += size;
    }
}

void PeerSocket::encrypt() {
    if (tls_ == nullptr) {
        return;
    }
    if (tls_->ready() && !plain_.empty()) {
        tls_->write(plain_);
        if (plain_.capacity() > kept_bytes_max) {
            plain_ = {};
        }
        plain_.clear();
    }
    tls_->take_output(queued_);
}

PeerSocket::Next PeerSocket::next_block(std::span<const BlockKind> kinds, base::Bytes& block) {
    if (malformed_) {
        return Next::malformed;
    }
    if (close_after_flush_) {
        begin_ = end_;
        return Next::none;
    }
    const std::size_t left = end_ - begin_;
    if (left < block_header_bytes) {
        return Next::none;
    }
    const std::byte* at = in_.bytes.get() + begin_;
    const auto magic = base::load<std::uint32_t>(at);
    const std::size_t length = base::load<std::uint32_t>(at + 12);
    const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                   [magic](const BlockKind& one) { return one.magic == magic; });
    if (kind == kinds.end() || length < kind->bytes_min || length > kind->bytes_max) {
        malformed_ = true;
        return Next::malformed;
    }
    if (left < length) {
        wanted_ = length;
        return Next::none;
    }
    wanted_ = 0;
    block = {at, length};
    begin_ += length;
    return Next::block;
}

void PeerSocket::write(base::Bytes bytes) {
    if (state_ == State::connecting || state_ == State::open) {
        std::vector<std::byte>& to = tls_ != nullptr ? plain_ : queued_;
        to.insert(to.end(), bytes.begin(), bytes.end());
    }
}

void PeerSocket::flush() {
    if (state_ != State::open) {
        return;
    }
    encrypt();
    const bool failed = tls_ != nullptr && !tls_->failure().empty();
    if (!send_.under_way) {
        if (sent_ == flight_.size()) {
            if (flight_.capacity() > kept_bytes_max) {
                flight_ = {};
            }
            flight_.clear();
            sent_ = 0;
            std::swap(flight_, queued_);
        }
        if (sent_ < flight_.size()) {
            start(send_);
            ring_.send(send_, socket_, base::Bytes(flight_).subspan(sent_),
                       MSG_NOSIGNAL | MSG_WAITALL);
        } else if (failed || (close_after_flush_ && plain_.empty())) {
            close();  // its alert is sent
            return;
        }
    }
    if (receive_.under_way || malformed_ || failed) {
        return;
    }
    start(receive_);
    if (tls_ != nullptr) {
        ensure(cipher_, limits::peer_receive_bytes);
        ring_.receive(receive_, socket_, {cipher_.bytes.get(), cipher_.capacity});
    } else {
        make_room();
        ring_.receive(receive_, socket_, {in_.bytes.get() + end_, in_.capacity - end_});
    }
}

void PeerSocket::ensure(Buffer& buffer, std::size_t capacity) {
    if (buffer.capacity < capacity) {
        buffer.bytes = std::make_unique_for_overwrite<std::byte[]>(capacity);
        buffer.capacity = capacity;
    }
}

void PeerSocket::make_room() {
    const std::size_t left = end_ - begin_;
    std::size_t capacity = std::max(limits::peer_receive_bytes, wanted_);
    if (left >= capacity) {
        capacity = left + limits::peer_receive_bytes;
    }
    if (begin_ == 0 && in_.capacity >= capacity && end_ < in_.capacity) {
        return;
    }
    // The block's own length and no more: it is read into place with one copy, the kernel's.
    if (spare_.capacity > kept_bytes_max) {
        spare_ = {};
    }
    ensure(spare_, capacity);
    if (left > 0) {
        std::memcpy(spare_.bytes.get(), in_.bytes.get() + begin_, left);
    }
    std::swap(in_, spare_);
    begin_ = 0;
    end_ = left;
}

void PeerSocket::end(int error) {
    if (state_ == State::ending || state_ == State::closed) {
        return;
    }
    error_ = error;
    if (connect_.under_way) {
        ring_.cancel(connect_);
    }
    state_ = State::ending;
    ::shutdown(socket_, SHUT_RDWR);
}

void PeerSocket::close_if_idle() {
    if (state_ == State::ending && !connect_.under_way && !receive_.under_way && !send_.under_way) {
        ::close(socket_);
        socket_ = -1;
        state_ = State::closed;
    }
}

void PeerSocket::close() {
    end(0);
    close_if_idle();
}

void PeerSocket::close_after_flush() {
    close_after_flush_ = true;
}

}  // namespace ursula::net
