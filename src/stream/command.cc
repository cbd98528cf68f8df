#include "stream/command.h"

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/verify.h"
#include "base/wire.h"

namespace ursula::stream {

namespace {

namespace limits = base::limits;

constexpr std::uint8_t flag_close = 1;
constexpr std::uint8_t flag_has_content_type = 2;
constexpr std::uint8_t flag_has_body = 4;
constexpr std::uint8_t flag_producer = 8;
constexpr std::uint8_t flag_json = 16;
constexpr std::uint8_t flag_round = 32;
constexpr std::uint8_t flag_life = 64;
constexpr std::uint8_t flag_expires_at = 128;  // only with flag life: create_stream with an instant
constexpr std::size_t life_bytes = 12;         // without its text

// Of the byte of the verdict: a fork part.
constexpr std::uint8_t verdict_fork = 128;
constexpr std::size_t fork_bytes = 2 * 16 + 12 + 4 + 3 * 8;  // without the source's name
constexpr std::uint8_t asked_content_type = 1;
constexpr std::uint8_t asked_offset = 2;

constexpr std::uint8_t json_comma = ',';

// Of the life part; most commands have none.
std::size_t life_size(const Command& command) {
    return command.kind == CommandKind::expire_stream ||
                   command.kind == CommandKind::touch_stream ||
                   command.expiry.kind != api::Expiry::Kind::none
               ? life_bytes + command.expiry.text.size()
               : 0;
}

std::size_t fork_size(const Command& command) {
    return command.fork == nullptr ? 0 : fork_bytes + command.fork->source_name.size();
}

void put_incarnation(base::WireWriter& out, const base::Incarnation& incarnation) {
    out.put(incarnation.index.value);
    out.put(incarnation.ordinal);
    out.put(incarnation.group.value);
}

base::Incarnation read_incarnation(base::WireReader& in) {
    base::Incarnation incarnation;
    incarnation.index.value = in.get<std::uint64_t>();
    incarnation.ordinal = in.get<std::uint32_t>();
    incarnation.group.value = in.get<std::uint32_t>();
    return incarnation;
}

// Returns what is behind it.
std::byte* put_fork(const ForkPart& fork, std::byte* part) {
    base::WireWriter out(base::MutableBytes(part, fork_bytes + fork.source_name.size()));
    put_incarnation(out, fork.link);
    put_incarnation(out, fork.source);
    out.put(fork.point);
    out.put(fork.depth);
    out.put(static_cast<std::uint8_t>((fork.asked.has_content_type ? asked_content_type : 0) |
                                      (fork.asked.has_offset ? asked_offset : 0)));
    out.put(static_cast<std::uint8_t>(fork.asked.expires));
    out.put(static_cast<std::uint16_t>(fork.source_name.size()));
    out.put(fork.asked.offset);
    out.put(fork.asked.sub_offset);
    out.put(fork.asked.expires_ms);
    out.put_text(fork.source_name);
    return part + out.used();
}

// The part's size, 0 when `bytes` does not begin with one.
std::size_t read_fork(base::Bytes bytes, ForkPart& fork) {
    base::WireReader in(bytes);
    fork.link = read_incarnation(in);
    fork.source = read_incarnation(in);
    fork.point = in.get<std::uint64_t>();
    fork.depth = in.get<std::uint32_t>();
    const auto asked = in.get<std::uint8_t>();
    const auto expires = in.get<std::uint8_t>();
    const auto name_size = in.get<std::uint16_t>();
    fork.asked.has_content_type = (asked & asked_content_type) != 0;
    fork.asked.has_offset = (asked & asked_offset) != 0;
    fork.asked.expires = static_cast<api::Expiry::Kind>(expires);
    fork.asked.offset = in.get<std::uint64_t>();
    fork.asked.sub_offset = in.get<std::uint64_t>();
    fork.asked.expires_ms = in.get<std::int64_t>();
    fork.source_name = in.get_text(name_size);
    return in.ok() && expires <= static_cast<std::uint8_t>(api::Expiry::Kind::at) &&
                   asked <= (asked_content_type | asked_offset)
               ? bytes.size() - in.left()
               : 0;
}

// Returns what is behind it.
std::byte* put_life(const Command& command, std::byte* part) {
    base::store(part, command.expiry.ms);
    base::store(part + 8, command.ordinal);
    base::copy_bytes(part + life_bytes, base::as_bytes(command.expiry.text));
    return part + life_bytes + command.expiry.text.size();
}

bool is_life(std::uint8_t flags, std::size_t size) {
    return (flags & flag_life) != 0 && size >= life_bytes;
}

void read_life(Command& command, std::uint8_t flags, base::Bytes part) {
    if (command.kind == CommandKind::create_stream) {
        command.expiry.kind =
            (flags & flag_expires_at) != 0 ? api::Expiry::Kind::at : api::Expiry::Kind::ttl;
    }
    command.expiry.ms = base::load<std::int64_t>(part.data());
    command.ordinal = base::load<std::uint32_t>(part.data() + 8);
    command.expiry.text = base::as_text(part.subspan(life_bytes));
}

std::uint8_t flags_of(const Command& command) {
    unsigned flags = 0;
    flags |= command.close ? flag_close : 0u;
    flags |= command.has_content_type ? flag_has_content_type : 0u;
    flags |= command.has_body ? flag_has_body : 0u;
    flags |= command.producer.present ? flag_producer : 0u;
    flags |= command.payload.json ? flag_json : 0u;
    flags |= command.round != 0 ? flag_round : 0u;
    return static_cast<std::uint8_t>(flags);
}

}  // namespace

static_assert(limits::producer_id_bytes_max <= 256, "the head has one byte for it");
static_assert(limits::path_bytes_max <= UINT16_MAX &&
              limits::content_type_bytes_max <= UINT16_MAX &&
              limits::stream_seq_bytes_max <= UINT16_MAX &&
              limits::expires_at_bytes_max <= UINT16_MAX);

std::size_t encoded_size(const Command& command) {
    std::size_t size = command_head_bytes + command.name.size() + command.content_type.size() +
                       command.stream_seq.size() + command.payload.stored_size();
    if (command.producer.present) {
        size += 16 + command.producer.id.size();
    }
    size += command.round != 0 ? 8 : 0;
    return size + life_size(command) + fork_size(command);
}

std::size_t encode(const Command& command, base::MutableBytes out) {
    const std::size_t total = encoded_size(command);
    const std::uint64_t stored = command.payload.stored_size();
    VERIFY(total <= out.size() && stored <= UINT32_MAX);
    VERIFY(command.name.size() <= UINT16_MAX && command.content_type.size() <= UINT16_MAX &&
           command.stream_seq.size() <= UINT16_MAX);
    std::byte* at = out.data();
    std::uint8_t producer_size = 0;
    if (command.producer.present) {
        VERIFY(!command.producer.id.empty() && command.producer.id.size() <= 256);
        producer_size = static_cast<std::uint8_t>(command.producer.id.size() - 1);
    }
    base::store(at, static_cast<std::uint8_t>(command.kind));
    base::store(at + 1, flags_of(command));
    base::store(at + 2, static_cast<std::uint8_t>(command.verdict));
    base::store(at + 3, producer_size);
    base::store(at + 4, static_cast<std::uint16_t>(command.name.size()));
    base::store(at + 6, static_cast<std::uint16_t>(command.content_type.size()));
    base::store(at + 8, static_cast<std::uint32_t>(stored));
    base::store(at + 12, command.payload.elements);
    base::store(at + 20, static_cast<std::uint16_t>(command.stream_seq.size()));
    base::store(at + 22, std::uint16_t{0});
    base::store(at + 24, command.number);
    std::byte* part = at + command_head_bytes;
    const auto put = [&part](std::string_view text) {
        base::copy_bytes(part, base::as_bytes(text));
        part += text.size();
    };
    if (command.producer.present) {
        base::store(part, command.producer.epoch);
        base::store(part + 8, command.producer.seq);
        part += 16;
    }
    if (command.round != 0) {
        base::store(part, command.round);
        part += 8;
    }
    put(command.name);
    put(command.content_type);
    if (command.producer.present) {
        put(command.producer.id);
    }
    put(command.stream_seq);
    if (const std::size_t life = life_size(command); life != 0) [[unlikely]] {
        VERIFY(life <= UINT16_MAX);
        base::store(at + 1,
                    static_cast<std::uint8_t>(
                        flags_of(command) | flag_life |
                        (command.expiry.kind == api::Expiry::Kind::at ? flag_expires_at : 0u)));
        base::store(at + 22, static_cast<std::uint16_t>(life));
        part = put_life(command, part);
    }
    if (command.fork != nullptr) [[unlikely]] {
        base::store(at + 2, static_cast<std::uint8_t>(static_cast<unsigned>(command.verdict) |
                                                      verdict_fork));
        part = put_fork(*command.fork, part);
    }
    base::copy_bytes(part, command.payload.bytes);
    if (stored > command.payload.bytes.size()) {
        part[command.payload.bytes.size()] = std::byte{json_comma};
    }
    base::store(at + 16, base::crc32c({part, stored}));
    return total;
}

void encode_header(const EntryHeader& header, base::MutableBytes out) {
    VERIFY(out.size() >= entry_header_bytes);
    base::store(out.data(), entry_version);
    base::store(out.data() + 1, std::uint8_t{0});
    base::store(out.data() + 2, std::uint16_t{0});
    base::store(out.data() + 4, header.commands);
    base::store(out.data() + 8, header.time_ms);
}

EntryReader::EntryReader(base::Bytes body) : body_(body) {
    if (body.empty()) {
        return;
    }
    if (body.size() < entry_header_bytes ||
        base::load<std::uint32_t>(body.data()) != entry_version) {
        ok_ = false;
        return;
    }
    header_.commands = base::load<std::uint32_t>(body.data() + 4);
    header_.time_ms = base::load<std::int64_t>(body.data() + 8);
    left_ = header_.commands;
    used_ = entry_header_bytes;
}

bool EntryReader::next(Command& command) {
    if (!ok_ || left_ == 0) {
        ok_ = ok_ && used_ == body_.size();
        return false;
    }
    ok_ = false;  // until the whole command was seen
    if (body_.size() - used_ < command_head_bytes) {
        return false;
    }
    const std::byte* at = body_.data() + used_;
    const auto kind = base::load<std::uint8_t>(at);
    const auto flags = base::load<std::uint8_t>(at + 1);
    const bool forks = base::load<std::uint8_t>(at + 2) >= verdict_fork;
    const auto verdict =
        static_cast<std::uint8_t>(base::load<std::uint8_t>(at + 2) & (verdict_fork - 1));
    if (kind < static_cast<std::uint8_t>(CommandKind::create_stream) ||
        (kind > static_cast<std::uint8_t>(CommandKind::forget_fork) &&
         kind != static_cast<std::uint8_t>(CommandKind::subscription)) ||
        (kind >= static_cast<std::uint8_t>(CommandKind::begin_fork) &&
         kind <= static_cast<std::uint8_t>(CommandKind::forget_fork) && !forks) ||
        verdict > static_cast<std::uint8_t>(Verdict::json_too_deep)) {
        return false;
    }
    const bool producer = (flags & flag_producer) != 0;
    const bool round = (flags & flag_round) != 0;
    const std::size_t id_size = producer ? base::load<std::uint8_t>(at + 3) + std::size_t{1} : 0;
    const std::size_t name_size = base::load<std::uint16_t>(at + 4);
    const std::size_t type_size = base::load<std::uint16_t>(at + 6);
    const std::size_t stored_size = base::load<std::uint32_t>(at + 8);
    const std::size_t seq_size = base::load<std::uint16_t>(at + 20);
    const std::size_t life = base::load<std::uint16_t>(at + 22);
    std::size_t parts =
        (producer ? 16 : 0) + (round ? 8 : 0) + name_size + type_size + id_size + seq_size + life;
    command.fork = nullptr;
    std::size_t fork = 0;
    if (forks) [[unlikely]] {
        if (body_.size() - used_ - command_head_bytes < parts) {
            return false;
        }
        fork = read_fork(body_.subspan(used_ + command_head_bytes + parts), fork_);
        if (fork == 0) {
            return false;
        }
        command.fork = &fork_;
    }
    parts += fork + stored_size;
    if (body_.size() - used_ - command_head_bytes < parts ||
        ((flags >= flag_life || life != 0) && !is_life(flags, life))) {
        return false;
    }
    const std::byte* part = at + command_head_bytes;
    const auto take = [&part](std::size_t size) {
        const std::string_view text = base::as_text({part, size});
        part += size;
        return text;
    };
    command.kind = static_cast<CommandKind>(kind);
    command.close = (flags & flag_close) != 0;
    command.has_content_type = (flags & flag_has_content_type) != 0;
    command.has_body = (flags & flag_has_body) != 0;
    command.verdict = static_cast<Verdict>(verdict);
    command.name_hash = 0;
    command.number = base::load<std::uint64_t>(at + 24);
    command.producer.present = producer;
    command.producer.epoch = 0;
    command.producer.seq = 0;
    if (producer) {
        command.producer.epoch = base::load<std::uint64_t>(part);
        command.producer.seq = base::load<std::uint64_t>(part + 8);
        part += 16;
    }
    command.round = 0;
    if (round) {
        command.round = base::load<std::uint64_t>(part);
        part += 8;
    }
    command.name = take(name_size);
    command.content_type = take(type_size);
    command.producer.id = take(id_size);
    command.stream_seq = take(seq_size);
    command.expiry = {};
    command.ordinal = 0;
    if (life != 0) [[unlikely]] {
        read_life(command, flags, {part, life});
        part += life;
    }
    part += fork;
    command.payload.bytes = {};
    command.payload.elements = base::load<std::uint32_t>(at + 12);
    command.payload.json = (flags & flag_json) != 0;
    command.stored = {part, stored_size};
    command.stored_at = static_cast<std::uint32_t>(part - body_.data());
    command.stored_crc = base::load<std::uint32_t>(at + 16);
    used_ += command_head_bytes + parts;
    --left_;
    ok_ = true;
    return true;
}

}  // namespace ursula::stream
