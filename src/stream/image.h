// A machine's state as bytes, taken at one index while the machine goes on: in slices, walking the
// streams in creation order. A stream about to change before its turn hands over its old state
// first; streams created later are left out. Two outputs of one walk: the image (replicated state:
// canonical, hashed, what another replica is sent) and the location image (where this replica has
// the payload: local). A machine has at most one ImageWriter at a time.
//
// Both are sequences of frames, little-endian:
//     0  u32  bytes of the frame after these 8
//     4  u32  CRC-32C of them
//     8  u8   kind: head 1, streams 2, producers 3, locations 4, end 5
//     9  ...  by kind, see image.cc
// A reader that meets a frame that does not check, is out of order or missing refuses the whole
// image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "stream/locations.h"
#include "stream/machine.h"

namespace ursula::stream {

constexpr std::uint8_t image_version = 1;

class ImageWriter {
  public:
    // Begins the image of the machine as it is now, at machine.applied(). The machine must live
    // until done or destroyed.
    explicit ImageWriter(Machine& machine);
    ~ImageWriter();  // an unfinished image is abandoned
    ImageWriter(const ImageWriter&) = delete;
    ImageWriter& operator=(const ImageWriter&) = delete;

    base::EntryId at() const { return at_; }
    bool done() const { return done_; }

    // Appends about bytes_max bytes in all (at least one stream; a stream with very many producers
    // exceeds it) to the two outputs. After the call that sets done() both are complete.
    void next_slice(std::size_t bytes_max, std::vector<std::byte>& image,
                    std::vector<std::byte>& locations);

    // When done: the image's hash, equal to Machine::state_hash() at at().
    std::uint64_t state_hash() const { return hash_; }
    // When done: payload bytes that the location image names, by segment. No named segment may be
    // recycled while this image is the newest durable one.
    const std::map<std::uint32_t, std::uint64_t>& segments() const { return segments_; }

  private:
    friend class Machine;
    struct Saved {
        std::vector<std::byte> bytes;  // the stream's record as it was
        std::uint32_t pieces = 0;      // its locations were this many; later ones do not belong
        bool removed = false;
        Locations locations;  // when removed: the index itself
    };
    void before_change(Stream* stream, bool removing);

    Machine& machine_;
    base::EntryId at_;
    bool done_ = false;
    bool started_ = false;
    std::uint64_t hash_ = 0;
    std::uint64_t streams_ = 0;
    Stream* cursor_ = nullptr;  // next stream to be reached
    std::map<base::Incarnation, Saved> saved_;
    // The stream whose locations are being written, when one slice did not hold them all.
    Stream* locating_ = nullptr;
    Locations detached_;  // its index, when it was removed meanwhile
    std::uint32_t piece_ = 0;
    std::uint32_t pieces_ = 0;
    std::map<std::uint32_t, std::uint64_t> segments_;
    std::vector<std::byte> scratch_;
};

// Fills an empty machine from an image, in pieces of any size. On an error the machine is to be
// thrown away.
class ImageReader {
  public:
    explicit ImageReader(Machine& machine) : machine_(machine) {}
    base::Result<void> feed(base::Bytes bytes);
    // After the last byte: refuses an image that is not complete.
    base::Result<void> finish();

  private:
    Machine& machine_;
    std::vector<std::byte> buffer_;
};

// Then gives the streams of that machine their locations, from the location image taken at the same
// index.
class LocationReader {
  public:
    explicit LocationReader(Machine& machine) : machine_(machine) {}
    base::Result<void> feed(base::Bytes bytes);
    base::Result<void> finish();

  private:
    Machine& machine_;
    std::vector<std::byte> buffer_;
    Stream* cursor_ = nullptr;
};

}  // namespace ursula::stream
