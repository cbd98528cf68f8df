#include "tests/unit/shard/shard_node.h"

#include <algorithm>

#include "api/placement.h"
#include "shard/call_wire.h"
#include "tests/support/count_allocations.h"

namespace ursula::shard::test {

namespace {
constexpr base::Duration turn_time = base::microseconds(50);
// More turns without an end than this: the shard spins.
constexpr int turns_max = 200'000;
}  // namespace

ShardOptions small_options() {
    ShardOptions options;
    options.groups = 4;
    options.table_key = {0x1234, 0x5678};
    options.hot_bytes = 1 << 20;
    options.salt = 0xabcdef;
    options.segment_bytes = 64 << 10;
    options.wal_batch_bytes_max = 16 << 10;
    options.wal_piece_bytes_max = 4 << 10;
    return options;
}

// --- GateDisk ---

void GateDisk::submit(storage::DiskOp& op) {
    if (op.kind == storage::DiskOp::Kind::read) {
        ++reads;
        read_bytes += op.buffer.size();
    }
    if (lies && op.kind == storage::DiskOp::Kind::write) {
        op.durable = false;
    }
    const std::uint64_t before = test_support::allocations();
    disk_.submit(op);
    allocations += test_support::allocations() - before;
}

void GateDisk::take_completions(std::vector<storage::DiskOp*>& done) {
    if (held) {
        return;
    }
    const std::uint64_t before = test_support::allocations();
    const auto first = static_cast<std::ptrdiff_t>(done.size());
    disk_.take_completions(done);
    allocations += test_support::allocations() - before;
    if (!holds_reads_of.empty()) {
        const auto waits = [this](const storage::DiskOp* op) {
            if (op->kind == storage::DiskOp::Kind::open && op->name == holds_reads_of) {
                held_file_ = op->file;
            }
            return op->kind == storage::DiskOp::Kind::read && op->file == held_file_;
        };
        const auto from = std::stable_partition(done.begin() + first, done.end(),
                                                [&](const auto* op) { return !waits(op); });
        waiting_reads_.insert(waiting_reads_.end(), from, done.end());
        done.erase(from, done.end());
        return;
    }
    done.insert(done.end(), waiting_reads_.begin(), waiting_reads_.end());
    waiting_reads_.clear();
}

Node::~Node() {
    shard_.reset();
}

// --- life ---

base::Result<BootReport> Node::try_start() {
    REQUIRE(shard_ == nullptr);
    storage::Disk* disk = foreign_disk_;
    if (disk == nullptr && memory_) {
        memory_disk_ = std::make_unique<storage::MemoryDisk>();
        disk = memory_disk_.get();
    } else if (disk == nullptr) {
        if (sim_ == nullptr) {
            sim_ = std::make_unique<sim::SimDisk>(image_);
            sim_->set_alignment(alignment_);
            gate_ = std::make_unique<GateDisk>(*sim_);
            gate_->lies = lies_;
            sim_->cut_after(cut_after_);
        }
        sim_->set_random(random_);
        disk = gate_.get();
    }
    shard_ = std::make_unique<Shard>(options_, *disk);
    base::Result<BootReport> report = shard_->start(now());
    if (!report) {
        shard_.reset();
    }
    return report;
}

BootReport Node::start() {
    base::Result<BootReport> report = try_start();
    const std::string refused = report ? std::string() : report.error().message;
    INFO(refused);
    REQUIRE(report.has_value());
    run_until_ready();
    return *report;
}

void Node::run_until_ready() {
    for (int turns = 0; !shard_->ready(); ++turns) {
        REQUIRE(turns < turns_max);
        REQUIRE(wants_turn(now_.mono + base::seconds(10)));
        turn();
    }
}

void Node::kill() {
    shard_.reset();
    if (sim_ != nullptr) {
        image_ = sim_->everything();
        sim_.reset();
    }
    calls_.clear();
    internal_.clear();
    inbox_.clear();
}

void Node::cut_power(base::Random& random) {
    shard_.reset();
    image_ = sim_->crash_image(random);
    sim_.reset();
    calls_.clear();
    internal_.clear();
    inbox_.clear();
}

void Node::set_random(base::Random* random) {
    random_ = random;
    if (sim_ != nullptr) {
        sim_->set_random(random);
    }
}

// --- calls ---

std::string_view Node::keep(std::string_view text) {
    kept_.emplace_back(text);
    return kept_.back();
}

api::StreamKey Node::key(std::string_view name) {
    const std::string_view kept = keep(name);
    return {kept, base::siphash(options_.table_key, base::as_bytes(kept)),
            api::group_of(kept, options_.groups)};
}

api::CallId Node::call(api::Verb verb, bool redirect) {
    const api::CallId id(next_call_++);
    calls_.push_back({id, options_.id, verb, redirect});
    return id;
}

api::CallId Node::create(std::string_view name, std::string_view type, std::string_view body,
                         bool closed, std::uint64_t bucket_id) {
    api::CreateCall create;
    create.key = key(name);
    create.content_type = keep(type);
    create.closed = closed;
    create.bucket_id = bucket_id;
    create.body = keep_bytes(body);
    return call(create);
}

api::CallId Node::append(std::string_view name, std::string_view body, std::string_view type) {
    api::AppendCall append;
    append.key = key(name);
    append.content_type = keep(type);
    append.has_content_type = !type.empty();
    append.body = keep_bytes(body);
    return call(append);
}

api::CallId Node::append_as(std::string_view producer, std::uint64_t epoch, std::uint64_t seq,
                            std::string_view name, std::string_view body, bool close) {
    api::AppendCall append;
    append.key = key(name);
    append.content_type = "text/plain";
    append.has_content_type = !body.empty();
    append.close = close;
    append.producer = {true, keep(producer), epoch, seq};
    append.body = keep_bytes(body);
    return call(append);
}

api::CallId Node::append_seq(std::string_view stream_seq, std::string_view name,
                             std::string_view body) {
    api::AppendCall append;
    append.key = key(name);
    append.content_type = "text/plain";
    append.has_content_type = true;
    append.stream_seq = keep(stream_seq);
    append.body = keep_bytes(body);
    return call(append);
}

api::CallId Node::close(std::string_view name, std::string_view body) {
    api::AppendCall append;
    append.key = key(name);
    append.content_type = "text/plain";
    append.has_content_type = !body.empty();
    append.close = true;
    append.body = keep_bytes(body);
    return call(append);
}

api::CallId Node::remove(std::string_view name) {
    return call(api::RemoveCall{key(name)});
}
api::CallId Node::head(std::string_view name) {
    return call(api::HeadCall{key(name)});
}
api::CallId Node::read(std::string_view name, std::uint64_t offset, std::uint64_t bytes_max) {
    return call(api::ReadCall{key(name), false, offset, bytes_max});
}
api::CallId Node::watch(std::string_view name) {
    return call(api::WatchCall{key(name)});
}
api::CallId Node::unwatch(std::string_view name, api::CallId watch) {
    return call(api::UnwatchCall{key(name), watch});
}
api::CallId Node::create_bucket(std::string_view bucket) {
    return call(api::CreateBucketCall{keep(bucket)});
}
api::CallId Node::remove_bucket(std::string_view bucket) {
    return call(api::RemoveBucketCall{keep(bucket)});
}
api::CallId Node::resolve_bucket(std::string_view bucket) {
    return call(api::ResolveBucketCall{keep(bucket)});
}

// --- turns ---

base::Now Node::now() const {
    return {now_.mono, {now_.wall.ms + now_.mono.ns / 1'000'000}};
}

void Node::turn() {
    const std::vector<api::Call> calls = std::move(calls_);
    std::deque<std::string> kept = std::move(kept_);
    calls_.clear();
    kept_.clear();
    internal_.clear();
    replies_.clear();
    shard_->advance(calls, now(), replies_, internal_);
    for (std::string& text : kept) {
        std::fill(text.begin(), text.end(), '#');
    }
    std::vector<api::Call> internal = internal_;
    for (const api::Call& call : internal) {
        route_internal(call);
    }
    for (const api::Reply& reply : replies_) {
        api::Reply copy = reply;
        if (reply.to != options_.id && reply.to.value < peers_.size()) {
            peers_[reply.to.value]->deliver(std::move(copy));
        } else {
            deliver(std::move(copy));
        }
    }
    now_.mono = now_.mono + turn_time;
}

void Node::route_internal(const api::Call& call) {
    api::Call own = call;
    const std::uint32_t to = api::shard_of(group_of_internal(own.verb), options_.shards).value;
    Node& target = peers_.empty() ? *this : *peers_[to];
    keep_internal(own.verb, [&target](std::string_view text) { return target.keep(text); });
    target.calls_.push_back(own);
}

void Node::deliver(api::Reply&& reply) {
    if (Shard::is_internal(reply.id)) {
        shard_->on_internal_reply(reply);
    } else {
        inbox_[reply.id.value].push_back(std::move(reply.answer));
    }
}

bool Node::wants_turn(base::Instant until) const {
    return !calls_.empty() || in_flight() > 0 || shard_->deadline() <= until;
}

void Node::run(base::Duration horizon) {
    const base::Instant end = now_.mono + horizon;
    for (int turns = 0; wants_turn(end); ++turns) {
        REQUIRE(turns < turns_max);
        if (calls_.empty() && in_flight() == 0) {
            now_.mono = std::max(now_.mono, shard_->deadline());
        }
        turn();
    }
}

void Node::run_until_answered(api::CallId id) {
    const base::Instant end = now_.mono + base::seconds(10);
    while (!answered(id)) {
        bool moved = false;
        const auto step = [&](Node& node) {
            if (node.wants_turn(end)) {
                if (node.calls_.empty() && node.in_flight() == 0) {
                    node.now_.mono = std::max(node.now_.mono, node.shard_->deadline());
                }
                node.turn();
                moved = true;
            }
        };
        if (peers_.empty()) {
            step(*this);
        }
        for (Node* peer : peers_) {
            step(*peer);
        }
        INFO("the shard has no reason for a turn, and the call has no answer");
        REQUIRE(moved);
        REQUIRE(now_.mono <= end);
    }
}

std::vector<ShardEvent> Node::take_events() {
    std::vector<ShardEvent> events;
    shard_->take_events(events);
    return events;
}

// --- answers ---

std::size_t Node::answer_count(api::CallId id) const {
    const auto found = inbox_.find(id.value);
    return found == inbox_.end() ? 0 : found->second.size();
}

api::Answer Node::take(api::CallId id) {
    const auto found = inbox_.find(id.value);
    REQUIRE(found != inbox_.end());
    api::Answer answer = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) {
        inbox_.erase(found);
    }
    return answer;
}

std::string Node::content(std::string_view name, std::uint64_t offset, std::uint64_t bytes_max) {
    std::string all;
    for (;;) {
        const auto reply = wait<api::ReadReply>(read(name, offset, bytes_max));
        const std::string part = text_of(reply.pieces);
        REQUIRE(part.size() == reply.next - reply.from);
        all += part;
        if (reply.up_to_date) {
            return all;
        }
        REQUIRE(reply.next > offset);
        offset = reply.next;
    }
}

std::string text_of(const std::vector<base::Slice>& pieces) {
    std::string text;
    for (const base::Slice& piece : pieces) {
        text += base::as_text(piece.bytes());
    }
    return text;
}

std::string pattern(std::size_t size, std::uint64_t seed) {
    base::Random random(seed);
    std::string text(size, '\0');
    for (std::size_t at = 0; at < size; at += 8) {
        std::uint64_t word = random.next();
        for (std::size_t i = at; i < std::min(size, at + 8); ++i, word >>= 8) {
            text[i] = static_cast<char>('a' + (word & 15));
        }
    }
    return text;
}

std::string numbered(std::string_view text, std::uint64_t number) {
    std::string result(text);
    result += std::to_string(number);
    return result;
}

}  // namespace ursula::shard::test
