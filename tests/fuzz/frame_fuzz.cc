// Frames against arbitrary bytes, as they are and with their length and checksum made right, so
// that the checks behind these are reached. Oracles beyond "no crash":
// - bodies lie in the frame, one for each entry that the message names;
// - what is accepted has one form: written again, it is the same bytes.
#include <cstdint>
#include <vector>

#include "base/crc32c.h"
#include "base/verify.h"
#include "base/wire.h"
#include "shard/call_wire.h"
#include "shard/frame.h"

using namespace ursula;
using namespace ursula::shard;

namespace {

// A call or an answer that is accepted has one form, too.
void read_forwarded(const FrameItem& item) {
    std::vector<std::byte> again;
    api::Verb verb;
    api::Answer answer;
    if (item.kind == FrameItem::Kind::call) {
        if (!read_call(item.bytes, item.group, verb)) {
            return;
        }
        write_call(verb, again);
    } else {
        if (!read_answer(item.bytes, answer)) {
            return;
        }
        write_answer(answer, again);
    }
    VERIFY(base::equal_bytes(again, item.bytes));
}

void read(base::Bytes frame) {
    FrameReader reader;
    if (!reader.open(frame)) {
        return;
    }
    FrameWriter writer;
    FrameItem item;
    while (reader.next(item)) {
        if (item.kind == FrameItem::Kind::beat) {
            writer.add_beat(item.disk, item.asks, item.led);
            continue;
        }
        if (item.kind == FrameItem::Kind::call) {
            read_forwarded(item);
            writer.add_call(item.group, item.number, item.bytes);
            continue;
        }
        if (item.kind == FrameItem::Kind::part) {
            writer.add_part(item.group, item.number, item.at, item.length, item.bytes);
            continue;
        }
        if (item.kind == FrameItem::Kind::fetch_ask) {
            writer.add_ask(item.group, item.ask);
            continue;
        }
        if (item.kind == FrameItem::Kind::fetch_data) {
            writer.add_data(item.group, item.data, item.pieces, item.bytes.size());
            writer.add_bytes(item.bytes);
            continue;
        }
        if (item.kind == FrameItem::Kind::answer) {
            read_forwarded(item);
            writer.add_answer(item.group, item.number, item.bytes);
            continue;
        }
        const auto* entries = std::get_if<raft::Replicate>(&item.message.body);
        if (entries == nullptr) {
            writer.add(item.group, item.message);
            continue;
        }
        VERIFY(entries->last.value - entries->prev.index.value == item.entries.size());
        writer.add_replicate(item.group, item.message.term, *entries);
        for (const FrameEntry& entry : item.entries) {
            VERIFY(entry.body.empty() ||
                   (entry.body.data() >= frame.data() &&
                    entry.body.data() + entry.body.size() <= frame.data() + frame.size()));
            writer.add_entry(entry.kind, entry.body);
        }
    }
    if (reader.ok() && !writer.empty()) {
        VERIFY(base::equal_bytes(writer.finish(reader.header()), frame));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const base::Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
    read(bytes);
    if (size >= frame_header_bytes) {
        std::vector<std::byte> frame(bytes.begin(), bytes.end());
        base::store(frame.data(), frame_magic);
        base::store(frame.data() + 8, frame_version);
        base::store(frame.data() + 12, static_cast<std::uint32_t>(frame.size()));
        base::store(frame.data() + 4, base::crc32c(base::Bytes(frame).subspan(8)));
        read(frame);
    }
    return 0;
}
