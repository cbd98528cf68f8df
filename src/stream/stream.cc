#include "stream/stream.h"

#include <cstdlib>
#include <new>

#include "base/verify.h"

namespace ursula::stream {

Stream* Stream::make(std::string_view name) {
    VERIFY(name.size() <= UINT16_MAX);
    void* memory = std::malloc(sizeof(Stream) + name.size());
    VERIFY(memory != nullptr);
    Stream* stream = new (memory) Stream();
    stream->name_size_ = static_cast<std::uint16_t>(name.size());
    base::copy_bytes(stream + 1, base::as_bytes(name));
    return stream;
}

void Stream::destroy(Stream* stream) {
    stream->~Stream();
    std::free(stream);
}

}  // namespace ursula::stream
