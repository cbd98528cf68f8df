#include <unistd.h>

#include <cstdio>

#include "cli.h"
#include "node.h"

int main(int argc, char** argv, char** environment) {
    const ursula::CommandLine line = ursula::parse_command_line(argc, argv, environment);
    std::fputs(line.out.c_str(), stdout);
    std::fflush(stdout);
    std::fputs(line.err.c_str(), stderr);
    return line.run ? ursula::run_node(line) : line.exit_code;
}
