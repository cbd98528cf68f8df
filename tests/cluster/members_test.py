#!/usr/bin/env python3
"""Members come and go online: nodes are added, removed and counted under load; what would break a
quorum is refused; what was interrupted is finished by the same command.

The last line is `N passed, N failed`.
"""

import os
import pty
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import finals  # noqa: E402
import verdicts  # noqa: E402
from checks import expect, expect_in, run_checks  # noqa: E402
from clients import Load, Tailer, Writer, create_streams  # noqa: E402
from cluster import Cluster, Node, wait_for  # noqa: E402
from ctl import CONFLICT, FAILED, OK, UNHEALTHY, USAGE, ctl, ctl_json, start_ctl  # noqa: E402

GROUPS = 12


def members(node):
    """{id: in how many groups it votes}, as that node has it."""
    return {row["id"]: row["voter"] for row in ctl_json(node, "cluster", "members")["members"]}


def answer_no(node, *arguments):
    """The exit code when a person at a terminal is asked and says no."""
    ours, theirs = pty.openpty()
    process = start_ctl(node.data_dir, *arguments, stdin=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"n\n")
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    process.communicate(timeout=30)
    os.close(ours)
    return process.returncode


def wait_healthy(node):
    code, out, err = ctl(node, "wait", "--healthy", "--timeout", "60s")
    expect(f"healthy ({err})", (code, out), (OK, "healthy\n"))


def waiting_node(cluster, number):
    """One more node, with an empty directory and a configuration that names no members."""
    node = Node(cluster, number, f"{cluster.node(1).host.rsplit('.', 1)[0]}.{number}")
    cluster.shards.append(1)
    cluster.nodes.append(node)
    node.write_config([
        f"node_id = {number}",
        f'name = "{cluster.name}"',
        f'listen = "{node.host}:{node.peer_port}"',
    ])
    node.launch()
    return node


def add_words(node):
    return ("cluster", "add", "--id", str(node.number), "--address",
            f"{node.host}:{node.peer_port}", "--client", f"http://{node.host}:{node.port}")


class UnderLoad:
    """Clients on the nodes of a list that the test changes as it goes."""

    def __init__(self, cluster, work, streams=12, writers=6, tailers=4):
        self.cluster = cluster
        self.work = work
        self.nodes = list(cluster.nodes)  # those that clients talk to
        self.load = Load(self, streams, random.randrange(1 << 30))
        self.tailers = [Tailer(self.load, index) for index in range(tailers)]
        clients = [*self.tailers, *[Writer(self.load, index) for index in range(writers)]]
        self.threads = [threading.Thread(target=one.run, daemon=True) for one in clients]

    def __enter__(self):
        create_streams(self.load, self.nodes[0])
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        self.load.over = True

    def settle(self, when):
        """Until every stream took an append that began after now."""
        since = time.monotonic_ns()
        wait_for(f"every stream takes appends {when}",
                 lambda: self.load.outage(since)[2] == len(self.load.streams))

    def end(self, nodes, least):
        self.load.over = True
        for thread in self.threads:
            thread.join(30.0)
        finals.final_reads(self.load, random.Random(1), nodes)
        finals.check_tails(self.load, self.tailers)
        verdicts.check_history(self.load.history, self.work, self.load.failures)
        expect("failures", dict(self.load.failures.counts), {})
        print(" · ".join(f"{what} {n}" for what, n in sorted(self.load.counts.items())))
        if self.load.counts["acked"] < least:
            raise AssertionError(f"vacuous: {self.load.counts}")


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
        expect("asked, and the answer is no", answer_no(one, "cluster", "remove", "2"), FAILED)
        expect("nothing changed", members(one), {1: GROUPS, 2: GROUPS, 3: GROUPS})
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


def check_nodes_are_added_and_removed_under_load(work):
    with Cluster(work, groups=GROUPS) as cluster:
        cluster.start()
        one = cluster.node(1)
        with UnderLoad(cluster, work) as run:
            run.settle("at first")
            four = waiting_node(cluster, 4)
            expect("dry run", ctl_json(one, *add_words(four), "--dry-run")["state"], "not_begun")
            expect("nothing changed", sorted(members(one)), [1, 2, 3])
            # Interrupted at any moment, the same command finishes it.
            for pause_s in (0.05, 0.3):
                began = start_ctl(one.data_dir, *add_words(four), "--timeout", "100s")
                time.sleep(pause_s)
                began.kill()
                began.communicate()
            expect("added", ctl_json(one, *add_words(four))["state"], "done")
            expect("members", members(one), {1: GROUPS, 2: GROUPS, 3: GROUPS, 4: GROUPS})
            expect("again", ctl_json(one, *add_words(four))["changed"], 0)
            four.wait_ready()
            run.nodes.append(four)
            run.settle("with four")
            five = waiting_node(cluster, 5)
            expect("added", ctl_json(one, *add_words(five))["changed"], GROUPS)
            five.wait_ready()
            run.nodes.append(five)
            run.settle("with five")
            status = ctl_json(five, "status")
            expect("rows", [row["id"] for row in status["nodes"]], [1, 2, 3, 4, 5])

            two = cluster.node(2)
            two.kill()
            run.settle("with node 2 dead")
            removed = ctl_json(one, "cluster", "remove", "2", "--yes")
            expect("removed", removed["changed"], GROUPS)
            run.settle("without node 2")
            # Clients go on asking one that is removed alive; it must not serve what is old.
            expect("removed", ctl_json(one, "cluster", "remove", "3", "--yes")["state"], "done")
            run.settle("without node 3")
            expect("members", members(four), {1: GROUPS, 4: GROUPS, 5: GROUPS})
            two.launch()
            # Its admin socket is open before its port is.
            wait_for("node 2 answers", lambda: two.request("GET", "/livez") is not None)
            for gone in (two, cluster.node(3)):
                wait_for(f"node {gone.number} says that it was removed", lambda gone=gone: [
                    row["state"] for row in ctl_json(gone, "status")["nodes"]
                    if row["id"] == gone.number] == ["removed"])
                health = ctl_json(gone, "health", code=UNHEALTHY)
                expect_in("why", "removed", str(health["reasons"]))
            run.settle("with the removed ones about")
            expect("members", members(four), {1: GROUPS, 4: GROUPS, 5: GROUPS})
            wait_healthy(one)
            run.nodes.remove(two)
            run.nodes.remove(cluster.node(3))
            run.end([one, four, five], least=1000)


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
