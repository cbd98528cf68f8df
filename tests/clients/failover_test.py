#!/usr/bin/env python3
"""The npm client on a node of three while the node that leads its stream is killed, and comes back.

$CLIENTS_WORK is a directory with the *.mjs files and node_modules; run.py makes it. The last line
is `N passed, N failed`.
"""

import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))

from checks import expect, run_checks  # noqa: E402
from cluster import Cluster, leads, wait_for  # noqa: E402

LIMIT_S = 120


def check_leader_killed(work):
    """One group: the client is on a node that does not lead, and who leads is killed twice."""
    with Cluster(work, groups=1, name="clients") as cluster:
        cluster.start()
        leader = wait_for("a leader", lambda: leader_of(cluster))
        node = next(one for one in cluster.nodes if one is not leader)
        url = f"http://{node.host}:{node.port}/v1/stream/failover"
        client = subprocess.Popen(
            ["node", "failover.mjs", url], cwd=os.environ["CLIENTS_WORK"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        try:
            expect("the client", client.stdout.readline(), b"writing\n")
            for _ in range(2):
                time.sleep(0.5)  # Some is written before each kill.
                leader = wait_for("a leader elsewhere", lambda: leader_of(cluster, node))
                leader.kill()
                wait_for("another leader", lambda: leader_of(cluster))
                time.sleep(0.5)
                cluster.start([leader.number])
            said, _ = client.communicate(timeout=LIMIT_S)
        finally:
            client.kill()
            client.wait()
        print(said.decode(), end="")
        expect(f"exit code of the client, which said {said[-3000:]!r}", client.returncode, 0)


def leader_of(cluster, but=None):
    """Who leads the one group, if it is not `but`."""
    for node in cluster.running():
        if node is not but and leads(node) == 1:
            return node
    return None


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
