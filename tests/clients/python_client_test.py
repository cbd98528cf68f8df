#!/usr/bin/env python3
"""The Python client from PyPI (`durable-streams` 0.1.0) against one durable server.

That release knows neither producers nor closed streams: a producer's headers are given to it as
headers of our own, and the end of a tail is told by its content. The last line is
`N passed, N failed`.
"""

import asyncio
import os
import sys
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

import durable_streams  # noqa: E402
import httpx  # noqa: E402
from checks import expect, run_checks  # noqa: E402
from durable_streams import AsyncDurableStream, DurableStream, astream, stream  # noqa: E402
from durable_streams import DurableStreamError, SeqConflictError  # noqa: E402
from durable_streams import StreamExistsError, StreamNotFoundError  # noqa: E402
from ursula_server import Server  # noqa: E402

# Polls and SSE replies end often, so that every tail of these tests goes through several of them.
FLAGS = [
    "--set", "server.long_poll_timeout=1s", "--set", "server.sse_lifetime=3s",
    "--set", "server.sse_heartbeat=1s",
]
JSON = "application/json"
# What a tail meets when the server is killed: refused, reset, ended in the middle of a reply.
BREAKS = (httpx.TransportError, durable_streams.FetchError)
WAIT_S = 60.0


def serve(work):
    return Server(data_dir=os.path.join(work, "data"), flags=FLAGS)


def url_of(server, name):
    return f"{server.url}/v1/stream/python/{name}-{uuid.uuid4().hex}"


def must_raise(what, kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{what}: no {kind.__name__}")


def check_create_head_delete(work):
    with serve(work) as server:
        url = url_of(server, "create")
        handle = DurableStream.create(url, content_type="text/plain", ttl_seconds=3600, body="a")
        DurableStream.create(url, content_type="text/plain", ttl_seconds=3600, body="a")
        must_raise(
            "another type", StreamExistsError,
            lambda: DurableStream.create(url, content_type=JSON),
        )
        offset = handle.append("b").next_offset
        head = DurableStream.connect(url).head()
        expect("type", head.content_type, "text/plain")
        expect("offset", head.offset, offset)
        with stream(url, live=False) as answer:
            expect("text", answer.read_text(), "ab")
            expect("up to date", answer.up_to_date, True)
            expect("end", answer.offset, offset)
        with stream(url, offset=offset, live=False) as answer:
            expect("nothing behind the end", answer.read_bytes(), b"")
        handle.delete()
        must_raise("deleted", StreamNotFoundError, handle.head)
        must_raise("deleted", StreamNotFoundError, lambda: stream(url, live=False))


def check_json_and_seq(work):
    values = [None, True, -1.5, 2**53, "\u2028 \0 \U0001f600", [], [[1], 2], {"a": {"": None}}]
    with serve(work) as server:
        handle = DurableStream.create(url_of(server, "json"), content_type=JSON)
        for number, value in enumerate(values):
            handle.append(value, seq=f"{number:04}")
        must_raise("old seq", SeqConflictError, lambda: handle.append(0, seq="0001"))
        with handle.stream(live=False) as answer:
            expect("values", answer.read_json(), values)
        plain = DurableStream(handle.url, content_type="text/plain", batching=False)
        must_raise("another type", (SeqConflictError, DurableStreamError), lambda: plain.append(""))


def check_binary(work):
    everything = bytes(range(256)) * 4000
    with serve(work) as server:
        handle = DurableStream.create(url_of(server, "bytes"), content_type="application/x-bytes")
        handle.append(everything)
        handle.append(everything)
        with handle.stream(live=False) as answer:
            expect("bytes", b"".join(answer), everything * 2)


def check_batches(work):
    """Appends that are made at once travel together, none is lost and none is doubled."""
    requests = []

    async def run(server):
        url = url_of(server, "batch")
        client = httpx.AsyncClient(event_hooks={"request": [note]})
        async with await AsyncDurableStream.create(url, content_type=JSON, client=client) as handle:
            await asyncio.gather(*[handle.append({"number": number}) for number in range(500)])
            async with astream(url, live=False) as answer:
                items = await answer.read_json()
        await client.aclose()
        expect("items", sorted(item["number"] for item in items), list(range(500)))

    async def note(request):
        requests.append(request.method)

    with serve(work) as server:
        asyncio.run(run(server))
    if requests.count("POST") > 100:
        raise AssertionError(f"{requests.count('POST')} requests for 500 appends")


class Producer:
    """The protocol's producer headers on a client that does not know them."""

    def __init__(self, url):
        self.seq = 0
        self.handle = DurableStream(
            url, content_type=JSON, batching=False,
            headers={
                "Producer-Id": "python", "Producer-Epoch": "0",
                "Producer-Seq": lambda: str(self.seq),
            },
        )

    def append(self, value):
        """Until it is answered: the server knows what it has already."""
        end = time.monotonic() + WAIT_S
        while True:
            try:
                self.handle.append(value)
                break
            except BREAKS:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.seq += 1


class Tail(threading.Thread):
    """Reads events until one is `None`; after a break it goes on at the last offset it saw."""

    def __init__(self, url, live):
        super().__init__(daemon=True)
        self.url = url
        self.live = live
        self.items = []
        self.replies = 0
        self.error = None

    def run(self):
        offset = "-1"  # Asked for by name: live reads need one.
        end = time.monotonic() + WAIT_S
        try:
            while time.monotonic() < end:
                try:
                    self.replies += 1
                    with stream(self.url, offset=offset, live=self.live) as answer:
                        for event in answer.iter_events(mode="json"):
                            self.items += event.data
                            offset = event.next_offset
                            if self.items and self.items[-1] is None:
                                return
                except BREAKS:
                    time.sleep(0.05)
            raise AssertionError(f"{self.live} tail: no end within {WAIT_S} s")
        except Exception as error:
            self.error = error

    def finish(self, wanted):
        self.join()
        if self.error is not None:
            raise self.error
        expect(f"{self.live} tail", self.items, [*wanted, None])


def check_tails(work):
    with serve(work) as server:
        handle = DurableStream.create(url_of(server, "tails"), content_type=JSON)
        tails = [Tail(handle.url, live) for live in ("auto", "long-poll", "sse")]
        for tail in tails:
            tail.start()
        wanted = list(range(90))
        for number in wanted:
            handle.append(number)
            time.sleep(0.05)
        handle.append(None)
        for tail in tails:
            tail.finish(wanted)
        if tails[2].replies < 2:
            raise AssertionError("the SSE tail went through one reply only")


def check_kills(work):
    """kill -9 three times below a producer and two tails: each item once and in order."""
    with serve(work) as server:
        url = url_of(server, "kills")
        DurableStream.create(url, content_type=JSON)
        server.listen = f"{server.host}:{server.port}"
        tails = [Tail(url, live) for live in ("long-poll", "sse")]
        for tail in tails:
            tail.start()
        producer = Producer(url)
        written = []
        for _ in range(3):
            # Killed by a thread, so that an append can be under way.
            killer = threading.Timer(0.7, kill_and_restart, [server])
            killer.start()
            while killer.is_alive():
                producer.append(len(written))
                written.append(len(written))
        producer.append(None)
        for tail in tails:
            tail.finish(written)
        with stream(url, live=False) as answer:
            expect("all", answer.read_json(), [*written, None])


def kill_and_restart(server):
    server.kill()
    os.unlink(server.log_path)
    server.start()


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
