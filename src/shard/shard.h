// Shard: one core's groups with their log - everything below the waist. advance() is one turn: it
// takes calls, answers what can be answered, and does no I/O but through the Disk it was given. No
// clock, no thread, no socket: the simulator runs exactly this. Owned by one loop; created and
// started on its thread.
//
// Files: shard.cc the turn · shard_submit.cc calls -> commands -> entries · shard_early.cc
// what needs no entry · shard_apply.cc
// committed entries -> answers and posts · shard_read.cc reads and watches · shard_boot.cc recovery
// · shard_snapshot.cc snapshots and the log kept behind them · shard_fetch.cc, shard_serve.cc
// snapshots from and for other nodes · shard_peers.cc frames in and the nodes' liveness ·
// shard_send.cc frames out · shard_parts.cc what is too large
// for one · shard_forward.cc writes of groups led elsewhere · shard_balance.cc who
// leads · shard_links.cc which links there are · shard_members.cc memberships ·
// bucket_removal.cc · shard_subscriptions.cc · shard_expiry.cc streams that go by themselves ·
// shard_forks.cc forks are made and let go · shard_inherited.cc their reads · shard_inspect.cc for
// operators.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/call.h"
#include "api/reply.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/siphash.h"
#include "base/time.h"
#include "shard/disk_reads.h"
#include "shard/forking.h"
#include "shard/peer_link.h"
#include "shard/peer_net.h"
#include "shard/replica.h"
#include "storage/disk.h"
#include "storage/recovery.h"
#include "storage/snapshot_store.h"
#include "storage/wal.h"
#include "stream/image.h"
#include "stream/read_plan.h"

namespace ursula::shard {

class Webhooks;

struct ShardOptions {
    base::ShardId id;
    std::uint32_t shards = 1;
    std::uint32_t groups = base::limits::groups_default;
    base::NodeId node{1};
    base::HashKey table_key;
    std::uint64_t hot_bytes = 0;  // of this shard; without a disk, what it need not ask for
    base::Capacity* memory_capacity = nullptr;  // without a disk; outlives the shard
    std::uint64_t snapshot_log_bytes = 256u
                                       << 20;  // a snapshot round is due at max(this, 2 x images)
    std::uint64_t salt = 0;                    // NodeFile::shard_salt
    std::uint64_t log_kept_bytes = base::limits::log_kept_bytes_max;
    std::size_t fetch_window_bytes = base::limits::fetch_window_bytes;  // smaller only in tests
    std::size_t fetch_piece_bytes = base::limits::fetch_piece_bytes;
    std::size_t frame_part_bytes = base::limits::frame_part_bytes;  // smaller only in tests
    bool begun = false;                                             // NodeFile::begun
    std::uint32_t segment_bytes = base::limits::segment_bytes_default;
    // Smaller only in tests, with segments to match (storage::WalOptions).
    std::uint32_t wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    std::uint32_t wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    std::uint64_t reserve_bytes = 0;
    std::uint32_t reserve_percent = 0;
    base::Histogram* sync_duration = nullptr;  // storage::WalOptions::sync_duration

    // Of a cluster's node: the way to the others, which outlives the shard; null: the node is alone
    // for ever. Their groups are as many as ours.
    PeerNet* peer_net = nullptr;
    // The cluster's first members, by rising id, as long as no group's log says otherwise; empty in
    // a node that was added later: it does not vote before a leader tells it who does.
    std::vector<MemberInfo> founders;
    std::uint64_t incarnation = 0;  // of this node's storage
    std::uint64_t cluster = 0;      // frames of another cluster are refused
    std::uint64_t boot = 0;         // random, not 0, and never given to another start of any node
    std::int64_t stranger_link_ms = base::limits::stranger_link_ms;  // shorter only in tests
    Webhooks* webhooks = nullptr;  // outlives the shard; null: no subscriptions here
    bool spread_leaders = false;   // hand groups over until each is led by its preferred member
};

struct BootReport {
    std::uint64_t replayed_bytes = 0;
    std::uint64_t entries = 0;
    std::uint64_t dropped_batches = 0;
    std::string damaged_snapshots;  // skipped ones, for the log
};

struct ShardCounters {
    std::uint64_t appends = 0;  // applied, data kept
    std::uint64_t appended_bytes = 0;
    std::uint64_t duplicates = 0;
    std::uint64_t early_answers = 0;  // refusals and duplicates that never entered the log
    std::uint64_t commands = 0;       // entered the log
    std::uint64_t entries = 0;
    std::uint64_t refused_overloaded = 0;
    std::uint64_t refused_disk_full = 0;
    std::uint64_t refused_memory_full = 0;
    std::uint64_t disk_reads = 0;
    std::uint64_t posts = 0;
    std::uint64_t snapshots = 0;
    std::uint64_t elections = 0;
    std::uint64_t refused_not_leader = 0;
    std::uint64_t hand_overs = 0;  // of leadership, tried
    std::uint64_t frames_sent = 0;
    std::uint64_t frames_taken = 0;
    std::uint64_t frames_refused = 0;    // not whole, not ours, or of an earlier life
    std::uint64_t items_unheard = 0;     // of other storage than the member's of that id
    std::uint64_t forwards_sent = 0;     // writes passed on to their group's leader
    std::uint64_t forwards_taken = 0;    // those of other nodes
    std::uint64_t forwards_again = 0;    // sent, refused by who did not lead, kept to be sent again
    std::uint64_t large_items_sent = 0;  // entries and calls, in parts
    std::uint64_t large_items_taken = 0;
    std::uint64_t forwards_failed = 0;  // refused, or of unknown outcome, for want of a leader
    std::uint64_t log_fetches = 0;      // entries read back for followers, in so many pieces
    std::uint64_t images_served = 0;    // to followers
    std::uint64_t fetches_begun = 0;
    std::uint64_t fetches_given_up = 0;
    std::uint64_t fetched_bytes = 0;     // of payload
    std::uint64_t fetch_bytes_kept = 0;  // payload that was here and was not fetched
    std::uint64_t fetch_streams_gone = 0;
    std::uint64_t fetch_sources_changed = 0;
    std::uint64_t damaged_reads = 0;  // the disk gave nothing, or not what was written
    std::uint64_t entries_lost = 0;   // times that this kept entries from a follower
    std::uint64_t snapshots_installed = 0;
    std::uint64_t touches = 0;  // of streams with a ttl, asked for by this shard's readers
};

// Something a person reading the log should see; the loop logs it.
struct ShardEvent {
    enum class Kind : std::uint8_t {
        snapshot_written,
        snapshot_failed,
        snapshot_installed,
        follower_reverted,
        disk_full,
        disk_ok_again,
        data_damaged,
        member_is_stranger,  // a group names other storage by this node's id
        member_unheard,      // other storage than a member's speaks to this node
        wake_not_announced   // a subscription's wake stream takes no appends
    };
    Kind kind;
    std::string text;
};

class Shard {
  public:
    Shard(const ShardOptions& options, storage::Disk& disk);
    ~Shard();
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;

    // Blocks: recovery. An error with errno_value 0 refuses the data directory (exit 3).
    base::Result<BootReport> start(base::Now now);

    // One turn. Replies go to the loop reply.to names; internal calls (bucket removal) are this
    // shard's own, for any shard, and their views live until the next advance.
    void advance(std::span<const api::Call> calls, base::Now now, std::vector<api::Reply>& replies,
                 std::vector<api::Call>& internal_calls);
    // The node is going to end: from the next turn on groups are handed to other members.
    void leave() { leaving_ = true; }
    // The answer to one of those.
    void on_internal_reply(const api::Reply& reply);
    static bool is_internal(api::CallId id) { return (id.value >> 56) == internal_call; }

    // Every group leads and has applied what it found: calls are welcome. With several members:
    // every group knows its leader.
    bool ready() const;
    // When advance wants to run although nothing happens.
    base::Instant deadline() const;
    // The log failed, or the cluster contradicts it: the process ends with this sentence.
    std::string_view failure() const;
    void take_events(std::vector<ShardEvent>& out);

    const ShardCounters& counters() const { return counters_; }
    const storage::Wal& wal() const { return *wal_; }
    std::uint64_t hot_bytes_used() const { return local_.hot.bytes(); }
    std::uint64_t live_bytes() const { return local_.segments.live_total(); }
    std::uint64_t stream_count() const;
    std::uint32_t leaders() const;         // groups that this node leads
    std::uint32_t leaderless() const;      // groups whose leader it does not know
    std::uint32_t strange_groups() const;  // that name other storage by this node's id
    std::size_t group_count() const { return replicas_.size(); }
    // Hash of all groups' replicated state: tests compare it across a restart.
    std::uint64_t state_hash() const;
    // For tests and oracles; `group` is one of this shard's.
    const raft::Group& group(base::GroupId group) const {
        return replicas_[group.value / options_.shards]->group;
    }
    const stream::Machine& machine(base::GroupId group) const {
        return replicas_[group.value / options_.shards]->machine;
    }
    // Its memberships from the one in force at what is applied to that at the log's end.
    std::span<const MemberTable> tables(base::GroupId group) const {
        return replicas_[group.value / options_.shards]->tables;
    }

    // The other nodes that memberships of this shard's groups name, by rising id, of one node the
    // newest last; valid until the next advance. The number is another one when they are others.
    std::span<const MemberInfo> others() const { return told_; }
    std::uint64_t others_version() const { return others_version_; }

    // Whether a snapshot is being fetched, or what came of one is kept.
    bool fetching() const { return !fetching_.empty(); }

  private:
    // Call::from of those that no loop of this node made: from here on calls of other nodes, and
    // the shard's own.
    static constexpr base::ShardId elsewhere{0x8000'0000};
    static constexpr base::ShardId internal{UINT32_MAX};
    // In the top byte of ids of the shard's own calls and commands.
    static constexpr std::uint64_t internal_call = 2;
    std::uint64_t next_internal_number() { return internal_call << 56 | next_internal_++; }

    struct Watcher {
        base::ShardId to;
        api::CallId call;
    };
    // Who is told when a stream changes; stream::Stream::watch is its number here.
    struct WatchList {
        std::vector<Watcher> watchers;
        stream::Stream* stream = nullptr;
        base::GroupId group;
        std::uint64_t posted = 0;  // the posts so far end here
        bool changed = false;      // listed in changed_
        base::Instant touch_at;    // when keep_alive() looks again
    };
    // A command of the shard's own about a stream that goes by itself: expire_stream, or a touch.
    struct OwnCommand {
        base::Incarnation life;
        std::string name;
        bool touches = false;
        base::Instant begun{};                  // before a leader stamps it
        std::int64_t touched_ms = 0;            // expire_stream: the last touch it is about
        api::Refusal why = api::Refusal::none;  // its answer, as far as reads need it
        std::vector<ParkedRead> reads;          // wait for that
    };

    // shard.cc
    Replica& replica(base::GroupId group) { return *replicas_[group.value / options_.shards]; }
    void take_disk();
    bool settle();
    void run_timeouts();
    void carry_out(Replica& replica);
    void reply(base::ShardId to, api::CallId call, api::Answer&& answer);
    void say_damage(base::Instant& said, bool here, std::string&& what);

    // shard_peers.cc
    void take_frames();
    void take_frame(const ReceivedFrame& frame);
    bool take_item(PeerLink& link, const FrameHeader& header);
    void take_beat(PeerLink& link, const FrameItem& beat);
    void forget_handed_by(base::NodeId node);
    void meet(PeerLink& link, std::uint64_t boot);
    void watch_links();
    bool leads_with_dead_disk(const PeerLink& link) const;
    void tell_groups(const PeerLink& link);
    void accept_entries(Replica& replica);
    void cut_log(Replica& replica, base::LogIndex from);
    base::Instant links_deadline() const;

    // shard_links.cc
    bool has_peers() const { return options_.peer_net != nullptr; }
    void begin_links();
    void settle_links();
    void dismiss_strangers();
    bool is_unnamed(const PeerLink& link) const;
    void tell_group(Replica& replica);
    void tell_net();
    void add_links(const MemberInfo& info);
    PeerLink& add_link(PeerShard peer, std::uint32_t shards);
    void drop_link(std::size_t at);
    bool shares_groups(const PeerLink& link) const;
    PeerLink* find_link(PeerShard peer, std::uint32_t shards);
    PeerLink* find_link(base::NodeId node, const Replica& replica);
    PeerLink* welcome(const FrameHeader& header);
    static bool concerns(const PeerLink& link, const Replica& replica);
    static bool is_well(const PeerLink& link, const Replica& replica);

    // shard_members.cc
    void found(Replica& replica);
    raft::Membership as_seen_here(const MemberTable& table) const;
    std::vector<raft::MembershipAt> memberships_of(const Replica& replica) const;
    bool read_membership(FrameItem& item, MemberTable& table) const;
    void write_membership(Replica& replica, const raft::EntryToWrite& entry);
    void adopt(Replica& replica, MemberTable&& table);
    void cut_tables(Replica& replica, base::LogIndex from);
    void recover_membership(Replica& replica, const storage::RecoveredEntry& entry);
    void apply_membership(Replica& replica, base::LogIndex index, base::Bytes body);
    raft::MembershipAt restore_membership(Replica& replica);
    void look_at_membership(Replica& replica);
    void take_change(const api::Call& call, const api::ChangeMemberCall& change);
    void change_members(Replica& replica, const api::Call& call,
                        const api::ChangeMemberCall& change);

    // shard_send.cc
    void want_turn_end(Replica& replica);
    void send(Replica& replica, const raft::Message& message);
    bool send_entries(std::size_t link, WaitingEntries& waiting);
    std::size_t entries_in_memory(const PeerLink& link, const WaitingEntries& waiting) const;
    bool add_fetched(std::size_t link, WaitingEntries& waiting);
    void add_entries(std::size_t link, WaitingEntries& waiting, std::size_t count);
    void send_waiting(std::size_t link);
    void fetch_entries(WaitingEntries& waiting);
    void on_fetched(LogFetch& fetch, const storage::ReadRequest& request);
    base::Bytes body_in_memory(const Replica& replica, base::LogIndex index) const;
    void lose_entries(Replica& replica, const LogFetch& fetch, base::NodeId follower);
    void forget_fetch(WaitingEntries& waiting);
    void end_turn();
    void send_beats();
    void list_led();
    base::Instant next_beat() const;
    base::Duration oldest_write_age() const;
    void look_after_disk();
    static bool is_quicker(const PeerLink& link, base::Duration age);
    void send_frames();
    void keep_or_release(Replica& replica, base::LogIndex index, std::size_t bytes);
    void release_sent(Replica& replica);
    void forget_kept(Replica& replica);

    // shard_parts.cc
    bool is_large(std::size_t bytes) const { return bytes > options_.frame_part_bytes; }
    bool is_backed_up(const PeerLink& link) const;
    bool waits_for_large(PeerLink& link, std::size_t bytes) const;
    bool is_busy(const PeerLink& link) const;
    void begin_large(PeerLink& link, base::GroupId group, std::uint64_t call, base::Term term);
    void send_parts();
    static bool sends_large_of(const PeerLink& link, base::GroupId group);
    bool take_part(PeerLink& link, const FrameHeader& header);

    // shard_forward.cc
    bool pass_on(const api::Call& call);
    static bool is_full(const PeerLink& link, std::size_t bytes);
    bool is_refused_by(const Replica& replica, const Forward& forward, base::NodeId node) const;
    PeerLink* link_to_leader(const Replica& replica);
    bool hears_leader(const Replica& replica);
    void list_waiting(Replica& replica);
    void route(Replica& replica);
    void send_forward(Replica& replica, std::size_t at, PeerLink& link);
    void take_waiting(Replica& replica, std::size_t at);
    std::vector<std::byte> call_bytes(const api::Verb& verb);
    void keep_spare(std::vector<std::byte>&& bytes);
    static void fill_hash(const Replica& replica, api::Verb& verb);
    void close_forward(Replica& replica, std::size_t at, api::Answer&& answer);
    void close_on_link(const Forward& forward);
    std::size_t close_refused(Replica& replica, std::size_t end);
    void hold_refused(Replica& replica, std::size_t at);
    void lose_forward(Replica& replica, std::size_t at);
    void lose_forwards(const PeerLink& link);
    void lose_stuck(Replica& replica);
    void take_call(PeerLink& link, const FrameHeader& header, const FrameItem& item);
    void take_answer(const PeerLink& link, const FrameItem& item);
    void reply_to_peer(base::ShardId to, api::CallId call, const api::Answer& answer);
    void go_on_waiting();
    void end_waits();
    void hold_waiting(Replica& replica, bool held);
    void put_off_timeout(const PeerLink& link);
    base::Instant timeout_of(const Forward& forward) const;

    // shard_balance.cc
    void balance();
    base::NodeId preferred_leader(const Replica& replica) const;
    bool could_lead(const Replica& replica, base::NodeId node) const;
    void hand_over(Replica& replica, base::NodeId to);
    bool has_good_disk(const Replica& replica, base::NodeId node);
    base::NodeId good_successor(const Replica& replica);
    void leave_full_disk();

    // What may be done with a write: told early once it is confirmed; told now, for it is; neither.
    enum class Early : std::uint8_t { ask, confirmed, never };

    // shard_submit.cc
    static void fill_payload(stream::Command& command, std::string_view content_type,
                             base::Bytes body, bool creating);
    void take(const api::Call& call);
    void take_here(const api::Call& call, Early early = Early::ask);
    void take_write(const api::Call& call, const api::StreamKey& key, stream::Command&& command,
                    bool adds_bytes, Early early = Early::ask);
    void submit(Replica& replica, const stream::Command& command, const Ticket& ticket);
    void write_entries();
    void write_entry(Replica& replica, std::span<QueuedCommand> commands, std::size_t bytes);
    void write_noop(Replica& replica, const raft::EntryToWrite& entry);
    static bool plainly_acceptable(const Replica& replica, const stream::Command& command);
    bool needs_entry(const Replica& replica, const stream::Outcome& outcome) const;
    bool admits(const api::Call& call, std::uint64_t bytes, bool adds_bytes, Ticket& ticket);
    void forget_tickets(Replica& replica, std::size_t count, api::Refusal why);

    // shard_early.cc
    bool answer_early(Replica& replica, const api::Call& call, const stream::Command& command,
                      Early early);
    bool park_early(Replica& replica, const api::Call& call, std::uint64_t name_hash);
    void confirm_early(Replica& replica, const raft::ReadsReady& ready);
    void serve_early(Replica& replica);
    api::Call forget_early(const Replica& replica, EarlyCall&& early);
    void submit_early(Replica& replica, std::uint64_t name_hash);
    void route_early(Replica& replica);
    void end_early(Replica& replica);

    // shard_apply.cc
    void apply_through(Replica& replica, base::LogIndex committed);
    void apply_entry(Replica& replica, base::EntryId id, raft::EntryKind kind, base::Bytes body,
                     std::span<const storage::Location> pieces, bool held);
    void place_payload(const stream::Command& command, std::span<const storage::Location> pieces);
    void forget_producers(Replica& replica, const stream::Outcome& outcome);
    void note_change(const stream::Outcome& outcome);
    void tell_removed(std::uint32_t watch);
    void send_posts();
    static api::Answer answer_of(const stream::Outcome& outcome);

    // shard_expiry.cc
    std::int64_t group_clock(const Replica& replica) const;
    void run_own_commands();
    // When run_own_commands() has something to do.
    base::Instant own_deadline() const {
        base::Instant at = expiry_at_;
        if (!live_touches_.empty()) {
            at = std::min(at, live_touches_.begin()->first);
        }
        return own_due_.empty() && own_done_.empty() ? at : now_.mono;
    }
    void run_expiries();
    void look_at_expiries(const Replica& replica, std::int64_t at_ms);
    void note_life(Replica& replica, const stream::Outcome& outcome, bool held);
    std::int64_t touch_age_ms(const Replica& replica, const stream::Expiry& expiry) const;
    bool must_wait(Replica& replica, stream::Stream& stream, base::ShardId from, api::CallId id,
                   const api::Verb& verb, bool touched);
    std::int64_t touch(Replica& replica, stream::Stream& stream);
    void keep_alive(std::uint32_t watch);
    void begin_own(Replica& replica, stream::Stream& stream, bool touches);
    void send_own(std::uint64_t number);
    bool take_own_answer(const api::Reply& reply);
    void end_own(std::uint64_t number);
    void park_waiting(Replica& replica);
    void forget_read(Replica& replica, const stream::Stream* stream, base::ShardId from,
                     api::CallId call);

    // shard_read.cc
    bool confirm_reads(Replica& replica);
    void take_read(const api::Call& call, const api::StreamKey& key);
    void park(Replica& replica, const api::Call& call, std::string_view name,
              std::shared_ptr<ParkedListing> listing = {});
    void serve_parked(Replica& replica);
    void end_reads(Replica& replica);
    void serve(Replica& replica, base::ShardId from, api::CallId id, const api::Verb& verb,
               bool touched = false);
    void serve_stream(Replica& replica, base::ShardId from, api::CallId id, const api::Verb& verb,
                      const api::StreamKey& key, bool touched);
    void serve_read(const Replica& replica, const stream::Stream& stream, base::ShardId from,
                    api::CallId id, const api::ReadCall& read);
    void send_pieces(api::ReadReply&& out, base::ShardId from, api::CallId id);
    void serve_watch(Replica& replica, stream::Stream& stream, base::ShardId from, api::CallId id);
    static void set_name(api::Verb& verb, std::string_view name);
    void unwatch(const api::UnwatchCall& unwatch, base::ShardId from);
    void end_watches(const Replica& replica);
    void take_listing(const api::Call& call, const api::ListStreamsCall& list);
    void list_streams(const ParkedListing& list);
    void list_buckets(const api::Call& call);

    // shard_forks.cc
    void take_fork(const api::Call& call, const api::ForkCall& fork, Early early);
    void wait_for(std::uint64_t number, std::unique_ptr<Forking> forking);
    void measure_source(std::unique_ptr<Forking> forking, Forking::Step step);
    static bool judge_source(Forking& forking, const api::ReadReply& read, api::Refusal& why,
                             bool& needs_bytes);
    void submit_fork_step(Forking& forking, stream::Command& command, const stream::ForkPart& part,
                          std::uint64_t number, std::uint64_t reserved_bytes);
    void begin_fork(std::unique_ptr<Forking> forking);
    void hold_source(std::unique_ptr<Forking> forking);
    void create_fork(std::unique_ptr<Forking> forking, const api::HoldReply& hold);
    void let_go(const Forking& forking);
    void end_forking(const Forking& forking, api::Answer&& answer);
    void drive_fork(std::unique_ptr<Forking> forking);
    void list_links(Replica& replica);
    void look_at_links(Replica& replica);
    void begin_link_work(Replica& replica, const base::Incarnation& id, LinkWork::Step step);
    void send_link_work(LinkWork&& work);
    void drive_link(LinkWork&& work);
    void try_links_again(Replica& replica);
    bool take_fork_answer(const api::Reply& reply);
    base::Instant forks_deadline() const;  // when run_forks() has something to do
    void run_forks();

    // shard_inherited.cc
    const stream::Stream* find_level(const Replica& replica, std::string_view name,
                                     const base::Incarnation& life, std::uint64_t end) const;
    void plan_level(const stream::Stream& stream, std::uint64_t offset, std::uint64_t end,
                    std::uint64_t bytes_max, bool more);
    void take_inherit(const api::Call& call, const api::ReadCall& read);
    void serve_inherit(const Replica& replica, base::ShardId from, api::CallId id,
                       const api::ReadCall& read);
    void send_plan(api::ReadReply&& out, base::ShardId from, api::CallId id);
    void gather(const Replica& replica, const stream::Stream& stream, base::ShardId from,
                api::CallId id, const api::ReadCall& read);
    void ask_levels(std::unique_ptr<Gathering> gathering);
    static void add_level(Gathering& gathering, std::string_view name,
                          const base::Incarnation& life, std::uint64_t point);
    static bool take_level(Gathering& gathering, std::uint64_t from, std::uint64_t next,
                           const std::vector<base::Slice>& pieces);
    void go_on_gathering(std::unique_ptr<Gathering> gathering);
    void end_gathering(Gathering& gathering);

    // shard_inspect.cc
    void inspect(const api::Call& call, const api::InspectCall& what);
    std::vector<api::NodeView> named_nodes() const;
    void serve_stream_view(Replica& replica, base::ShardId from, api::CallId id,
                           const api::InspectCall& what, bool confirmed);
    void transfer(const api::Call& call, const api::TransferCall& transfer);

    // shard_boot.cc
    class BootSink;
    base::Result<void> load_snapshots(BootReport& report);
    base::Result<void> check_recovered(const storage::RecoveredLog& log) const;

    // shard_snapshot.cc
    void run_snapshots();
    bool snapshot_due();
    bool snapshot_waits() const;
    void begin_snapshot();
    void end_snapshot(const storage::SnapshotStore::Finished& finished);
    static bool is_being_imaged(const Replica& replica);
    base::LogIndex forgettable(const Replica& replica) const;
    void forget_log(Replica& replica, base::LogIndex through);
    void begin_snapshot_of(Replica& replica);
    void look_after_kept_log();

    // shard_fetch.cc
    void begin_fetch(Replica& replica, const raft::FetchSnapshot& wanted);
    void ask(Replica& replica, FetchAsk::What what, const SnapshotFetch::Ask* bytes, bool again);
    void run_fetches();
    void run_fetch(Replica& replica);
    base::NodeId source_after(const Replica& replica, base::NodeId node) const;
    bool is_source(const Replica& replica, base::NodeId node) const;
    void ask_another(Replica& replica, SnapshotFetch::Ask& open, bool again);
    void on_refused(Replica& replica, base::NodeId by, const FetchData& data);
    void say_lost_bytes(const Replica& replica);
    base::Instant fetches_deadline() const;
    bool may_ask(const Replica& replica) const;
    void look_at_streams(Replica& replica);
    bool take_over(Replica& replica, stream::Stream& stream, std::size_t& steps);
    void on_fetch_data(Replica& replica, base::NodeId from, const FrameItem& item);
    void take_image(Replica& replica, const FrameItem& item);
    void take_bytes(Replica& replica, base::NodeId from, const FrameItem& item);
    void on_placed(const storage::PayloadPlaced& placed);
    void place_next(SnapshotFetch& fetch);
    void give_up_fetch(Replica& replica);
    void end_fetch(Replica& replica);
    void retire_fetched(Replica& replica);
    void shrink_retired();
    void begin_install(Replica& replica);
    void end_install(Replica& replica, const storage::SnapshotStore::Finished& finished,
                     std::vector<storage::SegmentId>& live);
    void install(Replica& replica, const std::vector<storage::SegmentId>& live);
    void move_watches(Replica& replica, stream::Machine& machine);

    // shard_serve.cc
    void on_fetch_ask(PeerLink& link, Replica& replica, const FetchAsk& ask);
    ServedFetch* begin_serving(PeerLink& link, Replica& replica, const FetchAsk& ask);
    static void stop_serving(Replica& replica);
    static base::LogIndex pinned_through(const Replica& replica);
    void serve_fetches();
    void send_image(Replica& replica, ServedFetch& served);
    void answer_asks(PeerLink& link);
    void answer_ask(PeerLink& link, WaitingAsk& waiting);
    void on_bytes_read(api::Reply& reply);

    class Subscribing;  // shard_subscriptions.h

    // bucket_removal.cc
    struct Removal {
        enum class Step : std::uint8_t { begin, sealing, decide, unsealing, removed, reopened };
        Step step = Step::begin;
        base::Term term;  // in which this node leads group 0 and drives it
        std::string bucket;
        std::uint64_t bucket_id = 0;
        std::uint64_t round = 0;  // of api::SealBucketCall
        api::CallId waiting_for;  // the step under way, and how many answers it still needs
        std::uint32_t waiting = 0;
        bool due = true;             // all its answers are in: drive it on
        bool failed = false;         // one of them was a refusal
        base::Instant not_before{};  // after a refusal
        bool empty = true;           // no group holds a stream of the bucket
        api::Answer answer;
        bool has_caller = false;  // false: taken up after a restart
        api::CallId call;
        base::ShardId from;
    };
    void take_removal(const api::Call& call, std::string_view bucket);
    void resume_removals();
    void abandon_removals();
    base::Instant removals_deadline() const;
    void run_removals();
    void drive_removal(Removal& removal, const api::Answer& answer);
    void submit_removal_step(Removal& removal, stream::CommandKind kind);
    void seal_everywhere(Removal& removal, bool seal);
    void finish_removal(Removal& removal, const api::Answer& answer);

    const ShardOptions options_;
    storage::Disk& disk_;
    std::vector<PeerLink> links_;  // to other nodes' shards, those with which groups are shared
    bool links_due_ = false;       // a membership changed since settle_links()
    base::Instant strangers_due_ = base::Instant::never();  // when a link may have to go
    base::Instant dismissals_due_{};                        // when to look for whom nobody names
    std::uint64_t dropped_sequence_ = 0;                    // new links' numbers go on from these
    std::uint64_t dropped_call_number_ = 0;
    std::uint64_t dropped_large_number_ = 0;
    std::vector<MemberInfo> told_;  // to the net, by rising node
    std::uint64_t others_version_ = 0;
    MemberTable item_table_;               // of the membership among item_'s entries
    const MemberInfo* joining_ = nullptr;  // while an operator's change is stepped: what it brings
    std::vector<std::unique_ptr<LogFetch>> fetches_;
    std::vector<Replica*> turn_ends_;  // raft::TurnEnd is due
    std::vector<Replica*> keeping_;    // hold applied entries for followers
    std::uint64_t kept_bytes_ = 0;     // of those entries
    base::Instant last_beat_;          // to all
    bool send_more_ = false;           // entries wait only for the next frame
    bool calls_left_ = false;          // so do calls
    std::vector<Replica*> waiting_;    // those with forwards, or reads to be asked for again
    std::size_t waiting_calls_ = 0;    // forwards that wait, of all groups
    std::size_t waiting_bytes_ = 0;    // and their bytes
    TouchedNames early_names_;         // of the calls in Replica::early, of all groups
    std::size_t early_calls_ = 0;      // their number
    std::size_t early_bytes_ = 0;      // and bytes
    std::vector<std::vector<std::byte>> spare_bytes_;  // Forward::bytes to be used again
    std::vector<std::vector<std::byte>> taken_bytes_;  // looked at by commands of this turn
    std::vector<std::byte> answer_bytes_;
    bool leaving_ = false;
    base::Instant balance_at_;               // when to look at who leads
    base::Instant calm_since_;               // no link was seen down since
    std::vector<base::Instant> hand_again_;  // by position: not handed over before
    FrameItem item_;                         // the one being taken
    FrameWriter large_frame_;                // where an item that is too large is put together
    std::vector<ReceivedFrame> frames_;
    std::vector<LinkEvent> link_events_;
    std::vector<Led> led_;
    std::uint64_t next_fetch_ = 0;
    std::vector<Replica*> fetching_;  // with a fetch, or what is left of one
    std::vector<Replica*> serving_;
    std::vector<std::unique_ptr<stream::Machine>> retired_;  // of fetches; freed a part per turn
    std::vector<std::unique_ptr<ByteRead>> byte_reads_;
    std::vector<std::byte> no_locations_;  // of an image for another node
    bool disk_slow_ = false;               // as peers and groups were told
    base::Instant disk_well_at_;           // then it is over
    stream::Local local_;
    std::vector<std::unique_ptr<Replica>> replicas_;  // group id = position x shards + shard id
    std::unique_ptr<storage::Wal> wal_;
    storage::SnapshotStore snapshots_;
    DiskReads disk_reads_;

    base::Now now_;
    std::uint64_t turn_ = 0;
    base::Instant raft_deadline_;
    std::vector<api::Reply>* replies_ = nullptr;
    std::vector<api::Call>* internal_calls_ = nullptr;
    std::vector<Replica*> writing_;  // replicas with queued commands

    std::vector<WatchList> watches_;  // 0 unused
    std::vector<std::uint32_t> free_watches_;
    std::vector<std::uint32_t> changed_;

    std::unique_ptr<stream::ImageWriter> image_;
    Replica* imaging_ = nullptr;
    std::vector<Replica*> snapshot_round_;
    std::vector<std::byte> image_slice_;
    std::vector<std::byte> location_slice_;
    bool image_sent_ = false;
    bool installing_ = false;  // it is of a fetched machine
    base::Instant snapshot_again_;
    base::Instant kept_look_at_;
    std::uint64_t snapshot_look_at_ = 0;        // of the bytes written to the log
    std::uint64_t live_at_round_ = UINT64_MAX;  // live payload when the last round began

    std::unique_ptr<Subscribing> subscribing_;

    std::vector<std::unique_ptr<Removal>> removals_;  // only on the shard of group 0, its first
    base::Term removals_resumed_;  // the newest term of group 0 in which they were
    std::uint64_t next_internal_ = 1;

    base::Instant expiry_at_ = base::Instant::never();  // when run_expiries() looks again
    std::uint64_t expiry_turn_ = 0;                     // once per turn
    std::map<std::uint64_t, OwnCommand> own_;           // by the number of their call
    std::vector<std::uint64_t> own_due_;                // to be sent
    std::vector<std::uint64_t> own_done_;               // answered
    std::set<std::pair<base::Instant, std::uint32_t>> live_touches_;  // by watch; some are past

    // By the number of the answer that each waits for.
    std::map<std::uint64_t, std::unique_ptr<Forking>> forkings_;
    std::map<std::uint64_t, LinkWork> link_works_;
    std::map<std::uint64_t, std::unique_ptr<Gathering>> gatherings_;
    std::vector<std::uint64_t> fork_answers_;  // numbers of answers that are in
    std::vector<Replica*> links_listed_;       // with links to be looked at
    base::Instant forks_again_ = base::Instant::never();
    std::size_t forking_bytes_ = 0;
    std::uint64_t gathered_bytes_ = 0;  // that reads under way may bring

    // What commands of the shard's own look at, this turn.
    std::deque<std::string> own_names_;
    std::deque<stream::ForkPart> own_forks_;

    // Reused each turn.
    std::vector<storage::DiskOp*> done_;
    std::vector<storage::Persisted> persisted_;
    std::vector<storage::PayloadPlaced> placed_;
    std::vector<storage::ReadRequest*> reads_;
    std::vector<DiskReads::Finished> finished_reads_;
    std::vector<storage::Location> locations_;
    std::vector<std::pair<base::GroupId, base::LogIndex>> kept_;
    std::vector<stream::Place> places_;
    stream::ReadPlan plan_;
    std::vector<ShardEvent> events_;
    bool was_full_ = false;
    base::Instant damage_said_{};  // of bytes of streams; not yet
    base::Instant lost_entries_said_{};
    base::Instant lost_bytes_said_{};  // that no node has
    std::string failure_;              // other than the log's: what ends the node
    ShardCounters counters_;
};

}  // namespace ursula::shard
