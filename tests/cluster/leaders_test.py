#!/usr/bin/env python3
"""Who leads: leaders are spread evenly, again after a node was away, and a node that is stopped
hands over what it leads.

The last line is `N passed, N failed`.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from checks import expect, expect_in, run_checks  # noqa: E402
from cluster import Cluster, leads, wait_for  # noqa: E402

def wait_spread(cluster, wanted):
    wait_for(
        f"leaders spread as {wanted}",
        lambda: sorted(leads(node) for node in cluster.running()) == wanted,
    )


def check_spread_evenly(work):
    with Cluster(work, groups=12, shards=[2, 2, 2]) as cluster:
        cluster.start()
        wait_spread(cluster, [4, 4, 4])
        cluster.node(3).kill()
        wait_for("two lead all", lambda: sum(leads(n) for n in cluster.running()) == 12)
        cluster.start([3])
        wait_spread(cluster, [4, 4, 4])


def check_different_shard_counts(work):
    with Cluster(work, groups=12, shards=[1, 2, 3]) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        wait_for(
            "everybody leads something and all are led",
            lambda: all(leads(n) >= 2 for n in cluster.running())
            and sum(leads(n) for n in cluster.running()) == 12,
        )
        cluster.append("/v1/stream/s", "x")
        expect("the stream", cluster.read("/v1/stream/s"), "x")


def check_stop_hands_over(work):
    with Cluster(work, groups=6) as cluster:
        cluster.start()
        wait_spread(cluster, [2, 2, 2])
        stopped = cluster.node(2)
        expect("exit code", stopped.stop(), 0)
        wait_for("the others lead", lambda: sum(leads(n) for n in cluster.running()) == 6)
        answer = cluster.node(1).request("GET", "/health")
        expect_in("health", "peers_unreachable", answer.body.decode())


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
