#include "net/http_message.h"

#include <cstring>

namespace ursula::net {

namespace {

constexpr std::size_t header_count = static_cast<std::size_t>(KnownHeader::count);

// In the order of KnownHeader.
constexpr std::array<std::string_view, header_count> known_header_names = {
    "",
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "if-match",
    "if-none-match",
    "last-event-id",
    "origin",
    "prefer",
    "producer-epoch",
    "producer-id",
    "producer-seq",
    "stream-closed",
    "stream-expires-at",
    "stream-fork-offset",
    "stream-fork-sub-offset",
    "stream-forked-from",
    "stream-seq",
    "stream-ttl",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
};

constexpr std::size_t table_size = 128;

// Perfect for the names above: size, first and last letter tell them apart. For another set of
// names look for other multipliers; the static_assert below says when that is due.
constexpr std::size_t hash_of(std::size_t size, unsigned char first, unsigned char last) {
    return (size + (first | 0x20u) * 3u + (last | 0x20u) * 14u) % table_size;
}

constexpr std::array<std::uint8_t, table_size> make_table() {
    std::array<std::uint8_t, table_size> table{};
    for (std::size_t i = 1; i < header_count; ++i) {
        const std::string_view name = known_header_names[i];
        table[hash_of(name.size(), static_cast<unsigned char>(name.front()),
                      static_cast<unsigned char>(name.back()))] = static_cast<std::uint8_t>(i);
    }
    return table;
}
constexpr std::array<std::uint8_t, table_size> known_table = make_table();

constexpr bool table_is_perfect() {
    for (std::size_t i = 1; i < header_count; ++i) {
        const std::string_view name = known_header_names[i];
        if (name.size() < 2 ||
            known_table[hash_of(name.size(), static_cast<unsigned char>(name.front()),
                                static_cast<unsigned char>(name.back()))] != i) {
            return false;
        }
    }
    return true;
}
static_assert(table_is_perfect());

template <class Word>
Word load(const char* from) {
    Word word;
    std::memcpy(&word, from, sizeof(word));
    return word;
}

// Compares words with bit 5 of each byte set on the left: for names of letters, digits and '-' that
// is the same as ignoring case, but for bytes 0x00-0x1f, which no head has outside its line ends.
template <class Word>
bool words_equal(const char* name, const char* known, std::size_t size) {
    constexpr Word lower_bits = static_cast<Word>(0x2020202020202020u);
    for (std::size_t at = 0; at + sizeof(Word) <= size; at += sizeof(Word)) {
        if ((load<Word>(name + at) | lower_bits) != load<Word>(known + at)) {
            return false;
        }
    }
    // The last word overlaps the one before: no byte loop.
    const std::size_t last = size - sizeof(Word);
    return (load<Word>(name + last) | lower_bits) == load<Word>(known + last);
}

}  // namespace

std::string_view name_of(KnownHeader header) {
    return known_header_names[static_cast<std::size_t>(header)];
}

KnownHeader known_header(std::string_view name) {
    if (name.size() < 2) {
        return KnownHeader::none;
    }
    const std::size_t i = known_table[hash_of(name.size(), static_cast<unsigned char>(name.front()),
                                              static_cast<unsigned char>(name.back()))];
    const std::string_view known = known_header_names[i];
    if (known.size() != name.size()) {
        return KnownHeader::none;
    }
    const bool equal =
        name.size() >= 8   ? words_equal<std::uint64_t>(name.data(), known.data(), name.size())
        : name.size() >= 4 ? words_equal<std::uint32_t>(name.data(), known.data(), name.size())
                           : words_equal<std::uint16_t>(name.data(), known.data(), name.size());
    return equal ? static_cast<KnownHeader>(i) : KnownHeader::none;
}

}  // namespace ursula::net
