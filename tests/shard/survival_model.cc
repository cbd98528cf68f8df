#include "tests/shard/survival_model.h"

#include <fmt/format.h>

namespace ursula::shard::test {

using api::Refusal;

namespace {

std::string refused(Refusal why) {
    return fmt::format("refused {}", static_cast<int>(why));
}
std::string appended(const char* kind, const ModelStream& stream, bool closed, const Write& write,
                     std::uint64_t epoch, std::uint64_t seq) {
    const bool producer = !write.producer.empty();
    return fmt::format("{} tail {}{}{}", kind, stream.content.size(), closed ? " closed" : "",
                       producer ? fmt::format(" by {}:{}", epoch, seq) : std::string());
}

}  // namespace

std::string ModelGroup::apply(const Write& write, WrongModel wrong) {
    const auto found = streams.find(write.name);
    if (write.kind == Write::Kind::create) {
        const bool fresh = found == streams.end();
        if (!fresh && (found->second.type != write.type || found->second.closed != write.close)) {
            return refused(Refusal::stream_exists_with_other_config);
        }
        ModelStream& stream = streams[write.name];
        if (fresh) {
            stream.type = write.type;
            stream.content = write.stored;
            stream.ends.push_back(stream.content.size());
            stream.closed = write.close;
            stream.life = ++lives;
        }
        return fmt::format("{} tail {}{}", fresh ? "created" : "existed", stream.content.size(),
                           stream.closed ? " closed" : "");
    }
    if (found == streams.end()) {
        return refused(Refusal::stream_not_found);
    }
    ModelStream& stream = found->second;
    if (write.kind == Write::Kind::remove) {
        streams.erase(found);
        return "removed";
    }
    if (write.body.empty() && !write.close) {
        return refused(Refusal::empty_append);
    }
    if (!write.body.empty() && write.type.empty()) {
        return refused(Refusal::content_type_missing);
    }
    ModelStream::Producer* known = nullptr;
    if (const auto at = stream.producers.find(write.producer); at != stream.producers.end()) {
        known = &at->second;
    }
    if (stream.closed) {
        if (!write.producer.empty() && write.producer == stream.closer &&
            known->epoch == write.epoch && known->seq == write.seq) {
            return appended("duplicate", stream, true, write, write.epoch, write.seq);
        }
        if (write.producer.empty() && write.body.empty()) {
            return appended("closed", stream, true, write, 0, 0);
        }
        return refused(Refusal::stream_closed);
    }
    if (!write.body.empty() && write.type != stream.type) {
        return refused(Refusal::content_type_mismatch);
    }
    if (!write.producer.empty()) {
        if (known != nullptr && write.epoch < known->epoch) {
            return refused(Refusal::producer_epoch_stale);
        }
        if (known != nullptr && write.epoch == known->epoch && write.seq <= known->seq &&
            wrong != WrongModel::duplicates_are_appended) {
            return appended("duplicate", stream, false, write, known->epoch, known->seq);
        }
        if (known != nullptr && write.epoch > known->epoch && write.seq != 0) {
            return refused(Refusal::producer_epoch_must_start_at_zero);
        }
        const std::uint64_t expected =
            known != nullptr && write.epoch == known->epoch ? known->seq + 1 : 0;
        if (write.seq > expected) {
            return refused(Refusal::producer_gap);
        }
    }
    if (!write.stream_seq.empty() && write.stream_seq <= stream.stream_seq) {
        return refused(Refusal::stream_seq_not_increasing);
    }
    stream.content += write.stored;
    if (!write.stored.empty()) {
        stream.ends.push_back(stream.content.size());
    }
    if (!write.producer.empty()) {
        stream.producers[write.producer] = {write.epoch, write.seq};
    }
    if (!write.stream_seq.empty()) {
        stream.stream_seq = write.stream_seq;
    }
    if (write.close && wrong != WrongModel::close_keeps_open) {
        stream.closed = true;
        stream.closer = write.producer;
    }
    return appended(write.body.empty() ? "closed" : "appended", stream, write.close, write,
                    write.epoch, write.seq);
}

std::string told(const api::Answer& answer) {
    if (const auto* no = std::get_if<api::Refused>(&answer)) {
        return refused(no->why);
    }
    if (const auto* created = std::get_if<api::CreateReply>(&answer)) {
        return fmt::format("{} tail {}{}", created->created ? "created" : "existed", created->tail,
                           created->closed ? " closed" : "");
    }
    if (const auto* append = std::get_if<api::AppendReply>(&answer)) {
        const char* kinds[] = {"appended", "duplicate", "closed"};
        return fmt::format("{} tail {}{}{}", kinds[static_cast<int>(append->kind)], append->tail,
                           append->closed ? " closed" : "",
                           append->producer ? fmt::format(" by {}:{}", append->producer_epoch,
                                                          append->producer_seq)
                                            : std::string());
    }
    return std::holds_alternative<api::RemoveReply>(answer) ? "removed" : "something else";
}

bool changes_nothing(const api::Answer& answer) {
    if (const auto* created = std::get_if<api::CreateReply>(&answer)) {
        return !created->created;
    }
    const auto* append = std::get_if<api::AppendReply>(&answer);
    return std::holds_alternative<api::Refused>(answer) ||
           (append != nullptr && append->kind == api::AppendReply::Kind::duplicate);
}

}  // namespace ursula::shard::test
