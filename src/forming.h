// Forming: talks to the other members until there is a cluster, on the main thread and before any
// loop runs. The decisions are Formation's; this is its mouth, ears and pen.
#pragma once

#include <signal.h>

#include "base/result.h"
#include "formation.h"
#include "net/tls.h"
#include "storage/disk.h"
#include "storage/node_file.h"

namespace ursula {

struct FormingOptions {
    ClusterPlan plan;
    int listener = -1;                  // of the cluster, the caller's
    net::TlsContext* tls = nullptr;     // null: nothing is proved
    const sigset_t* signals = nullptr;  // blocked; SIGTERM and SIGINT end the wait
};

enum class FormingEnd : std::uint8_t { formed, stopped };

// Blocks until `node.cluster` is formed, and stored in `root`, or a signal came. `node` is stored
// there already.
[[nodiscard]] base::Result<FormingEnd> form_cluster(const FormingOptions& options,
                                                    storage::Disk& root, storage::NodeFile& node);

// What a node says of itself.
[[nodiscard]] Standing standing_of(const storage::NodeFile& node, std::uint64_t plan);

}  // namespace ursula
