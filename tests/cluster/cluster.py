"""A cluster of real `ursula` processes on loopback addresses of its own, for the tests beside this.

Python standard library only. Nodes are numbered from 1.
"""

import os
import random
import re
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from http_client import Connection, Lost, NotSent  # noqa: E402
from ursula_server import READY_LINE, Server, ServerFailed  # noqa: E402

TEXT = {"Content-Type": "text/plain"}
WAIT_S = 60.0
# Each node has an address of its own. Below the ports that the kernel gives to connections: a port
# that was asked of it and given back may be another's when the node starts.
CLIENT_PORT = 15437
PEER_PORT = 15439


def wait_for(what, check, timeout_s=WAIT_S):
    """The first true value of check(); its absence within the time is a failure."""
    end = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


def metric(node, series):
    """What the node says of one series, as in `name{label="value"}`, or of all series of a name;
    its figures are a tenth of a second old. -1: it did not answer."""
    answer = node.request("GET", "/metrics")
    if answer is None:
        return -1
    pattern = "^" + re.escape(series) + r"(?:\{.*\})? (\d+)$"
    return sum(int(one) for one in re.findall(pattern, answer.body.decode(), re.MULTILINE))


def leads(node):
    """How many groups the node says it leads."""
    return metric(node, 'ursula_raft_groups{role="leader"}')


class Node:
    """One member: its file, its directory, and the process while it runs."""

    def __init__(self, cluster, number, host):
        self.cluster = cluster
        self.number = number
        self.host = host
        self.port = CLIENT_PORT
        self.peer_port = PEER_PORT
        self.data_dir = os.path.join(cluster.work, f"node{number}")
        self.config = os.path.join(cluster.work, f"node{number}.toml")
        self.server = None

    def member(self):
        return (
            f'{{ id = {self.number}, address = "{self.host}:{self.peer_port}", '
            f'client = "http://{self.host}:{self.port}" }}'
        )

    def write_config(self, cluster_lines=None):
        """The whole file; `cluster_lines` replaces what [cluster] says."""
        lines = [
            "[server]",
            f'listen = "{self.host}:{self.port}"',
            f"shards = {self.cluster.shards[self.number - 1]}",
            "pin = false",
            *self.cluster.server_lines,
            "[storage]",
            f'path = "{self.data_dir}"',
            f'segment_size = "{self.cluster.segment_size}"',
            'reserve = "0%"',
            "[cluster]",
        ]
        lines += cluster_lines if cluster_lines is not None else [
            f"node_id = {self.number}",
            *self.cluster.common_lines(),
        ]
        with open(self.config, "w", encoding="utf-8") as handle:
            handle.write("\n".join(lines) + "\n")

    def launch(self):
        """Starts the process and returns at once."""
        if self.server is not None:
            self.server.discard()
        self.server = Server(
            flags=["--config", self.config], listen=f"{self.host}:{self.port}"
        )
        self.server.launch()

    def log(self):
        return self.server.log()

    def ready(self):
        if not self.server.alive():
            raise ServerFailed(f"node {self.number} ended: {self.log()}")
        return READY_LINE.search(self.log()) is not None

    def wait_ready(self):
        wait_for(f"node {self.number} ready ({self.config})", self.ready)

    def wait_log(self, words, timeout_s=WAIT_S):
        try:
            wait_for(f"node {self.number} says {words!r}", lambda: words in self.log(), timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: {self.log()[-1500:]}") from error

    def kill(self):
        self.server.kill()

    def stop(self):
        return self.server.stop()

    def wait_exit(self, timeout_s=WAIT_S):
        """The exit code of a process that ends by itself."""
        wait_for(f"node {self.number} ends", lambda: not self.server.alive(), timeout_s)
        return self.server.process.returncode

    def request(self, method, path, headers=None, body=None, timeout_s=5.0):
        """One request on a connection of its own. None: there was no whole answer."""
        connection = Connection(self.host, self.port, timeout_s)
        try:
            return connection.request(method, path, headers, body)
        except (Lost, NotSent, OSError):
            return None
        finally:
            connection.close()


class Cluster:
    """`with Cluster(work) as cluster`: processes end with the block, whatever happens in it."""

    def __init__(self, work, size=3, groups=4, shards=None, name="test", server_lines=None,
                 segment_size="4MiB"):
        self.work = work
        self.server_lines = server_lines or ['max_body = "1MiB"']
        self.segment_size = segment_size
        self.groups = groups
        self.name = name
        self.shards = shards or [1] * size
        # Other clusters of this machine have other addresses: ports cannot collide.
        net = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"
        self.nodes = [Node(self, number, f"{net}.{number}") for number in range(1, size + 1)]
        for node in self.nodes:
            node.write_config()

    def common_lines(self):
        members = ",\n".join("  " + node.member() for node in self.nodes)
        return [f'name = "{self.name}"', f"groups = {self.groups}", f"members = [\n{members}\n]"]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for node in self.nodes:
            if node.server is not None:
                node.server.discard()

    def node(self, number):
        return self.nodes[number - 1]

    def start(self, numbers=None):
        """Starts nodes, in this order, and waits until all of them are ready."""
        started = [self.node(number) for number in numbers or range(1, len(self.nodes) + 1)]
        for node in started:
            node.launch()
        for node in started:
            node.wait_ready()

    def running(self):
        return [node for node in self.nodes if node.server is not None and node.server.alive()]

    def ask(self, method, path, headers=None, body=None, timeout_s=WAIT_S):
        """Asks one running node after the other until one answers with 2xx; that answer."""
        last = None

        def attempt():
            nonlocal last
            for node in self.running():
                response = node.request(method, path, headers, body)
                if response is not None:
                    last = (node.number, response.status, response.body[:200])
                    if 200 <= response.status < 300:
                        return response
            return None

        try:
            return wait_for(f"{method} {path} is answered", attempt, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; last answer: {last}") from error

    def create(self, path):
        return self.ask("PUT", path, TEXT)

    def append(self, path, text):
        """For tests that count nothing: a lost answer is asked again, so it may be there twice."""
        return self.ask("POST", path, TEXT, text.encode())

    def read(self, path):
        return self.ask("GET", path + "?offset=-1").body.decode()

    def read_all(self, path):
        """The whole stream, however many reads that takes."""
        text = ""
        offset = "-1"
        while True:
            answer = self.ask("GET", f"{path}?offset={offset}")
            text += answer.body.decode()
            offset = answer.header("stream-next-offset")
            if answer.header("stream-up-to-date") == "true":
                return text
