#!/usr/bin/env python3
"""Stream-TTL on three real nodes: any node's reads keep a stream, a window goes on through the
kill -9 of its leader, and what is gone is gone everywhere. The last line is `N passed, N failed`.
"""

import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
sys.path.insert(0, HERE)

from checks import expect, run_checks  # noqa: E402
from cluster import TEXT, Cluster, wait_for  # noqa: E402

TTL_S = 3
# What a machine that is busy with other things may take for what needs milliseconds.
LATE_S = 10
# A client that goes away may only have said all it has to say: its long-poll is answered.
POLL_S = 20


def create(cluster, path):
    headers = dict(TEXT, **{"Stream-TTL": str(TTL_S)})
    expect(path, cluster.ask("PUT", path, headers).status, 201)


def statuses(cluster, path):
    answers = [node.request("HEAD", path) for node in cluster.running()]
    return [0 if answer is None else answer.status for answer in answers]


def wait_gone(cluster, path, late_s=LATE_S):
    def gone():
        return all(status == 404 for status in statuses(cluster, path))

    wait_for(f"{path} is gone everywhere", gone, TTL_S + late_s)


def check_reads_of_any_node_keep_it(work):
    with Cluster(work) as cluster:
        cluster.start()
        path = "/v1/stream/kept"
        create(cluster, path)
        late = False
        last = time.monotonic()
        for turn in range(9):
            time.sleep(1.0)
            # A pause of the machine that is longer than the window ends it rightly.
            late = late or time.monotonic() - last > TTL_S * 0.8
            answer = cluster.node(turn % 3 + 1).request("GET", path)
            last = time.monotonic()
            if not late:
                expect(f"read {turn}", None if answer is None else answer.status, 200)
        head = cluster.node(2).request("HEAD", path)
        if not late:
            expect("window", head.header("stream-ttl"), str(TTL_S))
        wait_gone(cluster, path)


def check_a_live_reader_of_any_node_keeps_it(work):
    with Cluster(work) as cluster:
        cluster.start()
        paths = [f"/v1/stream/live{number}" for number in (1, 2, 3)]
        for path in paths:
            create(cluster, path)
        end = time.monotonic() + 3 * TTL_S

        def follow(node, path):
            while time.monotonic() < end:
                node.request("GET", path + "?offset=-1&live=long-poll", timeout_s=TTL_S * 3)

        readers = [
            threading.Thread(target=follow, args=(cluster.node(number), path), daemon=True)
            for number, path in zip((1, 2, 3), paths)
        ]
        for reader in readers:
            reader.start()
        while time.monotonic() < end - 0.5:
            time.sleep(0.1)
        for path in paths:
            expect(path, statuses(cluster, path), [200, 200, 200])
        for node in cluster.running():
            node.request("DELETE", paths[0])  # One of them ends so, the others by themselves.
        for reader in readers:
            reader.join(30)
        for path in paths:
            wait_gone(cluster, path, POLL_S + LATE_S)


def check_windows_go_on_without_their_leader(work):
    with Cluster(work) as cluster:
        cluster.start()
        paths = [f"/v1/stream/left{number}" for number in range(8)]  # Of every group.
        for path in paths:
            create(cluster, path)
        begin = time.monotonic()
        cluster.node(1).kill()
        for path in paths:
            wait_gone(cluster, path)
        if time.monotonic() - begin < TTL_S - 0.5:
            raise AssertionError("gone before their window was over")
        cluster.start([1])
        for path in paths:
            wait_gone(cluster, path)
            expect(path, cluster.ask("PUT", path, TEXT).status, 201)


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
