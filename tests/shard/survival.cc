#include "tests/shard/survival.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "api/placement.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

namespace {

constexpr std::size_t stream_names = 8;
constexpr int turns_max = 100'000;

class Story {
  public:
    Story(std::uint64_t seed, const SurvivalPlants& plants)
        : random_(seed), plants_(plants), node_(options(random_)) {
        groups_.resize(node_.options().groups);
        pending_.resize(groups_.size());
        json_ = random_.below(1u << stream_names);
        slow_disk_ = random_.chance(2, 3);
        small_disk_ = random_.chance(1, 5);
        node_.set_disk_alignment(random_.chance(1, 4) ? 4096 : 512);
        node_.set_lies(plants.disk_lies);
    }

    SurvivalReport run() {
        const std::uint64_t lives = random_.between(2, 6);
        for (std::uint64_t life = 0; life < lives && report_.failure.empty(); ++life) {
            live(life + 1 == lives);
        }
        return report_;
    }

  private:
    struct Pending {
        Write write;
        api::CallId id;
        std::uint64_t turn = 0;
    };
    struct Read {
        std::string name;
        std::uint64_t offset = 0;
        std::uint64_t bytes_max = 0;
        bool existed = false;
        std::uint64_t life = 0;
        std::uint64_t tail = 0;
    };

    static ShardOptions options(base::Random& random) {
        ShardOptions options = small_options();
        options.groups = static_cast<std::uint32_t>(random.between(1, 3));
        options.hot_bytes = random.between(4, 100) << 10;
        const std::uint64_t choices[] = {1, 20'000, 100'000, 1u << 30};
        options.snapshot_log_bytes = choices[random.below(4)];
        if (random.chance(1, 3)) {
            options.wal_batch_bytes_max = 8 << 10;
            options.wal_piece_bytes_max = 1500;
            options.segment_bytes = 16 << 10;
        }
        return options;
    }

    void fail(std::string what) {
        if (report_.failure.empty()) {
            report_.failure = std::move(what);
        }
    }
    bool failed() const { return !report_.failure.empty(); }
    std::uint32_t group_of(const std::string& name) const {
        return api::group_of(name, node_options().groups).value;
    }
    const ShardOptions& node_options() const { return const_cast<Story*>(this)->node_.options(); }
    bool off() { return node_.disk().cut(); }
    std::uint64_t used_bytes() {
        const base::Result<std::vector<storage::FileInfo>> listed = node_.disk().list_now();
        std::uint64_t used = 0;
        for (const storage::FileInfo& file : *listed) {
            used += file.size;
        }
        return used;
    }
    static bool is_disk_full(const api::Answer& answer) {
        const auto* refused = std::get_if<api::Refused>(&answer);
        return refused != nullptr && refused->why == api::Refusal::disk_full;
    }

    // --- one life ---
    void live(bool last) {
        // The power may go in the middle of a start, of a turn, or between two.
        const bool cut_inside = !last && random_.chance(1, 2);
        node_.set_cut_after(cut_inside ? random_.below(400) : UINT64_MAX);
        node_.set_random(slow_disk_ ? &random_ : nullptr);
        if (!start()) {
            return;
        }
        check_survivors();
        if (small_disk_ && !off()) {
            node_.disk().set_capacity(used_bytes() + random_.below(400'000));
        }
        const std::uint64_t turns = random_.between(1, 60);
        for (std::uint64_t turn = 0; turn < turns && !off() && !failed(); ++turn) {
            // A disk that stands still for a while, so that much is under way when the power goes.
            if (random_.chance(1, 8)) {
                node_.gate().held = !node_.gate().held;
            }
            ask();
            take_turn();
            if (random_.chance(1, 10)) {
                idle(20);
            }
        }
        if (last) {
            node_.set_random(nullptr);
            node_.disk().set_capacity(UINT64_MAX);
            idle(turns_max);
            for (const auto& pending : pending_) {
                if (!pending.empty() && !failed()) {
                    fail("a call has no answer though nothing is left to do");
                }
            }
        } else if (random_.chance(1, 3)) {
            idle(static_cast<int>(random_.below(30)));
        }
        if (failed()) {
            return;
        }
        report_.snapshots += node_.shard().counters().snapshots;
        report_.recycled += node_.shard().wal().counters().segments_recycled;
        power_off();
        if (last) {
            node_.set_cut_after(UINT64_MAX);
            if (start()) {
                check_survivors();
            }
        }
    }

    void power_off() {
        ++report_.cuts;
        if (!off() && random_.chance(1, 4)) {
            node_.kill();
        } else {
            node_.cut_power(random_);
        }
        reads_.clear();
    }

    // Until a start gets through; those that the power cuts short leave their traces.
    bool start() {
        for (;;) {
            base::Result<BootReport> report = node_.try_start();
            if (!report && !off()) {
                fail("the start is refused: " + report.error().message);
                return false;
            }
            for (int turns = 0; report && !off() && !node_.shard().ready(); ++turns) {
                if (turns > turns_max) {
                    fail("never ready");
                    return false;
                }
                node_.turn();
            }
            if (!off()) {
                return true;
            }
            power_off();
            node_.set_cut_after(random_.chance(1, 2) ? random_.below(100) : UINT64_MAX);
        }
    }

    // --- calls ---
    std::string name() { return numbered("v1/s", random_.below(stream_names)); }
    std::string type_of(const std::string& name) const {
        return (json_ >> (name.back() - '0') & 1) != 0 ? "application/json" : "text/plain";
    }

    void fill_body(Write& write) {
        std::size_t size = random_.between(1, 200);
        if (random_.chance(1, 15)) {
            size = random_.between(3000, 24'000);
        }
        ++bodies_;
        const std::string text = numbered("#", bodies_) + pattern(size, bodies_);
        if (type_of(write.name) != "application/json") {
            write.body = write.stored = text;
            return;
        }
        const std::string first = "\"" + text + "\"";
        write.body = random_.chance(1, 2) ? first : "[ " + first + ", {\"n\":1} ]";
        write.stored = write.body == first ? first + "," : first + ", {\"n\":1},";
    }

    Write make_write() {
        Write write;
        write.name = name();
        write.type = type_of(write.name);
        const std::uint64_t dice = random_.below(100);
        if (dice < 18) {
            write.kind = Write::Kind::create;
            write.close = random_.chance(1, 20);
            fill_body(write);
            if (random_.chance(1, 10)) {
                write.type = "image/png";
                write.stored = write.body;
            }
            return write;
        }
        if (dice < 24) {
            write.kind = Write::Kind::remove;
            return write;
        }
        if (dice < 96) {
            fill_body(write);
        }
        if (dice < 28) {
            write.type = random_.chance(1, 2) ? std::string() : std::string("text/html");
        } else if (dice < 32) {
            write.stream_seq = numbered("", random_.below(30));
        }
        if (dice >= 94 || dice == 33) {
            write.close = true;
        }
        if (random_.chance(1, 3)) {
            write.producer = numbered("p", random_.below(3));
            ModelStream::Producer& sent = sent_[write.name + write.producer];
            switch (random_.below(10)) {
                case 0:
                    write.epoch = sent.epoch + 1;
                    write.seq = random_.below(2);
                    break;
                case 1:
                    write.epoch = sent.epoch - std::min<std::uint64_t>(sent.epoch, 1);
                    write.seq = sent.seq;
                    break;
                case 2:
                    write.epoch = sent.epoch;
                    write.seq = sent.seq + random_.below(4);
                    break;
                case 3:
                    write.epoch = sent.epoch;
                    write.seq = random_.below(2);
                    break;
                default:
                    write.epoch = sent.epoch;
                    write.seq = known_seq(write);
                    break;
            }
            sent = {write.epoch, write.seq};
        }
        return write;
    }

    // What a well-behaved producer would send next, as far as it has answers.
    std::uint64_t known_seq(const Write& write) {
        const ModelGroup& group = groups_[group_of(write.name)];
        const auto stream = group.streams.find(write.name);
        if (stream == group.streams.end()) {
            return 0;
        }
        const auto known = stream->second.producers.find(write.producer);
        if (known == stream->second.producers.end() || known->second.epoch != write.epoch) {
            return 0;
        }
        return known->second.seq + 1;
    }

    api::CallId send(const Write& write) {
        if (write.kind == Write::Kind::create) {
            return node_.create(write.name, write.type, write.body, write.close);
        }
        if (write.kind == Write::Kind::remove) {
            return node_.remove(write.name);
        }
        api::AppendCall append;
        append.key = node_.key(write.name);
        append.content_type = node_.keep(write.type);
        append.has_content_type = !write.type.empty();
        append.close = write.close;
        if (!write.producer.empty()) {
            append.producer = {true, node_.keep(write.producer), write.epoch, write.seq};
        }
        append.stream_seq = node_.keep(write.stream_seq);
        append.body = node_.keep_bytes(write.body);
        return node_.call(append);
    }

    void ask() {
        for (std::uint64_t calls = random_.below(6); calls > 0; --calls) {
            Pending pending;
            pending.write = make_write();
            pending.id = send(pending.write);
            pending.turn = turn_;
            ++report_.writes;
            pending_[group_of(pending.write.name)].push_back(std::move(pending));
        }
        if (random_.chance(1, 3)) {
            Read read;
            read.name = name();
            const auto& streams = groups_[group_of(read.name)].streams;
            if (const auto found = streams.find(read.name); found != streams.end()) {
                read.existed = true;
                read.life = found->second.life;
                read.tail = found->second.content.size();
            }
            read.offset = random_.below(read.tail + 100);
            read.bytes_max = random_.chance(1, 3) ? 1 : random_.below(50'000);
            const api::CallId id = node_.read(read.name, read.offset, read.bytes_max);
            reads_[id.value] = read;
            ++report_.reads;
        }
    }

    // --- turns and answers ---
    void take_turn() {
        node_.turn();
        ++turn_;
        for (const api::Reply& reply : node_.last_replies()) {
            if (const auto read = reads_.find(reply.id.value); read != reads_.end()) {
                check_read(read->second, reply.answer);
                reads_.erase(read);
            } else {
                check_write(reply);
            }
        }
        node_.forget_answers();
    }

    // Turns while something happens by itself.
    void idle(int turns) {
        node_.gate().held = false;
        const base::Instant end = node_.now().mono + base::seconds(3);
        while (turns-- > 0 && !off() && !failed() && node_.wants_turn(end)) {
            if (!node_.wants_turn(node_.now().mono)) {
                node_.pass(base::milliseconds(1));
            }
            take_turn();
        }
    }

    void check_write(const api::Reply& reply) {
        for (std::size_t group = 0; group < pending_.size(); ++group) {
            std::deque<Pending>& pending = pending_[group];
            const auto found = std::find_if(pending.begin(), pending.end(),
                                            [&](const Pending& one) { return one.id == reply.id; });
            if (found == pending.end()) {
                continue;
            }
            if (small_disk_ && is_disk_full(reply.answer)) {
                ++report_.disk_full;
                pending.erase(found);
                return;
            }
            if (found != pending.begin() && !changes_nothing(reply.answer)) {
                fail(fmt::format("{} answered {} ahead of writes before it", found->write.name,
                                 told(reply.answer)));
                return;
            }
            const std::string expected = groups_[group].apply(found->write, plants_.wrong);
            if (told(reply.answer) != expected) {
                fail(fmt::format("{} is answered '{}', expected '{}'", found->write.name,
                                 told(reply.answer), expected));
            }
            report_.acknowledged += changes_nothing(reply.answer) ? 0 : 1;
            pending.erase(found);
            return;
        }
        fail("an answer to no call");
    }

    void check_read(const Read& read, const api::Answer& answer) {
        const auto& streams = groups_[group_of(read.name)].streams;
        const auto found = streams.find(read.name);
        const bool same_life =
            read.existed && found != streams.end() && found->second.life == read.life;
        const auto* reply = std::get_if<api::ReadReply>(&answer);
        if (reply == nullptr) {
            if (same_life ||
                told(answer) !=
                    fmt::format("refused {}", static_cast<int>(api::Refusal::stream_not_found))) {
                fail(fmt::format("a read of {} is answered '{}'", read.name, told(answer)));
            }
            return;
        }
        if (!same_life) {
            return;
        }
        const ModelStream& stream = found->second;
        const auto boundary = [&](std::uint64_t at) {
            return at == 0 || std::binary_search(stream.ends.begin(), stream.ends.end(), at);
        };
        const std::string bytes = text_of(reply->pieces);
        const bool right = boundary(reply->from) && boundary(reply->next) &&
                           reply->next - reply->from == bytes.size() &&
                           stream.content.compare(reply->from, bytes.size(), bytes) == 0 &&
                           (reply->from <= read.offset || bytes.empty()) &&
                           (!reply->up_to_date || reply->next >= read.tail) &&
                           (!bytes.empty() || reply->up_to_date);
        if (!right) {
            fail(fmt::format("a read of {} at {} (at most {}) got [{}, {}) of {} bytes", read.name,
                             read.offset, read.bytes_max, reply->from, reply->next,
                             stream.content.size()));
        }
    }

    // --- after a restart ---
    // A call that is answered before anything else is asked.
    std::optional<api::Answer> answer_to(api::CallId id) {
        for (int turns = 0; turns < turns_max && !off(); ++turns) {
            node_.turn();
            if (node_.answered(id)) {
                return node_.take(id);
            }
        }
        if (!off()) {
            fail("a read after the restart has no answer");
        }
        return std::nullopt;
    }

    struct Found {
        std::string type;
        std::string content;
        std::vector<std::uint64_t> ends;  // of the parts that were read
        bool closed = false;
    };

    // What the shard has of one name; nullopt when the power went while looking.
    bool look(const std::string& name, std::map<std::string, Found>& out) {
        const std::uint64_t part = random_.chance(1, 4) ? 1 : 1u << 20;
        Found stream;
        for (std::uint64_t offset = 0;;) {
            const std::optional<api::Answer> answer = answer_to(node_.read(name, offset, part));
            if (!answer) {
                return false;
            }
            const auto* reply = std::get_if<api::ReadReply>(&*answer);
            if (reply == nullptr) {
                if (told(*answer) !=
                    fmt::format("refused {}", static_cast<int>(api::Refusal::stream_not_found))) {
                    fail(fmt::format("{} after the restart: '{}'", name, told(*answer)));
                }
                return true;
            }
            stream.content += text_of(reply->pieces);
            stream.type = base::as_text(reply->content_type.bytes());
            stream.ends.push_back(reply->next);
            stream.closed = reply->closed;
            if (reply->up_to_date) {
                break;
            }
            offset = reply->next;
        }
        out[name] = std::move(stream);
        return true;
    }

    static bool equal(const std::map<std::string, Found>& found, const ModelGroup& model) {
        if (found.size() != model.streams.size()) {
            return false;
        }
        for (const auto& [name, expected] : model.streams) {
            const auto at = found.find(name);
            if (at == found.end() || at->second.content != expected.content ||
                at->second.type != expected.type || at->second.closed != expected.closed) {
                return false;
            }
            for (const std::uint64_t end : at->second.ends) {
                if (!std::binary_search(expected.ends.begin(), expected.ends.end(), end)) {
                    return false;
                }
            }
        }
        return true;
    }

    // Each group must have what was acknowledged and, of the writes without an answer, those of the
    // first so many turns: an entry is there whole or not at all, and none without those before it.
    void check_survivors() {
        std::vector<std::map<std::string, Found>> found(groups_.size());
        for (std::uint64_t i = 0; i < stream_names; ++i) {
            const std::string name = numbered("v1/s", i);
            if (!look(name, found[group_of(name)]) || failed()) {
                return;  // the power went again: the next start is looked at
            }
        }
        for (std::size_t group = 0; group < groups_.size(); ++group) {
            std::deque<Pending>& pending = pending_[group];
            ModelGroup candidate = groups_[group];
            std::size_t survived = 0;
            while (!equal(found[group], candidate)) {
                if (survived == pending.size()) {
                    explain(group, found[group]);
                    return;
                }
                const std::uint64_t turn = pending[survived].turn;
                while (survived < pending.size() && pending[survived].turn == turn) {
                    candidate.apply(pending[survived].write, plants_.wrong);
                    ++survived;
                }
            }
            report_.unknown += pending.size();
            report_.unknown_survived += survived;
            groups_[group] = std::move(candidate);
            pending.clear();
        }
    }

    void explain(std::size_t group, const std::map<std::string, Found>& found) {
        std::string text = fmt::format(
            "group {} after the restart is no state it may have ({} without answer):", group,
            pending_[group].size());
        for (const auto& [name, stream] : groups_[group].streams) {
            const auto at = found.find(name);
            text += fmt::format(" {} acknowledged {} bytes{}, found ", name, stream.content.size(),
                                stream.closed ? " closed" : "");
            text += at == found.end()
                        ? std::string("nothing")
                        : fmt::format("{} bytes{}{}", at->second.content.size(),
                                      at->second.closed ? " closed" : "",
                                      at->second.content.compare(0, stream.content.size(),
                                                                 stream.content) == 0
                                          ? ""
                                          : " that begin otherwise");
            text += ";";
        }
        for (const auto& [name, stream] : found) {
            if (groups_[group].streams.count(name) == 0) {
                text +=
                    fmt::format(" {} found {} bytes, not expected;", name, stream.content.size());
            }
        }
        fail(text);
    }

    base::Random random_;
    SurvivalPlants plants_;
    Node node_;
    bool slow_disk_ = false;
    bool small_disk_ = false;  // runs full; appends are then refused
    std::uint64_t json_ = 0;   // which of the names are JSON streams
    std::vector<ModelGroup> groups_;
    std::vector<std::deque<Pending>> pending_;
    std::map<std::uint64_t, Read> reads_;
    std::map<std::string, ModelStream::Producer> sent_;
    std::uint64_t bodies_ = 0;
    std::uint64_t turn_ = 0;
    SurvivalReport report_;
};

}  // namespace

SurvivalReport survive(std::uint64_t seed, const SurvivalPlants& plants) {
    return Story(seed, plants).run();
}

}  // namespace ursula::shard::test
