// A snapshot on its way from one node to another, for a follower whose log ends before the leader's
// begins. The follower pulls, every question stands for itself (shard/frame.h FetchAsk), and the
// sender remembers only what it must not lose: the image it is making and the log behind it.
//
//   image    the sender's machine at one index, as stream::ImageWriter gives it
//   bytes    then, per stream, the end that this node lacks: what its own machine, or a fetch given
//            up before, has of the same incarnation is the same, because both are committed. For
//            the same reason any node gives them whose state covers the image: the one that gave
//            the image is asked first, and another one in its place when its link is down, when
//            it is silent, or says that it cannot read them or is behind. They go into this
//            shard's own log (storage::Wal::stage_payload) and, once durable there, into the new
//            machine's locations
//   writing  all is there: a snapshot of the new machine, and only when that is durable does it
//            take the old one's place. A replica is never incomplete; a crash before leaves the
//            old state and dead bytes
//
// A stream that the sender has removed since the image is `gone`: its state stays in the machine,
// which is exactly the one at the image's index, and its bytes get places in no segment. Nobody can
// read them: reads are confirmed anew after the swap, so they wait until the removal is applied.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/slice.h"
#include "base/time.h"
#include "shard/frame.h"
#include "stream/image.h"
#include "stream/machine.h"

namespace ursula::shard {

// A place's segment for bytes that no replica has any more.
constexpr std::uint32_t no_segment = 0;

// The follower's side; owned by its replica.
struct SnapshotFetch {
    enum class Step : std::uint8_t { image, bytes, writing };

    // Bytes [at, to) of a stream are asked for; what lies before is staged or placed.
    struct Ask {
        stream::Stream* stream = nullptr;
        std::uint64_t at = 0;
        std::uint64_t to = 0;
        base::NodeId source{};     // who is asked
        base::Instant asked{};     // or when it gave some of them
        std::size_t refusals = 0;  // in a row, since the clock or bytes moved it on
        bool unreadable = false;   // one of the refusals is for its disk
    };
    // When a node gave bytes last.
    struct Source {
        base::NodeId node;
        base::Instant heard;
    };
    // A piece that is being written; they become durable in this order.
    struct Placing {
        std::uint64_t ticket = 0;  // storage::Wal::stage_payload; 0: there is nothing to write
        stream::Stream* stream = nullptr;
        std::uint64_t from = 0;
        stream::Place place;
        bool last = true;
    };

    std::uint64_t number = 0;  // among this node's fetches, of all its lives
    base::NodeId from;         // gives the image
    base::EntryId offered;
    Step step = Step::image;
    std::unique_ptr<stream::Machine> machine;
    std::unique_ptr<stream::ImageReader> reader;
    std::uint64_t image_bytes = 0;     // so many have come
    base::EntryId image;               // index 0: none has
    stream::Stream* cursor = nullptr;  // this one and those behind it were not looked at yet
    std::vector<Ask> asks;
    std::vector<Source> sources;
    std::deque<Placing> placing;
    base::Instant asked;  // `from`, for anything
    base::Instant heard;  // when it last came forward
};

// The sender's side of one fetch; owned by the replica.
struct ServedFetch {
    base::NodeId to;
    std::uint64_t number = 0;
    base::EntryId image;
    std::unique_ptr<stream::ImageWriter> writer;  // null when all of the image is made
    std::vector<std::byte> bytes;                 // of the image, from bytes_at on
    std::uint64_t bytes_at = 0;                   // the follower has what lies before
    std::uint64_t sent = 0;
    bool end_sent = false;
    base::Instant asked;
};

// A question for a stream's bytes that waits for room in a frame.
struct WaitingAsk {
    base::GroupId group;
    FetchAsk ask;
    std::string name;  // ask.name is not set
};

// Its answer: bytes [skip, skip + size) of the slices.
struct WaitingAnswer {
    base::GroupId group;
    FetchData data;
    std::vector<std::uint32_t> pieces;
    std::vector<base::Slice> slices;
    std::size_t skip = 0;
    std::size_t size = 0;
};

// One whose bytes are being read from the disk.
struct ByteRead {
    std::uint64_t number = 0;
    PeerShard to;
    std::uint32_t to_shards = 0;
    WaitingAnswer answer;
};

}  // namespace ursula::shard
