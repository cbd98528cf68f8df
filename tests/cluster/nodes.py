"""Three real `ursula` processes, each in its own network namespace; what can be done to them."""

import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from http_client import Connection, Lost, NotSent  # noqa: E402
from netns import Namespace, address_of  # noqa: E402
from ursula_server import READY_LINE, Server  # noqa: E402

CLIENT_PORT = 4437
CLUSTER_PORT = 4439
READY_S = 60.0

CONFIG = """
[server]
listen = "{address}:{client}"
insecure = true
pin = false
shards = {shards}
drain_timeout = "2s"
max_body = "4MiB"
long_poll_timeout = "2s"
sse_lifetime = "5s"
sse_heartbeat = "1s"

[storage]
path = "{path}"
hot_bytes = "{hot}"
segment_size = "16MiB"
reserve = "1MiB"

[cluster]
name = "blackbox"
node_id = {node}
listen = "{address}:{cluster}"
insecure = true
groups = {groups}
members = [
{members}
]
"""


class Node(Server):
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.namespace = Namespace(number)
        self.work = os.path.join(cluster.work, f"n{number}")
        self.data = os.path.join(self.work, "data")
        os.makedirs(self.data)
        self.paused = False
        self.host = self.namespace.address
        self.port = CLIENT_PORT
        super().__init__(data_dir=self.data)
        self.host, self.port = self.namespace.address, CLIENT_PORT
        self.url = f"http://{self.host}:{self.port}"
        self.config = os.path.join(self.work, "ursula.toml")
        self.write_config()

    def write_config(self):
        members = "\n".join(
            f'  {{ id = {n}, address = "{address_of(n)}:{CLUSTER_PORT}",'
            f' client = "http://{address_of(n)}:{CLIENT_PORT}" }},'
            for n in range(1, self.cluster.size + 1)
        )
        with open(self.config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(
                address=self.host, client=CLIENT_PORT, cluster=CLUSTER_PORT, node=self.number,
                path=self.data, groups=self.cluster.groups, members=members,
                shards=self.cluster.shards[self.number - 1], hot=self.cluster.hot,
            ))

    def command(self):
        return self.namespace.wrap([self.binary, "--config", self.config])

    def begin(self):
        """Starts the process; a log of its last life is kept beside the new one."""
        if self.log_path and os.path.exists(self.log_path):
            self.cluster.old_logs.append(self.log_path)
        self.launch()

    def is_ready(self):
        return self.alive() and READY_LINE.search(self.log()) is not None

    def pause(self):
        self.paused = True
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.paused = False
        self.process.send_signal(signal.SIGCONT)

    def wipe(self):
        """Its disk is a new one."""
        shutil.rmtree(self.data)
        os.makedirs(self.data)

    def on_small_disk(self, megabytes):
        """Its data directory gets a file system of its own, which the test can fill."""
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.data],
            check=True, timeout=10,
        )


class Cluster:
    def __init__(self, work, size=3, groups=32, shards=(1, 1, 1), hot="32MiB"):
        self.work = work
        self.size = size
        self.groups = groups
        self.shards = shards
        self.hot = hot
        self.old_logs = []
        self.nodes = [Node(self, number) for number in range(1, size + 1)]

    def node(self, number):
        return self.nodes[number - 1]

    def start(self):
        for node in self.nodes:
            node.begin()
        self.wait_ready(self.nodes)

    def wait_ready(self, nodes, limit_s=READY_S):
        end = time.monotonic() + limit_s
        while not all(node.is_ready() for node in nodes):
            for node in nodes:
                if not node.alive():
                    raise OSError(f"node {node.number} ended: {node.log()[-2000:]}")
            if time.monotonic() > end:
                raise OSError("not ready: " + "\n".join(
                    f"node {node.number}: {node.log()[-1500:]}" for node in nodes))
            time.sleep(0.01)

    def leads(self):
        """{node: groups it leads}, as the nodes' own metrics say; a dead node leads nothing."""
        counts = {}
        for node in self.nodes:
            counts[node.number] = 0
            if not node.alive() or node.paused:
                continue
            connection = Connection(node.host, node.port, 2.0)
            try:
                text = connection.request("GET", "/metrics").body.decode()
            except (Lost, NotSent):
                continue
            finally:
                connection.close()
            for line in text.splitlines():
                if line.startswith("ursula_raft_groups{") and 'role="leader"' in line:
                    counts[node.number] += int(float(line.rsplit(" ", 1)[1]))
        return counts

    def most_leading(self):
        counts = self.leads()
        return self.node(max(counts, key=lambda number: (counts[number], -number)))

    def isolate(self, node, out=True, into=True):
        for other in self.nodes:
            if other is not node:
                if out:
                    node.namespace.cut_to(other.number)
                if into:
                    other.namespace.cut_to(node.number)

    def rejoin(self, node, out=True, into=True):
        for other in self.nodes:
            if other is not node:
                if out:
                    node.namespace.mend_to(other.number)
                if into:
                    other.namespace.mend_to(node.number)

    def close(self):
        for node in self.nodes:
            if node.process is not None:
                if node.paused:
                    node.resume()
                node.kill()
            node.namespace.close()
        for path in [*self.old_logs, *[node.log_path for node in self.nodes]]:
            if path and os.path.exists(path):
                os.unlink(path)
