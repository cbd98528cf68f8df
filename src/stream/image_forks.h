// What an image says of forks (stream/image_format.h). For image.cc alone.
#pragma once

#include <cstddef>
#include <vector>

#include "stream/forks.h"
#include "stream/stream.h"

namespace ursula::stream {

void put_fork_links(const ForkLinks& links, const LateHolds& late, std::vector<std::byte>& out);
void put_fork_items(const StreamExtra& extra, std::vector<std::byte>& out);

}  // namespace ursula::stream
