#!/usr/bin/env python3
"""ursulactl on three nodes: each shows all of them, the dead ones too; leadership is handed over;
without a majority it says what is wrong.

The last line is `N passed, N failed`.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from checks import expect, expect_in, run_checks  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from ctl import CONFLICT, OK, UNHEALTHY, UNREACHABLE, ctl, ctl_json  # noqa: E402

GROUPS = 6


def reachable(node):
    rows = ctl_json(node, "status")["nodes"]
    return {row["id"]: row["reachable"] for row in rows}


def wait_healthy(cluster):
    for node in cluster.running():
        code, out, err = ctl(node, "wait", "--healthy", "--timeout", "60s")
        expect(f"wait on node {node.number} ({err})", (code, out), (OK, "healthy\n"))


def check_every_node_shows_all(work):
    with Cluster(work, groups=GROUPS, shards=[1, 2, 3]) as cluster:
        cluster.start()
        wait_healthy(cluster)
        for node in cluster.nodes:
            status = ctl_json(node, "status")
            expect("cluster", status["cluster"], "test")
            expect("who answers", status["node"], node.number)
            expect("ids", [row["id"] for row in status["nodes"]], [1, 2, 3])
            for row, other in zip(status["nodes"], cluster.nodes):
                expect("address", row["address"], f"{other.host}:{other.peer_port}")
                expect("client", row["client"], f"http://{other.host}:{other.port}")
                expect("reachable", row["reachable"], True)
                expect("state", row["state"], "ready")
                expect("replicas", row["replicas"], GROUPS)
            expect("leads", sum(row["leads"] for row in status["nodes"]), GROUPS)
            expect("groups", status["groups"], {"total": GROUPS, "leaderless": 0})
        cluster.node(3).kill()
        left = cluster.running()
        for node in left:
            wait_for("node 3 is missed", lambda node=node: not reachable(node)[3])
            expect("the others", reachable(node), {1: True, 2: True, 3: False})
            health = ctl_json(node, "health", code=UNHEALTHY)
            expect("status", health["status"], "degraded")
            expect_in("codes", "node_unreachable", str(health["reasons"]))
        expect("wait", ctl(left[0], "wait", "--healthy", "--timeout", "1s")[0], UNREACHABLE)
        cluster.start([3])
        wait_healthy(cluster)
        expect("back", reachable(left[0]), {1: True, 2: True, 3: True})


def check_transfer(work):
    with Cluster(work, groups=GROUPS) as cluster:
        cluster.start()
        wait_healthy(cluster)
        first = cluster.node(1)
        group = ctl_json(first, "group", "show", "0")
        leader = cluster.node(group["leader"])
        other = cluster.node(leader.number % 3 + 1)
        third = cluster.node(other.number % 3 + 1)
        code, _, err = ctl(other, "group", "transfer", "0", "--to", str(third.number))
        expect(f"asked of a follower ({err})", code, CONFLICT)
        expect_in("it names the leader", f"node {leader.number} leads", err)
        code, out, err = ctl(leader, "group", "transfer", "0", "--to", str(other.number))
        expect(f"handed over ({err})", code, OK)
        expect("it says so", out, f"node {other.number} leads group 0\n")
        cluster.create("/v1/stream/x")
        third.kill()
        wait_for("it is missed", lambda: not reachable(leader)[third.number])
        held = [node for node in (leader, other)
                if ctl_json(node, "group", "show", "0")["role"] == "leader"]
        if held:
            code, _, err = ctl(held[0], "group", "transfer", "0", "--to", str(third.number))
            expect(f"to one that is down ({err})", code, CONFLICT)


def check_streams_and_no_majority(work):
    with Cluster(work, groups=GROUPS) as cluster:
        cluster.start()
        cluster.create("/v1/stream/x")
        cluster.append("/v1/stream/x", "hello")
        for node in cluster.nodes:
            shown = ctl_json(node, "stream", "show", "v1/stream/x")
            expect("replicas", [one["node"] for one in shown["replicas"]], [1, 2, 3])
            expect("confirmed", shown["confirmed"], True)
            expect("tail", shown["tail"] >= 5, True)
        alone = cluster.node(2)
        cluster.node(1).kill()
        cluster.node(3).kill()

        def leaderless():
            return ctl_json(alone, "status")["groups"]["leaderless"]

        wait_for("no group has a leader", lambda: leaderless() == GROUPS)
        health = ctl_json(alone, "health", code=UNHEALTHY)
        expect("status", health["status"], "down")
        shown = ctl_json(alone, "stream", "show", "v1/stream/x")
        expect("leader", shown["leader"], None)
        expect("confirmed", shown["confirmed"], False)
        code, _, err = ctl(alone, "group", "transfer", "0", "--to", "2")
        expect(f"exit code ({err})", code, CONFLICT)
        expect_in("why", "No leader of group 0", err)


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
