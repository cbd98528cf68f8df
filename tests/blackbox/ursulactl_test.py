#!/usr/bin/env python3
"""ursulactl and the admin plane of a real node: every command over the socket and by URL, the
socket file itself, hostile requests, and every exit code.

The last line is `N passed, N failed`.
"""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from checks import expect, expect_in, run_checks  # noqa: E402
from http_client import Connection  # noqa: E402
from ursula_server import Server, run_to_exit  # noqa: E402

TEXT = {"Content-Type": "text/plain"}
OK, FAILED, USAGE, NOT_FOUND, DENIED, UNREACHABLE, CONFLICT, UNHEALTHY = 0, 1, 2, 3, 4, 5, 6, 10
GROUPS = 8


def ctl_binary():
    return os.environ.get("URSULACTL_BIN") or os.path.join(
        ROOT, "build", "release", "tools", "ursulactl", "ursulactl"
    )


class Said:
    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err


def ctl(*arguments, environment=None):
    """Runs ursulactl with nothing of ours in its environment but what is given."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("URSULA") and k != "LANG"}
    clean.update(environment or {})
    done = subprocess.run(
        [ctl_binary(), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, env=clean,
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def ctl_json(*arguments, code=OK):
    said = ctl(*arguments, "-o", "json")
    expect(f"exit code of {arguments} ({said.err})", said.code, code)
    return json.loads(said.out)


def refused(code, word, *arguments, environment=None):
    """Fails with this code, says why and what next on stderr, and nothing on stdout."""
    said = ctl(*arguments, environment=environment)
    expect(f"exit code of {arguments} ({said.err})", said.code, code)
    expect(f"stdout of {arguments}", said.out, "")
    expect_in(f"stderr of {arguments}", word, said.err)
    if code != USAGE and len(said.err.strip().split("\n")) < 2:
        raise AssertionError(f"{arguments} does not say what to do next: {said.err!r}")
    return said


class Node(Server):
    """A durable node of eight groups on two shards, with one bucket and two streams."""

    def __init__(self, work, flags=()):
        super().__init__(
            data_dir=os.path.join(work, "d"),
            flags=["--shards", "2", "--set", f"cluster.groups={GROUPS}", *flags],
        )

    def start(self):
        super().start()
        client = Connection(self.host, self.port)
        client.request("PUT", "/demo")
        client.request("PUT", "/demo/hello", TEXT)
        client.request("POST", "/demo/hello", TEXT, b"hello, world")
        client.request("PUT", "/v1/stream/a/b%20c", {**TEXT, "Stream-Closed": "true"})
        client.close()
        return self

    @property
    def socket_path(self):
        return os.path.join(self.data_dir, "admin.sock")

    def ask(self, request):
        """Raw bytes to the admin socket; what comes back until its end or a second's silence."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(self.socket_path)
        got = b""
        try:
            connection.sendall(request)
            connection.settimeout(1)
            while piece := connection.recv(65536):
                got += piece
        except (socket.timeout, ConnectionResetError, BrokenPipeError):
            pass
        connection.close()
        return got


def check_status(work):
    with Node(work) as node:
        for target in (("--data-dir", node.data_dir), ("--server", node.url),
                       ("--server", f"unix:{node.socket_path}")):
            status = ctl_json("status", *target)
            expect("schema", status["schema"], 1)
            expect("nodes", len(status["nodes"]), 1)
            row = status["nodes"][0]
            expect("id", row["id"], 1)
            expect("address", row["address"], f"{node.host}:{node.port}")
            expect("client", row["client"], node.url)
            expect("reachable", row["reachable"], True)
            expect("state", row["state"], "ready")
            expect("leads", row["leads"], GROUPS)
            expect("groups", status["groups"], {"total": GROUPS, "leaderless": 0})
            expect("streams", status["streams"], 2)
            expect("health", status["health"], "ok")
        text = ctl("status", "--server", node.url).out
        expect_in("table", "NODE  ADDRESS", text)
        expect_in("table", f"1*    {node.host}:{node.port}", text)
        if "\033" in text:
            raise AssertionError("colour in a pipe")
        bare = ctl("status", "--server", node.url, "--no-headers").out
        expect("lines without headers", len(bare.strip().split("\n")), 2)
        line = ctl("status", "--server", node.url, "-o", "ndjson").out
        expect("a line per node", json.loads(line)["id"], 1)
        expect("quiet", ctl("status", "--server", node.url, "-q").out, "")


def check_health_and_wait(work):
    with Node(work) as node:
        health = ctl_json("health", "--data-dir", node.data_dir)
        expect("status", health["status"], "ok")
        expect("reasons", health["reasons"], [])
        expect("text", ctl("health", "--server", node.url).out, "ok\n")
        said = ctl("wait", "--healthy", "--timeout", "30s", "--data-dir", node.data_dir)
        expect("wait", (said.code, said.out), (OK, "healthy\n"))
        expect("wait", ctl_json("wait", "--healthy", "--server", node.url)["status"], "ok")
        refused(USAGE, "--healthy", "wait", "--server", node.url)


def check_health_of_a_draining_node(work):
    with Node(work, flags=["--set", "server.drain_timeout=30s"]) as node:
        # An unfinished body keeps the drain waiting.
        half = socket.create_connection((node.host, node.port), 5)
        half.sendall(b"POST /demo/hello HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                     b"Content-Length: 100\r\n\r\nhalf")
        early = socket.socket(socket.AF_UNIX)
        early.settimeout(10)
        early.connect(node.socket_path)
        # Begun before the signal, finished behind it: answered, and by then with the truth.
        early.sendall(b"GET /admin/v1/health HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.3)
        node.process.send_signal(signal.SIGTERM)
        refused(UNREACHABLE, "not healthy in time", "wait", "--healthy", "--timeout", "1s",
                "--data-dir", node.data_dir)
        early.sendall(b"\r\n")
        answer = early.recv(65536).decode()
        expect_in("health", '"status":"degraded"', answer)
        expect_in("health", '"code":"draining"', answer)
        for connection in (half, early):
            connection.close()


def check_wait_for_a_node_that_starts_later(work):
    node = Node(work)
    waiting = subprocess.Popen(
        [ctl_binary(), "wait", "--healthy", "--timeout", "60s", "--data-dir", node.data_dir],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    try:
        time.sleep(0.5)
        if waiting.poll() is not None:
            raise AssertionError(f"it did not wait: {waiting.communicate()}")
        with node:
            out, err = waiting.communicate(timeout=60)
            expect("exit code", waiting.returncode, OK)
            expect("stdout", out, b"healthy\n")
            expect_in("stderr", "waiting: there is no", err.decode())
    finally:
        waiting.kill()
        waiting.wait()


def check_groups(work):
    with Node(work) as node:
        groups = ctl_json("group", "ls", "--data-dir", node.data_dir)["groups"]
        expect("ids", [group["id"] for group in groups], list(range(GROUPS)))
        for group in groups:
            expect("leader", group["leader"], 1)
            expect("role", group["role"], "leader")
            expect("applied", group["applied"], group["commit"])
            expect("members", [member["node"] for member in group["members"]], [1])
            expect("lag", group["lag"], 0)
        leaderless = ctl_json("group", "ls", "--leaderless", "--server", node.url)
        expect("leaderless", leaderless["groups"], [])
        lines = ctl("group", "ls", "--server", node.url, "-o", "ndjson").out.strip().split("\n")
        expect("a line per group", [json.loads(line)["id"] for line in lines], list(range(GROUPS)))
        one = ctl_json("group", "show", "3", "--server", node.url)
        expect("id", one["id"], 3)
        expect_in("text", "led by node 1", ctl("group", "show", "3", "--server", node.url).out)
        refused(NOT_FOUND, "No such group", "group", "show", str(GROUPS), "--server", node.url)
        refused(USAGE, "GROUP must be a number", "group", "show", "x", "--server", node.url)


def check_transfer(work):
    with Node(work) as node:
        local = ("--data-dir", node.data_dir)
        done = ctl_json("group", "transfer", "3", "--to", "1", *local)
        expect("state", done["state"], "done")
        refused(CONFLICT, "node 2 is no voter", "group", "transfer", "3", "--to", "2", *local)
        refused(NOT_FOUND, "No such group", "group", "transfer", "99", "--to", "1", *local)
        refused(DENIED, "admin plane", "group", "transfer", "3", "--to", "1", "--server", node.url)
        refused(USAGE, "--to must be a number", "group", "transfer", "3", "--to", "0", *local)


def check_streams(work):
    with Node(work) as node:
        shown = ctl_json("stream", "show", "demo/hello", "--data-dir", node.data_dir)
        expect("tail", shown["tail"], 12)
        expect("next_offset", shown["next_offset"], "0000000000000000_0000000000000012")
        expect("cold_offset", shown["cold_offset"], 0)
        expect("leader", shown["leader"], 1)
        expect("closed", shown["closed"], False)
        expect("content_type", shown["content_type"], "text/plain")
        expect("confirmed", shown["confirmed"], True)
        expect("replicas", [one["node"] for one in shown["replicas"]], [1])
        group = ctl_json("group", "show", str(shown["group"]), "--server", node.url)
        if group["streams"] < 1:
            raise AssertionError("the stream's group says it has none")
        other = ctl_json("stream", "show", "v1/stream/a/b c", "--server", node.url)
        expect("closed", other["closed"], True)
        text = ctl("stream", "show", "/demo/hello", "--server", node.url)
        expect("exit code", text.code, OK)
        expect_in("text", "tail         12 bytes", text.out)
        refused(NOT_FOUND, "No stream demo/none", "stream", "show", "demo/none", "--server",
                node.url)
        refused(USAGE, "bucket before it", "stream", "show", "demo", "--server", node.url)
        expect("names", ctl("stream", "ls", "demo", "--server", node.url).out, "hello\n")
        expect("none", ctl_json("stream", "ls", "demo", "--prefix", "x", "--server",
                                node.url)["streams"], [])
        refused(NOT_FOUND, "No bucket", "stream", "ls", "none", "--data-dir", node.data_dir)


def check_listing_of_many_pages(work):
    with Node(work) as node:
        client = Connection(node.host, node.port)
        names = [f"s{i:04d}&?" for i in range(1203)]
        for name in names:
            client.request("PUT", "/demo/" + name.replace("?", "%3F"), TEXT)
        got = ctl_json("stream", "ls", "demo", "--prefix", "s", "--server", node.url)["streams"]
        expect("names", got, names)


def check_version(work):
    with Node(work) as node:
        versions = ctl_json("version", "--server", node.url)
        expect("both", versions["ursulactl"], versions["server"])
    alone = ctl("version", "--data-dir", os.path.join(work, "none"))
    expect("exit code", alone.code, OK)
    expect_in("stdout", "ursulactl ", alone.out)
    expect("--version", ctl("--version").out.split(" ")[0], "ursulactl")


def check_unreachable(work):
    refused(UNREACHABLE, "there is no unix:", "status", "--data-dir", work)
    with Node(work) as node:
        node.kill()
        refused(UNREACHABLE, "cannot reach unix:", "status", "--data-dir", node.data_dir)
        refused(UNREACHABLE, "cannot reach http", "health", "--server", node.url)
        refused(UNREACHABLE, "not healthy in time", "wait", "--healthy", "--timeout", "500ms",
                "--server", node.url)
    # Something listens and never answers.
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    refused(UNREACHABLE, "did not answer in time", "status", "--timeout", "300ms", "--server", url)
    silent.close()


class HangsUp(threading.Thread):
    """Takes each connection of a listening socket, says `answer` and ends it. With `reset`, the
    request is left unread, which makes the end a reset."""

    def __init__(self, listener, answer, reset):
        super().__init__(daemon=True)
        self.listener = listener
        self.answer = answer
        self.reset = reset
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.reset:
                select.select([connection], [], [], 10)
            else:
                connection.recv(65536)
            connection.sendall(self.answer)
            connection.close()


def check_hung_up(work):
    """A node that ends takes connections for a moment longer and then drops them."""
    path = os.path.join(work, "a.sock")
    local = socket.socket(socket.AF_UNIX)
    local.bind(path)
    local.listen()
    remote = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{remote.getsockname()[1]}"
    for listener, target in ((local, f"unix:{path}"), (remote, url)):
        server = HangsUp(listener, b"", reset=True)
        for server.reset in (True, False):
            said = refused(UNREACHABLE, f"cannot reach {target}: the connection ended before",
                           "status", "--server", target)
            expect_in("what next", "start it", said.err)
        # An answer that is cut off is something else.
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"
        refused(UNREACHABLE, f"talking to {target} failed", "status", "--server", target)
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join(10)


def check_targets_from_the_environment(work):
    with Node(work) as node:
        for name, value in (("URSULACTL_SERVER", node.url), ("URSULACTL_DATA_DIR", node.data_dir),
                            ("URSULA_STORAGE__PATH", node.data_dir)):
            if name.startswith("URSULA_") and os.path.exists("/run/ursula/admin.sock"):
                continue  # the installed node of this machine comes first
            said = ctl("status", "-o", "json", environment={name: value})
            expect(f"{name} ({said.err})", said.code, OK)
            expect("client", json.loads(said.out)["nodes"][0]["client"], node.url)
    refused(USAGE, "give one of them", "status", "--server", "a", "--data-dir", "b")
    refused(USAGE, "no address of a node", "status", "--server", "http://a/b")


def check_print_curl(work):
    with Node(work) as node:
        for target in (("--data-dir", node.data_dir), ("--server", node.url)):
            command = ctl("stream", "show", "v1/stream/a/b c", "--print-curl", *target).out
            done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
            expect("tail", json.loads(done.stdout)["tail"], 0)


def check_interrupted(work):
    waiting = subprocess.Popen(
        [ctl_binary(), "wait", "--healthy", "--data-dir", work],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    expect_in("it waits", "waiting", waiting.stderr.readline().decode())
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=20)
    expect("exit code", waiting.returncode, 130)


def check_wrong_usage(_work):
    refused(USAGE, 'did you mean "status"?', "stats")
    refused(USAGE, 'did you mean "group ls"?', "group", "lss")
    refused(USAGE, "did you mean --server?", "status", "--sever", "x")
    refused(USAGE, "no command is given")
    said = ctl("--help")
    expect("exit code", said.code, OK)
    for line in said.out.split("\n"):
        if len(line) > 80:
            raise AssertionError(f"more than 80 columns: {line}")


def check_socket_file(work):
    mask = os.umask(0)
    try:
        with Node(work) as node:
            mode = os.lstat(node.socket_path).st_mode
            if not stat.S_ISSOCK(mode) or stat.S_IMODE(mode) != 0o660:
                raise AssertionError(f"the socket's mode is {oct(mode)}")
            expect("kill -9 leaves it", node.kill() and os.path.exists(node.socket_path), True)
        with Node(work) as node:  # replaced
            expect("status", ctl("status", "--data-dir", node.data_dir).code, OK)
            expect("exit code", node.stop(), 0)
            expect("a clean end removes it", os.path.exists(node.socket_path), False)
    finally:
        os.umask(mask)


def check_long_data_directory(work):
    deep = os.path.join(work, *["d" * 60] * 3)
    os.makedirs(deep)
    with Node(deep) as node:
        expect("status", ctl("status", "--data-dir", node.data_dir).code, OK)


def check_two_nodes_one_socket(work):
    path = os.path.join(work, "admin.sock")
    flags = ["--set", f"server.admin_listen=unix:{path}"]
    with Server(flags=flags) as node:  # in memory, with a socket because one is named
        code, said = run_to_exit(["--listen", "127.0.0.1:0", *flags])
        expect("exit code of the second", code, 1)
        expect_in("its last line", "another process listens", said)
        expect("the first is served on", ctl("status", "--server", path).code, OK)
        expect("stopped", node.stop(), 0)
    with open(path, "w", encoding="ascii") as letter:
        letter.write("dear")
    code, said = run_to_exit(["--listen", "127.0.0.1:0", *flags])
    expect("exit code", code, 1)
    expect_in("its last line", "is no socket", said)
    expect("untouched", os.path.getsize(path), 4)


def check_admin_listen(work):
    with Server(flags=["--set", "server.admin_listen="], data_dir=os.path.join(work, "d")) as node:
        expect("no socket", "admin.sock" in os.listdir(node.data_dir), False)
        expect("by URL", ctl("status", "--server", node.url).code, OK)
    with Server(flags=["--set", "server.admin_listen=127.0.0.1:0"]) as node:
        expect_in("log", "admin=http://127.0.0.1:", node.log())
        url = node.log().split("admin=")[1].split(" ")[0]
        expect("by TCP", ctl("group", "transfer", "0", "--to", "1", "--server", url).code, OK)
        status = Connection(*url[7:].split(":")).request(
            "POST", "/admin/v1/groups/0/transfer", {"Origin": "http://page.example"}, b'{"to":1}'
        ).status
        expect("from a web page", status, 403)
    for arguments, word in (
        (["--set", "server.admin_listen=0.0.0.0:0"], "administer this node"),
        (["--set", "server.admin_listen=unix:"], "names no file"),
    ):
        code, said = run_to_exit(["--listen", "127.0.0.1:0", *arguments])
        expect("exit code", code, 2)
        expect_in("message", word, said)


def check_hostile_requests(work):
    with Node(work) as node:
        path = b"/admin/v1/groups/3/transfer"

        def post(body, head=b""):
            return (b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head +
                    b"Content-Length: %d\r\n\r\n" % len(body) + body)

        for request, status in (
            (post(b""), 400),
            (post(b"{"), 400),
            (post(b"[" * 60000), 400),
            (post(b'{"to":1e9}'), 400),
            (post(b'{"to":"1"}'), 400),
            (post(b"\xff\xfe"), 400),
            (post(b'{"to":1}' + b" " * 70000), 413),
            (post(b'{"to":1}', b"Origin: http://x\r\n"), 403),
            (b"DELETE " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
            (b"BREW " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
            (b"GET /admin/v1/../status HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET /admin/v1/groups/99999999999999999999 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            (b"GET /admin/v1/streams/%zz/x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET /admin/v1/status HTTP/1.1\r\n\r\n", 400),
            (b"\x16\x03\x01 not http at all\r\n\r\n", 400),
        ):
            got = node.ask(request)
            expect(f"answer to {request[:80]}", got[:12], b"HTTP/1.1 %d" % status)
        # Longer than any body the server takes: refused by its head.
        huge = node.ask(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999"
                        b"\r\n\r\n")
        expect("a huge body", huge[:12], b"HTTP/1.1 413")
        # Idle connections of operators cost no client's room, and are bounded themselves.
        crowd = []
        for _ in range(80):
            one = socket.socket(socket.AF_UNIX)
            one.connect(node.socket_path)
            crowd.append(one)
        time.sleep(0.3)
        client = Connection(node.host, node.port)
        expect("a client", client.request("GET", "/livez").status, 200)
        expect("by URL", ctl("status", "--server", node.url).code, OK)
        refused(UNREACHABLE, "as many connections", "health", "--timeout", "3s", "--data-dir",
                node.data_dir)
        for one in crowd:
            one.close()
        said = ctl("health", "--timeout", "20s", "--data-dir", node.data_dir)
        expect(f"after the crowd ({said.err})", said.code, OK)
        expect("alive", node.alive(), True)


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
