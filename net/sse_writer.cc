#include "net/sse_writer.h"

#include <emmintrin.h>

#include <array>
#include <bit>
#include <charconv>

#include "base/verify.h"
#include "net/planted.h"

namespace ursula::net {

namespace {

constexpr std::string_view id_field = "id: ";
constexpr std::string_view data_event = "event: data\n";
constexpr std::string_view data_field =
    "data:";  // a blank behind it only where a line of the payload begins with one: see Lines
constexpr std::string_view control_event = "event: control\n";
constexpr std::string_view next_offset_member = "data:{\"streamNextOffset\":\"";
constexpr std::string_view cursor_member = ",\"streamCursor\":\"";
constexpr std::string_view up_to_date_member = ",\"upToDate\":true";
constexpr std::string_view closed_member = ",\"streamClosed\":true";
constexpr std::string_view control_end = "}\n\n";

// Where the next CR or LF is, or text.size().
std::size_t find_line_end(std::string_view text, std::size_t from) {
    for (; from + 16 <= text.size(); from += 16) {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + from));
        const __m128i found = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('\n')),
                                           _mm_cmpeq_epi8(x, _mm_set1_epi8('\r')));
        const auto mask = static_cast<std::uint32_t>(_mm_movemask_epi8(found));
        if (mask != 0) {
            return from + static_cast<std::size_t>(std::countr_zero(mask));
        }
    }
    while (from < text.size() && text[from] != '\n' && text[from] != '\r') {
        ++from;
    }
    return from;
}

// What the writer below is told to do, twice: first to count, then to write.
class Counter {
  public:
    void put(std::string_view text) { size_ += text.size(); }
    void put_base64(std::span<const base::Bytes> pieces) {
        std::size_t size = 0;
        for (const base::Bytes piece : pieces) {
            size += piece.size();
        }
        size_ += (size + 2) / 3 * 4;
    }
    std::size_t size() const { return size_; }

  private:
    std::size_t size_ = 0;
};

class Filler {
  public:
    explicit Filler(char* to) : to_(to) {}
    void put(std::string_view text) {
        if (!text.empty()) {
            std::memcpy(to_, text.data(), text.size());
            to_ += text.size();
        }
    }
    void put_base64(std::span<const base::Bytes> pieces) {
        std::uint32_t bits = 0;
        int count = 0;
        for (const base::Bytes piece : pieces) {
            for (const std::byte byte : piece) {
                bits = bits << 8 | static_cast<std::uint32_t>(byte);
                if (++count == 3) {
                    put_group(bits, 4);
                    bits = 0;
                    count = 0;
                }
            }
        }
        if (count > 0) {
            put_group(bits << (8 * (3 - count)), count + 1);
        }
    }
    const char* end() const { return to_; }

  private:
    void put_group(std::uint32_t bits, int letters) {
        constexpr std::string_view alphabet =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for (int i = 0; i < 4; ++i) {
            *to_++ = i < letters ? alphabet[bits >> (18 - 6 * i) & 63u] : '=';
        }
    }
    char* to_;
};

// Lines of one payload that may come in several pieces: a CR at the end of one and an LF at the
// start of the next are one line end. Readers of events take one blank behind "data:" away, so a
// line that begins with a blank gets another one before it.
template <class Sink>
class Lines {
  public:
    explicit Lines(Sink& sink) : sink_(sink) { sink_.put(data_field); }
    void put(std::string_view text) {
        std::size_t from = 0;
        if (after_cr_ && !text.empty()) {
            from = text.front() == '\n' ? 1 : 0;
            after_cr_ = false;
        }
        while (from < text.size()) {
            if (at_start_ && text[from] == ' ') {
                sink_.put(" ");
            }
            const std::size_t end = find_line_end(text, from);
            sink_.put(text.substr(from, end - from));
            at_start_ = false;
            if (end == text.size()) {
                return;
            }
            if (planted(Planted::cr_is_no_line_end) && text[end] == '\r') {
                sink_.put("\r");
                from = end + 1;
                continue;
            }
            sink_.put("\n");
            sink_.put(data_field);
            at_start_ = true;
            from = end + 1;
            if (text[end] == '\r') {
                if (from == text.size()) {
                    after_cr_ = true;
                } else if (text[from] == '\n') {
                    ++from;
                }
            }
        }
    }
    void end() { sink_.put("\n"); }

  private:
    Sink& sink_;
    bool after_cr_ = false;
    bool at_start_ = true;  // of a line
};

template <class Sink>
void put_id(Sink& sink, std::string_view offset) {
    sink.put(id_field);
    sink.put(offset);
    sink.put("\n");
}

template <class Sink>
void put_data(Sink& sink, SseEncoding encoding, std::span<const base::Bytes> pieces) {
    sink.put(data_event);
    switch (encoding) {
        case SseEncoding::text: {
            Lines<Sink> lines(sink);
            for (const base::Bytes piece : pieces) {
                lines.put(base::as_text(piece));
            }
            lines.end();
            break;
        }
        case SseEncoding::json: {
            std::size_t last = pieces.size();
            while (last > 0 && pieces[last - 1].empty()) {
                --last;
            }
            Lines<Sink> lines(sink);
            lines.put("[");
            for (std::size_t i = 0; i < last; ++i) {
                std::string_view text = base::as_text(pieces[i]);
                if (i + 1 == last) {
                    VERIFY(text.back() == ',');
                    text.remove_suffix(1);
                }
                lines.put(text);
            }
            lines.put("]");
            lines.end();
            break;
        }
        case SseEncoding::base64:
            sink.put(data_field);
            sink.put_base64(pieces);
            sink.put("\n");
            break;
    }
    sink.put("\n");
}

template <class Sink>
void put_control(Sink& sink, const SseControl& control) {
    sink.put(control_event);
    sink.put(next_offset_member);
    sink.put(control.next_offset);
    sink.put("\"");
    if (control.has_cursor) {
        std::array<char, 20> digits;
        const char* end =
            std::to_chars(digits.data(), digits.data() + digits.size(), control.cursor).ptr;
        sink.put(cursor_member);
        sink.put({digits.data(), static_cast<std::size_t>(end - digits.data())});
        sink.put("\"");
    }
    if (control.up_to_date) {
        sink.put(up_to_date_member);
    }
    if (control.closed) {
        sink.put(closed_member);
    }
    sink.put(control_end);
}

// What is around `size` bytes of payload: "<hex size>\r\n" and "\r\n".
struct ChunkHead {
    explicit ChunkHead(std::size_t payload) {
        char* end = std::to_chars(text.data(), text.data() + 16, payload, 16).ptr;
        *end++ = '\r';
        *end++ = '\n';
        size = static_cast<std::size_t>(end - text.data());
    }
    std::array<char, 18> text;
    std::size_t size;
};

// put(sink) writes the payload into a Counter and into a Filler alike.
template <class Put>
SseFrame make_frame(const Put& put) {
    Counter counter;
    put(counter);
    const ChunkHead head(counter.size());
    const std::size_t size = head.size + counter.size() + 2;
    base::Block* block = base::Block::make(size);
    Filler filler(reinterpret_cast<char*>(block->data()));
    filler.put({head.text.data(), head.size});
    put(filler);
    filler.put("\r\n");
    VERIFY(filler.end() == reinterpret_cast<const char*>(block->data()) + size);
    SseFrame frame;
    frame.chunked = base::Slice::adopt(block, 0, size);
    frame.plain = frame.chunked.sub(head.size, counter.size());
    return frame;
}

template <class Sink>
void put_event(Sink& sink, SseEncoding encoding, std::span<const base::Bytes> pieces,
               const SseControl& control) {
    put_id(sink, control.next_offset);
    put_data(sink, encoding, pieces);
    put_control(sink, control);
}

}  // namespace

SseFrame encode_sse_data(SseEncoding encoding, std::span<const base::Bytes> pieces,
                         const SseControl& control) {
    return make_frame([&](auto& sink) { put_event(sink, encoding, pieces, control); });
}

std::size_t sse_data_bytes(SseEncoding encoding, std::span<const base::Bytes> pieces,
                           const SseControl& control) {
    Counter counter;
    put_event(counter, encoding, pieces, control);
    return ChunkHead(counter.size()).size + counter.size() + 2;
}

SseFrame encode_sse_control(const SseControl& control) {
    return make_frame([&](auto& sink) {
        put_id(sink, control.next_offset);
        put_control(sink, control);
    });
}

SseFrame encode_sse_heartbeat() {
    return make_frame([](auto& sink) { sink.put(": hb\n"); });
}

}  // namespace ursula::net
