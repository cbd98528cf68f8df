// bare-wal: bare-http plus a log with group commit. Every request's body is staged behind a 32-byte
// header with its checksum; whatever is staged when a write slot is free becomes one synced direct
// write; replies leave when their write and all earlier ones are on the disk. No timer. The
// server's durable figures are ratios to this loop's.
#include <algorithm>

#include "base/crc32c.h"
#include "base/wire.h"
#include "tools/bare/arguments.h"
#include "tools/bare/direct_file.h"
#include "tools/bare/http_loop.h"
#include "tools/bare/replies.h"

namespace {

using namespace ursula::bare;

constexpr std::uint64_t log_bytes = 128 << 20;
constexpr std::size_t batch_bytes_max = 4 << 20;
constexpr std::size_t header_bytes = 32;

class BareWal {
  public:
    struct Connection : HttpLoop<BareWal>::Base {
        std::vector<char> body;     // of the request being received
        std::size_t waiting = 0;    // durable requests without a reply in flight
        std::size_t in_flight = 0;  // replies in the send
        bool listed = false;        // is in to_answer_
    };

    explicit BareWal(const Arguments& arguments)
        : stop_after_(arguments.stop_after),
          writes_max_(arguments.writes),
          file_(arguments.file, log_bytes),
          batches_(arguments.writes + 2),
          loop_(*this, arguments.port) {
        for (Batch& batch : batches_) {
            batch.data = aligned_buffer(batch_bytes_max);
            batch.owners.reserve(batch_bytes_max / 256);
        }
    }
    void run() { loop_.run(); }

    void on_body(Connection& connection, const char* data, std::size_t bytes) {
        connection.body.insert(connection.body.end(), data, data + bytes);
    }
    void on_request(Connection& connection) {
        Batch& batch = batches_[filling_];
        const std::size_t bytes = connection.body.size();
        if (batch.used + header_bytes + bytes > batch_bytes_max) {
            die("a batch is full: fewer connections or smaller bodies", ENOSPC);
        }
        char* at = batch.data.get() + batch.used;
        const auto body = ursula::base::as_bytes({connection.body.data(), bytes});
        ursula::base::WireWriter header{{reinterpret_cast<std::byte*>(at), header_bytes}};
        header.put(ursula::base::crc32c(body));
        header.put(static_cast<std::uint32_t>(bytes));
        header.put(++sequence_);
        header.put(next_batch_);
        header.put(static_cast<std::uint64_t>(connection.fd));
        std::memcpy(at + header_bytes, connection.body.data(), bytes);
        batch.used += header_bytes + bytes;
        batch.owners.push_back(&connection);
        ++connection.pins;
        connection.body.clear();
    }
    void on_received(Connection&) {}
    void on_sent(Connection& connection, std::size_t) {
        answered_ += connection.in_flight;
        if (stop_after_ > 0 && answered_ >= stop_after_) {
            loop_.stop();
        }
        answer(connection);
    }
    void on_closed(Connection&) {}

    // A write of batches_[index] is on the disk.
    void on_completion(std::uint64_t index, int result) {
        Batch& batch = batches_[index];
        if (result != static_cast<int>(batch.write_bytes)) {
            die("a write of the log failed", result < 0 ? -result : EIO);
        }
        batch.durable = true;
        --writes_in_flight_;
    }

    void on_turn() {
        while (!written_.empty() && batches_[written_.front()].durable) {
            Batch& batch = batches_[written_.front()];
            written_.erase(written_.begin());
            for (Connection* connection : batch.owners) {
                ++connection->waiting;
                --connection->pins;
                if (!connection->listed) {
                    connection->listed = true;
                    to_answer_.push_back(connection);
                }
            }
            batch.owners.clear();
            batch.used = 0;
            batch.durable = false;
            batch.busy = false;
        }
        while (writes_in_flight_ < writes_max_ && batches_[filling_].used > 0 &&
               written_.size() + 1 < batches_.size()) {
            start_write();
        }
        for (Connection* connection : to_answer_) {
            connection->listed = false;
            if (connection->broken) {
                loop_.release(*connection);
            } else if (!connection->sending) {
                answer(*connection);
            }
        }
        to_answer_.clear();
    }

  private:
    struct Batch {
        AlignedBuffer data;
        std::size_t used = 0;
        std::size_t write_bytes = 0;
        bool busy = false;     // from its write's start until its replies are due
        bool durable = false;  // written, perhaps before an earlier batch
        std::vector<Connection*> owners;
    };

    void start_write() {
        Batch& batch = batches_[filling_];
        batch.write_bytes = (batch.used + block_bytes - 1) / block_bytes * block_bytes;
        std::memset(batch.data.get() + batch.used, 0, batch.write_bytes - batch.used);
        if (position_ + batch.write_bytes > log_bytes) {
            position_ = 0;
        }
        file_.write_synced(loop_.ring(), batch.data.get(), batch.write_bytes, position_, filling_);
        position_ += batch.write_bytes;
        batch.busy = true;
        ++writes_in_flight_;
        ++next_batch_;
        written_.push_back(filling_);
        for (std::size_t i = 0; i < batches_.size(); ++i) {
            if (!batches_[i].busy) {
                filling_ = i;
                return;
            }
        }
    }
    void answer(Connection& connection) {
        if (connection.waiting > 0) {
            connection.in_flight = std::min(connection.waiting, Replies::count_max);
            connection.waiting -= connection.in_flight;
            loop_.send(connection, replies_.data(), connection.in_flight * no_content.size());
        }
    }

    Replies replies_;
    std::uint64_t stop_after_;
    unsigned writes_max_;
    DirectFile file_;
    std::vector<Batch> batches_;
    std::size_t filling_ = 0;           // the batch that requests are staged in
    std::vector<std::size_t> written_;  // batches whose replies are not yet due, in log order
    std::vector<Connection*> to_answer_;
    unsigned writes_in_flight_ = 0;
    std::uint64_t position_ = 0;
    std::uint64_t next_batch_ = 0;
    std::uint64_t sequence_ = 0;
    std::uint64_t answered_ = 0;
    HttpLoop<BareWal> loop_;
};

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments = parse_arguments(
        argc, argv,
        "bare-wal: llhttp on io_uring with a group-commit log, a fixed 204 once durable");
    pin_to(arguments.cpu);
    BareWal(arguments).run();
    return 0;
}
