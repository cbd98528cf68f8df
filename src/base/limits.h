// Every bound of the server, by name, with its reason. Units come last in a name. Those a user may
// change are configuration keys (INTERFACE.md) whose default or ceiling stands here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ursula::base::limits {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

// --- HTTP (notes/reliability-anchors.md 6.3 as DESIGN amends it) ---
constexpr std::size_t request_line_bytes_max = 8 * kib;     // 414 above
constexpr std::size_t header_bytes_max = 32 * kib;          // whole head; 431 above
constexpr std::size_t header_field_bytes_max = 16 * kib;    // one field; 431 above
constexpr std::size_t header_count_max = 100;               // 431 above
constexpr std::size_t chunk_line_bytes_max = 256;           // chunk size line; 400 above
constexpr std::size_t chunk_extension_bytes_max = 1 * kib;  // all extensions of a body; 400 above
// A body in tiny chunks costs more to read than it brings (CVE-2023-39326): once so many bytes came
// over the wire, no more than ratio times the body; 400 above.
constexpr std::uint64_t chunk_overhead_free_bytes = 64 * kib;
constexpr std::uint64_t chunk_overhead_ratio_max = 16;
constexpr std::size_t body_bytes_default = 16 * mib;  // server.max_body; 413 above
constexpr std::size_t pipeline_requests_max =
    64;  // parsed ahead per connection; then reading stops
constexpr std::size_t output_bytes_max = 256 * kib;  // queued per connection; then producers pause
constexpr std::size_t drain_bytes_max = 64 * mib;    // read and dropped after an early refusal
constexpr std::int64_t header_timeout_ms = 10'000;   // first byte of a head to its end
constexpr std::int64_t body_idle_timeout_ms = 60'000;   // without one body byte
constexpr std::int64_t keep_alive_timeout_ms = 75'000;  // idle between requests
constexpr std::int64_t send_stall_timeout_ms = 30'000;  // peer takes no byte
// Per process, in equal parts per loop, each at least one body of server.max_body; 503 above.
constexpr std::size_t bodies_in_flight_bytes_max = 256 * mib;
// Descriptors no connection may take: for the log's files, rings, and what libraries open.
constexpr std::uint32_t reserved_descriptors = 256;
// Above half of that, or of the connections: a body that brings less than body_rate_bytes_min in
// each window is ended with 408.
constexpr std::int64_t body_rate_window_ms = 5'000;
constexpr std::size_t body_rate_bytes_min = 5 * kib;  // per window: 1 KiB/s
// Connections over server.max_connections that wait to be told so; beyond, they are reset. Enough
// for a burst, and little beside the connections that are served.
constexpr std::uint32_t refused_at_once_max = 64;
// Of the admin plane, beside server.max_connections: operators, a console, a scraper.
constexpr std::uint32_t admin_connections_max = 64;
constexpr std::size_t admin_body_bytes_max = 64 * kib;  // its bodies are a few keys; 413 above
constexpr std::int64_t linger_timeout_ms = 5'000;       // after our last byte, for the peer's FIN

// --- names and headers of the protocol ---
constexpr std::size_t path_bytes_max = 1024;       // decoded stream path; 400 above
constexpr std::size_t path_segments_max = 64;      // under /v1/stream
constexpr std::size_t bucket_name_bytes_max = 64;  // a-z A-Z 0-9 _ - .
constexpr std::size_t bucket_name_bytes_min = 1;
// "bucket/" and a path: what the two bounds above let through.
constexpr std::size_t stream_name_bytes_max = bucket_name_bytes_max + 1 + path_bytes_max;
constexpr std::size_t content_type_bytes_max = 256;
constexpr std::size_t producer_id_bytes_max = 256;
constexpr std::size_t stream_seq_bytes_max = 256;
constexpr std::uint64_t producer_number_max = (1ull << 53) - 1;
constexpr std::size_t producers_per_stream_max =
    1'000'000;  // beyond: least recently used is forgotten by a command
constexpr std::size_t json_depth_max = 512;
constexpr std::uint32_t fork_depth_max = 1024;  // forks of forks; 400 beyond
constexpr std::size_t forks_per_stream_max = 100'000;
constexpr std::uint64_t ttl_s_max = (1ull << 53) - 1;  // what every client's numbers hold
constexpr std::size_t expires_at_bytes_max = 35;       // RFC 3339 with nanoseconds and an offset
// Any offset (33 bytes), cursor (20 digits) or mode fits many times over, percent-escaped too;
// longer values of offset are refused, of live and cursor ignored.
constexpr std::size_t query_value_bytes_max = 256;
constexpr std::size_t cursor_bytes_max = 64;  // a cursor of ours has 20 digits; longer: none given
constexpr std::uint32_t listing_default_count = 1000;  // a page a person can still scroll
constexpr std::uint32_t listing_count_max = 10'000;    // ?limit=; one answer of a few MiB at most
// Of a text with client bytes in it, in a problem body: a title or hint is a sentence or a command.
constexpr std::size_t quoted_bytes_max = 300;
// Access-Control-Request-Headers that are given back; a preflight with more is told ours alone.
constexpr std::size_t preflight_headers_bytes_max = 1 * kib;
// Refused requests that a loop logs: a burst, then one a second of each kind (4xx, 5xx).
constexpr std::int64_t refusal_log_burst = 20;

// --- replication and log ---
constexpr std::uint32_t groups_default = 64;
constexpr std::uint32_t groups_max = 4096;
constexpr std::uint32_t shards_max = 64;
constexpr std::size_t wal_batch_bytes_max = 1 * mib;    // one write
constexpr std::size_t wal_piece_bytes_max = 256 * kib;  // larger payload goes in pieces
constexpr std::size_t wal_writes_in_flight_max = 2;     // two is the knee (performance-anchors 2.5)
constexpr std::size_t wal_staged_bytes_max =
    64 * mib;  // per shard, staged and not yet durable; 503 above
constexpr std::size_t uncommitted_bytes_max =
    16 * mib;  // per group; admits one entry of any size when empty
constexpr std::size_t entry_bytes_max = 1 * mib;  // commands of one turn; a larger one has its own
constexpr std::size_t segment_bytes_default = 64 * mib;
// Their list is repeated in every segment's head, which must fit one batch: 24 B each, 1 TiB of log
// at 64 MiB.
constexpr std::size_t log_segments_max = 16'384;
// The first segment number that is never used, a safe way below the 2^31 that a stream's locations
// have room for. At 64 MiB a segment that is 127 PiB written by one shard; a file with such a
// number is not the log's.
constexpr std::uint32_t segment_number_end = (1u << 31) - (1u << 20);
// Of a finite reply that is compressed: shorter ones gain nothing, longer ones would stall a turn.
constexpr std::size_t gzip_bytes_min = 1024;
constexpr std::size_t gzip_bytes_max = 1024 * kib;
constexpr std::size_t read_chunk_bytes_default =
    1 * mib;  // soft: one whole append is always returned
// Bytes read for one client alone, in responses it has not taken: per process, in equal parts per
// loop, each at least a quarter; 503 above. Smaller replies are always sent. Above, a connection
// that took nothing for read_stall_ms is ended: 4 MiB in the kernel last a client of 1 MiB/s that
// long.
constexpr std::size_t read_held_bytes_max = 256 * mib;
constexpr std::size_t read_held_bytes_min = 64 * kib;
constexpr std::int64_t read_stall_ms = 4'000;
constexpr std::size_t cold_reads_bytes_max = 64 * mib;  // per shard, being read back for clients
constexpr std::uint32_t disk_read_bytes_max = 1 * mib;  // one request to the disk
constexpr std::uint32_t disk_read_gap_bytes_max = 16 * kib;  // cheaper to read than to skip

// --- peers ---
// A frame takes further entries until it is this long, but always one: what a small item of another
// group may have to wait for on the wire.
constexpr std::size_t frame_bytes_target = 1 * mib;
// What is longer than this - one entry, one forwarded call - travels in parts of this size, one per
// turn and frame, between which goes everything else. The next one leaves when less than this waits
// in the connection: at 100 Mbit/s what is small waits for some tens of milliseconds.
constexpr std::size_t frame_part_bytes = 256 * kib;
// The longest frame, or item in parts, that is read: one entry with the largest body there is.
constexpr std::size_t frame_bytes_max = 272 * mib;
// Per shard: bodies of applied entries kept in memory because a live follower was not sent them
// yet; above, they are read back from the log.
constexpr std::size_t replication_bytes_held_max = 64 * mib;
// Read back from the log for one follower of one group at a time, but always one entry.
constexpr std::size_t log_fetch_bytes_max = 1 * mib;
constexpr std::size_t log_fetches_max = 8;  // per shard, at a time
// Per shard: log that only lagging followers may still need. Beyond it they are sent a snapshot, of
// which only what they lack is moved; a follower that was away for some minutes catches up by the
// log.
constexpr std::uint64_t log_kept_bytes_max = 256 * mib;
// How often a leader looks whether its followers still need what it keeps.
constexpr std::int64_t log_kept_look_ms = 100;
// A snapshot fetched from another node (shard/snapshot_fetch.h). Sent ahead of what the follower
// said it has: covers a round trip with a disk read and write. It is also what may stand in memory.
constexpr std::size_t fetch_window_bytes = 1 * mib;
constexpr std::size_t fetch_piece_bytes = 128 * kib;  // of an image or a stream in one item
constexpr std::size_t fetch_asks_max = 64;            // streams asked for at a time
constexpr std::size_t fetches_max = 2;                // per shard, at a time
// What a turn may spend on looking which bytes are here already: streams and pieces.
constexpr std::size_t fetch_steps_per_turn = 4096;
constexpr std::int64_t fetch_retry_ms = 200;      // without an answer: ask again, or another
constexpr std::int64_t fetch_silence_ms = 3'000;  // without progress: given up, what came is kept
constexpr std::size_t fetches_kept_max = 2;       // per group, given up and kept for the next
constexpr std::int64_t fetch_kept_ms = 60'000;
// A sender keeps the log behind an image, and the image, this long after the last question.
constexpr std::int64_t fetch_pinned_ms = 10'000;
// Each peer is told this often that this node lives, and how old its oldest log write is: more
// often while there is one. Who was not heard of for beat_ask_after_ms is asked, again and again,
// until it answers or raft::limits::silence_timeout has come: what a network loses of the one or
// the other makes nobody look dead.
constexpr std::int64_t beat_interval_ms = 200;
constexpr std::int64_t beat_again_ms = 100;  // with a log write under way; between two questions
constexpr std::int64_t beat_ask_after_ms = 250;
// A node that no membership names is forgotten when nothing was heard of it for so long: time
// enough for a follower that is behind to learn that its leader is a member.
constexpr std::int64_t stranger_link_ms = 10'000;
// Links that one shard keeps to nodes no membership names; further ones are refused.
constexpr std::size_t stranger_links_max = 64;
// A node that leaders heard for stranger_link_ms although no group names it is dismissed: for so
// long it is not let in, and at most so many of them are remembered.
constexpr std::int64_t dismissed_ms = 60'000;
constexpr std::size_t dismissed_max = 16;
// Storages of other nodes whose newest start is remembered.
constexpr std::size_t peer_lives_max = 64;
// That other storage than a member's speaks is said again after this long.
constexpr std::int64_t unheard_said_ms = 60'000;
// That the disk does not give back what was written is said again after this long.
constexpr std::int64_t damage_said_ms = 60'000;
// For so long after the last dismissal a node takes itself for removed when its groups have no
// leader: a dismissal is repeated within dismissed_ms, twice stranger_link_ms and some retries.
constexpr std::int64_t removed_for_ms = 90'000;
// A node of the lower id dials a member it just learnt of after this long; the other may not know
// it yet.
constexpr std::int64_t peer_help_first_ms = 500;
constexpr std::int64_t peer_help_ms = 3'000;  // and without a link for so long again
// A write or a read waits this long for a leader to appear, and a tail for one to be heard of
// again: a silence that is noticed, an election that needs a second try.
constexpr std::int64_t leader_wait_ms = 2'000;
// Calls that wait so, per shard; one is always let in. 503 above.
constexpr std::size_t forwards_waiting_max = 4096;
constexpr std::size_t forwards_waiting_bytes_max = 16 * mib;
// Per shard: refusals and duplicates that wait for their group's confirmation, and their bytes; one
// is always let in. Beyond, a call goes through the log like any other.
constexpr std::size_t early_calls_max = 4096;
constexpr std::size_t early_bytes_max = 16 * mib;
// A forwarded write without an answer for this long has an unknown outcome.
constexpr std::int64_t forward_timeout_ms = 5'000;
// A large one is given a millisecond more for each of these: its leader sends it on at 32 Mbit/s.
constexpr std::size_t forward_bytes_per_ms = 4 * kib;
// Forwarded to one shard of another node and not answered; one is always let in. 503 above.
constexpr std::size_t forwards_open_max = 8192;
constexpr std::size_t forwards_open_bytes_max = 32 * mib;
// A leader that cannot commit an entry for this long tells those who wait for it that its outcome
// is unknown: longer than it leads without a majority (raft::limits::commit_stall), shorter than
// clients wait.
constexpr std::int64_t write_deadline_ms = 10'000;
// Bytes waiting for one connection, the ones the kernel was given included; a frame of any size is
// taken below it. A fast local network moves them in a beat.
constexpr std::size_t peer_queue_bytes_max = 16 * mib;
// Bytes that the kernel takes beyond what it has sent (TCP_NOTSENT_LOWAT): the rest stays where
// what is small can still be put before it.
constexpr std::size_t peer_kernel_bytes_max = 256 * kib;
// Read at a time; a longer frame has a buffer of its own length while it comes.
constexpr std::size_t peer_receive_bytes = 256 * kib;
// What is read of somebody who has not proved who it is, and the longest sentence of a refusal.
constexpr std::size_t peer_greeting_bytes_max = 4 * kib;
constexpr std::size_t peer_refusal_bytes_max = 512;
// Accepted on the cluster listener and not known yet: those that sent no preamble per node, those
// that sent no greeting per loop. Any number of members reconnecting fits; beyond, they are closed.
constexpr std::size_t peer_strangers_max = 64;
constexpr std::int64_t peer_greeting_timeout_ms = 2'000;  // from the connection to the end of both
// A node that an operator has this one visit (src/visits.h): how long it may take, and how many at
// a time.
constexpr std::int64_t visit_timeout_ms = 3'000;
constexpr std::size_t visits_max = 8;
// Pause before dialling again: doubled from the first to the second, each with a quarter of jitter.
constexpr std::int64_t peer_retry_first_ms = 25;
constexpr std::int64_t peer_retry_last_ms = 500;
// Sent bytes that the peer's kernel does not acknowledge for so long end the connection: after a
// cut, a new connection is up long before TCP would have tried the old one again.
constexpr std::int64_t peer_unacknowledged_ms = 2'000;
// Streams whose time has come that a group's leader looks at in one turn.
constexpr std::size_t expiries_per_turn_max = 256;
// While a shard leads groups with such streams it looks at its clock at least this often: wall
// clocks jump. A removal that was lost is tried again after this long.
constexpr std::int64_t expiry_look_ms = 1'000;
// A leader follows its wall clock so far from where its other clock would have it; a node alone
// follows it anywhere.
constexpr std::int64_t clock_step_ms_max = 1'000;
// Live readers of a stream with a tiny ttl do not touch it more often than this.
constexpr std::int64_t touch_interval_ms_min = 20;
// Nor is one of a long ttl left alone for longer.
constexpr std::int64_t live_touch_ms_max = 3'600'000;
// Forks that one shard is making, and the bytes of their bodies; one is always let in. 503 above.
constexpr std::size_t forks_under_way_max = 1024;
constexpr std::size_t forks_under_way_bytes_max = 16 * mib;
// Links of one group whose holds are being released at a time.
constexpr std::size_t fork_releases_max = 64;
constexpr std::int64_t fork_retry_ms = 100;
// A hold for which nobody answered is asked for again, until this long after the fork's PUT.
constexpr std::int64_t fork_hold_ms = 4'000;
// Reads that are gathered from several streams, per shard, and the bytes they may bring; one is
// always let in. 503 above.
constexpr std::size_t gatherings_max = 1024;
constexpr std::size_t gathered_bytes_max = 64 * mib;
// A hold that was released before it came is refused for so long, in group time: far longer than
// any call is on its way. Only those whose outcome nobody knew are remembered.
constexpr std::int64_t late_holds_kept_ms = 3'600'000;
constexpr std::size_t late_holds_max = 100'000;
// Members a configuration may name. More than five voters cost more than they save.
constexpr std::size_t cluster_members_max = 7;
constexpr std::uint32_t node_id_max = 65'535;
// Operators' changes of one group's members that wait for their entries, and removals of buckets,
// which go one after the other; a further one is told to come again.
constexpr std::size_t member_changes_max = 16;
constexpr std::size_t bucket_removals_max = 256;
constexpr std::size_t cluster_name_bytes_max = 64;
constexpr std::size_t member_url_bytes_max = 256;
constexpr std::size_t member_address_bytes_max = 64;  // a numeric address and its port
// A log write under way for this long makes this node's leaders hand over: before the others take
// the node for dead, which a reported write of disk_dead_ms is to them. Well again after this long
// without one.
constexpr std::int64_t disk_trouble_ms = 200;
constexpr std::int64_t disk_dead_ms = 300;
constexpr std::int64_t disk_well_ms = 1'000;

// --- tails ---
constexpr std::size_t tail_post_bytes_max =
    256 * kib;  // payload carried in a post; above, readers catch up by reads
constexpr std::size_t tails_per_core_max = 50'000;
// Per loop: events encoded for one reader alone and not yet taken by it. Only those above
// tail_post_bytes_max count, and one is always let through; the others wait for room. A few events
// of body_bytes_default in base64.
constexpr std::size_t tail_private_bytes_max = 64 * mib;
// Per loop and turn: payload encoded for single readers. Who is beyond it is looked at again with
// the next tick of the timers, so that a crowd of them does not hold up everybody else: some 20 ms.
constexpr std::size_t tail_turn_bytes_max = 32 * mib;

// --- cores ---
constexpr std::size_t mailbox_bytes = 1 * mib;  // one direction of one pair of cores
constexpr std::size_t mailbox_inline_bytes_max =
    64 * kib;  // larger bodies travel as an owned heap block
constexpr std::size_t mail_calls_per_turn_max = 4096;  // from one other core
// Posts waiting for one other core's mailbox; beyond it a stream's later post joins its earlier
// one.
constexpr std::size_t unsent_posts_max = 1024;

// --- subscriptions ---
constexpr std::size_t subscription_body_bytes_max = 1 * mib;  // of a request; 413 above
constexpr std::size_t subscription_id_bytes_max = 256;
constexpr std::size_t subscription_text_bytes_max = 1024;  // pattern, description, worker
constexpr std::size_t webhook_url_bytes_max = 2048;
constexpr std::size_t subscription_streams_per_call_max = 1000;  // in one request, acks too
// Their images are made in one turn: these bound it.
constexpr std::size_t subscriptions_per_group_max = 1024;
constexpr std::size_t subscription_links_max = 10'000;  // of one
constexpr std::uint32_t lease_ttl_ms_min = 1'000;
constexpr std::uint32_t lease_ttl_ms_max = 600'000;
constexpr std::uint32_t lease_ttl_ms_default = 30'000;
constexpr std::int64_t webhook_retry_ms_min = 1'000;
constexpr std::int64_t webhook_retry_ms_max = 60'000;
constexpr std::int64_t subscription_token_ms = 3'600'000;  // a bearer token is good for so long
// A delivery shows so many streams, those with something pending first.
constexpr std::size_t webhook_streams_max = 1000;
// Marks told in one call between groups, and answered by one shard.
constexpr std::size_t marks_per_call_max = 1000;
// Receivers trust a signature for five minutes, caches keep the keys for as long: a retired key is
// published for longer than both.
constexpr std::int64_t signing_key_kept_ms = 3'600'000;
constexpr std::size_t signing_keys_max = 8;
constexpr std::int64_t signing_key_cached_ms = 10'000;  // by a shard that delivers
// A step between groups that was refused is tried again after this long.
constexpr std::int64_t subscription_retry_ms = 100;
// A request whose steps take longer has an unknown outcome.
constexpr std::int64_t subscription_wait_ms = 10'000;
// Operations of clients that wait for other groups, per shard; 503 above.
constexpr std::size_t subscription_operations_max = 4096;
// One attempt, from the first look-up to the last byte of the answer.
constexpr std::int64_t webhook_timeout_ms = 30'000;
constexpr std::int64_t webhook_connect_timeout_ms = 5'000;
constexpr std::size_t webhook_answer_bytes_max = 64 * kib;  // more of an answer is an error
constexpr std::size_t webhooks_in_flight_max = 1024;        // of a node; others wait
constexpr std::size_t webhooks_per_host_max = 32;

static_assert(header_field_bytes_max <= header_bytes_max);
static_assert(wal_piece_bytes_max <= wal_batch_bytes_max);
static_assert(mailbox_inline_bytes_max * 4 <= mailbox_bytes);

}  // namespace ursula::base::limits
