// PeerSocket: one connection to another node, on a loop's ring, as whole blocks in and blocks out.
// It knows lengths and nothing else of what they say. One send and one receive are under way at
// most; without TLS what is received lands where it is looked at.
//
//   ring.reap();
//   socket.begin_turn();
//   ... next_block() until there is none, write() ...
//   socket.flush();
//   ring.submit_and_wait(...)
//
// The owner keeps it until state() is closed, or until the ring has been left.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "net/op.h"
#include "net/peer_wire.h"
#include "net/tls.h"

namespace ursula::net {

class Ring;

struct PeerAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
};

// A numeric host, without brackets. Nothing is looked up: a node that waits for a name server
// cannot keep its peers.
[[nodiscard]] base::Result<PeerAddress> peer_address(const std::string& host, std::uint16_t port);

class PeerSocket {
  public:
    enum class State : std::uint8_t {
        connecting,
        open,
        ending,  // nothing more is sent; operations of the kernel are still under way
        closed,
    };
    enum class Next : std::uint8_t { block, none, malformed };

    // Without a context nothing is hidden or proved. The context outlives the socket.
    explicit PeerSocket(Ring& ring, TlsContext* tls = nullptr);
    ~PeerSocket();
    PeerSocket(const PeerSocket&) = delete;
    PeerSocket& operator=(const PeerSocket&) = delete;

    // One of the two, once. dial sends the preamble for this target in the clear; what is written
    // before the connection is there leaves with it. adopt takes a connection whose preamble was
    // read.
    [[nodiscard]] base::Result<void> dial(const PeerAddress& address, std::uint32_t target);
    void adopt(int socket);

    State state() const { return state_; }
    // Why it ended, or is about to: one clause, "Connection refused".
    std::string why() const;
    // Empty, or what went wrong with TLS.
    std::string_view tls_failure() const {
        return tls_ == nullptr ? std::string_view() : std::string_view(tls_->failure());
    }
    // Whether this is who it claims to be: always true without TLS. Asked once a block came.
    bool proves(std::uint32_t node) const;
    // "127.0.0.1:4439", for a person.
    std::string peer_name() const;

    void begin_turn();
    // The next block received, if it is one of `kinds`; valid until the next begin_turn(). Blocks
    // that came before the end of the connection are still given after it. malformed: it must be
    // closed.
    Next next_block(std::span<const BlockKind> kinds, base::Bytes& block);
    // Copies. Whoever writes looks at unsent() first: nothing is refused here.
    void write(base::Bytes bytes);
    // Bytes written and not yet taken by the kernel.
    std::size_t unsent() const { return plain_.size() + queued_.size() + flight_.size() - sent_; }
    void flush();

    void close();
    // Ends once all that was written is sent; what comes in is dropped.
    void close_after_flush();

    std::uint64_t sent_bytes() const { return sent_bytes_; }
    std::uint64_t received_bytes() const { return received_bytes_; }

  private:
    struct SocketOp : Op {
        PeerSocket* socket = nullptr;
        std::int32_t result = 0;
        bool under_way = false;
        bool done = false;  // reaped, not yet looked at
    };
    struct Buffer {
        std::unique_ptr<std::byte[]> bytes;
        std::size_t capacity = 0;
    };

    static void reap(Op* op, std::int32_t result, std::uint32_t flags);
    static void start(SocketOp& op);
    static bool take(SocketOp& op);
    static void ensure(Buffer& buffer, std::size_t capacity);
    void make_room();
    void begin_tls(bool dials);
    void decrypt();
    void encrypt();
    void end(int error);
    void close_if_idle();

    Ring& ring_;
    SocketOp connect_;
    SocketOp receive_;
    SocketOp send_;
    PeerAddress address_;
    int socket_ = -1;
    State state_ = State::closed;
    int error_ = 0;
    bool close_after_flush_ = false;

    // Received bytes: [begin_, end_) of in_ wait to be given out. Blocks given out stay in place
    // for their turn, so what is left of a turn moves to the other buffer before more comes in.
    Buffer in_;
    Buffer spare_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t wanted_ = 0;  // length of the block at begin_, once it is known
    bool malformed_ = false;

    TlsContext* context_;
    std::unique_ptr<TlsSession> tls_;
    Buffer cipher_;                 // what the kernel receives into with TLS
    std::size_t cipher_size_ = 0;   // not yet decrypted
    std::vector<std::byte> plain_;  // not yet encrypted

    std::vector<std::byte> queued_;
    std::vector<std::byte> flight_;  // [sent_, size) is the kernel's
    std::size_t sent_ = 0;
    std::uint64_t sent_bytes_ = 0;
    std::uint64_t received_bytes_ = 0;
};

}  // namespace ursula::net
