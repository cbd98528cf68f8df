// Responder: how an exchange's response gets onto its connection - in request order, with the
// headers every response has. The write_... functions of the verbs use it; it knows no verb.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/reply.h"
#include "base/time.h"
#include "http/edge.h"
#include "http/exchange.h"
#include "http/problem.h"
#include "http/read_room.h"
#include "net/response_writer.h"
#include "net/transport.h"

namespace ursula::http {

class Responder {
  public:
    Responder(const EdgeOptions& options, net::Transport& transport, EdgeCounters& counters,
              base::WallTime now);

    void options_changed();
    // Once a turn, for the Date that its responses bear: written anew when it is another second,
    // also when the clock was set back.
    void set_time(base::WallTime now) {
        if (static_cast<std::uint64_t>(now.ms - dated_ms_) >= 1000) [[unlikely]] {
            write_date(now);
        }
    }

    // Begins a response: where to write it (the connection, or aside while earlier ones are open)
    // and its common headers. `cross_origin`: with the CORS block even when the request had no
    // Origin (what caches may keep).
    net::ResponseWriter begin(Exchange& exchange, int status, bool cross_origin);
    net::OutputBuffer& output(Exchange& exchange);
    // The response is complete. `ok`: what the writer's end_... said; false sends 500 in its place.
    void end(Exchange& exchange, bool ok);

    void problem(Exchange& exchange, const Problem& problem,
                 std::string_view extra_header_lines = {});
    void refuse(Exchange& exchange, const api::Refused& refused);
    // False: it would hold more memory than there is for what clients do not take; 503 was sent.
    // `from`: the shard that answered.
    [[nodiscard]] bool has_room(Exchange& exchange, base::ShardId from, const api::ReadReply& read,
                                base::Instant now);
    void connection_closed(net::ConnectionId id) { read_room_.closed(id); }
    void end_turn() { read_room_.end_turn(); }

    // 204 of an append, the one response that is written without a ResponseWriter.
    void append_accepted(Exchange& exchange, std::uint64_t tail);
    // Caches keep one answer per form. Beside the Vary: Origin of a CORS list, which begin()
    // writes.
    static constexpr std::string_view vary(bool json) {
        return json ? "Vary: Accept, Accept-Encoding\r\n" : "Vary: Accept-Encoding\r\n";
    }
    // Of what the request asked for, that which fits this reply.
    static Form form_of(const Exchange& exchange, const api::ReadReply& read);
    // Content-Type, Vary and the bytes in that form, and the end of the response. JSON bodies are
    // `[` + elements without the last comma + `]`, or lines.
    void body(Exchange& exchange, net::ResponseWriter& writer, const api::ReadReply& read,
              const Form& form);

    Place place(const Exchange& exchange) const { return {exchange.host, exchange.path}; }
    // Exchanges that end() finished, for the front to unlink; it empties the list.
    std::vector<std::uint32_t>& ended() { return ended_; }
    net::Transport& transport() { return transport_; }

    // What a preflight is told. `wanted`: its Access-Control-Request-Headers, allowed as they are
    // beside ours.
    std::string preflight_headers(std::string_view wanted) const;
    // Of a refusal whose body is not a problem's: logs it, and returns the request id to send.
    std::string name_refusal(const Exchange& exchange, const Problem& problem) {
        std::string id = next_request_id();
        log_refusal(exchange, problem, id);
        return id;
    }
    // Set by the front: is this exchange the first of its connection?
    void set_first(Exchange& exchange, bool first) { exchange.held_aside = !first; }

  private:
    void converted_body(Exchange& exchange, net::ResponseWriter& writer, const api::ReadReply& read,
                        const Form& form);
    void write_date(base::WallTime now);
    std::string_view cors(const Exchange& exchange, bool cross_origin);
    std::string next_request_id();
    void log_refusal(const Exchange& exchange, const Problem& problem, std::string_view id);

    const EdgeOptions& options_;
    net::Transport& transport_;
    EdgeCounters& counters_;
    net::OutputPool held_pool_;
    ReadRoom read_room_;
    std::int64_t dated_ms_ = 0;  // the start of the second in the two heads
    std::string first_lines_;    // Date, and what every response has
    std::string open_cors_;      // block for "*"
    std::string listed_cors_;    // scratch
    std::string append_head_;    // of append_accepted, without origin
    std::size_t append_offset_at_ = 0;
    std::uint64_t request_number_;
    // Lines that may still be logged, and refusals that were not: of clients' errors, of ours.
    struct LogRoom {
        std::int64_t filled_s = 0;
        std::int64_t lines = 0;
        std::uint64_t left_out = 0;
    };
    std::array<LogRoom, 2> log_rooms_;
    std::vector<std::uint32_t> ended_;
};

}  // namespace ursula::http
