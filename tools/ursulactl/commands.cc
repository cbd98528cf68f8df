#include <vector>

#include "tools/ursulactl/command.h"

namespace ursula::ctl {

std::span<const Command* const> all_commands() {
    static const std::vector<const Command*> commands = [] {
        std::vector<const Command*> all;
        for (const std::span<const Command> family :
             {node_commands(), group_commands(), stream_commands(), member_commands(),
              join_commands()}) {
            for (const Command& command : family) {
                all.push_back(&command);
            }
        }
        return all;
    }();
    return commands;
}

}  // namespace ursula::ctl
