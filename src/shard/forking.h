// Forks on their way (shard_forks.cc) and reads that are gathered from several streams
// (shard_inherited.cc). Plain structs owned by their shard; they hand views of themselves to calls
// that wait for an answer, so each stays where it is until that came.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "api/call.h"
#include "api/reply.h"
#include "base/ids.h"
#include "base/slice.h"
#include "base/time.h"

namespace ursula::shard {

// A fork's PUT, at the leader of its group.
struct Forking {
    enum class Step : std::uint8_t {
        measure,  // the append behind the asked offset, of the source
        look,     // its bytes: elements of JSON are counted
        begin,
        hold,
        create
    };
    Step step = Step::measure;
    base::GroupId group;
    base::Term term;  // in which this node leads it
    api::CallId call;
    base::ShardId from;
    std::string name;
    std::string source;
    base::GroupId source_group;
    std::string content_type;  // as given, then the source's if none was
    std::string expires_at;
    std::vector<std::byte> body;
    bool closed = false;
    std::uint64_t bucket_id = 0;
    api::Expiry expiry;  // its text is beside it
    api::ForkAsk asked;
    base::Incarnation source_life;
    std::uint64_t point = 0;
    base::Incarnation link;
    bool unsure = false;  // a hold may be there for which nobody answered
    base::Instant since;
    base::Instant hold_again = base::Instant::never();
    bool answered = false;
    api::Answer answer;
};

// A link whose hold goes: abandoned first if it is still asking.
struct LinkWork {
    enum class Step : std::uint8_t { abandon, release, forget };
    Step step = Step::abandon;
    base::GroupId group;
    base::Incarnation id;
    std::string source;
    base::GroupId source_group;
    bool answered = false;
    bool failed = false;
};

// A link that somebody is at work on in this term.
struct LinkAtWork {
    base::Term term;
    bool releasing = false;
};

// A fork's read that begins before the fork's own bytes.
struct Gathering {
    // One of the streams that its fork's bytes come from: those before `end`.
    struct Level {
        std::string name;
        base::Incarnation life;
        std::uint64_t end = 0;
    };
    base::ShardId to;
    api::CallId call;
    base::GroupId group;
    std::string name;
    base::Incarnation life;
    std::uint64_t next = 0;   // where the next bytes begin
    std::uint64_t left = 0;   // of what may be read
    std::uint64_t asked = 0;  // at first
    bool any = false;         // bytes have come
    bool measure = false;
    std::deque<Level> levels;  // from the fork's source on; the last is being asked
    api::ReadReply out;
    bool answered = false;
    api::Answer answer;
};

}  // namespace ursula::shard
