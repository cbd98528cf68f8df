"""The ways in which the suite meets the server: in memory, durable, through a follower, killed.

Each is a context manager that knows `url`, and says afterwards what was wrong beside the suite's
own tests. `suite_environment` is what the suite's process needs to know beside the address.
"""

import http.server
import os
import sys
import threading
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TESTS, "support"))
sys.path.insert(0, os.path.join(TESTS, "cluster"))

from cluster import Cluster, leads, metric, wait_for  # noqa: E402
from ursula_server import Server, ServerFailed  # noqa: E402

# With 500 ms the suite gives a long-poll half a second to spare: enough on one quiet node.
QUICK_POLL = ["--set", "server.long_poll_timeout=500ms"]
# Through a follower, and right after a restart, the poll and the suite's patience are longer.
PATIENT_POLL_S = 2
# Top-level describe blocks of version 0.3.6 with subscriptions on, and fewer writes than it makes.
SUITE_BLOCKS = 34
SUITE_WRITES = 1000
FORWARDS = 'ursula_forwards_total{direction="sent"}'
ELECTIONS = "ursula_raft_elections_total"
JWKS = "/v1/stream/__ds/jwks.json"
CANARY = "/v1/stream/conformance-canary"


def ask(url, method="GET", body=None, headers=None):
    """(status, body) of one request on a connection of its own."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Running:
    """A server that somebody else started."""

    suite_environment = {}

    def __init__(self, url):
        self.url = url

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def complaints(self):
        """What is wrong beside the suite's own tests."""
        return []


class OneServer(Running):
    """One process, with a data directory or in memory."""

    def __init__(self, work, durable, flags=None):
        super().__init__("")
        self.server = Server(
            data_dir=os.path.join(work, "data") if durable else None,
            flags=QUICK_POLL if flags is None else flags,
        )

    def __enter__(self):
        self.url = self.server.start().url
        return self

    def __exit__(self, *unused):
        self.server.discard()

    def complaints(self):
        if self.server.alive():
            return []
        return [f"the server died: {self.server.log()[-2000:]}"]


class ThroughFollower(Running):
    """Three nodes with two groups; the suite talks to the node that leads neither.

    Leaders are spread evenly and each returns to its preferred member, so with two groups the third
    node leads none: every write of the suite is forwarded, every read asks a leader how far it may
    go, and what touches two streams crosses from one leading node to the other. The node counts
    the writes that it forwarded; a lead that an election gave it goes back within seconds.
    """

    def __init__(self, work):
        super().__init__("")
        self.cluster = Cluster(
            work, groups=2, name="conformance",
            server_lines=[f'long_poll_timeout = "{PATIENT_POLL_S}s"', 'max_body = "16MiB"'],
            segment_size="64MiB",
        )
        self.follower = None
        self.elections = 0
        self.suite_environment = {"CONFORMANCE_POLL_MS": str(2000 * PATIENT_POLL_S)}

    def __enter__(self):
        self.cluster.__enter__()
        try:
            self.cluster.start()
            wait_for("two nodes lead a group each", self.is_spread)
        except BaseException:
            self.cluster.__exit__(None, None, None)
            raise
        self.elections = self.count_elections()
        self.url = f"http://{self.follower.host}:{self.follower.port}"
        return self

    def __exit__(self, *unused):
        self.cluster.__exit__(None, None, None)

    def count_elections(self):
        return sum(metric(node, ELECTIONS) for node in self.cluster.nodes)

    def is_spread(self):
        counts = {node: leads(node) for node in self.cluster.nodes}
        if sorted(counts.values()) != [0, 1, 1]:
            return False
        self.follower = min(counts, key=counts.get)
        return True

    def complaints(self):
        wrong = [
            f"node {node.number} died: {node.log()[-2000:]}"
            for node in self.cluster.nodes if not node.server.alive()
        ]
        if wrong:
            return wrong
        number = self.follower.number
        forwards = metric(self.follower, FORWARDS)
        # Elections are no fault of a busy machine's, but one inside the blocks of TTLs explains a
        # stream that expired too early or late.
        elections = self.count_elections() - self.elections
        print(
            f"conformance cluster: node {number} forwarded {forwards} writes, {elections} elections"
        )
        if forwards < SUITE_WRITES:
            wrong.append(f"node {number} forwarded only {forwards} writes")
        return wrong


class Killed(OneServer):
    """One durable server that is killed and started again whenever the suite asks for it.

    The suite's process posts to `control` before the first test of each top-level block. A stream
    of ours gets one line per life, and the signing keys are compared: what was acknowledged is
    there after each kill, or the restart is answered with 500, which fails the suite's test.
    """

    def __init__(self, work):
        super().__init__(work, True, ["--set", f"server.long_poll_timeout={PATIENT_POLL_S}s"])
        self.lives = []
        self.control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.thread = threading.Thread(target=self.control.serve_forever, daemon=True)

    def __enter__(self):
        super().__enter__()
        # The same port in every life.
        self.server.listen = f"{self.server.host}:{self.server.port}"
        self.thread.start()
        text = {"Content-Type": "text/plain"}
        status, _ = ask(self.url + CANARY, "PUT", headers=text)
        if status != 201:
            raise ServerFailed(f"the canary stream was answered with {status}")
        self.suite_environment = {
            "CONFORMANCE_POLL_MS": str(2000 * PATIENT_POLL_S),
            "CONFORMANCE_RESTART": f"http://127.0.0.1:{self.control.server_port}/",
        }
        return self

    def __exit__(self, *unused):
        if self.thread.is_alive():
            self.control.shutdown()
            self.thread.join()
        self.control.server_close()
        super().__exit__()

    def handler(self):
        mode = self

        class Control(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                block = self.rfile.read(int(self.headers["Content-Length"])).decode()
                try:
                    mode.next_life(block)
                    status, text = 200, "{}"
                except (ServerFailed, OSError, AssertionError) as error:
                    status, text = 500, str(error)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *unused):
                pass

        return Control

    def next_life(self, block):
        """Kills the server, starts it again and looks whether what was acknowledged is there."""
        line = (block + "\n").encode()
        text = {"Content-Type": "text/plain"}
        status, _ = ask(self.url + CANARY, "POST", line, text)
        if status not in (200, 204):
            raise AssertionError(f"an append before the kill was answered with {status}")
        self.lives.append(line)
        keys = self.signing_keys()
        self.server.kill()
        os.unlink(self.server.log_path)
        self.server.start()
        status, body = ask(self.url + CANARY)
        if (status, body) != (200, b"".join(self.lives)):
            raise AssertionError(f"after the kill the canary is {status} {body!r}")
        if self.signing_keys() != keys:
            raise AssertionError(f"after the kill the signing keys are others than {keys!r}")

    def signing_keys(self):
        """What receivers of webhooks check signatures with; none where there are no webhooks."""
        status, body = ask(self.url + JWKS)
        return body if status == 200 else None

    def complaints(self):
        wrong = super().complaints()
        # One per top-level describe block of version 0.3.6 but the first, which meets a new server.
        if len(self.lives) < SUITE_BLOCKS - 1:
            wrong.append(f"only {len(self.lives)} kills: {self.lives}")
        return wrong


MODES = {
    "memory": lambda work: OneServer(work, durable=False),
    "durable": lambda work: OneServer(work, durable=True),
    "cluster": ThroughFollower,
    "killed": Killed,
}
