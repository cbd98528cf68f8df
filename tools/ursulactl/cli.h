// The command line of ursulactl: finds the command, reads its flags, prints help, runs it, and
// turns what goes wrong into a sentence and an exit code.
#pragma once

#include <string>
#include <vector>

#include "tools/ursulactl/target.h"

namespace ursula::ctl {

struct Surroundings {
    Environment environment;
    SocketExists exists;
    bool to_terminal = false;  // stdout is one
};

// What was asked for: a command with its flags, or help.
struct Invocation {
    const Command* command = nullptr;  // null: print `help`
    std::string help;
    GlobalFlags flags;
    std::map<std::string, std::string, std::less<>> values;
};

// A Failure (exit 2) says what is wrong and what was probably meant.
Invocation parse(const std::vector<std::string>& arguments, const Surroundings& around);

std::string help_of_all();
std::string help_of_family(std::string_view family);
std::string help_of(const Command& command);

// `kept`: where data goes in place of stdout; may be null.
int run(const std::vector<std::string>& arguments, const Surroundings& around,
        std::string* kept = nullptr);

}  // namespace ursula::ctl
