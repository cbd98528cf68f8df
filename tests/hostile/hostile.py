#!/usr/bin/env python3
"""Clients that break the rules, stall, hoard connections or never read; others are still served.

    tests/hostile/hostile.py [--quick] [--only WORD]

Two halves, against a real `ursula`: the raw requests of requests.txt, each with its required
outcome and a canary stream that must not change; and crowds and stallers, beside a well-behaved
client whose requests must all succeed in time. The last line is `N passed, N failed`.
"""

import argparse
import copy
import json
import os
import re
import resource
import select
import socket
import struct
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from http_client import Connection, Lost, NotSent  # noqa: E402
from ursula_server import Server, ServerFailed  # noqa: E402

TEXT = {"Content-Type": "text/plain"}
CANARY = "/v1/stream/hostile/canary"
SCRATCH = "/v1/stream/hostile/scratch"
JSON = "/v1/stream/hostile/json"
# So that bodies at their limit, beyond it and ten times as long are quickly sent.
RAW_FLAGS = ["--shards", "2", "--set", "server.max_body=64KiB",
             "--set", "server.long_poll_timeout=500ms"]
# A client that is gone is noticed at the next write to it.
FLAGS = ["--set", "server.long_poll_timeout=3s", "--set", "server.sse_heartbeat=2s"]
QUIET_S = 0.25     # So long a server that has nothing to say is listened to.
ANSWER_S = 5.0     # So long an answer or a close may take.
SLOWEST_S = 2.0    # So long a well-behaved client's request may take in a crowd.

ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt0\\])")
REPEAT = re.compile(r"\{([^{}]*?)\*(\d+)\}")
POST = r"POST /v1/stream/hostile/{} HTTP/1.1\r\nHost: {{host}}\r\nContent-Type: {}\r\n"
MACROS = {
    "get": r"GET /v1/stream/hostile/canary HTTP/1.1\r\nHost: {host}\r\n",
    "delete": r"DELETE /v1/stream/hostile/canary HTTP/1.1\r\nHost: {host}\r\n",
    "post": POST.format("scratch", "text/plain"),
    "chunked": POST.format("scratch", "text/plain") + r"Transfer-Encoding: chunked\r\n\r\n",
    "post_as_json": POST.format("scratch", "application/json"),
    "post_json": POST.format("json", "application/json")
    + r"Transfer-Encoding: chunked\r\n\r\n",
}
SIMPLE = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, expected {wanted!r}")


# --- Raw requests -------------------------------------------------------------------------------


class Case:
    """One entry of requests.txt."""

    def __init__(self, name):
        self.name = name
        self.statuses = []
        self.then = "any"
        self.grows = 0
        self.body = None
        self.holds = []    # (what, text): body-has, has, lacks, round, sse
        self.half = False
        self.parts = [""]

    def with_word(self, number, word):
        """One of the cases that `each` stands for."""
        case = copy.deepcopy(self)
        case.name = f"{self.name}-{number}"
        case.parts = [fill_in(part, word) for part in self.parts]
        case.holds = [(what, text.replace("{each}", word)) for what, text in self.holds]
        return case


def fill_in(text, word):
    value = unescaped(repeated(word))
    chunk = f"{len(value):x}\\r\\n{word}\\r\\n0\\r\\n\\r\\n"
    text = text.replace("{json_each}", MACROS["post_json"] + "{chunk_each}")
    return text.replace("{chunk_each}", chunk).replace("{each}", word)


def read_cases(path):
    cases = []
    words = {}
    gap = False
    with open(path, encoding="ascii") as handle:
        for number, line in enumerate(handle, 1):
            line = line.rstrip("\n")
            word, _, rest = line.partition(" ")
            if line.startswith("#"):
                continue
            if word == "===":
                cases.append(Case(rest))
            elif word == "want":
                *cases[-1].statuses, cases[-1].then = repeated(rest).split(" ")
            elif word in ("has", "lacks", "body-has", "round", "sse"):
                cases[-1].holds.append((word, rest))
            elif word == "each":
                words[cases[-1]] = rest.split()
            elif word == "half":
                cases[-1].half = True
            elif word == "grows":
                cases[-1].grows = int(rest)
            elif word == "body":
                cases[-1].body = unescaped(rest)
            elif word == ">":
                if gap and cases[-1].parts[-1]:
                    cases[-1].parts.append("")
                cases[-1].parts[-1] += rest
            elif line:
                raise ValueError(f"{path}:{number}: not understood: {line}")
            gap = line == ""
    return [one for case in cases for one in (
        [case.with_word(number, word) for number, word in enumerate(words[case], 1)]
        if case in words else [case])]


def repeated(text):
    """{x*9} is nine x; one may stand in another."""
    while REPEAT.search(text):
        text = REPEAT.sub(lambda found: found.group(1) * int(found.group(2)), text)
    return text


def unescaped(text):
    def unescape(found):
        code = found.group(1)
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" else SIMPLE[code]

    return ESCAPE.sub(unescape, text.encode("ascii"))


def bytes_of(text, server, scratch):
    """Fills in what a request's text stands for."""
    for name, meaning in MACROS.items():
        text = text.replace("{" + name + "}", meaning)
    text = text.replace("{host}", f"{server.host}:{server.port}")
    text = text.replace("{scratch+1}", f"{0:016d}_{scratch + 1:016d}")
    return unescaped(repeated(text))


class Raw:
    """A socket and what came over it, cut into responses."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port), ANSWER_S)
        self.buffer = b""
        self.ended = False

    def close(self):
        self.socket.close()

    def receive(self, wait_s):
        """Adds what comes within wait_s. False when nothing did or the server closed."""
        self.socket.settimeout(wait_s)
        try:
            got = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            got = b""
        if not got:
            self.ended = True
            return False
        self.buffer += got
        return True

    def response(self, is_head=False):
        """(status, headers in lower case, body) of the next response; None when there is none."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.receive(ANSWER_S):
                return None
        head, rest = self.buffer.split(b"\r\n\r\n", 1)
        text = head.decode("latin-1").lower()
        status = int(text.split(" ")[1])
        length = re.search(r"\r\ncontent-length: *(\d+)", text)
        size = int(length.group(1)) if length and not is_head else 0
        self.buffer = rest
        if "transfer-encoding: chunked" in text and not is_head:
            return status, text, self.chunks()
        if status == 200 and length is None and not is_head:
            while self.receive(ANSWER_S):
                pass
            body, self.buffer = self.buffer, b""
            return status, text, body
        return status, text, self.exactly(size)

    def exactly(self, size):
        while len(self.buffer) < size:
            if not self.receive(ANSWER_S):
                raise AssertionError(f"a body of {size} bytes ended after {len(self.buffer)}")
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return body

    def chunks(self):
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                if not self.receive(ANSWER_S):
                    raise AssertionError("a chunked body ended early")
            size, self.buffer = self.buffer.split(b"\r\n", 1)
            body += self.exactly(int(size, 16))
            self.exactly(2)
            if int(size, 16) == 0:
                return body


def check_holds(what, text, head, bodies):
    if what == "has":
        expect(f"{text} in the head", (text in head, head)[0], True)
    elif what == "lacks":
        expect(f"{text} in the head", text in head, False)
    elif what == "body-has":
        expect(f"{text} in {bodies[-1][:300]!r}", unescaped(text) in bodies[-1], True)
    elif what == "round":
        value = unescaped(text)
        expect("read back", bodies[1], value if value[:1] == b"[" else b"[" + value + b"]")
    else:
        data, control = events_of(bodies[1])
        expect("data event", data, ("data", re.sub(b"\r\n|\r", b"\n", unescaped(text))))
        expect("control event", control[0], "control")
        fields = json.loads(control[1])
        expect("closed", (fields["streamClosed"], fields["upToDate"]), (True, True))


def events_of(body):
    """(kind, payload) of all events, as the HTML standard reads them."""
    events = []
    kind, data = "message", []
    for line in re.split(b"\r\n|\r|\n", body):
        field, _, value = line.partition(b":")
        if field == b"event":
            kind = value.strip().decode()
        elif field == b"data":
            data.append(value.removeprefix(b" "))
        elif field not in (b"id", b""):
            raise AssertionError(f"a field that we do not write: {line!r}")
        elif line == b"" and data:
            events.append((kind, b"\n".join(data)))
            kind, data = "message", []
    return events


def stream_size(connection, path):
    offset = connection.request("HEAD", path).header("stream-next-offset")
    return int(offset.split("_")[1])


def try_case(case, server, watcher):
    """Sends one case and checks all that is asked of it."""
    scratch = stream_size(watcher, SCRATCH)
    raw = Raw(server)
    try:
        for index, part in enumerate(case.parts):
            if index > 0 and not raw.buffer:
                raw.receive(ANSWER_S)
            try:
                raw.socket.sendall(bytes_of(part, server, scratch))
            except OSError:
                break  # The server answered and closed before it had all; the answer counts.
        if case.half:
            raw.socket.shutdown(socket.SHUT_WR)
        body = b""
        head = ""
        bodies = []
        for number, wanted in enumerate(case.statuses, 1):
            got = raw.response(is_head=wanted.startswith("HEAD:"))
            if got is None:
                raise AssertionError(f"no response {number}, expected {wanted}")
            status, head, body = got
            if str(status) not in wanted.replace("HEAD:", "").split("|"):
                raise AssertionError(f"response {number}: {status} {body[:120]!r}, not {wanted}")
            bodies.append(body)
        if case.body is not None:
            expect("body", body, case.body)
        for what, text in case.holds:
            check_holds(what, text, head, bodies)
        if case.then == "none":
            raw.receive(QUIET_S)
            expect("answer to an unfinished request", raw.buffer, b"")
        elif case.then == "close":
            while not raw.ended and raw.receive(ANSWER_S):
                pass
            expect("closed by the server", raw.ended, True)
            expect("bytes after the last response", raw.buffer, b"")
            announced = ("\r\nconnection: close" in head or case.half
                         or " HTTP/1.0\\r" in case.parts[0])
            if not announced:
                raise AssertionError("the close was not announced by Connection: close")
        elif case.then == "open":
            raw.socket.sendall(f"GET /livez HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
            got = raw.response()
            expect("status of a further request", got and got[0], 200)
        else:
            try:
                raw.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The server has closed.
            while raw.receive(ANSWER_S):
                pass
            if raw.buffer.startswith(b"HTTP/1.1 2"):
                raise AssertionError(f"another response: {raw.buffer[:60]!r}")
    finally:
        raw.close()
    expect("growth of scratch", stream_size(watcher, SCRATCH) - scratch, case.grows)
    canary = watcher.request("GET", CANARY)
    expect("canary", (canary.status, canary.body), (200, b"canary"))
    expect("the JSON stream", watcher.request("GET", JSON).body, b"[]")


def on_their_own(requests, only):
    server = Server(flags=RAW_FLAGS)
    try:
        server.start()
        passed, failed = requests(server, only)
        if server.stop() != 0:
            print("FAILED the server's exit code: " + server.log()[-2000:])
            failed += 1
        return passed, failed
    finally:
        server.discard()


def raw_requests(server, only):
    """Returns (passed, failed)."""
    watcher = Connection(server.host, server.port)
    for path in (CANARY, SCRATCH):
        watcher.request("PUT", path, TEXT)
    watcher.request("POST", CANARY, TEXT, b"canary")
    watcher.request("PUT", JSON, {"Content-Type": "application/json"})
    closed = {**TEXT, "Stream-Closed": "true"}
    watcher.request("PUT", "/v1/stream/hostile/closed", closed, b"closed")
    passed = failed = 0
    for case in read_cases(os.path.join(HERE, "requests.txt")):
        if only and only not in case.name:
            continue
        try:
            try_case(case, server, watcher)
            passed += 1
        except (AssertionError, Lost, NotSent, OSError) as error:
            failed += 1
            print(f"FAILED {case.name}: {type(error).__name__}: {error}", flush=True)
            watcher.close()
            if not server.alive():
                print("the server died: " + server.log()[-2000:])
                return passed, failed + 1
    return passed, failed


# --- Crowds and stallers ------------------------------------------------------------------------


class Witness:
    """A well-behaved client beside the crowd: appends and reads, and remembers the slowest."""

    def __init__(self, server, name):
        self.server = server
        self.path = f"/v1/stream/witness/{name}"
        self.over = False
        self.done = 0
        self.slowest_s = 0.0
        self.trouble = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.over = True
        self.thread.join(30)

    def run(self):
        connection = Connection(self.server.host, self.server.port, 10.0)
        try:
            connection.request("PUT", self.path, TEXT)
            while not self.over:
                begin = time.monotonic()
                offset = f"{0:016d}_{self.done * 10:016d}"
                posted = connection.request("POST", self.path, TEXT, b"0123456789")
                read = connection.request("GET", f"{self.path}?offset={offset}")
                self.slowest_s = max(self.slowest_s, time.monotonic() - begin)
                if posted.status != 204 or read.body != b"0123456789":
                    raise AssertionError(f"{posted.status} {read.status} {read.body[:60]!r}")
                self.done += 1
                time.sleep(0.002)
        except (Lost, NotSent, AssertionError) as error:
            self.trouble = f"{type(error).__name__}: {error}"

    def verdict(self, least):
        if self.trouble:
            raise AssertionError(f"the well-behaved client failed: {self.trouble}")
        if self.slowest_s > SLOWEST_S:
            raise AssertionError(f"the well-behaved client waited {self.slowest_s:.1f} s")
        if self.done < least:
            raise AssertionError(f"the well-behaved client got only {self.done} turns")


def resident_bytes(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as handle:
        return int(handle.read().split()[1]) * resource.getpagesize()


def open_files(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def wait_until(what, condition, limit_s=20.0):
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > limit_s:
            raise AssertionError(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.05)


def new_stream(server, name, content_type="text/plain"):
    connection = Connection(server.host, server.port)
    path = f"/v1/stream/crowd/{name}"
    connection.request("DELETE", path)
    expect("PUT", connection.request("PUT", path, {"Content-Type": content_type}).status, 201)
    return connection, path


def raw_post(path, body, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: text/plain", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def crowd_a_byte_at_a_time(server, _quick):
    connection, path = new_stream(server, "bytewise")
    requests = [
        raw_post(path, b"hello", "Content-Length: 5"),
        raw_post(path, b"5;x=y\r\nworld\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    ]
    raw = Raw(server)
    raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for request in requests:
        for index in range(len(request)):
            raw.socket.sendall(request[index:index + 1])
            time.sleep(0.001)
        expect("status", raw.response()[0], 204)
    raw.close()
    expect("content", connection.request("GET", path).body, b"helloworld")


def crowd_stop_mid_body(server, quick):
    connection, path = new_stream(server, "half")
    producer = ["Producer-Id: p", "Producer-Epoch: 0", "Producer-Seq: 0"]
    stalled = []
    for index in range(20 if quick else 100):
        raw = Raw(server)
        if index % 2:
            raw.socket.sendall(raw_post(path, b"half", "Content-Length: 400000", *producer))
        else:
            body = b"30d40\r\n" + b"h" * 100_000
            raw.socket.sendall(raw_post(path, body, "Transfer-Encoding: chunked", *producer))
        stalled.append(raw)
    time.sleep(0.3)
    for index, raw in enumerate(stalled):
        if index % 3 == 0:  # A reset instead of an end.
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    time.sleep(0.3)
    expect("size", stream_size(connection, path), 0)
    sent = {**TEXT, "Producer-Id": "p", "Producer-Epoch": "0", "Producer-Seq": "0"}
    expect("the producer's number", connection.request("POST", path, sent, b"whole").status, 200)
    expect("content", connection.request("GET", path).body, b"whole")


def crowd_slow_bodies(_server, quick):
    """Beyond half of the connections a body of less than 1 KiB/s is ended; with room it is not."""
    if quick:
        return
    crowded = Server(flags=["--shards", "1", "--set", "server.max_connections=16"])
    roomy = Server(flags=["--shards", "1"])
    try:
        slow = []
        for server, count in ((crowded, 11), (roomy, 3)):
            server.start()
            path = new_stream(server, "slow")[1]
            slow.append([Raw(server) for _ in range(count)])
            for raw in slow[-1]:
                raw.socket.sendall(raw_post(path, b"s", "Content-Length: 60"))
        steady = Raw(crowded)
        steady.socket.sendall(raw_post(path, b"", "Content-Length: 60000"))
        sent = 0
        refused = {}
        begin = time.monotonic()
        while sent < 60_000 or len(refused) < 3:  # then less than half is in use
            if time.monotonic() - begin > 40:
                raise AssertionError(f"{sent} bytes sent, {len(refused)} slow bodies ended")
            if sent < 60_000:
                steady.socket.sendall(b"b" * 2_000)
                sent += 2_000
            for index, raw in enumerate(slow[0]):
                if index not in refused and select.select([raw.socket], [], [], 0)[0]:
                    refused[index] = raw.response()
            time.sleep(0.25)
        for answer in refused.values():
            expect("slow", (answer[0], b"body_too_slow" in answer[2]), (408, True))
        expect("steady", steady.response()[0], 204)
        for raw in slow[1]:
            raw.socket.sendall(b"s" * 59)
            expect("slow with room", raw.response()[0], 204)
    finally:
        crowded.discard()
        roomy.discard()


def crowd_half_closed(server, _quick):
    connection, path = new_stream(server, "fin")
    raw = Raw(server)
    raw.socket.sendall(raw_post(path, b"last", "Content-Length: 4"))
    raw.socket.shutdown(socket.SHUT_WR)
    expect("an append before FIN", raw.response()[0], 204)
    raw.close()
    raw = Raw(server)
    offset = f"{0:016d}_{4:016d}"
    request = f"GET {path}?offset={offset}&live=long-poll HTTP/1.1\r\nHost: x\r\n\r\n"
    raw.socket.sendall(request.encode())
    raw.socket.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    connection.request("POST", path, TEXT, b"more")
    got = raw.response()
    expect("a waiting long-poll after FIN", got and (got[0], got[2]), (200, b"more"))
    raw.close()


def small_window(server):
    """A socket whose receive buffer is small, so that not reading is felt early."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    plain.connect((server.host, server.port))
    return plain


def crowd_never_reads(server, quick):
    size = 16 if quick else 48
    connection, path = new_stream(server, "flood", "application/octet-stream")
    block = bytes(1 << 20)
    octets = {"Content-Type": "application/octet-stream"}
    get = f"GET {path}?offset=-1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    live = f"GET {path}?offset=-1&live=sse HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    connection.request("POST", path, octets, block)
    sockets = []
    for index in range(10 if quick else 40):
        deaf = small_window(server)
        deaf.sendall(live if index % 2 else get * 50)
        sockets.append(deaf)
    time.sleep(0.3)
    before = resident_bytes(server)
    for _ in range(size):
        expect("append", connection.request("POST", path, octets, block).status, 204)
    grown = resident_bytes(server) - before
    # What was appended may stay in memory; the deaf readers may not hold more of it each.
    allowed = (size << 20) * 2 + len(sockets) * (2 << 20)
    if grown > allowed:
        raise AssertionError(f"memory grew by {grown >> 20} MiB for readers who never read")
    for deaf in sockets:
        deaf.close()
    connection.request("DELETE", path)


def event_of(server, path, wanted_s):
    """What a live reader of `path` gets until the first control event, and how long that took."""
    begin = time.monotonic()
    raw = Raw(server)
    raw.socket.sendall(f"GET {path}?offset=-1&live=sse HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    received = bytearray()
    while b"streamNextOffset" not in received[-400:]:
        if time.monotonic() - begin > wanted_s:
            raise AssertionError(f"{path}: {len(received)} bytes after {wanted_s} s")
        if raw.receive(ANSWER_S):
            received += raw.buffer
            raw.buffer = b""
        elif raw.ended:
            raise AssertionError(f"{path}: the reader was ended")
    raw.close()
    return bytes(received), time.monotonic() - begin


def crowd_never_read_a_large_event(_server, quick):
    """Deaf readers of one large append share 64 MiB of memory; everybody else is served."""
    lone = Server(flags=["--shards", "1"])
    try:
        lone.start()
        connection, path = new_stream(lone, "large", "application/octet-stream")
        octets = {"Content-Type": "application/octet-stream"}
        expect("append", connection.request("POST", path, octets, bytes(15 << 20)).status, 204)
        small = new_stream(lone, "small")[1]
        expect("append", connection.request("POST", small, TEXT, b"event!").status, 204)
        live = f"GET {path}?offset=-1&live=sse HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        before = resident_bytes(lone)
        # Each would hold 20 MiB of base64. Those beyond the bound leave in the full run when 30 s
        # without a byte are over, three at a time.
        deaf = [small_window(lone) for _ in range(40)]
        for one in deaf:
            one.sendall(live)
        most = 0
        begin = time.monotonic()
        while time.monotonic() - begin < 2.0:
            most = max(most, resident_bytes(lone) - before)
            time.sleep(0.05)
        if most > 100 << 20:
            raise AssertionError(f"memory grew by {most >> 20} MiB for 40 deaf readers")
        got, took = event_of(lone, small, ANSWER_S)
        if b"data:event!" not in got or took > SLOWEST_S:
            raise AssertionError(f"the reader of a small event: {took:.1f} s, {got[-200:]!r}")
        # Some go by themselves; those who are left are ended.
        for one in deaf[0 if quick else 4:]:
            one.close()
        got, took = event_of(lone, path, 90.0)
        encoded = ((15 << 20) + 2) // 3 * 4
        if len(got) < encoded or got.count(b"A") < encoded:
            raise AssertionError(f"the reader of the large event got {len(got)} bytes")
        print(f"    at most {most >> 20} MiB for 40 deaf readers; one that reads: {took:.1f} s")
        for one in deaf:
            one.close()
    finally:
        lone.discard()


def crowd_slow_reader_gets_all(server, _quick):
    connection, path = new_stream(server, "slow")
    deaf = small_window(server)
    deaf.sendall(f"GET {path}?offset=-1&live=sse HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    lines = 64
    for number in range(lines):
        body = (f"{number:08d}".encode() + b"x" * 65528)
        expect("append", connection.request("POST", path, TEXT, body).status, 204)
    expect("close", connection.request("POST", path, {"Stream-Closed": "true"}, b"").status, 204)
    deaf.settimeout(ANSWER_S)
    received = b""
    while b'"streamClosed":true' not in received:
        piece = deaf.recv(1 << 16)
        if not piece:
            break
        received += piece
    deaf.close()
    # Chunk borders may cut the text anywhere; the numbers in order are what matters.
    plain = re.sub(rb"\r\n[0-9a-f]+\r\n", b"", received)
    seen = [int(found) for found in re.findall(rb"(\d{8})xxxx", plain)]
    expect("what the slow reader saw", seen, list(range(lines)))


def crowd_idle_connections(server, quick):
    count = 300 if quick else 2000
    tails = 50 if quick else 300
    connection, path = new_stream(server, "idle")
    before = resident_bytes(server)
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection((server.host, server.port), ANSWER_S))
    live = f"GET {path}?offset=now&live=sse HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for idle in sockets[:tails]:
        idle.sendall(live)
    for idle in sockets[tails:tails * 2]:
        idle.sendall(b"GET /v1/stream/x HT")  # A head that does not end.
    for idle in sockets[:tails]:
        idle.settimeout(ANSWER_S)
        if not idle.recv(4096).startswith(b"HTTP/1.1 200"):
            raise AssertionError("an idle tail was not accepted")
    grown = resident_bytes(server) - before
    expect("append", connection.request("POST", path, TEXT, b"event!").status, 204)
    for idle in sockets[:tails]:
        seen = b""
        while b"event!" not in seen:
            piece = idle.recv(4096)
            if not piece:
                raise AssertionError("an idle tail ended without its event")
            seen += piece
    # One idle connection must still be good for a request.
    last = sockets[-1]
    last.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    last.settimeout(ANSWER_S)
    expect("an idle connection", last.recv(4096)[:12], b"HTTP/1.1 200")
    for idle in sockets:
        idle.close()
    each = grown // count
    print(f"    {count} idle connections, {tails} of them tails: {each} bytes each", flush=True)
    if each > 32 << 10:
        raise AssertionError(f"{each} bytes for an idle connection")
    wait_until("closed connections are let go", lambda: open_files(server) < count // 2)


def crowd_many_connects(server, quick):
    count = 1000 if quick else 5000
    before = open_files(server)
    reset = struct.pack("ii", 1, 0)
    for index in range(count):
        visitor = socket.create_connection((server.host, server.port), ANSWER_S)
        if index % 3 == 1:
            visitor.sendall(b"POST /v1/stream/x HTTP/1.1\r\nHost: x\r\nContent-Le")
        elif index % 3 == 2:
            visitor.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        if index % 2:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        visitor.close()
    wait_until("all files of visitors are closed", lambda: open_files(server) <= before + 20)


def crowd_many_pipelined(server, quick):
    connection, path = new_stream(server, "pipeline")
    count = 200 if quick else 2000
    one = raw_post(path, b"0123456789", "Content-Length: 10")
    raw = Raw(server)
    sender = threading.Thread(target=raw.socket.sendall, args=(one * count,))
    sender.start()
    for number in range(count):
        got = raw.response()
        expect(f"response {number}", got and got[0], 204)
        wanted = f"stream-next-offset: {0:016d}_{(number + 1) * 10:016d}"
        if wanted not in got[1]:
            raise AssertionError(f"response {number} is out of order: {got[1]}")
    sender.join()
    raw.close()
    expect("size", stream_size(connection, path), count * 10)


def crowd_abandoned_tails(server, quick):
    connection, path = new_stream(server, "abandoned")
    before = open_files(server)
    for index in range(100 if quick else 500):
        visitor = socket.create_connection((server.host, server.port), ANSWER_S)
        mode = "sse" if index % 2 else "long-poll"
        visitor.sendall(f"GET {path}?offset=now&live={mode} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        visitor.close()
    wait_until("files of abandoned tails are closed", lambda: open_files(server) <= before + 20)
    expect("append", connection.request("POST", path, TEXT, b"x").status, 204)


def crowd_streams_removed_under_their_readers(server, quick):
    """Half of the streams go, with readers of every kind; the others' readers are served on."""
    count = 30 if quick else 100
    paths = [f"/v1/stream/crowd/removed-{number:04d}" for number in range(count)]
    connection = Connection(server.host, server.port)
    for turn in range(2):  # The second time over the same names, on the same connections.
        for path in paths:
            connection.request("DELETE", path)
            expect("PUT", connection.request("PUT", path, TEXT).status, 201)
        readers = {}
        for path in paths:
            for mode in ("sse", "sse", "long-poll"):
                raw = Raw(server)
                request = f"GET {path}?offset=now&live={mode} HTTP/1.1\r\nHost: x\r\n\r\n"
                raw.socket.sendall(request.encode())
                if mode == "sse":
                    while b"upToDate" not in raw.buffer:
                        if not raw.receive(ANSWER_S):
                            raise AssertionError("a reader was not accepted")
                readers.setdefault(path, []).append((mode, raw))
        time.sleep(0.1)
        for path in paths[::2]:
            expect("DELETE", connection.request("DELETE", path).status, 204)
        for path in paths[1::2]:
            expect("append", connection.request("POST", path, TEXT, b"event!").status, 204)
        for index, path in enumerate(paths):
            for mode, raw in readers[path]:
                if index % 2 == 0:
                    wanted = [b"\r\n0\r\n\r\n" if mode == "sse" else b"404 Not Found"]
                else:
                    wanted = [b"event!"]
                if mode == "long-poll":  # Its time may be over before the others are there.
                    wanted.append(b"204 No Content")
                while not any(one in raw.buffer for one in wanted):
                    if not raw.receive(ANSWER_S):
                        raise AssertionError(f"turn {turn}, {path}, {mode}: {raw.buffer[-200:]!r}")
                if index % 2 == 0 or mode == "long-poll":
                    # The connection is good for a further request.
                    while b"\r\n\r\n" not in raw.buffer and raw.receive(ANSWER_S):
                        pass
                    raw.buffer = b""
                    raw.socket.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                    while b'"status":"ok"' not in raw.buffer:
                        if not raw.receive(ANSWER_S):
                            raise AssertionError("a reader's connection is of no use any more")
                raw.close()
    for path in paths:
        connection.request("DELETE", path)


def crowd_large_json(server, _quick):
    """What is long but right is taken and read back as it was; what is deep is refused by name."""
    connection, path = new_stream(server, "json", "application/json")
    kind = {"Content-Type": "application/json"}
    million = b"[" + b"1," * 999_999 + b"1]"
    bodies = [million, b'["' + b"x" * 10_000_000 + b'"]', b"[" + b"9" * 1_000_000 + b"]",
              b"[1e" + b"9" * 1_000_000 + b"]", b'["' + b"\\ud83c" * 500_000 + b'"]',
              b"[" + b'{"a":1,"a":2},' * 200_000 + b"0]"]
    stored = b""
    for body in bodies:
        expect("append", connection.request("POST", path, kind, body).status, 204)
        stored += body[1:-1] + b","
    read = b""
    offset = "-1"
    while len(read) < len(stored):
        got = connection.request("GET", f"{path}?offset={offset}")
        expect("status", got.status, 200)
        if len(got.body) < 3:
            raise AssertionError(f"only {len(read)} of {len(stored)} bytes can be read")
        read += got.body[1:-1] + b","
        offset = got.header("stream-next-offset")
    expect("read back", read == stored, True)
    for deep in (b"[" * 100_000 + b"]" * 100_000, b"[" * 10_000_000, b'{"a":' * 1_000_000,
                 b'[{"a":' * 1_000_000, b"[" * 512 + b"{}" + b"]" * 512):
        got = connection.request("POST", path, kind, deep)
        expect("deep", (got.status, b"json_too_deep" in got.body), (400, True))
    expect("size", stream_size(connection, path), len(stored))
    connection.request("DELETE", path)


def crowd_gone_before_the_answer(server, quick):
    """A client that resets behind its last byte, and asks again: its append is there once."""
    connection, path = new_stream(server, "gone")
    reset = struct.pack("ii", 1, 0)
    count = 50 if quick else 300
    for number in range(count):
        sent = {**TEXT, "Producer-Id": "p", "Producer-Epoch": "0", "Producer-Seq": str(number)}
        raw = Raw(server)
        lines = [f"{name}: {value}" for name, value in list(sent.items())[1:]]
        raw.socket.sendall(raw_post(path, b"%05d" % number, "Content-Length: 5", *lines))
        if number % 3:
            time.sleep(0.001 * (number % 3))
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        raw.close()
        again = connection.request("POST", path, sent, b"%05d" % number)
        if again.status not in (200, 204):
            raise AssertionError(f"append {number} again: {again.status} {again.body!r}")
    wanted = b"".join(b"%05d" % number for number in range(count))
    expect("content", connection.request("GET", path).body, wanted)


def crowd_announced_bodies(_server, _quick):
    """Bodies count by what was announced: 256 MiB at once, whatever has come of them."""
    lone = Server(flags=["--shards", "1"])
    try:
        lone.start()
        connection, path = new_stream(lone, "announced")
        raws = []
        for _ in range(40):
            raws.append(Raw(lone))
            raws[-1].socket.sendall(raw_post(path, b"z", "Content-Length: 16000000"))
        wait_until("refusals", lambda: len(readable(raws)) >= 24)
        time.sleep(QUIET_S)
        refused = readable(raws)
        expect("refused", len(refused), 40 - (256 << 20) // 16_000_000)
        for raw in refused:
            got = raw.response()
            expect("refusal", (got[0], b"too_many_bodies" in got[2]), (503, True))
        expect("an append beside them", connection.request("POST", path, TEXT, b"x").status, 204)
        for raw in raws:
            raw.close()
        block = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        chunked = []
        for _ in range(40):
            chunked.append(Raw(lone))
            chunked[-1].socket.sendall(raw_post(path, b"", "Transfer-Encoding: chunked"))
        for _ in range(12):
            for raw in chunked:
                try:
                    raw.socket.sendall(block)
                except OSError:
                    pass  # Refused and closed by now.
        # 480 MiB were sent; what is not refused fits.
        wait_until("refusals of growing bodies", lambda: len(readable(chunked)) >= 40 - 256 // 12)
        for raw in chunked:
            raw.close()
    finally:
        lone.discard()


def readable(raws):
    sockets = {raw.socket: raw for raw in raws}
    return [sockets[one] for one in select.select(list(sockets), [], [], 0)[0]]


def crowds(server, quick, only):
    passed = failed = 0
    for name, crowd in sorted(globals().items()):
        if not name.startswith("crowd_") or (only and only not in name):
            continue
        begin = time.monotonic()
        try:
            with Witness(server, name) as witness:
                crowd(server, quick)
                wait_until("a turn", lambda: witness.done >= 20 or witness.trouble)
            witness.verdict(20)
            passed += 1
            took = time.monotonic() - begin
            waited = f"the witness waited {witness.slowest_s * 1000:.0f} ms at most"
            print(f"    {name}: {took:.1f} s, {waited}", flush=True)
        except (AssertionError, Lost, NotSent, OSError) as error:
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
            if not server.alive():
                print("the server died: " + server.log()[-4000:])
                return passed, failed
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller crowds")
    parser.add_argument("--only", help="cases whose name holds this")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="hostile-") as work:
        server = Server(data_dir=os.path.join(work, "d"), flags=FLAGS)
        try:
            passed, failed = on_their_own(raw_requests, options.only)
            server.start()
            more = crowds(server, options.quick, options.only)
            passed += more[0]
            failed += more[1]
            code = server.stop()
            if code != 0:
                failed += 1
                print(f"FAILED the server's exit code is {code}: {server.log()[-2000:]}")
        except (ServerFailed, OSError) as error:
            passed, failed = 0, 1
            print(f"FAILED {type(error).__name__}: {error}")
        finally:
            server.discard()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
