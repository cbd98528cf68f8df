// Entry bodies and images against arbitrary bytes. Images come with right checksums and a right
// state hash, so that the checks behind these are reached. Oracles beyond "no crash":
// - what a decoded command shows lies in its body;
// - an image that is accepted gives, written again, the same state.
#include <cstdint>
#include <vector>

#include "base/crc32c.h"
#include "base/verify.h"
#include "base/wire.h"
#include "stream/command.h"
#include "stream/image.h"

using namespace ursula;
using namespace ursula::stream;

namespace {

void read_entry(base::Bytes body) {
    EntryReader reader(body);
    Command command;
    while (reader.next(command)) {
        VERIFY(command.stored_at + command.stored.size() <= body.size());
        VERIFY(command.stored.data() == body.data() + command.stored_at);
    }
}

// One frame around the items, an end item with the right hash behind them.
std::vector<std::byte> framed(base::Bytes items, bool with_end) {
    std::vector<std::byte> image(frame_head_bytes);
    image.insert(image.end(), items.begin(), items.end());
    if (with_end) {
        std::uint64_t hash = 0;
        for (base::Bytes left = items; left.size() >= item_head_bytes;) {
            const std::size_t size = item_size(left);
            if (size < item_head_bytes || size > left.size()) {
                break;
            }
            hash = chain_hash(hash, left.first(size));
            left = left.subspan(size);
        }
        ItemWriter end(image, ItemKind::end);
        end.put(hash);
        end.finish();
    }
    const base::Bytes payload = base::Bytes(image).subspan(frame_head_bytes);
    base::store(image.data(), static_cast<std::uint32_t>(payload.size()));
    base::store(image.data() + 4, base::crc32c(payload));
    return image;
}

void read_images(base::Bytes items, base::Bytes location_items) {
    Local local{HotMemory(1 << 20, true), SegmentLoad()};
    Machine machine(base::GroupId(0), base::HashKey{1, 2}, local);
    ImageReader reader(machine);
    const std::vector<std::byte> image = framed(items, true);
    if (!reader.feed(image) || !reader.finish()) {
        return;
    }
    LocationReader locations(machine);
    static_cast<void>(locations.feed(framed(location_items, false)));
    ImageWriter writer(machine);
    std::vector<std::byte> image_again;
    std::vector<std::byte> locations_again;
    while (!writer.done()) {
        writer.next_slice(64, image_again, locations_again);
    }
    VERIFY(writer.state_hash() == machine.state_hash());
    Local other{HotMemory(1 << 20, true), SegmentLoad()};
    Machine copy(base::GroupId(0), base::HashKey{3, 4}, other);
    ImageReader copier(copy);
    VERIFY(copier.feed(image_again) && copier.finish());
    VERIFY(copy.state_hash() == machine.state_hash());
}

}  // namespace

// Two bytes say how many of the others are the machine's image; the rest is the location image.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const base::Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
    read_entry(bytes);
    if (size >= 2) {
        const std::size_t first = base::load<std::uint16_t>(bytes.data()) % (size - 1);
        read_images(bytes.subspan(2, first), bytes.subspan(2 + first));
    }
    return 0;
}
