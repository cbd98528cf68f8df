#!/usr/bin/env python3
"""Certificates by `ursulactl cluster init`, `invite` and `join` alone: three nodes become a cluster
with TLS, a fourth and a renewal get theirs; no line works twice, late, elsewhere or for another.

The last line is `N passed, N failed`.
"""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from checks import expect, expect_in, folder, run_checks  # noqa: E402
from cluster import ROOT, Cluster, wait_for  # noqa: E402

OK, FAILED, USAGE, NOT_FOUND, DENIED, UNREACHABLE, CONFLICT = 0, 1, 2, 3, 4, 5, 6
LINE = re.compile(r"ursula-join://[^' \n]+/(\d+)#[\w-]+")


def ctl_binary():
    return os.environ.get("URSULACTL_BIN") or os.path.join(
        ROOT, "build", "release", "tools", "ursulactl", "ursulactl"
    )


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("URSULA")}


def ctl(*arguments, stdin=None):
    """Returns (exit code, stdout, stderr)."""
    done = subprocess.run(
        [ctl_binary(), *arguments], input=(stdin or "").encode(), capture_output=True,
        timeout=90, check=False, env=clean_environment(),
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def done(*arguments, code=OK, words="", stdin=None):
    """What it printed; its exit code must be this one, and its stderr have these words."""
    got, out, err = ctl(*arguments, stdin=stdin)
    expect(f"exit code of {arguments} ({err})", got, code)
    expect_in(f"stderr of {arguments}", words, err)
    if code not in (OK, USAGE):
        expect(f"stdout of {arguments}", out, "")
        expect(f"it says what to do next: {err}", len(err.strip().split("\n")) >= 2, True)
    return out


def init(data_dir, address="127.0.0.1", node=1, name="test", **more):
    return done("cluster", "init", "--name", name, "--node-id", str(node), "--advertise", address,
                "--data-dir", data_dir, **more)


def join(line, data_dir, *arguments, **more):
    return done("cluster", "join", line, "--data-dir", data_dir, *arguments, **more)


class Invite:
    """`cluster invite` (or another command that goes on so) while it runs; its lines by node."""

    def __init__(self, data_dir, *arguments, command=("cluster", "invite"), listen="127.0.0.1:0"):
        self.out = tempfile.TemporaryFile()
        self.err = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [ctl_binary(), *command, *arguments, "--data-dir", data_dir, "--listen", listen],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err, env=clean_environment(),
        )
        self.lines = {}
        wait_for("it waits", lambda: "waiting on" in self.said() or self.process.poll() is not None)
        for found in LINE.finditer(self.printed()):
            self.lines[int(found.group(1))] = found.group(0)
        if not self.lines:
            raise AssertionError(f"no lines: {self.printed()} {self.said()}")

    @staticmethod
    def text(file):
        return os.pread(file.fileno(), 1 << 20, 0).decode()

    def printed(self):
        return self.text(self.out)

    def said(self):
        return self.text(self.err)

    def port(self):
        return int(re.search(r"//127\.0\.0\.1:(\d+)/", next(iter(self.lines.values()))).group(1))

    def ends(self, code):
        got = self.process.wait(60)
        expect(f"exit code of invite ({self.said()})", got, code)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.out.close()
        self.err.close()


def changed(line, at):
    """The line with another character at this place behind its '#'."""
    at += line.index("#") + 1
    return line[:at] + ("A" if line[at] != "A" else "B") + line[at + 1:]


def in_token(line):
    return changed(line, 3)


def in_fingerprint(line):
    return changed(line, 40)


def check_three_nodes(work):
    """Nothing but these commands; then data through one node is read on another."""
    with Cluster(folder(work, "c")) as cluster:
        first, second, third = cluster.nodes
        address = {node.number: f"{node.host}:{node.peer_port}" for node in cluster.nodes}
        with Invite(first.data_dir, "--name", cluster.name, "--node-id", "1", "--advertise",
                    address[1], "--invite", "2,3", command=("cluster", "init")) as invite:
            expect("lines for", sorted(invite.lines), [2, 3])
            said = join(invite.lines[2], second.data_dir, "--advertise", address[2])
            expect_in("its configuration", f'{{ id = 2, address = "{address[2]}"', said)
            expect_in("who is missing", "node 3 belongs here too", said)
            said = json.loads(join("-", third.data_dir, "--node-id", "3", "--advertise", address[3],
                                   "-o", "json", stdin=invite.lines[3] + "\n"))
            expect("members", [(one["id"], one["address"]) for one in said["members"]],
                   sorted(address.items()))
            expect("formed", said["formed"], False)
            invite.ends(OK)
            for number in (1, 2, 3):
                expect_in("all of them", f'{{ id = {number}, address = "{address[number]}"',
                          invite.printed())
        for node in cluster.nodes:
            mode = {name: stat.S_IMODE(os.stat(os.path.join(node.data_dir, "tls", name)).st_mode)
                    for name in os.listdir(os.path.join(node.data_dir, "tls"))}
            expect("modes", mode, {"ca.pem": 0o644, "node.pem": 0o644, "node.key": 0o600})
        keys = os.path.join(first.data_dir, "tls-authority", "ca.key")
        expect("mode of ca.key", stat.S_IMODE(os.stat(keys).st_mode), 0o600)
        expect("authorities", [os.path.isdir(os.path.join(node.data_dir, "tls-authority"))
                               for node in cluster.nodes], [True, False, False])
        cluster.start()
        for node in cluster.nodes:
            expect_in("TLS", "info cluster.tls days=7", node.log())
        cluster.create("/v1/stream/s")
        expect("append", first.request("POST", "/v1/stream/s", {"Content-Type": "text/plain"},
                                       b"hello").status // 100, 2)
        wait_for("read on node 3", lambda: (third.request("GET", "/v1/stream/s?offset=-1") or
                                            third.request("GET", "/livez")).body == b"hello")

        # A fourth one while they run, on a port of its own although node 1 has 4439's place.
        with Invite(first.data_dir, "4") as invite:
            said = join(invite.lines[4], os.path.join(work, "four"), "--advertise", "127.0.0.4")
            expect_in("it listens", 'listen = "127.0.0.4:4439"', said)
            expect_in("next", "ursulactl cluster add --id 4 --address 127.0.0.4:4439", said)
            expect("its configuration names no members", "members" in said.split("\n\n", 1)[1],
                   False)
            invite.ends(OK)

        # The same with a new disk.
        with Invite(first.data_dir, "4", "--replace") as invite:
            said = join(invite.lines[4], os.path.join(work, "new"))
            expect_in("next", "ursulactl cluster replace 4", said)
            invite.ends(OK)

        # A renewal; the address stays what it was.
        pem = os.path.join(second.data_dir, "tls", "node.pem")
        with open(pem, encoding="ascii") as handle:
            before = handle.read()
        with Invite(first.data_dir, "2", "--replace") as invite:
            expect_in("next", "restart the node", join(invite.lines[2], second.data_dir))
            invite.ends(OK)
        with open(pem, encoding="ascii") as handle:
            expect("another certificate", handle.read() != before, True)
        second.stop()
        cluster.start([2])
        cluster.append("/v1/stream/s", " again")
        wait_for("read on node 2", lambda: (second.request("GET", "/v1/stream/s?offset=-1") or
                                            second.request("GET", "/livez")).body == b"hello again")


def check_lines_that_are_no_good(work):
    one = os.path.join(work, "1")
    two = os.path.join(work, "2")
    init(one)
    with Invite(one, "2,3,4") as invite:
        line = invite.lines[2]
        join(in_fingerprint(line), two, "--advertise", "127.0.0.2", code=DENIED,
             words="the token was not sent")
        expect("nobody asked", "refused" in invite.said(), False)
        join(in_token(line), two, "--advertise", "127.0.0.2", code=DENIED,
             words="nobody was invited")
        join(line[:-1], two, "--advertise", "127.0.0.2", code=USAGE, words="cut off")
        join(line, two, "--node-id", "3", "--advertise", "127.0.0.2", code=USAGE,
             words="for node 2, not for node 3")
        # Node 2's token in a line that says node 3.
        join(line.replace("/2#", "/3#"), two, "--advertise", "127.0.0.2", code=CONFLICT,
             words="for node 2, not for node 3")
        join(line, two, code=CONFLICT, words="--advertise")
        join(line, two, "--advertise", "127.0.0.1", code=CONFLICT, words="address of node 1")
        expect("no certificate", os.path.exists(os.path.join(two, "tls")), False)
        join(line, two, "--advertise", "127.0.0.2")
        join(line, os.path.join(work, "else"), "--advertise", "127.0.0.5", code=DENIED,
             words="used already")
        done("cluster", "invite", "5", "--data-dir", one, code=CONFLICT, words="in use by another")
        # The directory is node 2's now.
        join(invite.lines[3], two, "--advertise", "127.0.0.3", code=CONFLICT,
             words="belongs to node 2 of cluster test")
        expect_in("it told", "node 2 has its certificate: asked from 127.0.0.1", invite.said())
        expect("no token in what it says",
               any(found.split("#")[1][:20] in invite.said() for found in invite.lines.values()),
               False)
        line = invite.lines[3]
        invite.process.send_signal(signal.SIGINT)
        invite.ends(130)
    # With the command the tokens are gone, whatever listens there next.
    join(line, os.path.join(work, "3"), "--advertise", "127.0.0.3", code=UNREACHABLE,
         words="Connection refused")
    with Invite(one, "3", listen=f"127.0.0.1:{invite_port(line)}") as invite:
        join(line, os.path.join(work, "3"), "--advertise", "127.0.0.3", code=DENIED,
             words="nobody was invited")
        join(invite.lines[3], os.path.join(work, "3"), "--advertise", "127.0.0.3")
        invite.ends(OK)
    done("cluster", "invite", "3", "--data-dir", one, code=CONFLICT, words="has a certificate")


def invite_port(line):
    return int(re.search(r"//127\.0\.0\.1:(\d+)/", line).group(1))


def check_too_late(work):
    init(os.path.join(work, "1"))
    with Invite(os.path.join(work, "1"), "2", "--expires", "1s") as invite:
        invite.ends(UNREACHABLE)
        expect_in("why", "too late for nodes 2", invite.said())
        join(invite.lines[2], os.path.join(work, "2"), "--advertise", "127.0.0.2",
             code=UNREACHABLE, words="ursulactl cluster invite 2")


def check_strangers(work):
    """Garbage, silence and a crowd before and while a node joins; then somebody guesses."""
    one = os.path.join(work, "1")
    init(one)
    with Invite(one, "2,3") as invite, contextlib.ExitStack() as open_sockets:
        for number in range(200):
            stranger = open_sockets.enter_context(
                socket.create_connection(("127.0.0.1", invite.port()), 10.0)
            )
            with contextlib.suppress(OSError):
                stranger.sendall((b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000))[number % 3])
        begin = time.monotonic()
        join(invite.lines[2], os.path.join(work, "2"), "--advertise", "127.0.0.2")
        expect("nobody waited for strangers", time.monotonic() - begin < 9.0, True)
        for _ in range(20):
            join(in_token(invite.lines[3]), os.path.join(work, "3"), "--advertise", "127.0.0.3",
                 code=DENIED)
        invite.ends(DENIED)
        expect_in("why", "nobody's", invite.said())
        expect_in("it counts", "connections came to nothing", invite.said())


def check_directories_with_something_in_them(work):
    one = os.path.join(work, "1")
    init(one)
    init(one, code=CONFLICT, words="holds the authority of a cluster already")
    foreign = folder(work, "foreign")
    with open(os.path.join(foreign, "letter"), "w", encoding="ascii") as handle:
        handle.write("mine")
    init(foreign, code=CONFLICT, words="no data directory")
    done("cluster", "invite", "2", "--data-dir", foreign, code=NOT_FOUND, words="no authority")
    done("cluster", "invite", "2", code=USAGE, words="--data-dir")
    init(os.path.join(work, "x"), address="0.0.0.0", code=USAGE, words="no address of one machine")
    init(os.path.join(work, "x"), name="a b", code=USAGE, words="no name of a cluster")
    expect("nothing made", os.path.exists(os.path.join(work, "x")), False)
    # Root gives the server its files, and keeps the authority's.
    if os.geteuid() == 0:
        theirs = folder(work, "theirs")
        os.chown(theirs, 65534, 65534)
        init(theirs)
        owners = {name: os.stat(os.path.join(theirs, name)).st_uid
                  for name in ("tls", "tls/node.key", "tls/ca.pem", "tls-authority",
                               "tls-authority/ca.key")}
        expect("owners", owners, {"tls": 65534, "tls/node.key": 65534, "tls/ca.pem": 65534,
                                  "tls-authority": 0, "tls-authority/ca.key": 0})
    # Another cluster of the same name.
    other = os.path.join(work, "other")
    init(other)
    with Invite(one, "2") as invite:
        join(invite.lines[2], os.path.join(work, "2"), "--advertise", "127.0.0.2")
        invite.ends(OK)
    init(os.path.join(work, "2"), code=CONFLICT, words="holds the certificate of a cluster")
    with Invite(other, "2") as invite:
        join(invite.lines[2], os.path.join(work, "2"), "--advertise", "127.0.0.2", code=CONFLICT,
             words="belongs to node 2 of another cluster test")
    # A cluster of one that has run without TLS, and its data.
    with Cluster(folder(work, "c"), size=1) as cluster:
        node = cluster.node(1)
        cluster.start()
        node.stop()
        address = f"{node.host}:{node.peer_port}"
        init(node.data_dir, address=address, node=2, code=CONFLICT,
             words="of node 1, not of node 2")
        init(node.data_dir, address=address, code=CONFLICT, words="holds data already")
        done("cluster", "init", "--name", "test", "--node-id", "1", "--advertise", address,
             "--data-dir", node.data_dir, "--existing")
        cluster.start()
        expect_in("TLS", "info cluster.tls days=7", node.log())


def check_the_wrong_node(work):
    """Who was given the certificate of node 2 cannot be node 3."""
    with Cluster(folder(work, "c")) as cluster:
        first, second, third = cluster.nodes
        init(first.data_dir, address=f"{first.host}:{first.peer_port}")
        with Invite(first.data_dir, "2") as invite:
            join(invite.lines[2], third.data_dir, "--advertise", second.host)
            invite.ends(OK)
        third.launch()
        expect("exit code", third.wait_exit(), 2)
        expect_in("why", "certificate of node 2 and cluster.node_id = 3", third.log())


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
