#include "shard/call_wire.h"

#include "api/placement.h"
#include "base/limits.h"
#include "base/verify.h"
#include "base/wire.h"

namespace ursula::shard {

namespace limits = base::limits;

namespace {

enum class CallKind : std::uint8_t {
    create = 1,
    append,
    remove,
    create_bucket,
    remove_bucket,
    seal_bucket,
    change_member,
    touch,
    fork,
    hold,
    release,
    subscription = 18
};
enum class AnswerKind : std::uint8_t {
    refused = 1,
    create,
    append,
    remove,
    bucket,
    seal,
    change_member,
    touch,
    hold,
    subscription = 18
};
constexpr bool is_call(std::uint8_t kind) {
    return kind <= static_cast<std::uint8_t>(CallKind::release) ||
           kind == static_cast<std::uint8_t>(CallKind::subscription);
}
constexpr bool is_answer(std::uint8_t kind) {
    return kind <= static_cast<std::uint8_t>(AnswerKind::hold) ||
           kind == static_cast<std::uint8_t>(AnswerKind::subscription);
}

// Where a ChangeMemberCall's step is in `seq`, above its shards.
constexpr unsigned step_bit = 32;
// Of a fork's third number, and of a hold's seq.
constexpr unsigned upper_bit = 32;
constexpr std::size_t more_numbers = 3;

// All kinds of calls as one set of fields.
struct CallFields {
    CallKind kind = CallKind::append;
    bool close = false;
    bool has_content_type = false;
    std::string_view name;
    std::string_view content_type;
    api::Producer producer;
    std::string_view stream_seq;
    std::uint64_t number = 0;
    base::Bytes body;
    std::uint64_t more[more_numbers] = {};
};

bool has_more(CallKind kind) {
    return kind >= CallKind::fork && kind <= CallKind::release;
}

CallFields fields_of(const api::Verb& verb) {
    CallFields fields;
    if (const auto* create = std::get_if<api::CreateCall>(&verb)) {
        fields.kind = CallKind::create;
        fields.close = create->closed;
        fields.name = create->key.name;
        fields.content_type = create->content_type;
        fields.number = create->bucket_id;
        fields.body = create->body;
        fields.producer.epoch = static_cast<std::uint64_t>(create->expiry.ms);
        fields.producer.seq = static_cast<std::uint64_t>(create->expiry.kind);
        fields.stream_seq = create->expiry.text;
    } else if (const auto* append = std::get_if<api::AppendCall>(&verb)) {
        fields.close = append->close;
        fields.has_content_type = append->has_content_type;
        fields.name = append->key.name;
        fields.content_type = append->content_type;
        fields.producer = append->producer;
        fields.stream_seq = append->stream_seq;
        fields.body = append->body;
    } else if (const auto* remove = std::get_if<api::RemoveCall>(&verb)) {
        fields.kind = CallKind::remove;
        fields.name = remove->key.name;
    } else if (const auto* make = std::get_if<api::CreateBucketCall>(&verb)) {
        fields.kind = CallKind::create_bucket;
        fields.name = make->bucket;
    } else if (const auto* drop = std::get_if<api::RemoveBucketCall>(&verb)) {
        fields.kind = CallKind::remove_bucket;
        fields.name = drop->bucket;
    } else if (const auto* seal = std::get_if<api::SealBucketCall>(&verb)) {
        fields.kind = CallKind::seal_bucket;
        fields.close = seal->seal;
        fields.name = seal->bucket;
        fields.number = seal->bucket_id;
        fields.producer.seq = seal->round;
    } else if (const auto* change = std::get_if<api::ChangeMemberCall>(&verb)) {
        fields.kind = CallKind::change_member;
        fields.name = change->address;
        fields.content_type = change->client;
        fields.number = change->incarnation;
        fields.producer.epoch = change->node.value;
        fields.producer.seq = static_cast<std::uint64_t>(change->step) << step_bit | change->shards;
    } else if (const auto* touch = std::get_if<api::TouchCall>(&verb)) {
        fields.kind = CallKind::touch;
        fields.name = touch->key.name;
        fields.number = touch->created.value;
        fields.producer.seq = touch->ordinal;
    } else if (const auto* fork = std::get_if<api::ForkCall>(&verb)) {
        fields.kind = CallKind::fork;
        fields.close = fork->closed;
        fields.has_content_type = fork->has_content_type;
        fields.name = fork->key.name;
        fields.content_type = fork->content_type;
        fields.producer.id = fork->source;
        fields.producer.epoch = static_cast<std::uint64_t>(fork->expiry.ms);
        fields.producer.seq = static_cast<std::uint64_t>(fork->expiry.kind);
        fields.stream_seq = fork->expiry.text;
        fields.number = fork->bucket_id;
        fields.body = fork->body;
        fields.more[0] = fork->offset;
        fields.more[1] = fork->sub_offset;
        fields.more[2] =
            std::uint64_t{fork->has_offset ? 1u : 0u} << upper_bit | fork->source_group.value;
    } else if (const auto* hold = std::get_if<api::HoldCall>(&verb)) {
        fields.kind = CallKind::hold;
        fields.name = hold->key.name;
        fields.number = hold->id.index.value;
        fields.producer.epoch = hold->created.value;
        fields.producer.seq = std::uint64_t{hold->ordinal} << upper_bit | hold->id.ordinal;
        fields.more[0] = hold->point;
        fields.more[1] = hold->id.group.value;
    } else if (const auto* release = std::get_if<api::ReleaseCall>(&verb)) {
        fields.kind = CallKind::release;
        fields.name = release->key.name;
        fields.number = release->id.index.value;
        fields.producer.seq = release->id.ordinal;
        fields.more[1] = release->id.group.value;
    } else if (const auto* asked = std::get_if<api::SubscriptionCall>(&verb)) {
        fields.kind = CallKind::subscription;
        fields.name = asked->name;
        fields.number = static_cast<std::uint64_t>(asked->op);
        fields.body = asked->body;
    } else {
        VERIFY(false);
    }
    return fields;
}

api::Expiry expiry_of(const CallFields& fields) {
    return {static_cast<api::Expiry::Kind>(fields.producer.seq),
            static_cast<std::int64_t>(fields.producer.epoch), fields.stream_seq};
}

// Of a create, whose expiry lies where an append has its producer and Stream-Seq.
bool acceptable_expiry(const CallFields& fields) {
    if (fields.producer.present || (!fields.producer.id.empty() && fields.kind != CallKind::fork) ||
        fields.producer.seq > static_cast<std::uint64_t>(api::Expiry::Kind::at)) {
        return false;
    }
    const api::Expiry expiry = expiry_of(fields);
    switch (expiry.kind) {
        case api::Expiry::Kind::none:
            return expiry.ms == 0 && expiry.text.empty();
        case api::Expiry::Kind::ttl:
            return expiry.ms >= 0 && expiry.ms % 1000 == 0 && expiry.text.empty() &&
                   expiry.ms / 1000 <= static_cast<std::int64_t>(limits::ttl_s_max);
        case api::Expiry::Kind::at:
            return !expiry.text.empty() && expiry.text.size() <= limits::expires_at_bytes_max;
    }
    return false;
}

bool acceptable_change(const CallFields& fields) {
    const api::Producer& producer = fields.producer;
    return !fields.close && !fields.has_content_type && !producer.present && producer.id.empty() &&
           producer.epoch <= UINT32_MAX &&
           producer.seq >> step_bit <=
               static_cast<std::uint64_t>(api::ChangeMemberCall::Step::remove) &&
           fields.name.size() <= limits::member_address_bytes_max &&
           fields.content_type.size() <= limits::member_url_bytes_max &&
           fields.stream_seq.empty() && fields.body.empty();
}

// Reads are answered where they are asked, and some of what they tell leaves no node.
bool acceptable_subscription(const CallFields& fields) {
    return !fields.close && !fields.has_content_type && fields.content_type.empty() &&
           !fields.producer.present && fields.producer.id.empty() && fields.producer.epoch == 0 &&
           fields.producer.seq == 0 && fields.stream_seq.empty() &&
           fields.name.size() <= limits::stream_name_bytes_max && fields.number > 0 &&
           fields.number <= static_cast<std::uint64_t>(api::SubscriptionOp::take_marks);
}

// And its Stream-Seq; what other kinds have in their place.
bool acceptable_producer(const CallFields& fields) {
    const api::Producer& producer = fields.producer;
    const bool appends = fields.kind == CallKind::append;
    const bool numbered = fields.kind == CallKind::seal_bucket ||
                          (fields.kind == CallKind::touch && producer.seq <= UINT32_MAX);
    return (producer.present
                ? appends && !producer.id.empty()
                : producer.id.empty() && producer.epoch == 0 && (producer.seq == 0 || numbered)) &&
           producer.id.size() <= limits::producer_id_bytes_max &&
           producer.epoch <= limits::producer_number_max &&
           producer.seq <= limits::producer_number_max && (fields.stream_seq.empty() || appends) &&
           fields.stream_seq.size() <= limits::stream_seq_bytes_max;
}

bool acceptable_name(std::string_view name) {
    const std::size_t slash = name.find('/');
    return slash != 0 && slash != std::string_view::npos &&
           name.size() <= limits::stream_name_bytes_max;
}

bool acceptable_fork(const CallFields& fields) {
    return acceptable_name(fields.name) && acceptable_name(fields.producer.id) &&
           fields.content_type.size() <= limits::content_type_bytes_max &&
           (fields.has_content_type || fields.content_type.empty()) &&
           (fields.more[2] >> upper_bit) <= 1 && acceptable_expiry(fields) &&
           ((fields.more[2] >> upper_bit) == 1 || fields.more[0] == 0);
}

bool acceptable_hold(const CallFields& fields) {
    const bool holds = fields.kind == CallKind::hold;
    return acceptable_name(fields.name) && !fields.close && !fields.has_content_type &&
           !fields.producer.present && fields.content_type.empty() && fields.producer.id.empty() &&
           fields.stream_seq.empty() && fields.body.empty() && fields.more[1] <= UINT32_MAX &&
           fields.more[2] == 0 &&
           (holds || (fields.more[0] == 0 && fields.producer.epoch == 0 &&
                      fields.producer.seq <= UINT32_MAX));
}

// What the front of any node lets through, so that nothing behind it meets more.
bool acceptable(const CallFields& fields) {
    if (fields.kind == CallKind::change_member) {
        return acceptable_change(fields);
    }
    if (has_more(fields.kind)) {
        return fields.kind == CallKind::fork ? acceptable_fork(fields) : acceptable_hold(fields);
    }
    if (fields.kind == CallKind::subscription) {
        return acceptable_subscription(fields);
    }
    const bool stream = fields.kind == CallKind::create || fields.kind == CallKind::append ||
                        fields.kind == CallKind::remove || fields.kind == CallKind::touch;
    const bool creates = fields.kind == CallKind::create;
    const bool appends = fields.kind == CallKind::append;
    const std::size_t slash = fields.name.find('/');
    if (stream ? slash == 0 || slash == std::string_view::npos ||
                     fields.name.size() > limits::stream_name_bytes_max
               : fields.name.empty() || slash != std::string_view::npos ||
                     fields.name.size() > limits::bucket_name_bytes_max) {
        return false;
    }
    return (!fields.close || creates || appends || fields.kind == CallKind::seal_bucket) &&
           (!fields.has_content_type || appends) &&
           (fields.content_type.empty() || creates || fields.has_content_type) &&
           fields.content_type.size() <= limits::content_type_bytes_max &&
           (creates ? acceptable_expiry(fields) : acceptable_producer(fields)) &&
           (fields.number == 0 || creates || fields.kind == CallKind::seal_bucket ||
            fields.kind == CallKind::touch) &&
           (fields.body.empty() || creates || appends);
}

void fill(const CallFields& fields, base::GroupId group, api::Verb& verb) {
    const api::StreamKey key{fields.name, 0, group};
    switch (fields.kind) {
        case CallKind::create:
            verb = api::CreateCall{key,           fields.content_type, fields.close,
                                   fields.number, fields.body,         expiry_of(fields)};
            return;
        case CallKind::append:
            verb = api::AppendCall{key,          fields.content_type, fields.has_content_type,
                                   fields.close, fields.producer,     fields.stream_seq,
                                   fields.body};
            return;
        case CallKind::remove:
            verb = api::RemoveCall{key};
            return;
        case CallKind::touch:
            verb = api::TouchCall{key, base::LogIndex(fields.number),
                                  static_cast<std::uint32_t>(fields.producer.seq)};
            return;
        case CallKind::fork: {
            api::ForkCall fork;
            fork.key = key;
            fork.source = fields.producer.id;
            fork.source_group = base::GroupId(static_cast<std::uint32_t>(fields.more[2]));
            fork.has_content_type = fields.has_content_type;
            fork.has_offset = (fields.more[2] >> upper_bit) != 0;
            fork.closed = fields.close;
            fork.offset = fields.more[0];
            fork.sub_offset = fields.more[1];
            fork.bucket_id = fields.number;
            fork.content_type = fields.content_type;
            fork.body = fields.body;
            fork.expiry = expiry_of(fields);
            verb = fork;
            return;
        }
        case CallKind::hold:
        case CallKind::release: {
            const base::Incarnation id{base::GroupId(static_cast<std::uint32_t>(fields.more[1])),
                                       base::LogIndex(fields.number),
                                       static_cast<std::uint32_t>(fields.producer.seq)};
            if (fields.kind == CallKind::release) {
                verb = api::ReleaseCall{key, id};
            } else {
                verb = api::HoldCall{key, id, base::LogIndex(fields.producer.epoch),
                                     static_cast<std::uint32_t>(fields.producer.seq >> upper_bit),
                                     fields.more[0]};
            }
            return;
        }
        case CallKind::create_bucket:
            verb = api::CreateBucketCall{fields.name};
            return;
        case CallKind::remove_bucket:
            verb = api::RemoveBucketCall{fields.name};
            return;
        case CallKind::seal_bucket:
            verb = api::SealBucketCall{group, fields.name, fields.number, fields.close,
                                       fields.producer.seq};
            return;
        case CallKind::subscription:
            verb = api::SubscriptionCall{
                group, fields.name, static_cast<api::SubscriptionOp>(fields.number), fields.body};
            return;
        case CallKind::change_member: {
            const auto step =
                static_cast<api::ChangeMemberCall::Step>(fields.producer.seq >> step_bit);
            verb = api::ChangeMemberCall{
                group,
                step,
                base::NodeId(static_cast<std::uint32_t>(fields.producer.epoch)),
                fields.number,
                static_cast<std::uint32_t>(fields.producer.seq),
                fields.name,
                fields.content_type};
            return;
        }
    }
}

struct AnswerFields {
    AnswerKind kind = AnswerKind::refused;
    bool flags[3] = {};
    std::uint8_t code = 0;
    std::uint64_t numbers[4] = {};
    base::Bytes content_type;
};

AnswerFields fields_of(const api::Answer& answer) {
    AnswerFields fields;
    if (const auto* refused = std::get_if<api::Refused>(&answer)) {
        fields.code = static_cast<std::uint8_t>(refused->why);
        fields.flags[0] = refused->closed;
        fields.numbers[0] = refused->tail;
        fields.numbers[1] = refused->numbers[0];
        fields.numbers[2] = refused->numbers[1];
        fields.numbers[3] = refused->producer_epoch;
    } else if (const auto* create = std::get_if<api::CreateReply>(&answer)) {
        fields.kind = AnswerKind::create;
        fields.flags[0] = create->closed;
        fields.flags[1] = create->created;
        fields.numbers[0] = create->tail;
        fields.content_type = create->content_type.bytes();
    } else if (const auto* append = std::get_if<api::AppendReply>(&answer)) {
        fields.kind = AnswerKind::append;
        fields.code = static_cast<std::uint8_t>(append->kind);
        fields.flags[0] = append->closed;
        fields.flags[1] = append->producer;
        fields.numbers[0] = append->tail;
        fields.numbers[1] = append->producer_epoch;
        fields.numbers[2] = append->producer_seq;
    } else if (std::holds_alternative<api::RemoveReply>(answer)) {
        fields.kind = AnswerKind::remove;
    } else if (const auto* bucket = std::get_if<api::BucketReply>(&answer)) {
        fields.kind = AnswerKind::bucket;
        fields.flags[1] = bucket->created;
        fields.numbers[0] = bucket->bucket_id;
    } else if (const auto* seal = std::get_if<api::SealReply>(&answer)) {
        fields.kind = AnswerKind::seal;
        fields.flags[2] = seal->empty;
    } else if (const auto* change = std::get_if<api::ChangeMemberReply>(&answer)) {
        fields.kind = AnswerKind::change_member;
        fields.flags[1] = change->changed;
        fields.numbers[0] = change->index.value;
    } else if (std::holds_alternative<api::TouchReply>(answer)) {
        fields.kind = AnswerKind::touch;
    } else if (const auto* hold = std::get_if<api::HoldReply>(&answer)) {
        fields.kind = AnswerKind::hold;
        fields.code = static_cast<std::uint8_t>(hold->expires);
        fields.numbers[0] = hold->point;
        fields.numbers[1] = static_cast<std::uint64_t>(hold->expires_ms);
        fields.numbers[2] = hold->depth;
        fields.content_type = hold->expires_at.bytes();
    } else if (const auto* subscription = std::get_if<api::SubscriptionReply>(&answer)) {
        fields.kind = AnswerKind::subscription;
        fields.content_type = subscription->body.bytes();
    } else {
        VERIFY(false);
    }
    return fields;
}

api::Answer answer_of(const AnswerFields& fields) {
    switch (fields.kind) {
        case AnswerKind::refused: {
            api::Refused refused;
            refused.why = static_cast<api::Refusal>(fields.code);
            refused.closed = fields.flags[0];
            refused.tail = fields.numbers[0];
            refused.numbers[0] = fields.numbers[1];
            refused.numbers[1] = fields.numbers[2];
            refused.producer_epoch = fields.numbers[3];
            return refused;
        }
        case AnswerKind::create: {
            api::CreateReply create;
            create.created = fields.flags[1];
            create.closed = fields.flags[0];
            create.tail = fields.numbers[0];
            create.content_type = base::Slice::copy_of(fields.content_type);
            return create;
        }
        case AnswerKind::append: {
            api::AppendReply append;
            append.kind = static_cast<api::AppendReply::Kind>(fields.code);
            append.closed = fields.flags[0];
            append.producer = fields.flags[1];
            append.tail = fields.numbers[0];
            append.producer_epoch = fields.numbers[1];
            append.producer_seq = fields.numbers[2];
            return append;
        }
        case AnswerKind::remove:
            return api::RemoveReply{};
        case AnswerKind::bucket:
            return api::BucketReply{fields.flags[1], fields.numbers[0]};
        case AnswerKind::seal:
            return api::SealReply{fields.flags[2]};
        case AnswerKind::change_member:
            return api::ChangeMemberReply{fields.flags[1], base::LogIndex(fields.numbers[0])};
        case AnswerKind::touch:
            return api::TouchReply{};
        case AnswerKind::hold: {
            api::HoldReply hold;
            hold.point = fields.numbers[0];
            hold.depth = static_cast<std::uint32_t>(fields.numbers[2]);
            hold.expires = static_cast<api::Expiry::Kind>(fields.code);
            hold.expires_ms = static_cast<std::int64_t>(fields.numbers[1]);
            hold.expires_at = base::Slice::copy_of(fields.content_type);
            return hold;
        }
        case AnswerKind::subscription:
            return api::SubscriptionReply{base::Slice::copy_of(fields.content_type)};
    }
    return api::Refused{api::Refusal::outcome_unknown};
}

// Which flags and how many numbers a kind has, and how far its code goes.
struct AnswerShape {
    bool flags[3];
    std::size_t numbers;
    std::uint8_t code_max;
};
constexpr AnswerShape answer_shapes[] = {
    {{true, false, false}, 4, static_cast<std::uint8_t>(api::Refusal::fork_abandoned)},
    {{true, true, false}, 1, 0},
    {{true, true, false}, 3, static_cast<std::uint8_t>(api::AppendReply::Kind::closed)},
    {{false, false, false}, 0, 0},
    {{false, true, false}, 1, 0},
    {{false, false, true}, 0, 0},
    {{false, true, false}, 1, 0},
    {{false, false, false}, 0, 0},
    {{false, false, false}, 3, static_cast<std::uint8_t>(api::Expiry::Kind::at)},
};

bool acceptable(const AnswerFields& fields) {
    if (fields.kind == AnswerKind::subscription) {
        return !fields.flags[0] && !fields.flags[1] && !fields.flags[2] && fields.code == 0 &&
               fields.numbers[0] == 0 && fields.numbers[1] == 0 && fields.numbers[2] == 0 &&
               fields.numbers[3] == 0;
    }
    const AnswerShape& shape = answer_shapes[static_cast<std::size_t>(fields.kind) - 1];
    for (std::size_t i = 0; i < 3; ++i) {
        if (fields.flags[i] && !shape.flags[i]) {
            return false;
        }
    }
    for (std::size_t i = shape.numbers; i < 4; ++i) {
        if (fields.numbers[i] != 0) {
            return false;
        }
    }
    if (fields.kind == AnswerKind::hold && fields.numbers[2] > UINT32_MAX) {
        return false;
    }
    return fields.code <= shape.code_max &&
           (fields.kind != AnswerKind::refused || fields.code != 0) &&
           (fields.content_type.empty() ||
            ((fields.kind == AnswerKind::create || fields.kind == AnswerKind::hold) &&
             fields.content_type.size() <= limits::content_type_bytes_max));
}

base::WireWriter more(std::vector<std::byte>& out, std::size_t size) {
    const std::size_t at = out.size();
    out.resize(at + size);
    return base::WireWriter(base::MutableBytes(out).subspan(at));
}

}  // namespace

const base::GroupId* group_to_write(const api::Verb& verb) {
    if (const auto* append = std::get_if<api::AppendCall>(&verb)) {
        return &append->key.group;
    }
    if (const auto* create = std::get_if<api::CreateCall>(&verb)) {
        return &create->key.group;
    }
    if (const auto* remove = std::get_if<api::RemoveCall>(&verb)) {
        return &remove->key.group;
    }
    if (const auto* touch = std::get_if<api::TouchCall>(&verb)) {
        return &touch->key.group;
    }
    if (const auto* seal = std::get_if<api::SealBucketCall>(&verb)) {
        return &seal->group;
    }
    if (const auto* change = std::get_if<api::ChangeMemberCall>(&verb)) {
        return &change->group;
    }
    if (const auto* fork = std::get_if<api::ForkCall>(&verb)) {
        return &fork->key.group;
    }
    if (const auto* hold = std::get_if<api::HoldCall>(&verb)) {
        return &hold->key.group;
    }
    if (const auto* release = std::get_if<api::ReleaseCall>(&verb)) {
        return &release->key.group;
    }
    if (const auto* asked = std::get_if<api::SubscriptionCall>(&verb)) {
        return api::is_read(asked->op) ? nullptr : &asked->group;
    }
    const bool bucket = std::holds_alternative<api::CreateBucketCall>(verb) ||
                        std::holds_alternative<api::RemoveBucketCall>(verb);
    return bucket ? &api::bucket_group : nullptr;
}

base::GroupId group_of_internal(const api::Verb& verb) {
    if (const base::GroupId* group = group_to_write(verb)) {
        return *group;
    }
    if (const auto* asked = std::get_if<api::SubscriptionCall>(&verb)) {
        return asked->group;
    }
    return std::get<api::ReadCall>(verb).key.group;
}

void write_call(const api::Verb& verb, std::vector<std::byte>& out) {
    const CallFields fields = fields_of(verb);
    const std::size_t numbers = has_more(fields.kind) ? sizeof fields.more : 0;
    base::WireWriter to =
        more(out, call_head_bytes + numbers + fields.name.size() + fields.content_type.size() +
                      fields.producer.id.size() + fields.stream_seq.size() + fields.body.size());
    to.put(call_wire_version);
    to.put(static_cast<std::uint8_t>(fields.kind));
    to.put(static_cast<std::uint8_t>((fields.close ? 1 : 0) | (fields.has_content_type ? 2 : 0) |
                                     (fields.producer.present ? 4 : 0)));
    to.put(std::uint8_t{0});
    for (const std::string_view text :
         {fields.name, fields.content_type, fields.producer.id, fields.stream_seq}) {
        to.put(static_cast<std::uint16_t>(text.size()));
    }
    to.put(static_cast<std::uint32_t>(fields.body.size()));
    to.put(fields.number);
    to.put(fields.producer.epoch);
    to.put(fields.producer.seq);
    for (std::size_t i = 0; i < numbers / sizeof(std::uint64_t); ++i) {
        to.put(fields.more[i]);
    }
    for (const std::string_view text :
         {fields.name, fields.content_type, fields.producer.id, fields.stream_seq}) {
        to.put_text(text);
    }
    to.put_bytes(fields.body);
}

bool read_call(base::Bytes bytes, base::GroupId group, api::Verb& verb) {
    base::WireReader in(bytes);
    CallFields fields;
    const auto version = in.get<std::uint8_t>();
    const auto kind = in.get<std::uint8_t>();
    const auto flags = in.get<std::uint8_t>();
    const auto zero = in.get<std::uint8_t>();
    if (!in.ok() || version != call_wire_version || kind == 0 || !is_call(kind) || flags > 7 ||
        zero != 0) {
        return false;
    }
    fields.kind = static_cast<CallKind>(kind);
    fields.close = (flags & 1) != 0;
    fields.has_content_type = (flags & 2) != 0;
    fields.producer.present = (flags & 4) != 0;
    const auto name = in.get<std::uint16_t>();
    const auto content_type = in.get<std::uint16_t>();
    const auto producer_id = in.get<std::uint16_t>();
    const auto stream_seq = in.get<std::uint16_t>();
    const auto body = in.get<std::uint32_t>();
    fields.number = in.get<std::uint64_t>();
    fields.producer.epoch = in.get<std::uint64_t>();
    fields.producer.seq = in.get<std::uint64_t>();
    for (std::size_t i = 0; i < more_numbers && has_more(fields.kind); ++i) {
        fields.more[i] = in.get<std::uint64_t>();
    }
    fields.name = in.get_text(name);
    fields.content_type = in.get_text(content_type);
    fields.producer.id = in.get_text(producer_id);
    fields.stream_seq = in.get_text(stream_seq);
    fields.body = in.get_bytes(body);
    const bool bucket =
        fields.kind == CallKind::create_bucket || fields.kind == CallKind::remove_bucket;
    if (!in.ok() || in.left() != 0 || !acceptable(fields) ||
        (bucket && group != api::bucket_group)) {
        return false;
    }
    fill(fields, group, verb);
    return true;
}

void write_answer(const api::Answer& answer, std::vector<std::byte>& out) {
    const AnswerFields fields = fields_of(answer);
    base::WireWriter to = more(out, answer_head_bytes + fields.content_type.size());
    to.put(call_wire_version);
    to.put(static_cast<std::uint8_t>(fields.kind));
    to.put(static_cast<std::uint8_t>((fields.flags[0] ? 1 : 0) | (fields.flags[1] ? 2 : 0) |
                                     (fields.flags[2] ? 4 : 0)));
    to.put(fields.code);
    to.put(static_cast<std::uint32_t>(fields.content_type.size()));
    for (const std::uint64_t number : fields.numbers) {
        to.put(number);
    }
    to.put_bytes(fields.content_type);
}

bool read_answer(base::Bytes bytes, api::Answer& answer) {
    base::WireReader in(bytes);
    AnswerFields fields;
    const auto version = in.get<std::uint8_t>();
    const auto kind = in.get<std::uint8_t>();
    const auto flags = in.get<std::uint8_t>();
    fields.code = in.get<std::uint8_t>();
    if (!in.ok() || version != call_wire_version || kind == 0 || !is_answer(kind) || flags > 7) {
        return false;
    }
    fields.kind = static_cast<AnswerKind>(kind);
    for (std::size_t i = 0; i < 3; ++i) {
        fields.flags[i] = (flags >> i & 1) != 0;
    }
    const auto content_type = in.get<std::uint32_t>();
    for (std::uint64_t& number : fields.numbers) {
        number = in.get<std::uint64_t>();
    }
    fields.content_type = in.get_bytes(content_type);
    if (!in.ok() || in.left() != 0 || !acceptable(fields)) {
        return false;
    }
    answer = answer_of(fields);
    return true;
}

}  // namespace ursula::shard
