// One shard on a simulated disk or in memory, driven as src/loop.cc drives it but in virtual time:
// for tests at the waist. It takes a turn only when there is a reason for one - a call, a disk op
// under way, a deadline that has come - so that a shard that forgets to say when it wants to run
// stands still and the test fails.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shard/shard.h"
#include "sim/sim_disk.h"
#include "storage/memory_disk.h"

namespace ursula::shard::test {

// Four groups, 64 KiB segments, 16 KiB batches, 4 KiB pieces, 1 MiB of memory for payload.
ShardOptions small_options();

// What tests put between a shard and its simulated disk.
class GateDisk final : public storage::Disk {
  public:
    explicit GateDisk(sim::SimDisk& disk) : disk_(disk) {}
    bool held = false;  // nothing completes
    // Reads of this file wait at the gate, once it was opened; empty: none.
    std::string holds_reads_of;
    bool lies = false;        // a planted bug: durable writes complete without being durable
    std::uint64_t reads = 0;  // submitted so far
    std::uint64_t read_bytes = 0;
    std::uint64_t allocations = 0;  // made by the disk itself

    std::size_t may_complete() const {
        return held ? 0 : disk_.in_flight() + (holds_reads_of.empty() ? waiting_reads_.size() : 0);
    }
    void submit(storage::DiskOp& op) override;
    void take_completions(std::vector<storage::DiskOp*>& done) override;
    std::uint32_t alignment() const override { return disk_.alignment(); }
    bool keeps_data() const override { return true; }
    base::Result<storage::Space> space() override { return disk_.space(); }
    base::Result<std::vector<storage::FileInfo>> list_now() override { return disk_.list_now(); }
    void run_now(storage::DiskOp& op) override { disk_.run_now(op); }

  private:
    sim::SimDisk& disk_;
    std::vector<storage::DiskOp*> waiting_reads_;
    storage::FileId held_file_{UINT32_MAX};
};

class Node {
  public:
    explicit Node(const ShardOptions& options) : options_(options) {}
    ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    // --- life ---
    // On a MemoryDisk instead of a simulated one; before the first start.
    void use_memory() { memory_ = true; }
    // On this disk, which outlives the node and does not survive a restart; before the first start.
    void use_disk(storage::Disk& disk) { foreign_disk_ = &disk; }
    ShardOptions& options() { return options_; }  // take effect at the next start
    // Starts on what the disk holds and runs until the shard is ready.
    BootReport start();
    // Only recovery, no turn yet. The disk keeps what a refused start left.
    base::Result<BootReport> try_start();
    void run_until_ready();
    // kill -9: what was written stays, what was under way is lost.
    void kill();
    // The power goes: `random` draws which of the unsynced sectors and names are left.
    void cut_power(base::Random& random);
    BootReport restart() {
        kill();
        return start();
    }

    Shard& shard() { return *shard_; }
    sim::SimDisk& disk() { return *sim_; }
    GateDisk& gate() { return *gate_; }
    bool on_memory() const { return memory_; }
    // What a next start finds; the shard is down.
    sim::Image& image() { return image_; }
    void set_disk_alignment(std::uint32_t bytes) { alignment_ = bytes; }  // from the next start
    void set_lies(bool lies) { lies_ = lies; }  // GateDisk::lies, likewise
    // The power goes off after so many disk ops from the next start on (sim::SimDisk::cut_after).
    void set_cut_after(std::uint64_t ops) { cut_after_ = ops; }
    // Completions in random order and late; nullptr: at once.
    void set_random(base::Random* random);

    // --- calls: queued for the next turn ---
    api::StreamKey key(std::string_view name);
    // A copy that lives as long as a call's views may: the next turn overwrites it when it ends.
    std::string_view keep(std::string_view text);
    base::Bytes keep_bytes(std::string_view text) { return base::as_bytes(keep(text)); }
    api::CallId call(api::Verb verb, bool redirect = false);
    api::CallId create(std::string_view name, std::string_view type = "text/plain",
                       std::string_view body = {}, bool closed = false,
                       std::uint64_t bucket_id = 0);
    api::CallId append(std::string_view name, std::string_view body,
                       std::string_view type = "text/plain");
    api::CallId append_as(std::string_view producer, std::uint64_t epoch, std::uint64_t seq,
                          std::string_view name, std::string_view body, bool close = false);
    api::CallId append_seq(std::string_view stream_seq, std::string_view name,
                           std::string_view body);
    api::CallId close(std::string_view name, std::string_view body = {});
    api::CallId remove(std::string_view name);
    api::CallId head(std::string_view name);
    api::CallId read(std::string_view name, std::uint64_t offset, std::uint64_t bytes_max);
    api::CallId watch(std::string_view name);
    api::CallId unwatch(std::string_view name, api::CallId watch);
    api::CallId create_bucket(std::string_view bucket);
    api::CallId remove_bucket(std::string_view bucket);
    api::CallId resolve_bucket(std::string_view bucket);

    // --- turns ---
    void turn();
    // Turns until nothing has a reason to happen within `horizon` from now.
    void run(base::Duration horizon = base::milliseconds(100));
    // Turns until the call has an answer (REQUIREd within ten virtual seconds).
    void run_until_answered(api::CallId id);
    void pass(base::Duration time) { now_.mono = now_.mono + time; }
    base::Now now() const;
    void shift_wall(std::int64_t ms) { now_.wall.ms += ms; }
    // Replies of the last turn, in order.
    const std::vector<api::Reply>& last_replies() const { return replies_; }
    std::vector<ShardEvent> take_events();
    // Answers nobody waits for are not kept (long random tests).
    void forget_answers() { inbox_.clear(); }

    // --- answers ---
    bool answered(api::CallId id) const { return inbox_.count(id.value) != 0; }
    std::size_t answer_count(api::CallId id) const;
    // The oldest answer of the call not yet taken.
    api::Answer take(api::CallId id);
    // Runs until answered and takes it as T; anything else fails the test.
    template <class T>
    T wait(api::CallId id) {
        run_until_answered(id);
        api::Answer answer = take(id);
        const auto* refused = std::get_if<api::Refused>(&answer);
        INFO("refused: ", refused != nullptr ? static_cast<int>(refused->why) : -1);
        REQUIRE(std::holds_alternative<T>(answer));
        return std::get<T>(std::move(answer));
    }
    api::Refusal refusal(api::CallId id) { return wait<api::Refused>(id).why; }
    std::uint64_t tail_after(api::CallId append) { return wait<api::AppendReply>(append).tail; }
    // All bytes from `offset` on, by as many reads as it takes.
    std::string content(std::string_view name, std::uint64_t offset = 0,
                        std::uint64_t bytes_max = 1 << 20);

    // Several shards of one node: internal calls and their answers are carried between them.
    void set_peers(std::vector<Node*> peers) { peers_ = std::move(peers); }
    bool wants_turn(base::Instant until) const;

  private:
    void deliver(api::Reply&& reply);
    void route_internal(const api::Call& call);
    // Disk ops that may complete.
    std::uint64_t in_flight() const { return sim_ == nullptr ? 0 : gate_->may_complete(); }

    ShardOptions options_;
    bool memory_ = false;
    storage::Disk* foreign_disk_ = nullptr;
    sim::Image image_;
    std::unique_ptr<sim::SimDisk> sim_;
    std::unique_ptr<GateDisk> gate_;
    std::unique_ptr<storage::MemoryDisk> memory_disk_;
    std::unique_ptr<Shard> shard_;
    base::Random* random_ = nullptr;
    std::uint32_t alignment_ = 512;
    bool lies_ = false;
    std::uint64_t cut_after_ = UINT64_MAX;
    std::vector<Node*> peers_;

    base::Now now_{base::Instant{1'000'000}, base::WallTime{1'700'000'000'000}};
    std::uint64_t next_call_ = 1;
    std::vector<api::Call> calls_;
    std::deque<std::string> kept_;
    std::vector<api::Reply> replies_;
    std::vector<api::Call> internal_;
    std::deque<std::string> internal_names_;
    std::map<std::uint64_t, std::deque<api::Answer>> inbox_;
};

std::string text_of(const std::vector<base::Slice>& pieces);
// `size` bytes that tell where they are: a wrong place or a lost piece shows.
std::string pattern(std::size_t size, std::uint64_t seed);
// text + number (g++ 12 sees an overlap that is not there in operator+, its bug 105651).
std::string numbered(std::string_view text, std::uint64_t number);

}  // namespace ursula::shard::test
