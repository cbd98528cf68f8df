#include "sim/exact.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <variant>

#include "tools/check/check.h"

namespace ursula::sim {

namespace {

// Payloads are told apart by their appends' numbers; 0 is none.
std::uint64_t payload_of(std::uint64_t append) {
    return append + 1;
}

bool is_unknown(const api::Answer& answer) {
    const auto* refused = std::get_if<api::Refused>(&answer);
    return refused != nullptr && (refused->why == api::Refusal::outcome_unknown ||
                                  refused->why == api::Refusal::shutting_down);
}

std::string word_of(const std::string& stream) {
    std::string word = stream;
    std::replace(word.begin(), word.end(), '/', '.');
    return word;
}

}  // namespace

Exact::Exact(const std::vector<std::string>& streams, std::size_t clients, std::size_t nodes)
    : calls_(clients) {
    for (const std::string& stream : streams) {
        check::Stream& one = history_.streams.emplace_back();
        one.name = word_of(stream);
        one.ending = check::Ending::open;
    }
    for (std::size_t client = 0; client < clients; ++client) {
        history_.producers.push_back("p" + std::to_string(client));
    }
    for (std::size_t node = 1; node <= nodes; ++node) {
        history_.nodes.push_back("n" + std::to_string(node));
    }
}

void Exact::asks_create(std::size_t client, std::size_t stream, base::Instant now) {
    calls_[client] = {Kind::create, stream, now, 0, 0, false};
}

void Exact::asks_append(std::size_t client, std::size_t stream, std::uint64_t append,
                        base::Instant now) {
    calls_[client] = {Kind::append, stream, now, append, 0, false};
}

void Exact::asks_produce(std::size_t client, std::size_t stream, std::uint64_t append,
                         std::uint64_t seq, base::Instant now) {
    calls_[client] = {Kind::append, stream, now, append, seq, true};
}

void Exact::asks_read(std::size_t client, std::size_t stream, base::Instant now) {
    calls_[client] = {Kind::read, stream, now, 0, 0, false};
}

check::Append Exact::append_of(std::size_t client, const Call& call) const {
    check::Append append;
    append.when.start = call.start.ns;
    append.payload = payload_of(call.append);
    if (call.producer) {
        append.producer = {static_cast<std::uint32_t>(client + 1), 0, call.seq};
    }
    return append;
}

void Exact::answered(std::size_t client, const api::Answer& answer, base::Instant now) {
    if (is_unknown(answer)) {
        unanswered(client);
        return;
    }
    const Call call = std::exchange(calls_[client], {});
    if (call.kind == Kind::create) {
        const auto* reply = std::get_if<api::CreateReply>(&answer);
        check::Change create;
        create.when.start = call.start.ns;
        create.when.end = now.ns;
        create.outcome = reply == nullptr ? check::Outcome::refused
                         : reply->created ? check::Outcome::acked
                                          : check::Outcome::duplicate;
        history_.streams[call.stream].creates.push_back(create);
    } else if (call.kind == Kind::append) {
        answered_append(client, call, answer, now);
    } else if (const auto* reply = std::get_if<api::ReadReply>(&answer);
               call.kind == Kind::read && reply != nullptr) {
        answered_read(call, *reply, now);
    }
}

void Exact::answered_append(std::size_t client, const Call& call, const api::Answer& answer,
                            base::Instant now) {
    check::Append append = append_of(client, call);
    append.when.end = now.ns;
    append.outcome = check::Outcome::refused;
    if (const auto* reply = std::get_if<api::AppendReply>(&answer)) {
        if (reply->kind == api::AppendReply::Kind::appended) {
            append.outcome = check::Outcome::acked;
            append.offset = {0, reply->tail};
        } else {
            append.outcome = check::Outcome::duplicate;
            append.told = reply->producer_seq;
        }
    }
    history_.streams[call.stream].appends.push_back(append);
}

void Exact::answered_read(const Call& call, const api::ReadReply& reply, base::Instant now) {
    std::string content;
    for (const base::Slice& piece : reply.pieces) {
        content += base::as_text(piece.bytes());
    }
    check::Read read;
    read.when.start = call.start.ns;
    read.when.end = now.ns;
    read.from = {0, reply.from};
    read.to = {0, reply.next};
    read.tail = reply.up_to_date;
    torn_ = !split(content, numbers_, ends_) || torn_;
    read.count = numbers_.size();
    for (const std::uint64_t number : numbers_) {
        read.hash = check::fold(read.hash, payload_of(number));
    }
    history_.streams[call.stream].reads.push_back(read);
}

void Exact::unanswered(std::size_t client) {
    const Call call = std::exchange(calls_[client], {});
    if (call.kind == Kind::append) {
        history_.streams[call.stream].appends.push_back(append_of(client, call));
    } else if (call.kind == Kind::create) {
        check::Change create;
        create.when.start = call.start.ns;
        create.outcome = check::Outcome::unknown;
        history_.streams[call.stream].creates.push_back(create);
    }
}

void Exact::final_content(std::size_t stream, std::size_t node, std::string_view content) {
    torn_ = !split(content, numbers_, ends_) || torn_;
    check::NodeLog& log = history_.streams[stream].logs.emplace_back();
    log.node = history_.nodes[node - 1];
    for (std::size_t i = 0; i < numbers_.size(); ++i) {
        check::Logged& one = log.entries.emplace_back();
        one.payload = payload_of(numbers_[i]);
        one.offset = {0, ends_[i]};
    }
}

std::string Exact::verdict() {
    if (torn_) {
        return "a read showed part of an append";
    }
    const check::Verdict verdict = check::check_history(history_);
    if (verdict.unplaced > 0) {
        return "a read began or ended where no append does";
    }
    return verdict.violations.empty() ? std::string()
                                      : check::explain(history_, verdict.violations.front());
}

// "12345678:0000123:" in front of each, in JSON behind a quote: its number, and its length with all
// (history.cc).
bool Exact::split(std::string_view content, std::vector<std::uint64_t>& appends,
                  std::vector<std::uint64_t>& ends) {
    appends.clear();
    ends.clear();
    for (std::size_t at = 0; at < content.size();) {
        std::uint64_t number = 0;
        std::uint64_t bytes = 0;
        const char* text = content.data() + at + (content[at] == '"' ? 1 : 0);
        if (content.size() - at < 18 || std::from_chars(text, text + 8, number).ptr != text + 8 ||
            std::from_chars(text + 9, text + 16, bytes).ptr != text + 16 || bytes < 17 ||
            bytes > content.size() - at) {
            return false;
        }
        at += bytes;
        appends.push_back(number);
        ends.push_back(at);
    }
    return true;
}

}  // namespace ursula::sim
