#!/usr/bin/env python3
"""What clients that cannot be installed here rely on, as raw requests: one check per client.

Facts about these clients come from their sources, as the notes of the project have them. The last
line is `N passed, N failed`.
"""

import os
import re
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from checks import expect, expect_in, run_checks  # noqa: E402
from http_client import Connection, sse_events  # noqa: E402
from ursula_server import Server  # noqa: E402

TEXT = {"Content-Type": "text/plain"}
BINARY = {"Content-Type": "application/octet-stream"}
PATH = "/v1/stream/behaviours"


class Asker:
    """One server and one connection to it."""

    def __init__(self, work, flags=()):
        self.server = Server(data_dir=os.path.join(work, "data"), flags=flags)

    def __enter__(self):
        self.server.start()
        self.connection = Connection(self.server.host, self.server.port)
        return self

    def __exit__(self, *unused):
        self.connection.close()
        self.server.discard()

    def ask(self, method, path, headers=None, body=None, status=None):
        answer = self.connection.request(method, PATH + path, headers, body)
        if status is not None:
            expect(f"{method} {path}: status ({answer.body[:200]!r})", answer.status, status)
        return answer

    def raw(self, text, wait_s=10.0):
        """Sends bytes as they are; what comes back until the connection ends."""
        with socket.create_connection((self.server.host, self.server.port), wait_s) as stream:
            stream.sendall(text)
            got = b""
            while piece := stream.recv(1 << 16):
                got += piece
        return got


def one_past(offset):
    """The Yjs layer counts the second half of an offset up by one and reads from there."""
    first, second = offset.split("_")
    return f"{first}_{int(second) + 1:0{len(second)}}"


def check_yjs_reads_one_past_the_end(work):
    """At the end plus one there is nothing yet; what comes then comes whole."""
    with Asker(work, ["--set", "server.long_poll_timeout=5s"]) as at:
        at.ask("PUT", "/yjs/svc/docs/a/b/.updates", BINARY, status=201)
        path = "/yjs/svc/docs/a/b/.updates"
        at.ask("POST", path, BINARY, b"\x01\x02")
        end = at.ask("HEAD", path, status=200).header("stream-next-offset")
        past = one_past(end)
        answer = at.ask("GET", f"{path}?offset={past}", status=200)
        expect("body", answer.body, b"")
        expect("offset", answer.header("stream-next-offset"), end)
        expect("up to date", answer.header("stream-up-to-date"), "true")
        waiting = Connection(at.server.host, at.server.port)
        waiting.send("GET", f"{PATH}{path}?offset={past}&live=long-poll")
        events = Connection(at.server.host, at.server.port)
        events.send("GET", f"{PATH}{path}?offset={past}&live=sse")
        stream = sse_events(events.read_body("GET", events.read_head()))
        expect("first event", next(stream)[0], "control")
        at.ask("POST", path, BINARY, b"\x03\x04\x05")
        answer = waiting.read_head()
        expect("long-poll", b"".join(waiting.read_body("GET", answer)), b"\x03\x04\x05")
        expect("event", next(stream), ("data", "AwQF"))
        answer = at.ask("GET", f"{path}?offset={past}", status=200)
        expect("read", answer.body, b"\x03\x04\x05")
        waiting.close()
        events.close()


def check_yjs_creates_what_is_missing(work):
    """POST 404, PUT, POST; HEAD 404; PUT again; DELETE twice; headers nobody knows."""
    with Asker(work) as at:
        path = "/yjs/svc/docs/d/.awareness/default"
        odd = {**BINARY, "stream-offset": "7", "stream-live": "true"}
        at.ask("POST", path, odd, b"x", status=404)
        at.ask("HEAD", path, status=404)
        at.ask("PUT", path, odd, status=201)
        at.ask("PUT", path, odd, status=200)
        at.ask("POST", path, odd, b"x", status=204)
        at.ask("DELETE", path, status=204)
        at.ask("DELETE", path, status=404)


def check_default_read_timeouts(work):
    """Python, Ruby, PHP and Rust give up after 30 silent seconds."""
    with Asker(work) as at:
        at.ask("PUT", "/quiet", TEXT, status=201)
        events = Connection(at.server.host, at.server.port)
        events.send("GET", PATH + "/quiet?offset=now&live=sse")
        pieces = events.read_body("GET", events.read_head())
        next(pieces)
        begin = time.monotonic()
        answer = at.ask("GET", "/quiet?offset=now&live=long-poll", status=204)
        if not 1 < time.monotonic() - begin < 27:
            raise AssertionError(f"a quiet poll took {time.monotonic() - begin:.1f} s")
        expect("no length", answer.header("content-length"), None)
        # The event stream said something meanwhile, or does so before those 30 seconds are over.
        next(pieces)
        if time.monotonic() - begin > 27:
            raise AssertionError(f"the event stream: silent for {time.monotonic() - begin:.1f} s")
        events.close()


def check_go_and_typescript_producers_end(work):
    """A 409 of a closed stream names a sequence that makes a pipelining producer give up."""
    with Asker(work) as at:
        at.ask("PUT", "/closed", {**TEXT, "Stream-Closed": "true"}, b"all", status=201)
        for seq in ("0", "5"):
            answer = at.ask("POST", "/closed", {
                **TEXT, "Producer-Id": "p", "Producer-Epoch": "0", "Producer-Seq": seq,
            }, b"x", status=409)
            expect("closed", answer.header("stream-closed"), "true")
            expect("expected", answer.header("producer-expected-seq"), seq)
            expect("received", answer.header("producer-received-seq"), seq)


def check_go_compares_exactly(work):
    with Asker(work) as at:
        at.ask("PUT", "/exact", {**TEXT, "Stream-Closed": "true"}, status=201)
        answer = at.ask("GET", "/exact", status=200)
        for name in ("stream-closed", "stream-up-to-date"):
            expect(name, answer.header(name), "true")


def check_java_control_events(work):
    """Java scans the control event by hand: one line, one flat object, no escapes."""
    with Asker(work) as at:
        at.ask("PUT", "/java", {**TEXT, "Stream-Closed": "true"}, b"x", status=201)
        got = at.raw(
            f"GET {PATH}/java?offset=-1&live=sse HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade,"
            " HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
            .encode()
        ).decode()
        expect("status line", got.split("\r\n")[0], "HTTP/1.1 200 OK")
        controls = re.findall(r"^event: control\ndata:(\{[^{}\\\n]*\})\n\n", got, re.MULTILINE)
        expect(f"control events of {got!r}", len(controls), 1)


def check_swift_creates(work):
    """Only 201 is success for it, also with every optional header."""
    with Asker(work) as at:
        headers = {"Content-Type": "application/json", "Stream-TTL": "60"}
        at.ask("PUT", "/swift", headers, b"[]", status=201)


def check_dotnet_and_java_times(work):
    with Asker(work) as at:
        for number, when in enumerate((
            "2099-01-02T03:04:05Z", "2099-01-02T03:04:05.1234567+00:00", "2099-01-02T03:04:05.5Z",
            "2099-01-02T05:04:05+02:00",
        )):
            headers = {**TEXT, "Stream-Expires-At": when}
            at.ask("PUT", f"/time{number}", headers, status=201)
            at.ask("PUT", f"/time{number}", headers, status=200)


def check_elixir_empty_te(work):
    with Asker(work) as at:
        at.ask("PUT", "/te", {**TEXT, "TE": ""}, b"x", status=201)
        expect("read", at.ask("GET", "/te", {"TE": ""}, status=200).body, b"x")


def check_php_waits_for_100(work):
    """curl holds a large body back for a second unless it is told to go on."""
    with Asker(work) as at:
        at.ask("PUT", "/php", TEXT, status=201)
        address = (at.server.host, at.server.port)
        with socket.create_connection(address, 10.0) as stream:
            begin = time.monotonic()
            stream.sendall(
                f"POST {PATH}/php HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
                "Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n".encode()
            )
            got = stream.recv(1 << 16)
            if not got.startswith(b"HTTP/1.1 100 ") or time.monotonic() - begin > 0.9:
                raise AssertionError(f"{got!r} after {time.monotonic() - begin:.2f} s")
            stream.sendall(b"x" * 100_000)
            expect_in("answer", "HTTP/1.1 204", stream.recv(1 << 16).decode())


def check_tools_around(work):
    """Benchmarks ask for /health, the documented CI recipe waits for a 2xx on the base URL."""
    with Asker(work) as at:
        for path in ("/health", "/"):
            expect(path, at.connection.request("GET", path).status, 200)
        # The proxy closes with a length and no type, and creates with a TTL.
        at.ask("PUT", "/proxy", {**BINARY, "Stream-TTL": "86400"}, status=201)
        answer = at.ask("POST", "/proxy", {"Stream-Closed": "true"}, b"", status=204)
        expect("closed", answer.header("stream-closed"), "true")


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
