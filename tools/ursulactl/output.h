// What ursulactl prints: data on stdout, talk on stderr.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ursulactl/command.h"

namespace ursula::ctl {

// Control characters, C1 ones and characters that turn text around become '?': names and media
// types are other people's, and a terminal obeys them.
std::string printable(std::string_view text);

// What a table shows of a JSON value (of any nlohmann type, so that no header needs theirs).
template <class Json>
std::string text_of(const Json& value) {
    return value.is_null()     ? "-"
           : value.is_string() ? printable(value.template get<std::string>())
                               : value.dump();
}

// A line on stderr.
void talk(const std::string& line);

enum class Mood { plain, good, bad };

struct Cell {
    std::string text;
    Mood mood = Mood::plain;
    bool number = false;  // aligned to the right
};

struct Column {
    std::string_view title;
    bool wide = false;  // in -o wide alone
};

// Columns as wide as their longest cell, two blanks between, none at a line's end.
class Table {
  public:
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    void add(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
    bool empty() const { return rows_.empty(); }
    std::string text(const GlobalFlags& flags) const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<Cell>> rows_;
};

// The rows of a group's or a stream's `members` or `replicas`, which is a list in JSON.
Table members_table(const std::string& members);

// Where data goes; a test keeps it.
class Output {
  public:
    explicit Output(const GlobalFlags& flags, std::string* kept = nullptr)
        : flags_(flags), kept_(kept) {}

    // Prints JSON when -o asks for it, and says whether it did. `list`: the key of the array whose
    // items are the lines of ndjson; empty, or no such key: the whole is the line.
    bool json(const std::string& body, std::string_view list = {});
    void print(const Table& table) { write(table.text(flags_)); }
    // A line of text beside or in place of a table.
    void line(const std::string& text) { write(text + "\n"); }

  private:
    void write(const std::string& text);  // nothing with --quiet
    void put(const std::string& text);

    const GlobalFlags& flags_;
    std::string* kept_;
};

// "12.3 GiB", "812 B"; "3d 4h", "12s".
std::string human_bytes(std::uint64_t bytes);
std::string human_seconds(std::uint64_t seconds);

}  // namespace ursula::ctl
