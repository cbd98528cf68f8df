// A machine's state as bytes, taken at one index while the machine goes on: in slices, walking the
// streams in creation order. A stream about to change before its turn hands over its old state
// first; streams created later are left out. Two outputs of one walk: the image (replicated state:
// canonical, hashed, what another replica is sent) and the location image (where this replica has
// the payload: local). Formats: stream/image_format.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "stream/image_format.h"
#include "stream/locations.h"
#include "stream/machine.h"

namespace ursula::stream {

// At most one per machine at a time. The image's bytes depend on where its slices end, its hash
// does not.
class ImageWriter {
  public:
    // The image is of the machine as it is now, at machine.applied(). The machine outlives it.
    // Without locations: for another replica, which has no use for them.
    explicit ImageWriter(Machine& machine, bool with_locations = true);
    ~ImageWriter();  // an unfinished image is abandoned
    ImageWriter(const ImageWriter&) = delete;
    ImageWriter& operator=(const ImageWriter&) = delete;

    base::EntryId at() const { return at_; }
    bool done() const { return done_; }

    // Appends about bytes_max bytes in all to the two outputs, whole frames. After the call that
    // sets done() both are complete. Work is bounded by bytes_max but for one case: a stream with
    // very many producers is encoded at once, about 50 ns per producer.
    void next_slice(std::size_t bytes_max, std::vector<std::byte>& image,
                    std::vector<std::byte>& locations);

    // When done: the state's hash, which Machine::state_hash() had at at().
    std::uint64_t state_hash() const { return hash_; }
    // Payload bytes named so far by the location image, by segment. None of them may be recycled
    // while this image is the newest durable one.
    const std::map<std::uint32_t, std::uint64_t>& segments() const { return segments_; }

  private:
    friend class Machine;
    struct Saved {
        std::vector<std::byte> items;  // the stream as it was
        std::uint32_t pieces = 0;      // its locations were this many; later ones do not belong
        Stream* stream = nullptr;      // null: removed since
        Locations locations;           // when removed
    };
    void before_change(Stream* stream, bool removing);
    void reach_next();
    void locate(Stream* stream, Locations detached, std::uint32_t pieces,
                base::Incarnation incarnation);
    void put_pieces(FrameWriter& out);
    base::Incarnation incarnation_of(const Stream* stream) const;

    Machine& machine_;
    base::EntryId at_;
    const bool with_locations_;
    bool started_ = false;
    bool done_ = false;
    std::uint64_t hash_ = 0;
    Stream* cursor_ = nullptr;                  // the next stream to be reached; null: none is left
    std::map<base::Incarnation, Saved> saved_;  // not yet reached, changed since
    std::vector<std::byte> items_;  // of the image, to be put into frames from items_at_ on
    std::size_t items_at_ = 0;
    // The stream whose pieces are being written, [piece_, pieces_) to go: `locating_`, or
    // `detached_` if it was removed.
    Stream* locating_ = nullptr;
    Locations detached_;
    std::uint32_t piece_ = 0;
    std::uint32_t pieces_ = 0;
    std::uint64_t located_streams_ = 0;
    std::uint64_t located_pieces_ = 0;
    std::map<std::uint32_t, std::uint64_t> segments_;
    std::vector<std::byte> scratch_;
};

// Fills an empty machine from an image that comes in pieces of any size. Refuses what is damaged,
// incomplete or not of this machine's group; the machine is then to be thrown away.
class ImageReader {
  public:
    explicit ImageReader(Machine& machine);
    base::Result<void> feed(base::Bytes bytes);
    // After the last byte.
    base::Result<void> finish();

  private:
    base::Result<void> item(ItemKind kind, std::uint8_t flags, base::Bytes body);
    base::Result<void> head(base::Bytes body);
    base::Result<void> membership(base::Bytes body);
    base::Result<void> bucket(std::uint8_t flags, base::Bytes body);
    base::Result<void> seal_round(base::Bytes body);
    base::Result<void> sealed(base::Bytes body);
    base::Result<void> subscriptions(base::Bytes body);
    base::Result<void> stream(std::uint8_t flags, base::Bytes body);
    base::Result<void> expiry(std::uint8_t flags, base::Bytes body);
    base::Result<void> producer(base::Bytes body);
    // image_forks.cc
    base::Result<void> link(std::uint8_t flags, base::Bytes body);
    base::Result<void> late_hold(base::Bytes body);
    base::Result<void> origin(base::Bytes body);
    base::Result<void> holds(base::Bytes body);
    base::Result<void> end(base::Bytes body);

    Machine& machine_;
    FrameReader frames_;
    bool headed_ = false;
    bool membership_due_ = false;
    bool ended_ = false;
    std::uint64_t hash_ = 0;
    std::uint64_t buckets_left_ = 0;
    std::uint64_t sealed_left_ = 0;
    std::uint64_t streams_left_ = 0;
    std::vector<std::byte> subscriptions_;  // what came of them so far
    bool expiry_due_ = false;  // of the stream that came last
    bool origin_due_ = false;  // likewise
    bool holds_due_ = false;
    std::uint32_t holds_left_ = 0;  // as the last item of them said; 0 before the first
    std::uint32_t producers_left_ = 0;
};

// Then gives that machine's streams their locations, from the location image of the same index.
class LocationReader {
  public:
    explicit LocationReader(Machine& machine);
    base::Result<void> feed(base::Bytes bytes);
    base::Result<void> finish();

  private:
    base::Result<void> item(ItemKind kind, base::Bytes body);
    base::Result<void> places(base::Bytes body);
    base::Result<void> pieces(base::Bytes body);
    base::Result<void> close_stream();

    Machine& machine_;
    FrameReader frames_;
    bool headed_ = false;
    bool ended_ = false;
    Stream* cursor_ = nullptr;  // first stream that no places item has named or passed
    Stream* current_ = nullptr;
    std::uint64_t at_ = 0;  // stream offset that the current stream's pieces have reached
    std::uint32_t pieces_left_ = 0;
    std::uint64_t streams_ = 0;
    std::uint64_t pieces_ = 0;
};

}  // namespace ursula::stream
