#!/usr/bin/env python3
"""Many clients at the same stream in the same moment: creates, producers, closes, deletes, tails.

    tests/blackbox/races.py [--rounds 20]

Every check runs against a server in memory and a durable one, with two shards. The last line is
`N passed, N failed`.
"""

import argparse
import collections
import os
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from http_client import Connection, Lost, NotSent, sse_events  # noqa: E402
from ursula_server import Server, ServerFailed  # noqa: E402

CLIENTS = 24
TEXT = {"Content-Type": "text/plain"}


class Wrong(Exception):
    """A check's complaint."""


def at_once(server, count, act):
    """Runs act(connection, index) in `count` threads that start together; what each returned."""
    gate = threading.Barrier(count)
    results = [None] * count

    def client(index):
        connection = Connection(server.host, server.port, 20.0)
        try:
            connection.open()
            gate.wait()
            results[index] = act(connection, index)
        except (Lost, NotSent) as error:
            results[index] = error
        connection.close()

    threads = [threading.Thread(target=client, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [result for result in results if isinstance(result, Exception)]
    if lost:
        raise Wrong(f"{len(lost)} of {count} clients lost their connection: {lost[0]}")
    return results


def statuses(server, method, path, headers, body=None, count=CLIENTS):
    got = at_once(
        server, count, lambda connection, _: connection.request(method, path, headers, body).status
    )
    return collections.Counter(got)


def expect(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what}: {got}, expected {wanted}")


def race_creates(server, name):
    path = f"/v1/stream/{name}"
    expect("creates", statuses(server, "PUT", path, TEXT), {201: 1, 200: CLIENTS - 1})


def race_different_creates(server, name):
    path = f"/v1/stream/{name}"
    kinds = ["text/plain", "text/html", "application/json"]

    def create(connection, index):
        kind = kinds[index % len(kinds)]
        return kind, connection.request("PUT", path, {"Content-Type": kind}).status

    got = collections.Counter(at_once(server, CLIENTS, create))
    winner = [kind for (kind, status), count in got.items() if status == 201 and count == 1]
    expect("winners", len(winner), 1)
    each = CLIENTS // len(kinds)
    wanted = {(kind, 409): each for kind in kinds if kind != winner[0]}
    expect("creates", got, {**wanted, (winner[0], 201): 1, (winner[0], 200): each - 1})


def race_bucket_and_stream(server, name):
    bucket = f"/{name.lower()}"

    def create(connection, index):
        if index % 2:
            return "bucket", connection.request("PUT", bucket).status
        return "stream", connection.request("PUT", f"{bucket}/s", TEXT).status

    got = collections.Counter(at_once(server, CLIENTS, create))
    expect("bucket created", got["bucket", 201], 1)
    streams = got["stream", 201] + got["stream", 200] + got["stream", 404]
    expect("streams", streams, CLIENTS // 2)
    if got["stream", 201] > 1:
        raise Wrong(f"one stream created twice: {got}")


def race_one_producer_number(server, name):
    path = f"/v1/stream/{name}"
    connection = Connection(server.host, server.port)
    connection.request("PUT", path, TEXT)
    for seq in range(3):
        sent = {**TEXT, "Producer-Id": "p", "Producer-Epoch": "0", "Producer-Seq": str(seq)}
        got = statuses(server, "POST", path, sent, b"once")
        expect(f"number {seq}", got, {200: 1, 204: CLIENTS - 1})
    expect("content", connection.request("GET", path).body, b"once" * 3)


def race_epochs(server, name):
    """Each client claims its own epoch; whoever comes after a higher one is fenced."""
    path = f"/v1/stream/{name}"
    connection = Connection(server.host, server.port)
    connection.request("PUT", path, TEXT)

    def claim(own, index):
        sent = {**TEXT, "Producer-Id": "p", "Producer-Epoch": str(index), "Producer-Seq": "0"}
        return own.request("POST", path, sent, b"%04d" % index).status

    got = at_once(server, CLIENTS, claim)
    body = connection.request("GET", path).body
    kept = [int(body[at:at + 4]) for at in range(0, len(body), 4)]
    accepted = [index for index, status in enumerate(got) if status == 200]
    expect("epochs in the log", sorted(kept), accepted)
    expect("their order", kept, sorted(kept))
    expect("others", {status for status in got if status != 200} - {403}, set())
    if CLIENTS - 1 not in kept:
        raise Wrong("the highest epoch was refused")


def race_sequence(server, name):
    path = f"/v1/stream/{name}"
    connection = Connection(server.host, server.port)
    connection.request("PUT", path, TEXT)
    got = statuses(server, "POST", path, {**TEXT, "Stream-Seq": "a"}, b"x")
    expect("one Stream-Seq", got, {204: 1, 409: CLIENTS - 1})
    expect("content", connection.request("GET", path).body, b"x")


def race_close_and_appends(server, name):
    """What was acknowledged is before the close; what came after it was refused as closed."""
    path = f"/v1/stream/{name}"
    connection = Connection(server.host, server.port)
    connection.request("PUT", path, TEXT)

    def act(own, index):
        if index == 0:
            return own.request("POST", path, {"Stream-Closed": "true"}, b"").status
        done = 0
        for _ in range(20):
            response = own.request("POST", path, TEXT, b"0123456789")
            if response.status == 409:
                if response.header("stream-closed") != "true":
                    raise Lost("409 without Stream-Closed")
                break
            if response.status != 204:
                raise Lost(f"status {response.status}")
            done += 1
        return done

    got = at_once(server, CLIENTS, act)
    expect("close", got[0], 204)
    head = connection.request("HEAD", path)
    expect("closed", head.header("stream-closed"), "true")
    expect("size", int(head.header("stream-next-offset").split("_")[1]), 10 * sum(got[1:]))


def race_delete_and_appends(server, name):
    """An append that was in flight at a delete never lands in the stream created after it."""
    path = f"/v1/stream/{name}"
    connection = Connection(server.host, server.port)
    connection.request("PUT", path, TEXT)

    def act(own, index):
        if index == 0:
            first = own.request("DELETE", path).status
            return first, own.request("PUT", path, TEXT).status
        return own.request("POST", path, TEXT, b"0123456789").status

    got = at_once(server, CLIENTS, act)
    expect("delete and create", got[0], (204, 201))
    expect("appends", set(got[1:]) - {204, 404}, set())
    size = int(connection.request("HEAD", path).header("stream-next-offset").split("_")[1])
    if size > 10 * got[1:].count(204):
        raise Wrong(f"{size} bytes from {got[1:].count(204)} acknowledged appends")


def race_tails(server, name):
    """Every reader, however it follows, sees all appends once and in order, then the close."""
    path = f"/v1/stream/{name}"
    connection = Connection(server.host, server.port)
    connection.request("PUT", path, TEXT)
    appends = 60

    def follow(own, index):
        seen = ""
        offset = "-1"
        while index % 2:
            response = own.request("GET", f"{path}?offset={offset}&live=long-poll")
            seen += response.body.decode()
            offset = response.header("stream-next-offset")
            if response.header("stream-closed") == "true":
                return seen
        own.send("GET", f"{path}?offset={offset}&live=sse")
        for kind, data in sse_events(own.read_body("GET", own.read_head())):
            if kind == "data":
                seen += data
            elif '"streamClosed":true' in data:
                return seen
        raise Lost("the event stream ended before the close")

    def act(own, index):
        if index > 0:
            return follow(own, index)
        for number in range(appends):
            own.request("POST", path, TEXT, b"%05d" % number)
        own.request("POST", path, {"Stream-Closed": "true"}, b"")
        return "".join("%05d" % number for number in range(appends))

    got = at_once(server, CLIENTS, act)
    expect("different views", len(set(got)), 1)


def race_delete_and_tails(server, name):
    """A stream comes and goes under its readers: none sees two incarnations, all end, and the
    server lives."""
    path = f"/v1/stream/{name}"
    connection = Connection(server.host, server.port)
    lives = 5

    def follow(own, index):
        # Until the stream has been seen to be gone for good.
        seen = []
        while True:
            if index % 2:
                response = own.request("GET", f"{path}?offset=-1&live=long-poll")
                if response.status == 404 and over.is_set():
                    return seen
                if response.status == 200:
                    seen.append(response.body.decode())
                elif response.status not in (204, 404):
                    raise Wrong(f"a long-poll got {response.status}")
                continue
            own.send("GET", f"{path}?offset=-1&live=sse")
            response = own.read_head()
            text = ""
            for kind, data in sse_events(own.read_body("GET", response)):
                text += data if response.status == 200 and kind == "data" else ""
            if response.status == 404 and over.is_set():
                return seen
            seen.append(text)

    def act(own, index):
        if index > 0:
            return follow(own, index)
        try:
            for life in range(lives):
                expect("PUT", own.request("PUT", path, TEXT).status, 201)
                for _ in range(3):
                    own.request("POST", path, TEXT, str(life).encode() * 4)
                expect("DELETE", own.request("DELETE", path).status, 204)
        finally:
            over.set()
        return []

    over = threading.Event()
    for texts in at_once(server, CLIENTS, act):
        for text in texts:
            if len(set(text)) > 1:
                raise Wrong(f"one reader saw several streams: {text}")
    expect("afterwards", connection.request("GET", path).status, 404)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    races = sorted((name, race) for name, race in globals().items() if name.startswith("race_"))
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="races-") as work:
        for directory in (None, os.path.join(work, "d")):
            server = Server(data_dir=directory, flags=["--shards", "2"])
            try:
                server.start()
                for name, race in races:
                    try:
                        for number in range(options.rounds):
                            race(server, f"{name}-{number}")
                        passed += 1
                    except (Wrong, Lost, NotSent) as error:
                        failed += 1
                        where = "durable" if directory else "memory"
                        print(f"FAILED {name} ({where}), round {number}: {error}", flush=True)
                if server.stop() != 0:
                    failed += 1
                    print("FAILED the server did not stop with 0: " + server.log()[-2000:])
            except (ServerFailed, OSError) as error:
                failed += 1
                print(f"FAILED {error}")
            finally:
                server.discard()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
