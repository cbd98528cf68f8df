"""The end of a run under load: every stream is closed and read from each node, which must agree
byte for byte; what the tailers saw must be what is there.
"""

import collections
import time

from clients import payloads
from http_client import Connection, Lost, NotSent


def final_reads(load, rng, nodes):
    """Closes every stream and reads it from each node."""
    for path in load.streams:
        close_stream(load, rng, path, nodes)
        logs = {}
        for node in nodes:
            content = read_whole(load, path, node)
            if content is not None:
                logs[node.number] = content
        if len(set(logs.values())) != 1:
            load.failures.add("diverged", f"{path}: " + ", ".join(
                f"node {number}: {len(content)} bytes" for number, content in logs.items()))
            continue
        position = 0
        words = " ".join(f"n{number}" for number in logs)
        for payload in payloads.split_binary(next(iter(logs.values()))):
            position += len(payload)
            load.history.append(f"log {load.words[path]} {payloads.digest(payload):x}"
                                f" {payloads.offset_token(position)} {words}")
        load.history.append(f"end {load.words[path]} closed")


def close_stream(load, rng, path, nodes):
    for attempt in range(50):
        node = rng.choice(nodes)
        connection = Connection(node.host, node.port, 10.0)
        start = time.monotonic_ns()
        try:
            response = connection.request("POST", path, {"Stream-Closed": "true"}, b"")
        except NotSent:
            continue
        except Lost:
            load.history.append(f"close {load.words[path]} {start} - unknown")
            continue
        finally:
            connection.close()
        end = time.monotonic_ns()
        if response.status in (200, 204):
            load.history.append(f"close {load.words[path]} {start} {end} acked")
            return
        if response.status not in (503, 507):
            load.history.append(f"close {load.words[path]} {start} - unknown")
        time.sleep(0.1)
    load.failures.add("close", f"{path} cannot be closed")


def read_whole(load, path, node):
    connection = Connection(node.host, node.port, 10.0)
    content = b""
    offset = payloads.ZERO
    tries = 0
    while True:
        try:
            response = connection.request("GET", f"{path}?offset={offset}")
        except (Lost, NotSent) as error:
            load.failures.add("final read", f"{path} of node {node.number}: {error}")
            return None
        if response.status == 503 and tries < 50:
            tries += 1
            time.sleep(0.1)
            continue
        if response.status != 200:
            load.failures.add(
                "final read", f"{path} of node {node.number}: {response.status}")
            return None
        content += response.body
        offset = response.header("stream-next-offset")
        if response.header("stream-closed") == "true":
            connection.close()
            return content


def check_tails(load, tailers):
    logs = collections.defaultdict(list)
    for line in load.history:
        if line.startswith("log "):
            words = line.split(" ")
            logs[words[1]].append(int(words[2], 16))
    for tailer in tailers:
        log = logs[load.words[tailer.path]]
        if tailer.names != log[: len(tailer.names)]:
            load.failures.add("tail", f"{tailer.path}: a gap, a repeat or another order")
