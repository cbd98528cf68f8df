// Writes a history's operations as lines of its text (history.h has the format).
#pragma once

#include <string>

#include "tools/check/history.h"

namespace ursula::check {

std::string offset_text(const Offset& offset);

// NAME, or NAME#2 and so on.
std::string stream_word(const Stream& stream);

// Each appends one line, without a newline, to `out`. `word` is the stream's.
void write(std::string& out, const std::string& word, const Logged& logged,
           const std::string& node);
void write(std::string& out, const std::string& word, const History& names, const Append& append);
void write(std::string& out, const std::string& word, const History& names, const Close& close);
void write(std::string& out, const std::string& word, const History& names, const Read& read);
void write(std::string& out, const std::string& word, const History& names, const char* kind,
           const Change& change);
void write(std::string& out, const std::string& word, const History& names, const Interval& absent);
void write(std::string& out, const std::string& word, Ending ending);

// One operation, as a line of text.
std::string describe(const History& history, const Ref& ref);

// All that the history holds of one stream, each line with its newline.
void write_stream(std::string& out, const History& history, const Stream& stream);

// The whole history; what it says is what parse_history reads.
std::string write_history(const History& history);

}  // namespace ursula::check
