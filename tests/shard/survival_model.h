// What a shard should do with writes, written down a second time and as plainly as possible: for
// the survival test. One group; knows nothing of logs, memory or disks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "api/call.h"
#include "api/reply.h"

namespace ursula::shard::test {

// A write, owning what its call only shows.
struct Write {
    enum class Kind : std::uint8_t { create, append, remove } kind = Kind::append;
    std::string name;
    std::string type;  // empty: no Content-Type
    std::string body;
    std::string stored;  // what the body is stored as
    bool close = false;
    std::string producer;  // empty: none
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
    std::string stream_seq;
};

struct ModelStream {
    std::string type;
    std::string content;
    std::vector<std::uint64_t> ends;  // of its appends
    bool closed = false;
    std::string stream_seq;
    struct Producer {
        std::uint64_t epoch = 0;
        std::uint64_t seq = 0;
    };
    std::map<std::string, Producer> producers;
    std::string closer;  // the producer that closed it
    std::uint64_t life = 0;
};

// Wrong on purpose: shows that the test would see it.
enum class WrongModel : std::uint8_t { no, duplicates_are_appended, close_keeps_open };

struct ModelGroup {
    std::map<std::string, ModelStream> streams;
    std::uint64_t lives = 0;

    // Carries the write out and returns the answer it must get, as told().
    std::string apply(const Write& write, WrongModel wrong = WrongModel::no);
};

// An answer in one line, all that a client could tell apart.
std::string told(const api::Answer& answer);
// Whether an answer may be given without the log.
bool changes_nothing(const api::Answer& answer);

}  // namespace ursula::shard::test
