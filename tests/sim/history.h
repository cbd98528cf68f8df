// What clients asked and were told, and what must follow from it. Every append has a number in its
// bytes, so a stream's content says which appends it has, in which order:
//
//   - what was acknowledged is there, once, where the acknowledgement said it ends;
//   - what was refused is not there; what has no answer is there once or not at all;
//   - a producer's append is there once, however often it was sent;
//   - a read shows bytes of the one history, and all that was acknowledged before it was asked.
//
// The first violation is kept as a sentence.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::sim {

class History {
  public:
    enum class Form : std::uint8_t { text, json };
    // A new append to the stream; its body, which starts with its number. JSON's is an array or one
    // value; what is stored of it is as long as text's would be.
    std::uint64_t begin(const std::string& stream, std::size_t bytes, bool producer, Form form,
                        std::string& body);
    void acknowledged(std::uint64_t append, std::uint64_t tail);
    // A producer's, told that it was there already.
    void repeated(std::uint64_t append);
    // Certain not to be there; of an append that is sent only once.
    void refused(std::uint64_t append);

    // What a linearizable read asked now must show at least.
    std::uint64_t floor(const std::string& stream) const;
    void read(const std::string& stream, std::uint64_t floor, std::uint64_t from,
              std::uint64_t next, bool up_to_date, std::string_view bytes);

    // The whole stream, as some node has it at the end.
    void final_content(const std::string& stream, const std::string& content);
    void fail(const std::string& what);
    const std::string& failure() const { return failure_; }

    std::uint64_t appends() const { return appends_.size(); }
    std::uint64_t acknowledged_count() const { return acknowledged_; }
    std::uint64_t unknown_count() const;
    std::uint64_t reads() const { return reads_.size(); }

  private:
    enum class State : std::uint8_t { open, acknowledged, repeated, refused };
    struct Append {
        std::string stream;
        std::size_t bytes = 0;
        bool producer = false;
        State state = State::open;
        std::uint64_t tail = 0;
    };
    struct Read {
        std::string stream;
        std::uint64_t from = 0;
        std::string bytes;
    };
    std::vector<Append> appends_;  // by number
    std::vector<Read> reads_;
    std::map<std::string, std::uint64_t> floors_;
    std::map<std::string, std::string> final_;
    std::uint64_t acknowledged_ = 0;
    std::string failure_;
};

}  // namespace ursula::sim
