// Reads a history from its text (history.h has the format).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tools/check/history.h"

namespace ursula::check {

// Takes a history line by line, so that its text need not be held. `history` is
// empty at first and outlives it.
class Parser {
  public:
    explicit Parser(History& history);
    ~Parser();
    Parser(const Parser&) = delete;
    Parser& operator=(const Parser&) = delete;

    // The next line, without its newline. Returns what is wrong with it, and its number.
    std::optional<std::string> line(std::string_view text);
    // After the last line: what the history as a whole lacks.
    std::optional<std::string> finish() const;

  private:
    class Lines;
    std::unique_ptr<Lines> lines_;
};

// Reads a whole history into an empty one. On failure returns what is wrong; `history` is then half
// full.
std::optional<std::string> parse_history(std::string_view text, History& history);

}  // namespace ursula::check
