#!/usr/bin/env python3
"""How nodes with empty directories become one cluster, and who is never taken for a member.

The last line is `N passed, N failed`.
"""

import itertools
import os
import shutil
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from checks import expect, expect_in, folder, run_checks  # noqa: E402
from cluster import TEXT, Cluster, wait_for  # noqa: E402


def cluster_ids(cluster):
    """The ids that running nodes say they have formed or come back with."""
    ids = set()
    for node in cluster.running():
        for line in node.log().split("\n"):
            if "cluster.formed" in line:
                ids.add(line.split('id="')[1].split('"')[0])
    return ids


def check_any_start_order(work):
    for number, order in enumerate(itertools.permutations((1, 2, 3))):
        with Cluster(folder(work, number)) as cluster:
            for node in order[:-1]:
                cluster.node(node).launch()
                if number % 2 == 0:
                    cluster.node(node).wait_log("cluster.waits")
            expect("ready before all are there", [n.ready() for n in cluster.running()],
                   [False, False])
            cluster.node(order[-1]).launch()
            for node in cluster.nodes:
                node.wait_ready()
            expect("clusters", len(cluster_ids(cluster)), 1)
            cluster.create("/v1/stream/s")
            cluster.append("/v1/stream/s", "hello")
            for node in cluster.nodes:
                answer = wait_for(
                    f"node {node.number} reads",
                    lambda one=node: one.request("GET", "/v1/stream/s?offset=-1"),
                )
                expect(f"what node {node.number} reads", answer.body, b"hello")


def check_kill_each_and_all(work):
    with Cluster(work, shards=[1, 2, 1]) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        text = ""
        for round_number in range(2):
            for node in cluster.nodes:
                node.kill()
                piece = f"without {node.number}, round {round_number};"
                cluster.append("/v1/stream/s", piece)
                node.launch()
                node.wait_ready()
                text = cluster.read("/v1/stream/s")
                expect_in("the stream", piece, text)
        for node in cluster.nodes:
            node.kill()
        cluster.start()
        expect("the stream after all were killed", cluster.read("/v1/stream/s"), text)
        expect("clusters formed by a restart", cluster_ids(cluster), set())
        for node in cluster.nodes:
            expect(f"exit code of node {node.number}", node.stop(), 0)


def check_killed_while_forming(work):
    """Whenever the nodes are killed on the way, the next start ends in one cluster."""
    for round_number in range(12):
        with Cluster(folder(work, round_number), groups=1) as cluster:
            for node in cluster.nodes:
                node.launch()
            victim = cluster.node(round_number % 3 + 1)
            marks = ("disk.probed", "cluster.forming", "cluster.formed", "server.starting")
            victim.wait_log(marks[round_number // 3])
            for node in cluster.nodes if round_number % 2 else [victim]:
                node.kill()
            for node in cluster.nodes:
                if not node.server.alive():
                    node.launch()
            for node in cluster.nodes:
                node.wait_ready()
            cluster.create("/v1/stream/s")


def check_wiped_member(work):
    with Cluster(work) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", "kept")
        wiped = cluster.node(2)
        wiped.kill()
        shutil.rmtree(wiped.data_dir)
        wiped.launch()
        wiped.wait_log("holds none of its data and is not counted")
        # It is no voter: without another one the last cannot go on.
        cluster.append("/v1/stream/s", "1")
        cluster.node(1).kill()
        time.sleep(2.0)
        answer = cluster.node(3).request("POST", "/v1/stream/s", {"Content-Type": "text/plain"},
                                         b"lost")
        if answer is not None and answer.status < 300:
            raise AssertionError("one of three accepted an append with an empty node's vote")
        expect("the wiped node is ready", wiped.ready(), False)
        cluster.node(1).launch()
        cluster.node(1).wait_ready()
        cluster.append("/v1/stream/s", "2")
        expect("the wiped node is ready", wiped.ready(), False)
        expect("exit code of a node that waits", wiped.stop(), 0)


def check_older_copy_of_a_directory(work):
    """As from a backup or a machine's snapshot: what it acknowledged since is not on it (R11)."""
    with Cluster(work, groups=2) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", "a")
        node = cluster.node(3)
        expect("exit code", node.stop(), 0)
        copy = os.path.join(work, "copy")
        shutil.copytree(node.data_dir, copy)
        cluster.start([3])
        cluster.append("/v1/stream/s", "b")
        node.kill()
        shutil.rmtree(node.data_dir)
        os.rename(copy, node.data_dir)
        node.launch()
        node.wait_log("comes with an older copy of its data directory")
        cluster.node(1).wait_log("comes with an older copy of its data directory")
        # It is no help against the loss of another one.
        cluster.node(1).kill()
        time.sleep(2.0)
        answer = cluster.node(2).request("POST", "/v1/stream/s", TEXT, b"lost")
        if answer is not None and answer.status < 300:
            raise AssertionError("one of three accepted an append with an old node's vote")
        cluster.start([1])
        cluster.append("/v1/stream/s", "c")
        expect("the stream", cluster.read("/v1/stream/s"), "abc")
        expect("the old node is ready", node.ready(), False)


def check_node_of_another_cluster(work):
    """Who dials a node of another cluster is refused, and both say why."""
    with Cluster(folder(work, "a")) as cluster, Cluster(folder(work, "b")) as other:
        cluster.start()
        other.start()
        place = other.node(1)
        stray = cluster.node(1)
        for node in (place, stray):
            expect("exit code", node.stop(), 0)
        # Node 1 of a listens where the others of b look for theirs.
        stray.write_config(["node_id = 1", f'listen = "{place.host}:{place.peer_port}"'])
        stray.launch()
        stray.wait_log("they are not peers")
        other.node(3).wait_log("they are not peers")
        expect_in("what the dialled node says", "side=refused ", stray.log())
        expect_in("what the dialler says", "side=refused_by", other.node(3).log())
        stray.stop()
        place.launch()
        place.wait_ready()


def check_members_differ(work):
    with Cluster(work, size=2) as cluster:
        one, two = cluster.nodes
        lines = [f"node_id = {two.number}", *cluster.common_lines()]
        two.write_config([line.replace('"test"', '"toast"') for line in lines])
        one.launch()
        two.launch()
        for node in cluster.nodes:
            node.wait_log("cluster.name or cluster.members differ")
            expect("ready", node.ready(), False)
        two.stop()
        two.write_config()
        two.launch()
        for node in cluster.nodes:
            node.wait_ready()


def check_identity_of_a_directory(work):
    with Cluster(work, size=1, groups=2) as cluster:
        node = cluster.node(1)
        cluster.start()
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", "alone")
        expect("exit code", node.stop(), 0)
        # Another id.
        node.write_config(["node_id = 2", f'listen = "{node.host}:{node.peer_port}"'])
        node.launch()
        expect("exit code with another id", node.wait_exit(), 3)
        expect_in("why", "is the directory of node 1 of cluster", node.log())
        # No cluster at all.
        node.write_config([])
        node.launch()
        expect("exit code without [cluster]", node.wait_exit(), 3)
        expect_in("why", "set cluster.node_id = 1", node.log())
        # The list in the file is not read any more.
        node.write_config(["node_id = 1", f'listen = "{node.host}:{node.peer_port}"'])
        cluster.start()
        expect("the stream", cluster.read("/v1/stream/s"), "alone")


def check_data_of_a_node_alone(work):
    with Cluster(work, size=3) as cluster:
        node = cluster.node(1)
        node.write_config([f"groups = {cluster.groups}"])
        cluster.start([1])
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", "old")
        expect("exit code", node.stop(), 0)
        node.write_config()
        node.launch()
        expect("exit code", node.wait_exit(), 3)
        expect_in("why", "holds the data of a node that was alone", node.log())
        # It may become a cluster of one.
        node.write_config(["node_id = 1", f"members = [ {node.member()} ]"])
        cluster.start([1])
        expect("the stream", cluster.read("/v1/stream/s"), "old")


def check_a_member_alone(work):
    """Its others are away: it tells whoever asks, and is ready when one of them is back."""
    with Cluster(work, size=3, groups=4) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", "a")
        for node in cluster.nodes:
            node.kill()
        alone = cluster.node(2)
        alone.launch()
        probe = wait_for("its port answers", lambda: alone.request("GET", "/readyz"))
        expect("/readyz", (probe.status, b"starting" in probe.body), (503, True))
        expect("/livez", alone.request("GET", "/livez").status, 200)
        write = alone.request("POST", "/v1/stream/s", TEXT, b"no", timeout_s=20.0)
        expect("a write without a quorum", write.status, 503)
        expect("ready", alone.ready(), False)
        cluster.start([3])
        alone.wait_ready()
        cluster.append("/v1/stream/s", "b")
        expect("the stream", cluster.read("/v1/stream/s"), "ab")


def check_strangers_at_the_door(work):
    """What comes to the cluster listener and is no node costs nothing and changes nothing."""
    with Cluster(work, size=3, groups=1) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        target = cluster.node(1)
        held = []
        for attempt in range(200):
            probe = socket.create_connection((target.host, target.peer_port), 5.0)
            if attempt % 4 == 1:
                probe.sendall(b"GET / HTTP/1.1\r\n\r\n")
            elif attempt % 4 == 2:
                probe.sendall(struct.pack("<IIII", 0x31507255, 1, 0, 0) + os.urandom(2000))
            elif attempt % 4 == 3:
                probe.sendall(struct.pack("<IIII", 0x31507255, 1, 77, 0))
            held.append(probe)
        cluster.append("/v1/stream/s", "x")
        closed = 0
        for probe in held:
            probe.settimeout(20.0)
            try:
                while probe.recv(65536):
                    pass
                closed += 1
            except ConnectionError:
                closed += 1
            except socket.timeout:
                pass
            probe.close()
        expect("strangers that were sent away", closed, len(held))
        cluster.node(2).kill()
        cluster.append("/v1/stream/s", "y")
        cluster.start([2])
        expect("the stream", cluster.read("/v1/stream/s"), "xy")


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
