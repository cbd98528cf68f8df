#!/usr/bin/env python3
"""Nodes that come later: they wait, are visited, taken in and made members, by the admin plane's
own requests; who was removed or replaced is told so.

The last line is `N passed, N failed`.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from checks import expect, expect_in, folder, run_checks  # noqa: E402
from cluster import Cluster, Node, wait_for  # noqa: E402
from ursula_server import Server  # noqa: E402

GROUPS = 4


class AdminConnection(http.client.HTTPConnection):
    """Over the socket in a node's data directory."""

    def __init__(self, node):
        super().__init__("localhost", timeout=30.0)
        self.path = os.path.join(node.data_dir, "admin.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@contextlib.contextmanager
def started(work, text, **options):
    """Three nodes and a stream with that text."""
    with Cluster(work, groups=GROUPS, **options) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", text)
        yield cluster


def admin(node, method, path, body=None):
    """(status, parsed JSON body)."""
    connection = AdminConnection(node)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, "/admin/v1" + path, body=text)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def address_of(node):
    return f"{node.host}:{node.peer_port}"


def visit(by, node):
    return admin(by, "POST", "/cluster/visit", {"address": address_of(node)})


def admit(by, node, incarnation, number=None):
    return admin(by, "POST", "/cluster/admit", {
        "address": address_of(node), "node": number or node.number, "incarnation": incarnation})


def expect_refused(answer, words):
    status, problem = answer
    expect(f"status of {problem}", status, 409)
    expect_in("why", words, json.dumps(problem))


def change(by, step, number, **more):
    """One step in every group, again while the group says not yet."""
    for group in range(GROUPS):
        last = None

        def attempt():
            nonlocal last
            last = admin(by, "POST", f"/groups/{group}/members",
                         {"step": step, "node": number, **more})
            return last[0] == 200

        try:
            wait_for(f"{step} of node {number} in group {group}", attempt)
        except AssertionError as error:
            raise AssertionError(f"{error}; last answer: {last}") from error


def take_in(by, node):
    """The whole way of a node that waits, as a voter of every group."""
    status, seen = visit(by, node)
    expect(f"visit: {seen}", status, 200)
    status, seen = admit(by, node, seen["incarnation"])
    expect(f"admit: {seen}", status, 200)
    expect("stage", seen["stage"], "formed")
    change(by, "add_learner", node.number, incarnation=seen["incarnation"],
           shards=seen["shards"], address=address_of(node),
           client=f"http://{node.host}:{node.port}")
    change(by, "promote", node.number, incarnation=seen["incarnation"])
    node.wait_ready()
    return seen


def newcomer(cluster, shards=1, lines=None):
    """The next node, which nobody's file names."""
    number = len(cluster.nodes) + 1
    cluster.shards.append(shards)
    net = cluster.nodes[0].host.rsplit(".", 1)[0]
    node = Node(cluster, number, f"{net}.{number}")
    node.write_config(lines or lines_of(node))
    cluster.nodes.append(node)
    return node


def lines_of(node, name="test"):
    return [f'name = "{name}"', f"node_id = {node.number}", f'listen = "{address_of(node)}"']


def reads_itself(node, path="/v1/stream/s"):
    answer = wait_for(f"node {node.number} reads",
                      lambda: node.request("GET", path + "?offset=-1"))
    return answer.status, answer.body.decode()


def check_a_node_is_added(work):
    with started(work, "before;", shards=[1, 2, 1]) as cluster:
        # Its own number of groups does not matter.
        node = newcomer(cluster, shards=8)
        node.write_config([*lines_of(node), "groups = 16"])
        node.launch()
        node.wait_log(f"ursulactl cluster add --id 4 --address {address_of(node)}")
        status, seen = visit(cluster.node(2), node)
        expect("status", status, 200)
        expect("what it is", (seen["node"], seen["shards"], seen["groups"], seen["stage"],
                              seen["cluster"]), (4, 8, 16, "none", ""))
        # A member is a node of this cluster, to be seen from any other.
        status, member = visit(cluster.node(2), cluster.node(1))
        expect("status", status, 200)
        expect("a member", (member["node"], member["shards"], member["groups"],
                            member["stage"]), (1, 1, GROUPS, "formed"))
        expect_refused(admit(cluster.node(1), node, "77"), "other storage than was visited")
        expect_refused(admit(cluster.node(1), node, seen["incarnation"], 5),
                       "this is node 4, not node 5")
        expect("ready", node.ready(), False)
        joined = take_in(cluster.node(1), node)
        expect("cluster", joined["cluster"], member["cluster"])
        expect("shards", joined["shards"], GROUPS)
        expect("groups", joined["groups"], GROUPS)
        expect("what it reads", reads_itself(node), (200, "before;"))
        # Once more changes nothing.
        expect("again", admit(cluster.node(3), node, seen["incarnation"]), (200, joined))
        # It counts: two of four are none, three are a majority with it.
        cluster.node(1).kill()
        cluster.append("/v1/stream/s", "with four;")
        cluster.node(1).launch()
        cluster.node(1).wait_ready()
        node.kill()
        cluster.append("/v1/stream/s", "without;")
        node.launch()
        node.wait_ready()
        for each in cluster.nodes:
            expect(f"what node {each.number} reads", reads_itself(each),
                   (200, "before;with four;without;"))
        for each in cluster.nodes:
            each.kill()
        cluster.start()
        expect("after all were killed", reads_itself(node), (200, "before;with four;without;"))
        for each in cluster.nodes:
            expect(f"exit code of node {each.number}", each.stop(), 0)


def check_who_is_not_taken_in(work):
    with Cluster(folder(work, "a"), groups=GROUPS) as cluster, \
            Cluster(folder(work, "b"), size=1, groups=GROUPS) as other:
        cluster.start()
        other.start()
        by = cluster.node(1)
        expect_refused(visit(by, other.node(1)), "is of another cluster")
        mine = visit(other.node(1), other.node(1))[1]
        expect_refused(admit(by, other.node(1), mine["incarnation"]), "never changes")
        # Another name.
        node = newcomer(cluster)
        node.write_config(lines_of(node, "toast"))
        node.launch()
        node.wait_log("cluster.waits")
        seen = visit(by, node)[1]
        expect_refused(admit(by, node, seen["incarnation"]), "they must be the same")
        node.wait_log("they must be the same")
        expect("exit code of a node that waits", node.stop(), 0)
        # Nobody there.
        status, problem = visit(by, node)
        expect(f"status of {problem}", status, 504)
        status, problem = admin(by, "POST", "/cluster/visit", {"address": "somewhere:1"})
        expect(f"status of {problem}", status, 400)
        status, problem = admin(by, "POST", "/cluster/visit", {"host": "127.0.0.1:1"})
        expect(f"status of {problem}", status, 400)
        # Data of a node alone.
        alone = os.path.join(work, "alone")
        server = Server(data_dir=alone, flags=["--set", "server.shards=1"])
        with server:
            pass
        node.data_dir = alone
        node.write_config(lines_of(node))
        node.launch()
        expect("exit code", node.wait_exit(), 3)
        expect_in("why", "holds the data of a node that was alone", node.log())


def check_a_command_that_ended_halfway(work):
    """Taken in and named by no group: the node says so, also after a restart, and goes on later."""
    with started(work, "x") as cluster:
        node = newcomer(cluster, shards=2)
        node.launch()
        node.wait_log("cluster.waits")
        seen = visit(cluster.node(1), node)[1]
        expect("status", admit(cluster.node(1), node, seen["incarnation"])[0], 200)
        node.wait_log("once more: ursulactl cluster add --id 4")
        expect("exit code", node.stop(), 0)
        node.launch()
        node.wait_log("once more: ursulactl cluster add --id 4")
        expect("ready", node.ready(), False)
        node.kill()
        node.launch()
        node.wait_log("server.starting")
        expect("still the same", visit(cluster.node(2), node)[1]["stage"], "formed")
        take_in(cluster.node(2), node)
        expect("what it reads", reads_itself(node), (200, "x"))


def check_a_file_with_four_members(work):
    """A node whose file names itself among the members of a cluster that was made without it."""
    with started(work, "x") as cluster:
        node = newcomer(cluster)
        node.write_config([f"node_id = {node.number}", *cluster.common_lines()])
        node.launch()
        node.wait_log(f"ursulactl cluster add --id 4 --address {address_of(node)}")
        take_in(cluster.node(3), node)
        expect("what it reads", reads_itself(node), (200, "x"))


def check_a_wiped_node_is_put_back(work):
    with started(work, "kept;", shards=[1, 1, 2]) as cluster:
        node = cluster.node(3)
        old = visit(cluster.node(1), node)[1]
        node.kill()
        kept = os.path.join(work, "old3")
        shutil.move(node.data_dir, kept)
        node.launch()
        node.wait_log("ursulactl cluster replace 3")
        seen = visit(cluster.node(1), node)[1]
        expect("stage", seen["stage"], "none")
        if seen["incarnation"] == old["incarnation"]:
            raise AssertionError("an emptied directory has the same incarnation")
        change(cluster.node(1), "remove", 3, incarnation=old["incarnation"])
        take_in(cluster.node(1), node)
        expect("what it reads", reads_itself(node), (200, "kept;"))
        cluster.node(1).kill()
        cluster.append("/v1/stream/s", "by two;")
        cluster.node(1).launch()
        cluster.node(1).wait_ready()
        expect("exit code", node.stop(), 0)
        # The old directory comes back in its place.
        shutil.move(node.data_dir, os.path.join(work, "new3"))
        shutil.move(kept, node.data_dir)
        node.launch()
        for each in cluster.nodes[:2]:
            each.wait_log("with other storage than this")
        node.wait_log("with other storage than this")
        expect_in("whose word it is", "side=refused_by", node.log())
        cluster.append("/v1/stream/s", "without old;")
        expect("ready", node.ready(), False)
        expect("exit code of a node that was replaced", node.stop(), 0)
        shutil.move(node.data_dir, kept)
        shutil.move(os.path.join(work, "new3"), node.data_dir)
        node.launch()
        node.wait_ready()
        expect("what it reads", reads_itself(node), (200, "kept;by two;without old;"))


def removed(node):
    status, health = admin(node, "GET", "/health")
    return status == 200 and "removed from the cluster" in json.dumps(health)


def check_a_removed_node_is_told(work):
    with started(work, "a", shards=[2, 1, 1]) as cluster:
        node = cluster.node(2)
        change(cluster.node(1), "remove", 2)
        node.wait_log("node 2 was removed from cluster")
        wait_for("its health says so", lambda: removed(node))
        expect("exit code", node.stop(), 0)
        node.launch()
        node.wait_log("node 2 was removed from cluster")
        wait_for("its health says so after a restart", lambda: removed(node))
        expect("exit code", node.stop(), 0)
        cluster.append("/v1/stream/s", "b")
        expect("the stream", reads_itself(cluster.node(3)), (200, "ab"))


def check_a_node_that_was_removed_meanwhile(work):
    """Its own log knows nothing of it."""
    with started(work, "a", shards=[2, 1, 1]) as cluster:
        node = cluster.node(3)
        expect("exit code", node.stop(), 0)
        change(cluster.node(1), "remove", 3)
        cluster.append("/v1/stream/s", "b")
        node.launch()
        node.wait_log("node 3 was removed from cluster")
        wait_for("its health says so", lambda: removed(node))
        expect("ready", node.ready(), False)
        probe = wait_for("its port answers", lambda: node.request("GET", "/readyz"))
        expect("/readyz", (probe.status, b"removed" in probe.body), (503, True))
        expect("exit code", node.stop(), 0)
        # Emptied, it is a node like any new one.
        shutil.rmtree(node.data_dir)
        node.launch()
        node.wait_log("cluster.waits")
        take_in(cluster.node(2), node)
        expect("the stream", reads_itself(node), (200, "ab"))


def check_all_three_are_replaced(work):
    """One by one, each with an empty directory; then nothing of the first members is left."""
    with Cluster(work, groups=GROUPS) as cluster:
        cluster.start()
        cluster.create("/v1/stream/s")
        text = ""
        for number in (1, 2, 3):
            node = cluster.node(number)
            by = cluster.node(number % 3 + 1)
            node.kill()
            shutil.rmtree(node.data_dir)
            node.launch()
            node.wait_log(f"replace {number}")
            change(by, "remove", number)
            take_in(by, node)
            cluster.append("/v1/stream/s", f"{number};")
            text += f"{number};"
        for node in cluster.nodes:
            node.kill()
        cluster.start()
        for node in cluster.nodes:
            expect(f"what node {node.number} reads", reads_itself(node), (200, text))
        # A node of other numbers in the place of all: it goes by what the groups' logs say.
        last = newcomer(cluster)
        last.launch()
        last.wait_log("cluster.waits")
        take_in(cluster.node(1), last)
        change(last, "remove", 1)
        cluster.node(1).stop()
        for node in cluster.nodes[1:]:
            node.kill()
        cluster.start([2, 3, 4])
        expect("what node 4 reads", reads_itself(last), (200, text))


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
