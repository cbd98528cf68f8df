// What one append costs in src/stream, by part. Prints ns per operation; under callgrind, run twice
// with different counts and take the difference:
//
//   apply-bench PART [count] [streams] [bytes]
//     encode   command -> entry body (copies the payload, checksum)
//     decode   entry body -> command
//     apply    decode + machine.apply
//     producer encode + apply, with producer headers (encode-producer: the first alone)
//     keep     apply + location + copy into the hot tail
//     json     split_json of a body of that size
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/limits.h"
#include "stream/command.h"
#include "stream/json.h"
#include "stream/machine.h"

namespace {

using namespace ursula;
using namespace ursula::stream;

double seconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Bench {
    Local local{HotMemory(256 << 20, true), SegmentLoad()};
    Machine machine{base::GroupId(1), base::HashKey{1, 2}, local};
    std::vector<std::string> names;
    std::vector<std::uint64_t> hashes;
    std::vector<std::uint64_t> seqs;
    std::vector<std::byte> body;
    std::string payload;
    std::vector<std::vector<std::byte>> entries;  // an append to each stream, encoded
    std::string object =
        "{\"id\":123456,\"type\":\"abcdefgh\",\"ts\":1700000000000,\"ok\":true,\"text\":\"";

    Bench(std::size_t streams, std::size_t bytes) : body(bytes + 4096), payload(bytes, 'x') {
        for (std::size_t i = 0; i < streams; ++i) {
            std::string name = "demo/stream-";
            name += std::to_string(i);
            names.push_back(name);
            hashes.push_back(machine.hash_of(name));
            seqs.push_back(0);
            Command command;
            command.kind = CommandKind::create_stream;
            command.name = names.back();
            command.content_type = "application/octet-stream";
            machine.enter(next(), 0);
            machine.apply(command, machine.applied(), 0);
            const base::Bytes entry = encoded(append(i, false));
            entries.emplace_back(entry.begin(), entry.end());
        }
        object.resize(bytes > object.size() + 2 ? bytes - 2 : object.size(), 'x');
        object += "\"}";
    }
    base::EntryId next() const { return {base::Term(1), machine.applied().index.next()}; }
    Command append(std::size_t i, bool producer) {
        Command command;
        command.name = names[i];
        command.content_type = "application/octet-stream";
        command.has_content_type = true;
        command.has_body = true;
        command.payload.bytes = base::as_bytes(payload);
        if (producer) {
            command.producer = {true, "producer-of-stream-0001", 0, seqs[i]++};
        }
        return command;
    }
    base::Bytes encoded(const Command& command) {
        const std::size_t size =
            entry_header_bytes +
            encode(command, base::MutableBytes(body).subspan(entry_header_bytes));
        encode_header({1, 5}, body);
        return base::Bytes(body).first(size);
    }
    Outcome apply(base::Bytes entry, std::size_t i, Command& command) {
        EntryReader reader(entry);
        machine.enter(next(), reader.header().time_ms);
        reader.next(command);
        command.name_hash = hashes[i];
        return machine.apply(command, machine.applied(), 0);
    }
};

// What one round of a part does; returns something that depends on the work.
using Part = std::uint64_t (*)(Bench& bench, std::size_t i);

std::uint64_t encode_part(Bench& bench, std::size_t i) {
    return bench.encoded(bench.append(i, false)).size();
}
std::uint64_t encode_producer_part(Bench& bench, std::size_t i) {
    return bench.encoded(bench.append(i, true)).size();
}
std::uint64_t decode_part(Bench& bench, std::size_t i) {
    EntryReader reader(bench.entries[i]);
    Command command;
    return reader.next(command) ? command.stored.size() : 0;
}
std::uint64_t apply_part(Bench& bench, std::size_t i) {
    Command command;
    return bench.apply(bench.entries[i], i, command).to;
}
std::uint64_t producer_part(Bench& bench, std::size_t i) {
    Command command;
    return bench.apply(bench.encoded(bench.append(i, true)), i, command).to;
}
std::uint64_t keep_part(Bench& bench, std::size_t i) {
    Command command;
    const Outcome outcome = bench.apply(bench.entries[i], i, command);
    const Place place{static_cast<std::uint32_t>(outcome.to >> 26),
                      static_cast<std::uint32_t>(outcome.to),
                      static_cast<std::uint32_t>(command.stored.size()), command.stored_crc};
    bench.machine.keep(outcome, command.stored, {&place, 1});
    return outcome.to;
}
std::uint64_t json_part(Bench& bench, std::size_t) {
    return split_json(base::as_bytes(bench.object)).count;
}

constexpr struct {
    const char* name;
    Part part;
} parts[] = {{"encode", encode_part},     {"encode-producer", encode_producer_part},
             {"decode", decode_part},     {"apply", apply_part},
             {"producer", producer_part}, {"keep", keep_part},
             {"json", json_part}};

}  // namespace

int main(int argc, char** argv) {
    const char* name = argc > 1 ? argv[1] : "keep";
    const std::size_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1'000'000;
    const std::size_t streams = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
    const std::size_t bytes = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 256;
    for (const auto& candidate : parts) {
        if (std::strcmp(candidate.name, name) != 0) {
            continue;
        }
        Bench bench(streams, bytes);
        std::uint64_t sink = 0;
        const double start = seconds();
        std::size_t i = 0;
        for (std::size_t n = 0; n < count; ++n) {
            sink += candidate.part(bench, i);
            i = i + 1 == streams ? 0 : i + 1;
        }
        std::printf("%s: %.1f ns (%llu)\n", name,
                    (seconds() - start) / static_cast<double>(count) * 1e9,
                    static_cast<unsigned long long>(sink));
        return 0;
    }
    std::fprintf(stderr, "apply-bench: no part named %s\n", name);
    return 2;
}
