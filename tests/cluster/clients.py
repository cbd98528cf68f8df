"""Clients of a cluster under faults: they talk to random nodes and write down what they saw.

The history is the one of tools/check/history.h. Nothing is resent but by producers, which keep
sending an append until they are told that it is there.
"""

import base64
import collections
import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.path.insert(0, os.path.join(ROOT, "tests", "blackbox"))

import payloads  # noqa: E402
from http_client import Connection, Lost, NotSent, sse_events  # noqa: E402
from verdicts import Failures, outcome_of  # noqa: E402

BYTES = "application/octet-stream"
PATIENCE_S = 3.0


class Load:
    """Everything the clients of one run share."""

    def __init__(self, cluster, streams, seed):
        self.cluster = cluster
        self.random = random.Random(seed)
        self.streams = [f"/chaos/s{number}" for number in range(streams)]
        self.words = {path: path.strip("/").replace("/", "_") for path in self.streams}
        self.offsets = {path: [payloads.ZERO] for path in self.streams}
        self.history = []
        self.failures = Failures()
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.numbers = 1
        self.over = False
        # (begun, acknowledged, path) of acknowledged appends: what an outage is measured by.
        self.acked = []

    def number(self):
        with self.lock:
            self.numbers += 1
            return self.numbers

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def operations(self):
        return len(self.history)

    def outage(self, since, until=None):
        """Seconds from `since` until every stream that took an append afterwards took its first:
        (of the slowest stream, of the first stream)."""
        first = {}
        for begun, acked, path in list(self.acked):
            if begun >= since and (until is None or acked <= until) and path not in first:
                first[path] = (acked - since) / 1e9
        if not first:
            return None, None, 0
        return max(first.values()), min(first.values()), len(first)


class Client:
    """One connection at a time, to a random node; after any trouble to another."""

    def __init__(self, load):
        self.load = load
        self.random = random.Random(load.random.random())
        self.connection = None
        self.node = None

    def connect(self):
        if self.connection is not None:
            self.connection.close()
        self.node = self.random.choice(self.load.cluster.nodes)
        self.connection = Connection(self.node.host, self.node.port, PATIENCE_S)

    def run(self):
        self.connect()
        while not self.load.over:
            try:
                self.step()
                time.sleep(0.002)  # what the streams hold must fit the small disk
                if self.random.random() < 0.02:
                    self.connect()
            except NotSent:
                time.sleep(0.02)
                self.connect()
            except Lost:
                self.connect()
            except payloads.Torn as error:
                self.load.failures.add("torn", str(error))
                self.connect()
        self.connection.close()


class Writer(Client):
    """Appends, reads and looks. Every third one appends as a producer."""

    def __init__(self, load, index):
        super().__init__(load)
        self.index = index
        self.is_producer = index % 3 == 0
        self.redirects = index % 5 == 4
        self.seqs = collections.Counter()
        self.retry = None

    def step(self):
        dice = self.random.random()
        path = self.random.choice(self.load.streams)
        if self.retry is not None:
            self.append(*self.retry)
        elif dice < 0.62:
            body = payloads.binary_payload(self.load.number(), self.size())
            triple = None
            if self.is_producer:
                triple = (f"writer-{self.index}", 0, self.seqs[path])
            self.append(path, body, triple)
        elif dice < 0.88:
            self.read(path)
        else:
            self.head(path)

    def size(self):
        dice = self.random.random()
        if dice < 0.8:
            return self.random.randrange(payloads.BINARY_HEAD, 400)
        if dice < 0.99:
            return self.random.randrange(400, 8 << 10)
        return self.random.randrange(8 << 10, 32 << 10)

    def append(self, path, body, triple):
        load = self.load
        name = payloads.digest(body)
        headers = {"Content-Type": BYTES}
        word = ""
        if triple:
            headers["Producer-Id"] = triple[0]
            headers["Producer-Epoch"] = str(triple[1])
            headers["Producer-Seq"] = str(triple[2])
            word = f" producer={triple[0]}:{triple[1]}:{triple[2]}"
        if self.redirects:
            headers["Prefer"] = "redirect"
        node = self.node.number
        start = time.monotonic_ns()

        def note(end, outcome, offset="-"):
            load.history.append(
                f"append {load.words[path]} {start} {end} {outcome} {name:x} {offset}{word}"
                f" node=n{node}"
            )

        resent = self.retry is not None
        try:
            response = self.connection.request("POST", path, headers, body)
            if response.status == 307:
                load.count("redirects")
                node, response = self.follow(response, headers, body)
        except NotSent:
            if triple:
                self.retry = (path, body, triple)
            raise
        except Lost:
            note("-", "unknown")
            load.count("unknown")
            if triple:
                self.retry = (path, body, triple)
            raise
        end = time.monotonic_ns()
        outcome = outcome_of(response.status)
        duplicate = outcome == "acked" and triple is not None and response.status == 204
        offset = response.header("stream-next-offset", "-")
        if duplicate and not resent:
            # A server hop may have sent it again, but none of ours does.
            load.failures.add("duplicate", f"{path} {triple} was sent once")
        if outcome == "acked":
            note(end, "duplicate" if duplicate else "acked", "-" if duplicate else offset)
            load.acked.append((start, end, path))
            load.count("duplicates" if duplicate else "acked")
            if not duplicate:
                offsets = load.offsets[path]
                offsets.append(offset)
                if len(offsets) > 60:
                    del offsets[:30]
            if triple:
                self.seqs[path] = triple[2] + 1
            self.retry = None
            return
        note(end, outcome)
        load.count(f"append {response.status}")
        if response.status not in (500, 502, 503, 504, 507):
            load.failures.add("append", f"{path}: {response.status} {response.body[:200]}")
        self.retry = (path, body, triple) if triple else None
        time.sleep(0.02)
        self.connect()

    def follow(self, response, headers, body):
        """Goes where a 307 says, once, as a client would."""
        location = response.header("location", "")
        host, _, path = location.removeprefix("http://").partition("/")
        address, _, port = host.partition(":")
        other = Connection(address, int(port), PATIENCE_S)
        node = next(node.number for node in self.load.cluster.nodes if node.host == address)
        plain = {name: value for name, value in headers.items() if name != "Prefer"}
        try:
            return node, other.request("POST", "/" + path, plain, body)
        finally:
            other.close()

    def read(self, path):
        load = self.load
        offset = self.random.choice(load.offsets[path][-30:])
        start = time.monotonic_ns()
        response = self.connection.request("GET", f"{path}?offset={offset}")
        end = time.monotonic_ns()
        if response.status != 200:
            self.refused("read", path, response)
            return
        names = payloads.names_in("bytes", response.body)
        flags = " tail" if response.header("stream-up-to-date") == "true" else ""
        to_offset = response.header("stream-next-offset", "-")
        load.history.append(
            f"read {load.words[path]} {start} {end} {offset} {to_offset} {len(names)}"
            f" {payloads.fold(names):x}{flags} node=n{self.node.number}"
        )
        load.count("reads")

    def head(self, path):
        load = self.load
        start = time.monotonic_ns()
        response = self.connection.request("HEAD", path)
        end = time.monotonic_ns()
        if response.status != 200:
            self.refused("head", path, response)
            return
        load.history.append(
            f"head {load.words[path]} {start} {end} {response.header('stream-next-offset', '-')}"
            f" node=n{self.node.number}"
        )
        load.count("heads")

    def refused(self, what, path, response):
        self.load.count(f"{what} {response.status}")
        if response.status not in (500, 503, 504):
            self.load.failures.add(what, f"{path}: {response.status} {response.body[:200]}")
        time.sleep(0.02)
        self.connect()


class Tailer(Client):
    """Follows one stream through everything, from the last offset it got, on any node."""

    def __init__(self, load, index):
        super().__init__(load)
        self.path = load.streams[index % len(load.streams)]
        self.sse = index % 2 == 0
        self.offset = payloads.ZERO
        self.names = []
        self.session = f"tail{index}"

    def step(self):
        if self.sse:
            self.follow_events()
        else:
            self.poll()

    def got(self, data, to_offset):
        names = payloads.names_in("bytes", data)
        end = time.monotonic_ns()
        self.load.history.append(
            f"read {self.load.words[self.path]} {end} {end} {self.offset} {to_offset}"
            f" {len(names)} {payloads.fold(names):x} live session={self.session}"
        )
        self.names += names
        self.offset = to_offset
        self.load.count("tail events")

    def poll(self):
        target = f"{self.path}?offset={self.offset}&live=long-poll"
        response = self.connection.request("GET", target)
        if response.status == 200:
            self.got(response.body, response.header("stream-next-offset"))
        elif response.status != 204:
            self.refused("long-poll", response)

    def follow_events(self):
        target = f"{self.path}?offset={self.offset}&live=sse"
        self.connection.send("GET", target, {"Accept": "text/event-stream"})
        response = self.connection.read_head()
        if response.status != 200:
            response.body = b"".join(self.connection.read_body("GET", response))
            self.refused("sse", response)
            return
        data = None
        for name, text in sse_events(self.connection.read_body("GET", response)):
            if name == "data":
                if data is not None:
                    self.load.failures.add("sse", f"{self.path}: data without control")
                data = base64.b64decode(text)
            elif name == "control":
                to_offset = text.split('"streamNextOffset":"', 1)[1].split('"', 1)[0]
                if data is not None:
                    self.got(data, to_offset)
                    data = None
                elif to_offset != self.offset:
                    self.load.failures.add("sse", f"{self.path}: {to_offset} without data")
            if self.load.over:
                break
        self.connect()

    def refused(self, what, response):
        self.load.count(f"{what} {response.status}")
        if response.status not in (500, 503, 504):
            self.load.failures.add(what, f"{self.path}: {response.status} {response.body[:200]}")
        time.sleep(0.05)
        self.connect()


def create_streams(load, node):
    """The bucket and every stream of the load."""
    connection = Connection(node.host, node.port, 20.0)
    for path in ["/chaos", *load.streams]:
        headers = {} if path == "/chaos" else {"Content-Type": BYTES}
        for _ in range(20):
            response = connection.request("PUT", path, headers)
            if response.status in (200, 201):
                break
            time.sleep(0.1)
        else:
            load.failures.add("create", f"{path}: {response.status} {response.body[:200]}")
    connection.close()
