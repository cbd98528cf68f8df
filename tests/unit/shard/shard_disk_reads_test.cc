// Reads of payload that left memory: byte for byte from the log, or an error, never something else.
#include <algorithm>

#include "base/limits.h"
#include "tests/unit/shard/shard_node.h"

namespace ursula::shard::test {

using api::ReadReply;
using api::Refusal;

namespace {

// A stream's appends, so that any read can be checked.
struct Written {
    std::string name;
    std::string bytes;
    std::vector<std::uint64_t> ends;  // of the appends
};

void append_and_note(Node& node, Written& stream, std::string_view body) {
    stream.bytes += body;
    stream.ends.push_back(stream.bytes.size());
    CHECK(node.tail_after(node.append(stream.name, body)) == stream.bytes.size());
}

// What a read must return, by its definition: whole appends, all that end beyond the offset, as
// many as fit, at least one.
void check_read(Node& node, const Written& stream, std::uint64_t offset, std::uint64_t bytes_max) {
    CAPTURE(stream.name);
    CAPTURE(offset);
    CAPTURE(bytes_max);
    const auto reply = node.wait<ReadReply>(node.read(stream.name, offset, bytes_max));
    std::size_t first = 0;
    while (first < stream.ends.size() && stream.ends[first] <= offset) {
        ++first;
    }
    const std::uint64_t from = first == stream.ends.size() ? stream.bytes.size()
                               : first == 0                ? 0
                                                           : stream.ends[first - 1];
    std::uint64_t next = first == stream.ends.size() ? from : stream.ends[first];
    for (std::size_t i = first; i < stream.ends.size() && stream.ends[i] - from <= bytes_max; ++i) {
        next = stream.ends[i];
    }
    CHECK(reply.from == from);
    CHECK(reply.next == next);
    CHECK(reply.up_to_date == (next == stream.bytes.size()));
    // Not CHECK(a == b): nobody wants to read megabytes.
    const bool same = text_of(reply.pieces) == stream.bytes.substr(from, next - from);
    CHECK(same);
}

}  // namespace

TEST_CASE("evicted payload comes back from disk, whatever the offset, size and alignment") {
    for (const std::uint32_t alignment : {512u, 4096u}) {
        CAPTURE(alignment);
        Node node(small_options());
        node.options().hot_bytes = 40 << 10;
        node.set_disk_alignment(alignment);
        node.start();
        base::Random random(alignment);
        std::vector<Written> streams;
        for (std::uint64_t i = 0; i < 6; ++i) {
            streams.push_back({numbered("v1/s", i), {}, {}});
            node.wait<api::CreateReply>(node.create(streams.back().name));
        }
        for (int round = 0; round < 300; ++round) {
            Written& stream = streams[random.below(streams.size())];
            const std::size_t size =
                random.chance(1, 20) ? random.between(4000, 30'000) : random.between(1, 900);
            append_and_note(node, stream, pattern(size, random.next()));
        }
        CHECK(node.shard().hot_bytes_used() <= node.options().hot_bytes + (64 << 10));
        const auto read_all = [&] {
            for (const Written& stream : streams) {
                for (int i = 0; i < 40; ++i) {
                    const std::uint64_t offset = random.below(stream.bytes.size() + 10);
                    check_read(node, stream, offset, random.below(100'000));
                }
                check_read(node, stream, 0, UINT64_MAX);
                for (const std::uint64_t end : {stream.ends[3], stream.ends[10]}) {
                    check_read(node, stream, end - 1, 1);
                    check_read(node, stream, end, 1);
                }
            }
        };
        const std::uint64_t reads = node.shard().counters().disk_reads;
        read_all();
        CHECK(node.shard().counters().disk_reads > reads);
        // After a restart nothing is in memory; completions come late and out of order.
        node.restart();
        base::Random late(alignment + 1);
        node.set_random(&late);
        read_all();
        // Half on disk, half in memory.
        for (Written& stream : streams) {
            append_and_note(node, stream, "the newest");
        }
        read_all();
        node.set_random(nullptr);
    }
}

TEST_CASE("large appends are stored in pieces and read back whole") {
    Node node(small_options());
    node.options().segment_bytes = 4 << 20;
    node.options().wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    node.options().wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    node.options().hot_bytes = 1 << 20;
    node.start();
    Written large{"v1/large", {}, {}};
    Written small{"v1/small", {}, {}};
    node.wait<api::CreateReply>(node.create(large.name));
    node.wait<api::CreateReply>(node.create(small.name));
    for (const std::size_t size :
         {std::size_t{300} << 10, std::size_t{2} << 20, (std::size_t{256} << 10) - 1,
          std::size_t{256} << 10, (std::size_t{256} << 10) + 1, std::size_t{7}}) {
        append_and_note(node, large, pattern(size, size));
        append_and_note(node, small, "between");
    }
    // A large one and small ones of its group and of others in one turn keep their order.
    std::vector<api::CallId> calls{node.append(large.name, pattern(700 << 10, 1))};
    for (int i = 0; i < 5; ++i) {
        calls.push_back(node.append(large.name, "x"));
        calls.push_back(node.append(small.name, "y"));
    }
    large.bytes += pattern(700 << 10, 1);
    large.ends.push_back(large.bytes.size());
    for (int i = 0; i < 5; ++i) {
        large.bytes += "x";
        large.ends.push_back(large.bytes.size());
        small.bytes += "y";
        small.ends.push_back(small.bytes.size());
    }
    node.turn();
    for (const api::CallId id : calls) {
        node.wait<api::AppendReply>(id);
    }
    for (const bool restarted : {false, true}) {
        CAPTURE(restarted);
        if (restarted) {
            node.restart();
        }
        for (const Written* stream : {&large, &small}) {
            check_read(node, *stream, 0, UINT64_MAX);
            check_read(node, *stream, 0, 1);
            for (const std::uint64_t end : stream->ends) {
                check_read(node, *stream, end - 1, 64 << 10);
                check_read(node, *stream, end, 3 << 20);
            }
        }
    }
}

TEST_CASE("neighbouring small appends are fetched together") {
    Node node(small_options());
    node.start();
    Written stream{"v1/many", {}, {}};
    node.wait<api::CreateReply>(node.create(stream.name));
    for (std::uint64_t i = 0; i < 1000; ++i) {
        append_and_note(node, stream, numbered("number ", i));
    }
    node.restart();
    const std::uint64_t segments = node.shard().wal().segment_count();
    const std::uint64_t reads = node.gate().reads;
    check_read(node, stream, 0, UINT64_MAX);
    CHECK(node.gate().reads - reads >= 1);
    CHECK(node.gate().reads - reads <= segments);
    CHECK(node.shard().counters().disk_reads == 1);
    // A small read fetches little.
    const std::uint64_t bytes = node.gate().read_bytes;
    check_read(node, stream, 100, 20);
    CHECK(node.gate().read_bytes - bytes <= 1024);
}

namespace {

// The image with one bit of the payload flipped: that of `text`[at]. False when the bytes around it
// lie in two pieces, and so nowhere together.
bool flip(sim::Image& image, std::string_view text, std::uint64_t at, std::uint64_t append_end) {
    const std::uint64_t look = std::min(at, append_end - 40);
    const auto wanted = base::as_bytes(text.substr(look, 40));
    bool flipped = false;
    for (auto& [name, bytes] : image.files) {
        const auto found = std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
        if (found != bytes.end()) {
            *(found + static_cast<std::ptrdiff_t>(at - look)) ^= std::byte{4};
            flipped = true;
        }
    }
    return flipped;
}

}  // namespace

TEST_CASE("a flipped payload byte is answered with data_damaged and never served") {
    // In a segment under a snapshot, which recovery has no reason to read.
    Node node(small_options());
    node.options().snapshot_log_bytes = 1;
    node.start();
    Written stream{"v1/s", {}, {}};
    Written other{"v1/other", {}, {}};
    node.wait<api::CreateReply>(node.create(stream.name));
    node.wait<api::CreateReply>(node.create(other.name));
    for (std::uint64_t i = 0; i < 6; ++i) {
        append_and_note(node, stream, pattern(3000 + i * 2000, i));
    }
    for (std::uint64_t i = 0; i < 20; ++i) {
        append_and_note(node, other, pattern(10'000, 100 + i));
    }
    node.run(base::seconds(1));
    node.kill();
    std::size_t tried = 0;
    for (std::size_t append = 0; append < stream.ends.size(); ++append) {
        const std::uint64_t from = append == 0 ? 0 : stream.ends[append - 1];
        const std::uint64_t end = stream.ends[append];
        for (const std::uint64_t at : {from, (from + end) / 2, end - 1}) {
            CAPTURE(append);
            CAPTURE(at);
            Node broken(node.options());
            broken.image() = node.image();
            if (!flip(broken.image(), stream.bytes, at, end)) {
                continue;
            }
            ++tried;
            broken.start();
            CHECK(broken.refusal(broken.read(stream.name, at, 1)) == Refusal::data_damaged);
            CHECK(broken.refusal(broken.read(stream.name, 0, UINT64_MAX)) == Refusal::data_damaged);
            std::size_t told = 0;
            for (const ShardEvent& event : broken.take_events()) {
                told += event.kind == ShardEvent::Kind::data_damaged &&
                                event.text.find("segment 1 position") != std::string::npos
                            ? 1
                            : 0;
            }
            CHECK(told == 1);  // once a minute
            CHECK(broken.shard().counters().damaged_reads == 2);
            // The other appends are served, and the stream goes on.
            for (std::size_t i = 0; i < stream.ends.size(); ++i) {
                if (i != append) {
                    check_read(broken, stream, i == 0 ? 0 : stream.ends[i - 1], 1);
                }
            }
            check_read(broken, other, 0, UINT64_MAX);
            CHECK(broken.tail_after(broken.append(stream.name, "!")) == stream.bytes.size() + 1);
        }
    }
    CHECK(tried >= 15);
}

TEST_CASE("a flipped payload byte that a start must read refuses the directory by file and byte") {
    Node node(small_options());
    node.start();
    Written stream{"v1/s", {}, {}};
    node.wait<api::CreateReply>(node.create(stream.name));
    for (std::uint64_t i = 0; i < 6; ++i) {
        append_and_note(node, stream, pattern(500 + i * 2000, i));
    }
    node.run(base::seconds(1));  // until the log has vouched for its end
    node.kill();
    for (std::size_t append = 0; append < stream.ends.size(); ++append) {
        CAPTURE(append);
        Node broken(node.options());
        broken.image() = node.image();
        REQUIRE(flip(broken.image(), stream.bytes, stream.ends[append] - 1, stream.ends[append]));
        const base::Result<BootReport> report = broken.try_start();
        REQUIRE(!report.has_value());
        CHECK(report.error().errno_value == 0);
        CHECK(report.error().message.find("wal-0000000001 is damaged at byte ") == 0);
    }
}

TEST_CASE("a disk that refuses to read is an error of that read alone") {
    Node node(small_options());
    node.start();
    Written stream{"v1/s", {}, {}};
    node.wait<api::CreateReply>(node.create(stream.name));
    append_and_note(node, stream, pattern(20'000, 1));
    node.restart();
    node.disk().fail(storage::DiskOp::Kind::read, 0, EIO);
    CHECK(node.refusal(node.read(stream.name, 0, 1)) == Refusal::read_failed);
    check_read(node, stream, 0, 1);
}

TEST_CASE("reads from disk are bounded: at the bound, and one more") {
    Node node(small_options());
    node.options().segment_bytes = 4 << 20;
    node.options().wal_batch_bytes_max = base::limits::wal_batch_bytes_max;
    node.options().wal_piece_bytes_max = base::limits::wal_piece_bytes_max;
    node.start();
    Written stream{"v1/s", {}, {}};
    node.wait<api::CreateReply>(node.create(stream.name));
    constexpr std::size_t size = 2 << 20;
    append_and_note(node, stream, pattern(size, 1));
    node.restart();
    node.gate().held = true;
    std::vector<api::CallId> calls;
    for (int i = 0; i < 40; ++i) {
        calls.push_back(node.read(stream.name, 0, 1));
    }
    node.turn();
    // Each takes its bytes and the few of the log between its pieces.
    std::size_t refused = 0;
    for (const api::CallId id : calls) {
        if (node.answered(id)) {
            CHECK(node.refusal(id) == Refusal::overloaded);
            ++refused;
        }
    }
    CHECK(refused >= 40 - base::limits::cold_reads_bytes_max / size);
    CHECK(refused <= 40 - base::limits::cold_reads_bytes_max / size + 2);
    CHECK(node.shard().counters().refused_overloaded == refused);
    node.gate().held = false;
    node.run();
    std::size_t served = 0;
    for (const api::CallId id : calls) {
        if (node.answered(id)) {
            const auto reply = node.wait<ReadReply>(id);
            const bool same = text_of(reply.pieces) == stream.bytes;
            CHECK(same);
            ++served;
        }
    }
    CHECK(served + refused == calls.size());
    check_read(node, stream, 0, 1);
}

}  // namespace ursula::shard::test
