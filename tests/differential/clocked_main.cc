// The server for tests/differential: its clock is moved by an admin call, and URSULA_PLANT names a
// bug to be found.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "cli.h"
#include "http/planted.h"
#include "node.h"
#include "shard/planted.h"
#include "stream/planted.h"

namespace ursula {
namespace {

template <class Bug>
struct Named {
    std::string_view name;
    Bug bug;
};

constexpr Named<http::Planted> http_bugs[] = {
    {"tag_without_life", http::Planted::tag_without_life},
    {"tag_without_form", http::Planted::tag_without_form},
    {"always_up_to_date", http::Planted::always_up_to_date},
    {"control_always_new", http::Planted::control_always_new},
    {"duplicate_is_new", http::Planted::duplicate_is_new},
    {"poll_keeps_cursor", http::Planted::poll_keeps_cursor},
};
constexpr Named<stream::Planted> stream_bugs[] = {
    {"seq_may_repeat", stream::Planted::seq_may_repeat},
    {"gap_accepted", stream::Planted::gap_accepted},
    {"closed_after_type", stream::Planted::closed_after_type},
    {"close_without_touch", stream::Planted::close_without_touch},
    {"dies_late", stream::Planted::dies_late},
    {"append_split", stream::Planted::append_split},
    {"source_not_kept", stream::Planted::source_not_kept},
};
constexpr Named<shard::Planted> shard_bugs[] = {
    {"producer_forgotten", shard::Planted::producer_forgotten},
    {"touch_forgotten", shard::Planted::touch_forgotten},
};

template <class Bug, std::size_t count>
bool plant(const Named<Bug> (&bugs)[count], std::string_view name) {
    for (const Named<Bug>& one : bugs) {
        if (one.name == name) {
            base::planted_bug<Bug> = one.bug;
            return true;
        }
    }
    return false;
}

// Whether there is none to plant, or it is known.
bool plant_wanted() {
    const char* name = std::getenv("URSULA_PLANT");
    return name == nullptr || plant(http_bugs, name) || plant(stream_bugs, name) ||
           plant(shard_bugs, name);
}

}  // namespace
}  // namespace ursula

int main(int argc, char** argv, char** environment) {
    if (!ursula::plant_wanted()) {
        std::fputs("ursula-clocked: URSULA_PLANT names no bug\n", stderr);
        return 2;
    }
    unsetenv("URSULA_PLANT");  // the server takes URSULA_* for its configuration
    const ursula::CommandLine line = ursula::parse_command_line(argc, argv, environment);
    std::fputs(line.err.c_str(), stderr);
    return line.run ? ursula::run_node(line) : line.exit_code;
}
