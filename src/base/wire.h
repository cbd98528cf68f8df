// Little-endian encoding for every format of ours. Writers never overrun (VERIFY); readers turn bad
// and stay bad (ok() == false, zeros returned), so a decoder checks once at the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/verify.h"

namespace ursula::base {

static_assert(std::endian::native == std::endian::little, "wire formats are copied, not swapped");

template <class T>
inline void store(std::byte* at, T value) {
    std::memcpy(at, &value, sizeof value);
}
template <class T>
inline T load(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

class WireWriter {
  public:
    explicit WireWriter(MutableBytes out) : out_(out) {}
    template <class T>
    void put(T value) {
        VERIFY(used_ + sizeof value <= out_.size());
        store(out_.data() + used_, value);
        used_ += sizeof value;
    }
    void put_bytes(Bytes bytes) {
        VERIFY(used_ + bytes.size() <= out_.size());
        copy_bytes(out_.data() + used_, bytes);
        used_ += bytes.size();
    }
    void put_text(std::string_view text) { put_bytes(as_bytes(text)); }
    std::size_t used() const { return used_; }

  private:
    MutableBytes out_;
    std::size_t used_ = 0;
};

class WireReader {
  public:
    explicit WireReader(Bytes in) : in_(in) {}
    template <class T>
    T get() {
        if (!ok_ || in_.size() - used_ < sizeof(T)) {
            ok_ = false;
            return T{};
        }
        T value = load<T>(in_.data() + used_);
        used_ += sizeof(T);
        return value;
    }
    Bytes get_bytes(std::size_t size) {
        if (!ok_ || in_.size() - used_ < size) {
            ok_ = false;
            return {};
        }
        Bytes bytes = in_.subspan(used_, size);
        used_ += size;
        return bytes;
    }
    std::string_view get_text(std::size_t size) { return as_text(get_bytes(size)); }
    bool ok() const { return ok_; }
    std::size_t used() const { return used_; }
    std::size_t left() const { return in_.size() - used_; }

  private:
    Bytes in_;
    std::size_t used_ = 0;
    bool ok_ = true;
};

}  // namespace ursula::base
