#include "net/head_shape.h"

#include <cstring>

#include "base/stable_hash.h"
#include "net/byte_scan.h"

namespace ursula::net {

namespace {

std::uint32_t tab_or_not_ascii_mask(__m128i x) {
    return static_cast<std::uint32_t>(
        _mm_movemask_epi8(_mm_or_si128(x, _mm_cmpeq_epi8(x, _mm_set1_epi8('\t')))));
}

// Appends with a bound; what does not fit makes the whole not fit.
class Writer {
  public:
    explicit Writer(HeadShape& shape) : shape_(shape) {}
    void put(char c) {
        if (size_ < HeadShape::bytes_max) {
            shape_.bytes[size_] = c;
        }
        ++size_;
    }
    void put(std::string_view text) {
        if (size_ + text.size() <= HeadShape::bytes_max) {
            std::memcpy(shape_.bytes.data() + size_, text.data(), text.size());
        }
        size_ += text.size();
    }
    bool finish() {
        if (size_ > HeadShape::bytes_max) {
            shape_.size = 0;
            return false;
        }
        shape_.size = static_cast<std::uint16_t>(size_);
        return true;
    }

  private:
    HeadShape& shape_;
    std::size_t size_ = 0;
};

}  // namespace

bool shape_of(std::string_view head, const Request& request, HeadShape& shape) {
    if (request.target.front() != '/' || any_byte(head, tab_or_not_ascii_mask)) {
        return false;
    }
    Writer writer(shape);
    writer.put(static_cast<char>(request.method));
    writer.put(request.http_1_0 ? '0' : '1');
    const Headers& headers = request.headers;
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const KnownHeader known = headers.field(i).known;
        writer.put(static_cast<char>(known));
        if (known == KnownHeader::none) {
            writer.put(headers.name(i));  // tokens have neither ':' nor line ends
            writer.put(':');
        }
        if (known == KnownHeader::none || known == KnownHeader::connection ||
            known == KnownHeader::transfer_encoding || known == KnownHeader::upgrade) {
            writer.put(headers.value(i));
            writer.put('\n');
        }
    }
    return writer.finish();
}

AgreedShapes::AgreedShapes() : shapes_(std::make_unique<HeadShape[]>(slots)) {}
AgreedShapes::~AgreedShapes() = default;

std::size_t AgreedShapes::slot_of(const HeadShape& shape) {
    return base::stable_hash(base::as_bytes({shape.bytes.data(), shape.size})) % slots;
}

bool AgreedShapes::has(const HeadShape& shape) const {
    const HeadShape& agreed = shapes_[slot_of(shape)];
    return agreed.size == shape.size &&
           std::memcmp(agreed.bytes.data(), shape.bytes.data(), shape.size) == 0;
}

void AgreedShapes::add(const HeadShape& shape) {
    HeadShape& to = shapes_[slot_of(shape)];
    to.size = shape.size;
    std::memcpy(to.bytes.data(), shape.bytes.data(), shape.size);
}

}  // namespace ursula::net
