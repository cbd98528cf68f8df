// The command line of the bare loops: one set of options for all, each program reads those it
// knows.
#pragma once

#include <cstdint>
#include <string>

namespace ursula::bare {

struct Arguments {
    std::uint16_t port =
        21000;     // on 127.0.0.1; below the ephemeral range, so no client socket holds it
    int cpu = -1;  // pinned to this CPU; -1 leaves it to the kernel
    std::uint64_t stop_after =
        0;  // requests answered before a clean exit, for callgrind; 0 = never
    std::string file = "bare.wal";           // bare-wal, dsync-probe: made, zeroed, gone at exit
    unsigned writes = 2;                     // bare-wal: writes in flight
    std::uint64_t chunk_bytes = 1ull << 30;  // bare-send: body of one response
    unsigned write_bytes = 4096;             // dsync-probe: size of one write
    double seconds = 1.0;                    // dsync-probe: how long
    bool json = false;                       // dsync-probe: one JSON object on stdout
};

// Prints help or what is wrong and exits when the command line says so.
Arguments parse_arguments(int argc, char** argv, const char* description);

}  // namespace ursula::bare
