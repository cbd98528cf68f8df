// A second opinion on JSON: RFC 8259 written down rule by rule, recursive and slow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/limits.h"

namespace ursula::test_support {

class JsonReference {
  public:
    explicit JsonReference(std::string_view text) : text_(text) {}
    bool valid() {
        space();
        return value(0) && (space(), at_ == text_.size());
    }

  private:
    bool more() const { return at_ < text_.size(); }
    unsigned char peek() const { return static_cast<unsigned char>(text_[at_]); }
    bool take(char c) {
        if (more() && text_[at_] == c) {
            ++at_;
            return true;
        }
        return false;
    }
    void space() {
        while (take(' ') || take('\t') || take('\n') || take('\r')) {
        }
    }
    bool value(std::size_t depth) {
        if (!more()) {
            return false;
        }
        if (text_.substr(at_, 4) == "true" || text_.substr(at_, 4) == "null") {
            at_ += 4;
            return true;
        }
        if (text_.substr(at_, 5) == "false") {
            at_ += 5;
            return true;
        }
        if (take('"')) {
            return string();
        }
        if (take('[')) {
            return depth < base::limits::json_depth_max && members(depth, ']', false);
        }
        if (take('{')) {
            return depth < base::limits::json_depth_max && members(depth, '}', true);
        }
        return number();
    }
    bool members(std::size_t depth, char close, bool keyed) {
        space();
        if (take(close)) {
            return true;
        }
        do {
            space();
            if (keyed && (!take('"') || !string() || (space(), !take(':')))) {
                return false;
            }
            space();
            if (!value(depth + 1)) {
                return false;
            }
            space();
        } while (take(','));
        return take(close);
    }
    bool digits() {
        const std::size_t start = at_;
        while (more() && peek() >= '0' && peek() <= '9') {
            ++at_;
        }
        return at_ > start;
    }
    bool number() {
        take('-');
        if (!take('0') && !digits()) {
            return false;
        }
        if (take('.') && !digits()) {
            return false;
        }
        if (take('e') || take('E')) {
            if (!take('+')) {
                take('-');
            }
            return digits();
        }
        return true;
    }
    bool string() {
        while (more()) {
            if (take('"')) {
                return true;
            }
            if (take('\\')) {
                if (!more()) {
                    return false;
                }
                const char c = text_[at_++];
                if (c == 'u') {
                    for (int i = 0; i < 4; ++i, ++at_) {
                        if (!more() ||
                            std::string_view("0123456789abcdefABCDEF").find(text_[at_]) ==
                                std::string_view::npos) {
                            return false;
                        }
                    }
                } else if (std::string_view("\"\\/bfnrt").find(c) == std::string_view::npos) {
                    return false;
                }
            } else if (peek() < 0x20 || !character()) {
                return false;
            }
        }
        return false;
    }
    bool character() {
        const unsigned lead = peek();
        const std::size_t size = lead < 0x80   ? 1
                                 : lead < 0xc0 ? 0
                                 : lead < 0xe0 ? 2
                                 : lead < 0xf0 ? 3
                                 : lead < 0xf8 ? 4
                                               : 0;
        if (size == 0 || text_.size() - at_ < size) {
            return false;
        }
        std::uint32_t point = size == 1 ? lead : lead & (0x7fu >> size);
        for (std::size_t i = 1; i < size; ++i) {
            const auto c = static_cast<unsigned char>(text_[at_ + i]);
            if ((c & 0xc0) != 0x80) {
                return false;
            }
            point = point << 6 | (c & 0x3f);
        }
        static constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        at_ += size;
        return point >= least[size] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace ursula::test_support
