// What we rely on of the kernel's io_uring ABI beyond liburing 2.3's helpers, pinned by value.
// NO_SQARRAY is absent on purpose: liburing 2.3 writes the index array over the ring's head and
// tail when it is set (performance note 6.7).
#pragma once

#include <liburing.h>

#include <cstdint>

#include "net/op.h"

namespace ursula::net {

// Completions that belong to no Op. Anything else is the address of one, which is never this small.
constexpr std::uint64_t user_data_ignored = 0;
constexpr std::uint64_t user_data_doorbell = 1;         // another ring's message
constexpr std::uint64_t user_data_doorbell_failed = 2;  // our message could not be delivered

// Kernel releases by what they bring, for features that cannot be asked about one by one: multishot
// receive came with SEND_ZC in 6.0, so the probe of that opcode stands for both.
constexpr int opcode_of_linux_6_0 = IORING_OP_SEND_ZC;

static_assert(IORING_CQE_F_BUFFER == 1u && has_buffer(IORING_CQE_F_BUFFER));
static_assert(IORING_CQE_F_MORE == 2u && more_follow(IORING_CQE_F_MORE));
static_assert(IORING_CQE_BUFFER_SHIFT == 16 && buffer_id(0x00050003u) == 5);
static_assert(IORING_SETUP_SUBMIT_ALL == 1u << 7 && IORING_SETUP_COOP_TASKRUN == 1u << 8);
static_assert(IORING_SETUP_TASKRUN_FLAG == 1u << 9 && IORING_SETUP_SINGLE_ISSUER == 1u << 12);
static_assert(IORING_SETUP_DEFER_TASKRUN == 1u << 13);
static_assert(IORING_SQ_CQ_OVERFLOW == 2u && IORING_SQ_TASKRUN == 4u);
static_assert(IORING_OP_MSG_RING == 40 && IORING_OP_SEND_ZC == 47 && IORING_MSG_DATA == 0);
static_assert(IORING_RECV_MULTISHOT == 2u && IORING_ACCEPT_MULTISHOT == 1u);
static_assert(sizeof(io_uring_sqe) == 64 && sizeof(io_uring_cqe) == 16);
static_assert(sizeof(io_uring_buf) == 16 && sizeof(io_uring_getevents_arg) == 24);

}  // namespace ursula::net
