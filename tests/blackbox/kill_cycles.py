#!/usr/bin/env python3
"""kill -9 at random moments, again and again, on one data directory; then everything is checked.

    tests/blackbox/kill_cycles.py [--cycles 30] [--seed N] [--keep]

64 connections append (27 B to 300 KiB, bytes and JSON, with and without producer headers, tiny ones
down to one byte), read and tail a real `ursula`. After each restart every stream is read on from
where the last cycle left it: each acknowledged append must be there, once, at its offset, whole;
what a producer did not hear about is sent again and must not appear twice; tails go on from their
last offset. At the end all streams are closed and read from the beginning, and the whole history
goes through ursula-check ($URSULA_CHECK). The last line is `N passed, N failed`.
"""

import argparse
import base64
import collections
import os
import random
import shutil
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.path.insert(0, HERE)

import payloads  # noqa: E402
from http_client import Connection, Lost, NotSent, sse_events  # noqa: E402
from ursula_server import Server, ServerFailed  # noqa: E402
from verdicts import Failures, check_history, outcome_of  # noqa: E402

WORKERS = 64
TAILERS = 8
# Small segments and little memory: a run crosses segments, recycles them and reads from disk.
FLAGS = [
    "--set", "storage.segment_size=16MiB",
    "--set", "server.max_body=4MiB",
    "--set", "storage.hot_bytes=32MiB",
    "--set", "server.long_poll_timeout=2s",
    "--set", "server.sse_lifetime=5s",
]
BYTES = "application/octet-stream"
JSON = "application/json"
# Bytes of appends a second over all workers: more only makes the final reads longer.
BYTES_PER_S = 80 << 20
# A stream of large appends takes most of them, so that snapshots fall due; every few cycles it is
# deleted and another begins, so that log files become free.
BALLAST_APPEND = 2 << 20
BALLAST_PER_CYCLE = 48 << 20
BALLAST_CYCLES = 5
READY_LIMIT_S = 20.0

STREAMS = (
    [("bytes", f"/kill/b{number}") for number in range(6)]
    + [("bytes", f"/v1/stream/kill/deep/b{number}") for number in range(4)]
    + [("json", f"/kill/j{number}") for number in range(4)]
    + [("json", f"/v1/stream/kill/j{number}") for number in range(2)]
)
TINY = [f"/kill/tiny{number}" for number in range(6)]


class StreamState:
    """What is known of one stream of whole payloads."""

    def __init__(self, kind, path):
        self.kind = kind
        self.path = path
        self.word = path.strip("/").replace("/", "_")
        self.lock = threading.Lock()
        self.acked = {}            # payload name -> end offset
        self.log = []              # payload names, as verified after restarts
        self.log_ends = []         # their end offsets, or "-"
        self.next = payloads.ZERO  # where the verified log ends
        self.closed = False        # a close was acknowledged
        self.offsets = [payloads.ZERO]

    def content_type(self):
        return JSON if self.kind == "json" else BYTES


class Run:
    """Everything the threads share."""

    def __init__(self, options, data_dir):
        self.random = random.Random(options.seed)
        self.server = Server(data_dir=data_dir, flags=FLAGS)
        self.cycle = -1  # Grows when a server is up.
        self.up = threading.Event()
        self.killing = False
        self.over = False
        self.failures = Failures()
        self.history = []
        self.counts = collections.Counter()
        self.streams = {path: StreamState(kind, path) for kind, path in STREAMS}
        self.tiny = {path: TinyState(path) for path in TINY}
        self.ballast = None
        self.ballast_left = 0
        self.gone = []  # Paths whose deletion was acknowledged.
        self.number_lock = threading.Lock()
        self.next_number = 1
        self.budget_lock = threading.Lock()
        self.budget = 0.0
        self.budget_at = time.monotonic()

    def number(self):
        with self.number_lock:
            self.next_number += 1
            return self.next_number

    def count(self, what, by=1):
        with self.number_lock:
            self.counts[what] += by

    def spend(self, size):
        """Waits until the run as a whole may send `size` more bytes."""
        while not self.over:
            with self.budget_lock:
                now = time.monotonic()
                earned = (now - self.budget_at) * BYTES_PER_S
                self.budget = min(BYTES_PER_S / 4, self.budget + earned)
                self.budget_at = now
                if self.budget > 0:
                    self.budget -= size
                    return
            time.sleep(0.002)

    def wait_for(self, cycle):
        """Waits until a server of at least this cycle is up. Returns its cycle, None at the end."""
        while not self.over:
            if self.up.wait(0.1) and self.cycle >= cycle:
                return self.cycle
            time.sleep(0.002)
        return None

    def connection(self):
        return Connection(self.server.host, self.server.port, 20.0)

    def lost(self, cycle, error):
        """A connection ended: normal when the server was killed, a failure when it should run."""
        if not self.killing and self.cycle == cycle and self.up.is_set():
            time.sleep(0.05)
            if not self.killing and self.cycle == cycle and self.server.alive():
                self.failures.add("connection", f"lost while the server runs: {error}")


class TinyState:
    """A stream of one writer whose appends are too small to carry a name."""

    def __init__(self, path):
        self.path = path
        self.content = b""
        self.pending = None  # An append whose outcome is unknown.


def size_of(random_state):
    dice = random_state.random()
    if dice < 0.60:
        return random_state.randrange(payloads.BINARY_HEAD, 300)
    if dice < 0.90:
        return random_state.randrange(300, 8 << 10)
    if dice < 0.98:
        return random_state.randrange(8 << 10, 64 << 10)
    if dice < 0.995:
        return random_state.randrange(64 << 10, 200 << 10)
    return random_state.randrange(257 << 10, 300 << 10)


class Writer:
    """Appends to shared streams over one connection, with a producer id or without."""

    def __init__(self, run, index):
        self.run_state = run
        self.random = random.Random(run.random.random())
        self.index = index
        self.with_producer = index % 3 == 0
        self.retry = None  # A producer's append that was not answered.
        self.epochs = collections.Counter()
        self.seqs = {}
        self.connection = None

    def run(self):
        run = self.run_state
        cycle = 0
        while True:
            cycle = run.wait_for(cycle)
            if cycle is None:
                return
            self.connection = run.connection()
            try:
                while not run.over:
                    self.step(cycle)
            except (Lost, NotSent) as error:
                run.lost(cycle, error)
            except payloads.Torn as error:
                run.failures.add("torn read", str(error))
            self.connection.close()
            if self.random.random() < 0.05 and run.cycle == cycle and run.server.alive():
                continue  # A new connection to the same server.
            cycle += 1

    def step(self, cycle):
        dice = self.random.random()
        stream = self.random.choice(list(self.run_state.streams.values()))
        if self.retry is not None:
            stream, append, triple = self.retry
            self.append(stream, append, triple)
        elif dice < 0.80:
            if stream.closed and self.random.random() < 0.9:
                return
            self.append(stream, self.new_append(stream), self.triple(stream))
        elif dice < 0.90:
            self.read(stream)
        elif dice < 0.97:
            self.head(stream)
        elif stream.path.startswith("/kill/c") and self.random.random() < 0.05:
            self.close(stream)
        if self.random.random() < 0.002:
            self.connection.close()

    def new_append(self, stream):
        """(name, body)"""
        size = size_of(self.random)
        number = self.run_state.number()
        if stream.kind == "json":
            elements = payloads.json_elements(number, self.random.choice([1, 1, 2, 5]), size)
            return (
                payloads.json_name(elements),
                payloads.json_body(elements, self.random.random() < 0.5),
            )
        body = payloads.binary_payload(number, size)
        return payloads.digest(body), body

    def triple(self, stream):
        if not self.with_producer:
            return None
        key = stream.path
        if key not in self.seqs or self.random.random() < 0.02:
            if key in self.seqs:
                self.epochs[key] += 1
            self.seqs[key] = 0
        return (f"writer-{self.index}", self.epochs[key], self.seqs[key])

    def append(self, stream, append, triple):
        run = self.run_state
        name, body = append
        run.spend(len(body))
        headers = {"Content-Type": stream.content_type()}
        word = ""
        if triple:
            headers["Producer-Id"] = triple[0]
            headers["Producer-Epoch"] = str(triple[1])
            headers["Producer-Seq"] = str(triple[2])
            word = f" producer={triple[0]}:{triple[1]}:{triple[2]}"
        start = time.monotonic_ns()

        def note(end, outcome, offset="-"):
            run.history.append(
                f"append {stream.word} {start} {end} {outcome} {name:x} {offset}{word}"
            )

        resent = self.retry is not None
        self.retry = None
        try:
            response = self.connection.request("POST", stream.path, headers, body)
        except NotSent:
            if triple:
                self.retry = (stream, append, triple)
            raise
        except Lost:
            note("-", "unknown")
            run.count("unknown")
            if triple:
                self.retry = (stream, append, triple)
            raise
        end = time.monotonic_ns()
        outcome = outcome_of(response.status)
        if outcome == "acked":
            duplicate = triple is not None and response.status == 204
            offset = response.header("stream-next-offset", "-")
            if not duplicate and offset == "-":
                run.failures.add("ack", f"{response.status} without Stream-Next-Offset")
            note(end, "duplicate" if duplicate else "acked", "-" if duplicate else offset)
            if duplicate and not resent:
                run.failures.add("duplicate", f"{stream.path} {triple} was never sent before")
            run.count("duplicates" if duplicate else "acked")
            if resent:
                run.count("retries after a crash")
            if len(body) > 256 << 10:
                run.count("large")
            run.count("bytes", len(body))
            with stream.lock:
                stream.acked[name] = "-" if duplicate else offset
                if not duplicate:
                    stream.offsets.append(offset)
            if triple:
                self.seqs[stream.path] = triple[2] + 1
                if not duplicate and self.random.random() < 0.05:
                    self.retry = (stream, append, triple)  # As if the answer had been lost.
            return
        closed = response.header("stream-closed") == "true"
        if outcome == "refused" and closed and response.status == 409:
            note(end, "refused-closed")
            run.count("refused closed")
        else:
            note(end, outcome)
            run.count(f"status {response.status}")
            said = f"{response.status} {response.body[:200]}"
            run.failures.add("append", f"{stream.path}: {said}")

    def read(self, stream):
        run = self.run_state
        with stream.lock:
            recent = stream.offsets[-30:]
        from_offset = self.random.choice(recent)
        start = time.monotonic_ns()
        response = self.connection.request("GET", f"{stream.path}?offset={from_offset}")
        end = time.monotonic_ns()
        if response.status != 200:
            run.failures.add("read", f"{stream.path}: {response.status} {response.body[:200]}")
            return
        names = payloads.names_in(stream.kind, response.body)
        flags = ""
        if response.header("stream-up-to-date") == "true":
            flags += " tail"
        if response.header("stream-closed") == "true":
            flags += " closed"
        to_offset = response.header("stream-next-offset", "-")
        run.history.append(
            f"read {stream.word} {start} {end} {from_offset} {to_offset} {len(names)}"
            f" {payloads.fold(names):x}{flags}"
        )
        run.count("reads")

    def head(self, stream):
        run = self.run_state
        start = time.monotonic_ns()
        response = self.connection.request("HEAD", stream.path)
        end = time.monotonic_ns()
        if response.status != 200:
            run.failures.add("head", f"{stream.path}: {response.status}")
            return
        closed = " closed" if response.header("stream-closed") == "true" else ""
        offset = response.header("stream-next-offset", "-")
        run.history.append(f"head {stream.word} {start} {end} {offset}{closed}")
        run.count("heads")

    def close(self, stream):
        run = self.run_state
        start = time.monotonic_ns()
        try:
            response = self.connection.request("POST", stream.path, {"Stream-Closed": "true"}, b"")
        except Lost:
            run.history.append(f"close {stream.word} {start} - unknown")
            raise
        end = time.monotonic_ns()
        outcome = outcome_of(response.status)
        run.history.append(f"close {stream.word} {start} {end} {outcome}")
        if outcome == "acked":
            stream.closed = True
            run.count("closes")


class BallastWriter(Writer):
    """Fills the log with large appends."""

    def step(self, _cycle):
        run = self.run_state
        if run.ballast_left <= 0:
            time.sleep(0.02)
            return
        run.ballast_left -= BALLAST_APPEND
        body = payloads.binary_payload(run.number(), BALLAST_APPEND)
        self.append(run.ballast, (payloads.digest(body), body), None)


class TinyWriter:
    """The only writer of its stream: 1 to 15 bytes at a time, so the content is the model."""

    def __init__(self, run, index):
        self.run_state = run
        self.random = random.Random(run.random.random())
        self.state = run.tiny[TINY[index]]

    def run(self):
        run = self.run_state
        cycle = 0
        while True:
            cycle = run.wait_for(cycle)
            if cycle is None:
                return
            connection = run.connection()
            try:
                self.settle(connection)
                while not run.over:
                    self.step(connection)
            except (Lost, NotSent) as error:
                run.lost(cycle, error)
            connection.close()
            cycle += 1

    def settle(self, connection):
        """Finds out whether the append that was cut off is there."""
        state = self.state
        token = payloads.offset_token(len(state.content))
        response = connection.request("GET", f"{state.path}?offset={token}")
        allowed = [b""] if state.pending is None else [b"", state.pending]
        if response.status != 200 or response.body not in allowed:
            self.run_state.failures.add(
                "tiny", f"{state.path} at {token}: {response.status} {response.body[:80]!r}"
            )
        elif response.body:
            state.content += response.body
        state.pending = None

    def step(self, connection):
        state = self.state
        body = bytes(self.random.randrange(256) for _ in range(self.random.randrange(1, 16)))
        self.run_state.spend(200)
        state.pending = body
        response = connection.request("POST", state.path, {"Content-Type": BYTES}, body)
        if response.status != 204:
            self.run_state.failures.add("tiny", f"{state.path}: {response.status}")
            if outcome_of(response.status) == "refused":
                state.pending = None
            return
        state.content += body
        state.pending = None
        token = payloads.offset_token(len(state.content))
        if response.header("stream-next-offset") != token:
            self.run_state.failures.add(
                "tiny", f"{state.path}: {response.header('stream-next-offset')}, expected {token}"
            )
        self.run_state.count("tiny")


class Tailer:
    """Follows one stream over all restarts, by long-poll or SSE, from the last offset it got."""

    def __init__(self, run, index):
        self.run_state = run
        kind, path = STREAMS[(index * 5) % len(STREAMS)]
        self.stream = run.streams[path]
        self.sse = index % 2 == 0
        self.offset = payloads.ZERO
        self.names = []
        self.kind = kind

    def run(self):
        run = self.run_state
        cycle = 0
        while True:
            cycle = run.wait_for(cycle)
            if cycle is None:
                return
            if self.names:
                run.count("tails resumed")
            connection = run.connection()
            try:
                while not run.over:
                    if self.sse:
                        self.follow_events(connection)
                    else:
                        self.poll(connection)
            except (Lost, NotSent) as error:
                run.lost(cycle, error)
            except payloads.Torn as error:
                run.failures.add("torn tail", f"{self.stream.path}: {error}")
            connection.close()
            cycle += 1

    def got(self, data, to_offset):
        names = payloads.names_in(self.kind, data)
        end = time.monotonic_ns()
        self.run_state.history.append(
            f"read {self.stream.word} {end} {end} {self.offset} {to_offset} {len(names)}"
            f" {payloads.fold(names):x} live"
        )
        self.names += names
        self.offset = to_offset
        self.run_state.count("tail events")

    def poll(self, connection):
        path = f"{self.stream.path}?offset={self.offset}&live=long-poll"
        response = connection.request("GET", path)
        if response.status == 200:
            self.got(response.body, response.header("stream-next-offset"))
        elif response.status != 204:
            self.run_state.failures.add("long-poll", f"{self.stream.path}: {response.status}")
            time.sleep(0.05)

    def follow_events(self, connection):
        path = f"{self.stream.path}?offset={self.offset}&live=sse"
        connection.send("GET", path, {"Accept": "text/event-stream"})
        response = connection.read_head()
        if response.status != 200:
            self.run_state.failures.add("sse", f"{self.stream.path}: {response.status}")
            raise Lost("no event stream")
        data = None
        for name, text in sse_events(connection.read_body("GET", response)):
            if self.run_state.over:
                raise Lost("the end")
            if name == "data":
                if data is not None:
                    self.run_state.failures.add("sse", f"{self.stream.path}: data without control")
                data = text.encode() if self.kind == "json" else base64.b64decode(text)
            elif name == "control":
                to_offset = text.split('"streamNextOffset":"', 1)[1].split('"', 1)[0]
                if data is not None:
                    self.got(data, to_offset)
                    data = None
                elif to_offset != self.offset:
                    self.run_state.failures.add(
                        "sse", f"{self.stream.path}: offset {to_offset} without data"
                    )
        if response.header("connection", "").lower() == "close":
            connection.close()


def create(run, path, content_type=None):
    connection = run.connection()
    headers = {"Content-Type": content_type} if content_type else {}
    response = connection.request("PUT", path, headers)
    connection.close()
    if response.status not in (200, 201):
        run.failures.add("create", f"{path}: {response.status} {response.body[:200]}")


def verify(run, stream, connection, from_start=False):
    """Reads a stream on from where it was verified; all that was acknowledged must be there."""
    offset = payloads.ZERO if from_start else stream.next
    log, ends = ([], []) if from_start else (stream.log, stream.log_ends)
    while True:
        start = time.monotonic_ns()
        response = connection.request("GET", f"{stream.path}?offset={offset}")
        end = time.monotonic_ns()
        if response.status != 200:
            run.failures.add("verify", f"{stream.path} {offset}: {response.status}")
            return
        names = payloads.names_in(stream.kind, response.body)
        to_offset = response.header("stream-next-offset")
        at_tail = response.header("stream-up-to-date") == "true"
        flags = " tail" if at_tail else ""
        flags += " closed" if response.header("stream-closed") == "true" else ""
        run.history.append(
            f"read {stream.word} {start} {end} {offset} {to_offset} {len(names)}"
            f" {payloads.fold(names):x}{flags}"
        )
        if stream.kind == "bytes":
            position = payloads.position_of(offset)
            for payload in payloads.split_binary(response.body):
                position += len(payload)
                ends.append(payloads.offset_token(position))
        else:
            ends += ["-"] * max(0, len(names) - 1) + ([to_offset] if names else [])
        log += names
        if not names and not at_tail:
            run.failures.add("verify", f"{stream.path} {offset}: nothing read, not at the tail")
            return
        offset = to_offset
        if at_tail:
            break
    if from_start:
        if log[: len(stream.log)] != stream.log:
            run.failures.add("immutable", f"{stream.path}: an earlier part has changed")
        stream.log, stream.log_ends = log, ends
    stream.next = offset
    there = set(stream.log)
    if len(there) != len(stream.log):
        run.failures.add("twice", f"{stream.path}: {len(stream.log) - len(there)} payloads twice")
    place = {name: end for name, end in zip(stream.log, stream.log_ends)}
    with stream.lock:
        for name, end in stream.acked.items():
            if name not in there:
                run.failures.add("lost", f"{stream.path}: {name:x} acknowledged at {end}")
            elif "-" not in (end, place[name]) and end != place[name]:
                run.failures.add("moved", f"{stream.path}: {name:x} from {end} to {place[name]}")


def start_server(run, kill_while_starting):
    """Starts the server; first, if wanted, kills one that is still recovering."""
    if kill_while_starting:
        run.server.launch()
        time.sleep(run.random.uniform(0.0, 0.05))
        run.server.kill()
        os.unlink(run.server.log_path)
        run.count("killed while starting")
    run.server.start()
    run.counts["slowest start ms"] = max(
        run.counts["slowest start ms"], int(run.server.ready_s * 1000)
    )
    if run.server.ready_s > READY_LIMIT_S:
        run.failures.add("start", f"ready only after {run.server.ready_s:.1f} s")


def final_log(stream, end):
    """The lines of a history that tell what a stream ended as."""
    lines = [
        f"log {stream.word} {name:x} {end_offset}"
        for name, end_offset in zip(stream.log, stream.log_ends)
    ]
    return lines + [f"end {stream.word} {end}"]


def delete_ballast(run, connection):
    """Its log was just verified to the end, and nobody writes to it now."""
    run.history += final_log(run.ballast, "open")
    if connection.request("DELETE", run.ballast.path).status != 204:
        run.failures.add("delete", run.ballast.path)
    run.gone.append(run.ballast.path)


def one_cycle(run, number, cycles):
    start_server(run, number > 0 and number % 5 == 0)
    if number == 0:
        create(run, "/kill")
        for kind, path in STREAMS:
            create(run, path, JSON if kind == "json" else BYTES)
        for path in TINY:
            create(run, path, BYTES)
    else:
        connection = run.connection()
        for stream in [*run.streams.values(), run.ballast]:
            verify(run, stream, connection)
        if number % BALLAST_CYCLES == 0:
            delete_ballast(run, connection)
        for path in run.gone:
            if connection.request("HEAD", path).status != 404:
                run.failures.add("undeleted", path)
        connection.close()
    if number % BALLAST_CYCLES == 0:
        path = f"/kill/ballast{number}"
        create(run, path, BYTES)
        run.ballast = StreamState("bytes", path)
    run.ballast_left = BALLAST_PER_CYCLE
    # A stream that is closed at some moment of the cycle, and one that is deleted.
    path = f"/kill/c{number}"
    create(run, path, BYTES)
    run.streams[path] = StreamState("bytes", path)
    gone = f"/kill/gone{number}"
    create(run, gone, BYTES)
    connection = run.connection()
    connection.request("POST", gone, {"Content-Type": BYTES}, b"to be deleted")
    if connection.request("DELETE", gone).status != 204:
        run.failures.add("delete", gone)
    connection.close()
    run.gone.append(gone)
    run.killing = False
    run.cycle = number
    run.up.set()
    time.sleep(run.random.choice([run.random.uniform(0.02, 0.3), run.random.uniform(0.4, 1.4)]))
    run.killing = True
    run.up.clear()
    if not run.server.alive():
        run.failures.add("server", "died by itself: " + run.server.log()[-2000:])
    for event in ("snapshot.written", "segment.recycled", "wal.tail_discarded"):
        run.counts[event] += run.server.log().count(event)
    if number + 1 < cycles:
        run.server.kill()
        os.unlink(run.server.log_path)


def finish(run):
    """Closes and reads every stream on the last server, and compares the tails."""
    connection = run.connection()
    lines = []
    for stream in [*run.streams.values(), run.ballast]:
        start = time.monotonic_ns()
        response = connection.request("POST", stream.path, {"Stream-Closed": "true"}, b"")
        end = time.monotonic_ns()
        lines.append(f"close {stream.word} {start} {end} {outcome_of(response.status)}")
        verify(run, stream, connection, from_start=True)
        lines += final_log(stream, "closed")
    for state in run.tiny.values():
        response = connection.request("GET", f"{state.path}?offset=-1")
        allowed = [state.content, state.content + (state.pending or b"")]
        if response.body not in allowed:
            run.failures.add("tiny", f"{state.path}: {len(response.body)} bytes read back differ")
    connection.close()
    run.history += lines


def check_tails(run, tailers):
    for tailer in tailers:
        log = tailer.stream.log
        if tailer.names != log[: len(tailer.names)]:
            run.failures.add("tail", f"{tailer.stream.path}: the tail saw another order or content")


# A run that did less than this proved nothing. Per cycle, but `large` and the like once.
LEAST_PER_CYCLE = {"acked": 100, "unknown": 2, "tail events": 10, "tails resumed": 2, "reads": 20}
LEAST = {"large": 3, "duplicates": 10, "retries after a crash": 3, "tiny": 200, "heads": 50}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    options = parser.parse_args()
    print(f"kill cycles: {options.cycles}, seed {options.seed}", flush=True)
    sys.setswitchinterval(0.001)
    work = tempfile.mkdtemp(prefix="kill-cycles-")
    run = Run(options, os.path.join(work, "data"))
    tailers = [Tailer(run, index) for index in range(TAILERS)]
    tiny = [TinyWriter(run, index) for index in range(len(TINY))]
    ballast = BallastWriter(run, 1)
    writers = [Writer(run, index) for index in range(WORKERS - len(tailers) - len(tiny) - 1)]
    threads = [
        threading.Thread(target=worker.run, daemon=True)
        for worker in [*tailers, *tiny, ballast, *writers]
    ]
    for thread in threads:
        thread.start()
    passed = 0
    try:
        for number in range(options.cycles):
            before = run.failures.total()
            one_cycle(run, number, options.cycles)
            passed += 1 if run.failures.total() == before else 0
        run.over = True
        for thread in threads:
            thread.join(30.0)
            if thread.is_alive():
                run.failures.add("stuck", "a client had no answer for 30 s")
        finish(run)
        check_tails(run, tailers)
        if run.server.stop() != 0:
            run.failures.add("stop", f"exit code {run.server.process.returncode}")
        check_history(run.history, work, run.failures)
        least = {what: each * options.cycles for what, each in LEAST_PER_CYCLE.items()}
        if options.cycles >= 30:
            least["snapshot.written"] = 1
        for what, bound in {**least, **LEAST}.items():
            if run.counts[what] < bound:
                run.failures.add("vacuous", f"{run.counts[what]} {what}, at least {bound} expected")
            else:
                passed += 1
    except (ServerFailed, Lost, NotSent, payloads.Torn, OSError) as error:
        run.failures.add("run", f"{type(error).__name__}: {error}")
    finally:
        run.over = True
        if run.server.process is not None:
            run.server.kill()
        if options.keep or run.failures.total():
            print(f"data directory, history and server log: {work} {run.server.log_path}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(run.counts.items())))
    print(f"{passed} passed, {run.failures.total()} failed")
    return 1 if run.failures.total() else 0


if __name__ == "__main__":
    sys.exit(main())
