// Calls and replies as mail. One process writes and reads these records, so their form may change
// at any time and is not checked: the Mailbox hands over exactly what was pushed.
#pragma once

#include "api/call.h"
#include "api/reply.h"
#include "shard/mailbox.h"

namespace ursula::shard {

enum class MailKind : std::uint16_t { call = 1, reply = 2 };

inline MailKind kind_of(const MailRecord& record) {
    return static_cast<MailKind>(record.kind);
}

// Copies the call with all it points to. False when the mailbox is full: nothing was taken over,
// push it again next turn. A body above limits::mailbox_inline_bytes_max is copied to a block.
[[nodiscard]] bool push_call(Mailbox& mailbox, const api::Call& call);
// Copies the bytes of the reply's slices; the slices stay with the caller's core.
[[nodiscard]] bool push_reply(Mailbox& mailbox, const api::Reply& reply);

// Views of the call live until mailbox.release().
[[nodiscard]] api::Call decode_call(const MailRecord& record);
// The reply owns its bytes (one block for all of them); pieces come as one piece.
[[nodiscard]] api::Reply decode_reply(const MailRecord& record);

}  // namespace ursula::shard
