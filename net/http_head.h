// One request head -> Request: the scan for its end and the strict grammar. Pure but for
// HttpParser's scratch.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/limits.h"
#include "net/http_message.h"

namespace ursula::net {

// How far an unfinished head has been looked at, so that a byte at a time costs linear work.
// Results depend only on the bytes, never on where they were cut.
struct HeadScan {
    std::uint32_t scanned = 0;
    std::uint32_t line_start = 0;
    std::uint16_t lines = 0;
};

// Ends (the CR's position) of a head's lines, the request line first, the final empty one left out.
struct HeadLines {
    std::array<std::uint16_t, base::limits::header_count_max + 1> ends;
    std::size_t count = 0;
};

enum class HeadState : std::uint8_t { need_more, complete, failed };

// Looks for the empty line. Refuses bare CR and LF, NUL and other controls, and whatever exceeds
// the limits of a head, at the first offending byte. complete: head_size counts the final CRLF
// CRLF, lines is filled.
HeadState scan_head(std::string_view bytes, HeadScan& scan, HeadLines& lines,
                    std::size_t& head_size, HttpError& error);

// A whole head that scan_head accepted. False: error says why.
bool parse_head_lines(std::string_view head, const HeadLines& lines, Request& request,
                      HttpError& error);

}  // namespace ursula::net
