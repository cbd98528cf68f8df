#include "tools/bench/load.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iterator>

#include "tools/bench/client.h"

namespace ursula::bench {
namespace {

constexpr double silence_s = 10.0;        // without any reply, before a run fails
constexpr std::int64_t spin_ns = 60'000;  // a sleeping core wakes too late to send in time
constexpr std::int64_t idle_wait_ns = 20'000'000;
constexpr std::size_t error_body_bytes_max = 300;
constexpr std::size_t tails_checked_max = 1000;  // streams whose end is compared after a run
constexpr std::size_t connect_burst =
    256;  // readers connected between two turns, below any listen backlog

volatile std::sig_atomic_t interrupted = 0;

std::int64_t to_ns(double seconds) {
    return static_cast<std::int64_t>(seconds * 1e9);
}

}  // namespace

struct Load::Connection {
    Connection(Load& owner, bool is_reader) : load(owner), reader(is_reader) {}
    Load& load;
    const bool reader;
    int fd = -1;
    bool sending = false;
    ResponseParser parser;
    std::string out;  // what the send in flight holds
};

// An appender. It has up to `depth` requests outstanding; what may be sent goes out in one send.
struct Load::Writer : Connection {
    explicit Writer(Load& owner) : Connection(owner, false) {}
    std::vector<Pending> pending;  // a circle, oldest at first
    std::size_t first = 0;
    std::size_t outstanding = 0;
    std::vector<std::size_t> streams;      // it appends to, in turn
    std::vector<std::uint64_t> sequences;  // next Producer-Seq for each
    std::size_t turn = 0;
    std::size_t stayed = 0;  // appends to that one so far
    std::string producer;
    int status = 0;
    std::string error_body;

    void on_head(int new_status, std::string_view) { status = new_status; }
    void on_body(std::string_view bytes) {
        if (error_body.size() < error_body_bytes_max) {
            error_body.append(bytes.substr(0, error_body_bytes_max - error_body.size()));
        }
    }
    void on_end() { load.on_reply(*this); }
};

// A tailer. A response that ends is asked for again from the last offset it gave.
struct Load::Reader : Connection {
    explicit Reader(Load& owner) : Connection(owner, true) {}
    std::size_t turn = 0;  // which of the nodes it reads from
    std::size_t stream = 0;
    std::uint64_t delivered = 0;
    std::int64_t now_ns = 0;
    bool ready = false;        // had its first head
    bool in_response = false;  // between a head and its end
    bool closing = false;      // this response is the connection's last
    SseParser events;

    void on_head(int status, std::string_view head) {
        if (status != 200) {
            fail(fmt::format("a tail of {} answered {}:\n{}", path_of_stream(load.options_, stream),
                             status, head));
        }
        events.set_base64(find_header(head, "stream-sse-data-encoding") == "base64");
        closing = find_header(head, "connection") == "close";
        in_response = true;
        if (!ready) {
            ready = true;
            ++load.readers_ready_;
        }
    }
    void on_body(std::string_view bytes) {
        const bool good = events.feed(
            bytes, [this](std::int64_t since_ns) { load.on_delivery(*this, since_ns); });
        if (!good) {
            fail("a data event is not the base64 it was said to be");
        }
    }
    void on_end() {
        in_response = false;
        if (!closing) {
            load.request_tail(*this);
        }
    }
};

Load::Load(const Options& options)
    : options_(options),
      ring_(4096, 32768),
      buffers_(ring_, 4096, 4096),
      body_(make_body(options, options.readers > 0)),
      append_head_(
          fmt::format(" HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
                      options.address, options.port, options.content_type, body_.text.size())),
      create_head_(
          fmt::format(" HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: {}\r\nContent-Length: 0\r\n\r\n",
                      options.address, options.port, options.content_type)),
      producer_prefix_(fmt::format("b{:x}-", clock_ns())),
      acked_per_stream_(options.streams) {}

Load::~Load() {
    for (const auto& writer : writers_) {
        close(writer->fd);
    }
    for (const auto& reader : readers_) {
        close(reader->fd);
    }
}

void Load::connect_writers() {
    if (!writers_.empty()) {
        return;
    }
    for (std::size_t i = 0; i < options_.connections; ++i) {
        auto writer = std::make_unique<Writer>(*this);
        writer->fd = connect_to(options_, i);
        writer->pending.resize(options_.depth);
        // With more streams than connections each stream has one appender, else they share.
        for (std::size_t stream = i % options_.streams; stream < options_.streams;
             stream += options_.connections) {
            writer->streams.push_back(stream);
        }
        writer->sequences.resize(writer->streams.size());
        writer->producer = fmt::format(
            "Producer-Id: {}{}\r\nProducer-Epoch: 0\r\nProducer-Seq: ", producer_prefix_, i);
        arm(*writer);
        writers_.push_back(std::move(writer));
    }
}

void Load::create_streams() {
    const Client::Reply reply = Client(options_).send("PUT", "/" + options_.bucket);
    if (reply.status != 201 && reply.status != 200) {
        fail(fmt::format("PUT /{} answered {}: {}", options_.bucket, reply.status, reply.body));
    }
    connect_writers();
    drive(Work::create, options_.streams, 0, 0, 0);
}

void Load::fill(std::uint64_t count) {
    connect_writers();
    drive(Work::append, count, 0, 0, 0);
}

LoadResult Load::run() {
    connect_writers();
    const bool checked = options_.create && !options_.until_close;
    const std::vector<std::uint64_t> before = checked ? read_tails() : std::vector<std::uint64_t>{};
    std::fill(acked_per_stream_.begin(), acked_per_stream_.end(), 0);
    drive(Work::append, options_.count, options_.warmup_s, options_.duration_s,
          options_.rate_per_s);
    if (!server_ended_) {
        wait_for_deliveries();
        result_.expected = deliveries_expected();
        for (const auto& reader : readers_) {
            const std::uint64_t due = acked_per_stream_[reader->stream];
            result_.delivered += reader->delivered;
            result_.lost += due - std::min(due, reader->delivered);
            result_.repeated += reader->delivered - std::min(due, reader->delivered);
        }
        if (checked) {
            check_tails(before);
        }
    }
    return result_;
}

// One pass of requests: all of `count`, or for warm-up and duration. Returns when every one is
// answered.
void Load::drive(Work work, std::uint64_t count, double warmup_s, double duration_s,
                 double rate_per_s) {
    result_ = LoadResult{};
    work_ = work;
    issuing_ = true;
    limit_ = count;
    issued_ = 0;
    due_.clear();
    due_count_ = 0;
    const std::int64_t begin = clock_ns();
    // A run that the server ends is for counting, so all of it counts.
    window_begin_ns_ = limit_ > 0 || options_.until_close ? begin : begin + to_ns(warmup_s);
    window_end_ns_ = limit_ > 0 ? INT64_MAX : window_begin_ns_ + to_ns(duration_s);
    due_step_ns_ = rate_per_s > 0 ? 1e9 / rate_per_s : 0;
    due_start_ns_ = begin;
    bool measuring = false;
    double cpu_at_begin = 0;
    if (due_step_ns_ == 0) {
        for (const auto& writer : writers_) {
            fill_pipeline(*writer);
        }
    }
    while (!server_ended_) {
        const std::int64_t now = clock_ns();
        if (!measuring && now >= window_begin_ns_) {
            measuring = true;
            cpu_at_begin = cpu_seconds();
        }
        if (issuing_ && (now >= window_end_ns_ || (limit_ > 0 && issued_ >= limit_))) {
            issuing_ = false;
            result_.not_sent = due_.size();
            result_.generator_cpu = cpu_seconds() - cpu_at_begin;
        }
        if (!issuing_ && outstanding_ == 0) {
            break;
        }
        if (outstanding_ > 0 && now > std::max(begin, last_reply_ns_) + to_ns(silence_s)) {
            fail(fmt::format("{} requests are open and no reply came for {} s", outstanding_,
                             silence_s));
        }
        std::int64_t wait_ns = options_.spin ? 0 : idle_wait_ns;
        if (issuing_) {
            const std::int64_t edge = measuring ? window_end_ns_ : window_begin_ns_;
            wait_ns = std::min(wait_ns, edge - now);
            if (due_step_ns_ > 0) {
                add_due(now);
                const std::int64_t next =
                    due_start_ns_ +
                    static_cast<std::int64_t>(static_cast<double>(due_count_) * due_step_ns_);
                wait_ns = std::min(wait_ns, next - now - spin_ns);
            }
        }
        turn(wait_ns);
    }
    const std::int64_t end = limit_ > 0 || server_ended_ ? last_reply_ns_ : window_end_ns_;
    result_.seconds = static_cast<double>(end - window_begin_ns_) / 1e9;
    if (issuing_) {  // the server ended the run
        result_.generator_cpu = cpu_seconds() - cpu_at_begin;
    }
    result_.generator_cpu /= std::max(result_.seconds, 1e-9);
    work_ = Work::none;
}

// Open loop: appends that are due by now go to the next connections that can take them, oldest
// first.
void Load::add_due(std::int64_t now_ns) {
    while (limit_ == 0 || due_count_ < limit_) {
        const auto due = due_start_ns_ +
                         static_cast<std::int64_t>(static_cast<double>(due_count_) * due_step_ns_);
        if (due > now_ns) {
            break;
        }
        due_.push_back(due);
        ++due_count_;
    }
    for (std::size_t i = 0; i < writers_.size() && !due_.empty(); ++i) {
        Writer& writer = *writers_[next_writer_];
        next_writer_ = (next_writer_ + 1) % writers_.size();
        if (!writer.sending && may_send(writer)) {
            build_request(writer, due_.front());
            due_.pop_front();
            send(writer);
        }
    }
}

bool Load::may_send(const Writer& writer) const {
    return issuing_ && writer.outstanding < options_.depth && (limit_ == 0 || issued_ < limit_) &&
           (due_step_ns_ == 0 || !due_.empty());
}

void Load::fill_pipeline(Writer& writer) {
    if (writer.sending || !may_send(writer)) {
        return;
    }
    const std::int64_t now = clock_ns();
    do {
        std::int64_t due = now;
        if (due_step_ns_ > 0) {
            due = due_.front();
            due_.pop_front();
        }
        build_request(writer, due);
    } while (may_send(writer));
    send(writer);
}

// Adds one request to what the writer's next send holds.
void Load::build_request(Writer& writer, std::int64_t due_ns) {
    std::string& out = writer.out;
    auto end = std::back_inserter(out);
    std::size_t stream = static_cast<std::size_t>(issued_);
    if (work_ == Work::create) {
        fmt::format_to(end, "PUT /{}/s{}", options_.bucket, stream);
        out.append(create_head_);
    } else {
        stream = writer.streams[writer.turn];
        out.append("POST /").append(options_.bucket).append("/s");
        out.append(fmt::format_int(stream).c_str()).append(append_head_);
        if (options_.producer) {
            out.append(writer.producer);
            out.append(fmt::format_int(writer.sequences[writer.turn]++).c_str()).append("\r\n");
        }
        out.append("\r\n").append(body_.text);
        if (body_.stamped) {
            write_stamp(out.data() + out.size() - body_.text.size() + body_.stamp_at, due_ns);
        }
        if (++writer.stayed >= options_.stay) {
            writer.stayed = 0;
            writer.turn = writer.turn + 1 == writer.streams.size() ? 0 : writer.turn + 1;
        }
    }
    writer.pending[(writer.first + writer.outstanding) % writer.pending.size()] = {due_ns, stream};
    ++writer.outstanding;
    ++outstanding_;
    ++issued_;
}

void Load::send(Connection& connection) {
    connection.sending = true;
    io_uring_sqe* sqe = ring_.sqe();
    io_uring_prep_send(sqe, connection.fd, connection.out.data(), connection.out.size(),
                       MSG_WAITALL | MSG_NOSIGNAL);
    sqe->user_data = reinterpret_cast<std::uint64_t>(&connection) | 1;
}

void Load::arm(Connection& connection) {
    bare::arm_receive(ring_.sqe(), connection.fd, reinterpret_cast<std::uint64_t>(&connection));
}

void Load::turn(std::int64_t wait_ns) {
    ring_.submit_and_wait_for(wait_ns);
    ring_.reap([this](std::uint64_t user_data, int result, std::uint32_t flags) {
        complete(user_data, result, flags);
    });
    for (Connection* connection : starved_) {
        arm(*connection);
    }
    starved_.clear();
}

void Load::complete(std::uint64_t user_data, int result, std::uint32_t flags) {
    Connection& connection = *reinterpret_cast<Connection*>(user_data & ~std::uint64_t{1});
    if ((user_data & 1) == 0) {
        on_received(connection, result, flags);
        return;
    }
    connection.sending = false;
    connection.out.clear();
    if (result >= 0 && !connection.reader) {
        fill_pipeline(static_cast<Writer&>(connection));
    }
}

void Load::on_received(Connection& connection, int result, std::uint32_t flags) {
    if (result > 0) {
        const std::string_view bytes{buffers_.data(flags), static_cast<std::size_t>(result)};
        bool good = false;
        if (connection.reader) {
            auto& reader = static_cast<Reader&>(connection);
            reader.now_ns = clock_ns();
            good = reader.parser.feed(bytes, reader);
        } else {
            auto& writer = static_cast<Writer&>(connection);
            last_reply_ns_ = clock_ns();
            good = writer.parser.feed(bytes, writer);
            fill_pipeline(writer);
        }
        if (!good) {
            fail(fmt::format("bytes that are no HTTP response: {:.200}", bytes));
        }
        buffers_.give_back(flags);
    }
    if ((flags & IORING_CQE_F_MORE) == 0) {
        if (result > 0 || result == -ENOBUFS) {
            starved_.push_back(&connection);
        } else {
            on_closed(connection, result);
        }
    }
}

void Load::on_closed(Connection& connection, int result) {
    if (options_.until_close) {
        server_ended_ = true;
        return;
    }
    if (!connection.reader || static_cast<Reader&>(connection).in_response) {
        fail(fmt::format("the server closed a connection in use ({}) after {} replies",
                         result == 0 ? "end of stream" : std::strerror(-result), result_.acked));
    }
    auto& reader = static_cast<Reader&>(connection);
    close(reader.fd);
    reader.fd = connect_to(options_, reader.turn);
    reader.parser = ResponseParser{};
    starved_.push_back(&reader);
    request_tail(reader);
}

void Load::on_reply(Writer& writer) {
    const int status = writer.status;
    ++result_.statuses[status];
    bool good = false;
    if (work_ == Work::create) {
        good = status == 201 || status == 200;
    } else {
        // 200 says that a producer's append was new, 204 that it was a duplicate: bare loops know
        // only 204.
        good = status == (options_.producer && options_.create ? 200 : 204);
    }
    if (!good) {
        fail(fmt::format("{} answered {}: {}", work_ == Work::create ? "a create" : "an append",
                         status, writer.error_body));
    }
    if (writer.outstanding == 0) {
        fail("a reply came without a request");
    }
    const Pending pending = writer.pending[writer.first];
    writer.first = writer.first + 1 == writer.pending.size() ? 0 : writer.first + 1;
    --writer.outstanding;
    --outstanding_;
    ++result_.acked;
    if (work_ == Work::append) {
        ++acked_per_stream_[pending.stream];
    }
    const std::int64_t now = last_reply_ns_;
    const bool inside = now >= window_begin_ns_ && now < window_end_ns_;
    result_.appends += inside ? 1 : 0;
    // Open loop: every append that was due inside the window, however late its reply.
    if (due_step_ns_ > 0 ? pending.since_ns >= window_begin_ns_ : inside) {
        result_.append_ns.record(now - pending.since_ns);
    }
}

void Load::connect_readers() {
    for (std::size_t i = 0; i < options_.readers; ++i) {
        auto reader = std::make_unique<Reader>(*this);
        reader->turn = i;
        reader->fd = connect_to(options_, i);
        reader->stream = i % options_.streams;
        arm(*reader);
        request_tail(*reader);
        readers_.push_back(std::move(reader));
        if (i % connect_burst == connect_burst - 1) {
            turn(0);
        }
    }
    const std::int64_t end = clock_ns() + to_ns(silence_s);
    while (readers_ready_ < readers_.size()) {
        if (clock_ns() > end) {
            fail(fmt::format("{} of {} tails were answered within {} s", readers_ready_,
                             readers_.size(), silence_s));
        }
        turn(idle_wait_ns);
    }
    hold(options_.settle_s);
    if (interrupted != 0) {
        fail("interrupted");
    }
}

void Load::request_tail(Reader& reader) {
    const std::string& offset = reader.events.next_offset();
    reader.out = fmt::format(
        "GET {}?offset={}&live=sse HTTP/1.1\r\nHost: {}:{}\r\nAccept: text/event-stream\r\n\r\n",
        path_of_stream(options_, reader.stream), offset.empty() ? "now" : offset.c_str(),
        options_.address, options_.port);
    send(reader);
}

void Load::on_delivery(Reader& reader, std::int64_t since_ns) {
    if (since_ns < 0 || since_ns > reader.now_ns) {
        fail("a delivered event carries no send time of this run");
    }
    ++reader.delivered;
    if (since_ns >= window_begin_ns_ && since_ns < window_end_ns_) {
        result_.delivery_ns.record(reader.now_ns - since_ns);
    }
}

std::uint64_t Load::deliveries_expected() const {
    std::uint64_t expected = 0;
    for (const auto& reader : readers_) {
        expected += acked_per_stream_[reader->stream];
    }
    return expected;
}

void Load::wait_for_deliveries() {
    const std::uint64_t expected = deliveries_expected();
    const std::int64_t end = clock_ns() + to_ns(silence_s);
    while (clock_ns() < end) {
        std::uint64_t delivered = 0;
        for (const auto& reader : readers_) {
            delivered += reader->delivered;
        }
        if (delivered >= expected) {
            return;
        }
        turn(idle_wait_ns);
    }
}

void Load::hold(double seconds) {
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    std::signal(SIGINT, [](int) { interrupted = 1; });
    const std::int64_t end = seconds > 0 ? clock_ns() + to_ns(seconds) : INT64_MAX;
    while (interrupted == 0 && clock_ns() < end) {
        turn(std::min(idle_wait_ns, end - clock_ns()));
    }
    std::signal(SIGTERM, SIG_DFL);
    std::signal(SIGINT, SIG_DFL);
}

std::vector<std::uint64_t> Load::read_tails() {
    std::vector<std::uint64_t> tails;
    Client client(options_);
    for (std::size_t i = 0; i < std::min(options_.streams, tails_checked_max); ++i) {
        tails.push_back(client.tail_of(i));
    }
    return tails;
}

// Every acknowledged append is in its stream: the end moved by exactly their bytes. JSON is stored
// in a form of the server's choice, so there the end moved by at least that.
void Load::check_tails(const std::vector<std::uint64_t>& before) {
    const std::vector<std::uint64_t> after = read_tails();
    for (std::size_t i = 0; i < after.size(); ++i) {
        const std::uint64_t moved = after[i] - before[i];
        const std::uint64_t appended = acked_per_stream_[i] * body_.text.size();
        if (options_.is_json() ? moved < appended : moved != appended) {
            fail(fmt::format("{} grew by {} bytes, but {} were acknowledged",
                             path_of_stream(options_, i), moved, appended));
        }
    }
}

}  // namespace ursula::bench
