#!/usr/bin/env python3
"""Members come and go online: nodes are added, removed and counted under load; what would break a
quorum is refused; what was interrupted is finished by the same command.

The last line is `N passed, N failed`.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from checks import expect, expect_in, run_checks  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from ctl import CONFLICT, OK, USAGE, ctl, ctl_json  # noqa: E402

GROUPS = 12


def members(node):
    """{id: in how many groups it votes}, as that node has it."""
    return {row["id"]: row["voter"] for row in ctl_json(node, "cluster", "members")["members"]}


def wait_healthy(node):
    code, out, err = ctl(node, "wait", "--healthy", "--timeout", "60s")
    expect(f"healthy ({err})", (code, out), (OK, "healthy\n"))


def check_what_would_break_a_quorum_is_refused(work):
    with Cluster(work, groups=GROUPS) as cluster:
        cluster.start()
        one = cluster.node(1)
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", "before")
        expect("members", members(one), {1: GROUPS, 2: GROUPS, 3: GROUPS})
        code, _, err = ctl(one, "cluster", "remove", "2")
        expect(f"nobody can be asked ({err})", code, USAGE)
        expect_in("what it needs", "--yes", err)
        code, _, err = ctl(one, "cluster", "remove", "1", "--yes")
        expect(f"itself ({err})", code, CONFLICT)
        cluster.node(3).kill()
        wait_for("node 3 is missed", lambda: not [
            row for row in ctl_json(one, "status")["nodes"] if row["id"] == 3][0]["reachable"])
        for words in (["--yes"], ["--dry-run"]):
            code, out, err = ctl(one, "cluster", "remove", "2", *words)
            expect(f"one of two left would be no quorum ({err})", code, CONFLICT)
            expect_in("why", "would lose its quorum", out + err)
        # Also by the leaders themselves, whatever this node believes.
        cluster.append("/v1/stream/s", " between")
        expect("nothing changed", members(one), {1: GROUPS, 2: GROUPS, 3: GROUPS})
        removed = ctl_json(one, "cluster", "remove", "3", "--yes")
        expect("the dead one may go", (removed["changed"], removed["state"]), (GROUPS, "done"))
        expect("two are left", members(one), {1: GROUPS, 2: GROUPS})
        wait_healthy(one)
        again = ctl_json(one, "cluster", "remove", "3", "--yes")
        expect("again", (again["changed"], again["state"]), (0, "done"))
        expect("one is left", ctl_json(one, "cluster", "remove", "2", "--yes")["changed"], GROUPS)
        expect("rows", [row["id"] for row in ctl_json(one, "status")["nodes"]], [1])
        cluster.node(2).kill()
        answer = one.request("POST", "/v1/stream/s", {"Content-Type": "text/plain"}, b" after")
        expect("alone it takes appends", answer.status, 204)
        expect("the stream", cluster.read("/v1/stream/s"), "before between after")
        cluster.start([1])  # again, from its log
        expect("members after a restart", members(one), {1: GROUPS})
        expect("the stream", cluster.read("/v1/stream/s"), "before between after")


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
