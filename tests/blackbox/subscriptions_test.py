#!/usr/bin/env python3
"""Subscriptions from outside: a real receiver on loopback, real signatures, kill -9 in the middle.

    tests/blackbox/subscriptions_test.py [check_name]...

Needs $URSULA_BIN or build/release/src/ursula. The last line is `N passed, N failed`.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from checks import expect, run_checks  # noqa: E402
from ursula_server import Server  # noqa: E402
from webhook_receiver import Receiver, verify_signature  # noqa: E402

JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
DONE = (200, {"Content-Type": "application/json"}, b'{"done":true}')


def ask(method, url, body=None, headers=None, token=None):
    """Returns (status, headers, body as bytes)."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    if data is not None and "Content-type" not in request.headers:
        request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


class Client:
    """One server's streams and subscriptions."""

    def __init__(self, server):
        self.base = server.url + "/v1/stream/"

    def create(self, path, body=None, headers=TEXT):
        status, _, said = ask("PUT", self.base + path, body, headers)
        if status not in (200, 201):
            raise AssertionError(f"PUT {path}: {status} {said!r}")

    def append(self, path, body=b"x", headers=TEXT):
        status, got, said = ask("POST", self.base + path, body, headers)
        if status not in (200, 204):
            raise AssertionError(f"POST {path}: {status} {said!r}")
        return got["Stream-Next-Offset"]

    def put(self, sub, config, status=201):
        got, _, body = ask("PUT", f"{self.base}__ds/subscriptions/{sub}", config)
        if got != status:
            raise AssertionError(f"PUT {sub} {config}: {got} {body!r}, expected {status}")
        return json.loads(body)

    def get(self, sub):
        status, _, body = ask("GET", f"{self.base}__ds/subscriptions/{sub}")
        expect(f"GET {sub} {body!r}", status, 200)
        return json.loads(body)

    def links(self, sub):
        return {one["path"]: (one["link_type"], one["acked_offset"])
                for one in self.get(sub)["streams"]}

    def post(self, sub, action, body, token=None):
        status, _, said = ask("POST", f"{self.base}__ds/subscriptions/{sub}/{action}", body,
                              token=token)
        return status, json.loads(said) if said else None

    def claim(self, sub, worker="w"):
        return self.post(sub, "claim", {"worker": worker})

    def keys(self):
        status, headers, body = ask("GET", self.base + "__ds/jwks.json")
        expect("GET jwks", status, 200)
        expect("type", headers["Content-Type"], "application/jwk-set+json")
        expect("caching", headers["Cache-Control"], "public, max-age=300")
        return json.loads(body)

    def pull(self, sub, pattern, lease_ms=1000):
        """A pull-wake subscription with a wake stream of its own."""
        self.create(f"wake/{sub}", b"[]", JSON)
        return self.put(sub, {"type": "pull-wake", "pattern": pattern,
                              "wake_stream": f"wake/{sub}", "lease_ttl_ms": lease_ms})

    def events(self, sub):
        status, _, body = ask("GET", self.base + f"wake/{sub}")
        expect("GET wake stream", status, 200)
        return json.loads(body)


def wait_for(what, condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


def error_of(answer):
    return answer[0], answer[1]["error"]["code"]


def ack_of(claimed, done=True, upto=None):
    return {"wake_id": claimed["wake_id"], "generation": claimed["generation"], "done": done,
            "acks": [{"stream": one["path"], "offset": upto or one["tail_offset"]}
                     for one in claimed["streams"] if one["has_pending"]]}


def webhook(receiver, pattern, lease_ms=1000, **more):
    return {"type": "webhook", "pattern": pattern, "webhook": {"url": receiver.url},
            "lease_ttl_ms": lease_ms, **more}


def check_delivery_is_signed_and_acknowledged(work):
    with Server(data_dir=os.path.join(work, "d")) as server, Receiver(lambda _: DONE) as receiver:
        client = Client(server)
        client.create("orders/old", b"before")
        made = client.put("s1", webhook(receiver, "orders/*", description="d"))
        expect("jwks_url", made["webhook"]["signing"]["jwks_url"], client.base + "__ds/jwks.json")
        expect("linked at its tail", client.links("s1")["orders/old"][1],
               "0000000000000000_0000000000000006")
        client.put("s1", webhook(receiver, "orders/*", description="d"), 200)
        client.put("s1", webhook(receiver, "orders/*", description="e"), 409)
        client.create("orders/a/b", b"not matched")
        client.create("orders/new", b"hello")
        got = receiver.wait(1)
        at = verify_signature(got.body, got.headers["Webhook-Signature"], client.keys())
        expect("time of the signature", abs(at - time.time()) < 10, True)
        expect("subscription_id", got.json["subscription_id"], "s1")
        expect("callback_url", got.json["callback_url"],
               client.base + "__ds/subscriptions/s1/callback")
        shown = {one["path"]: one for one in got.json["streams"]}
        expect("paths", sorted(shown), ["orders/new", "orders/old"])
        expect("new", (shown["orders/new"]["acked_offset"], shown["orders/new"]["has_pending"]),
               ("-1", True))
        expect("old", shown["orders/old"]["has_pending"], False)
        wait_for("acknowledged", lambda: client.links("s1")["orders/new"][1] ==
                 shown["orders/new"]["tail_offset"])
        text = json.dumps(client.get("s1"))
        expect("no secret", [word for word in ("secret", "private", "token") if word in text], [])


def check_retries_keep_their_schedule_over_kill_9(work):
    failing = [True]
    answer = lambda _: (500, {}, b"") if failing[0] else DONE  # noqa: E731
    data = os.path.join(work, "d")
    with Receiver(answer) as receiver:
        server = Server(data_dir=data).start()
        try:
            client = Client(server)
            client.put("s", webhook(receiver, "a/*"))
            kid = client.keys()["keys"][0]["kid"]
            client.create("a/1", b"data")
            first, second = receiver.wait(1), receiver.wait(2)
            pause = second.at - first.at
            expect(f"about a second: {pause}", 0.7 < pause < 2.5, True)
            expect("one wake", second.json["wake_id"], first.json["wake_id"])
            wait_for("failed", lambda: client.get("s")["status"] == "failed")
            server.kill()
            server = Server(data_dir=data, listen=f"127.0.0.1:{server.port}").start()
            client = Client(server)
            expect("the key stays", client.keys()["keys"][0]["kid"], kid)
            third = receiver.wait(3)
            pause = third.at - second.at
            expect(f"about two seconds, not at once: {pause}", 1.4 < pause < 6, True)
            expect("still one wake", third.json["wake_id"], first.json["wake_id"])
            failing[0] = False
            fourth = receiver.wait(4)
            expect(f"about four: {fourth.at - third.at}", 2.9 < fourth.at - third.at < 8, True)
            wait_for("active", lambda: client.get("s")["status"] == "active")
            wait_for("acknowledged", lambda: client.links("s")["a/1"][1].endswith("4"))
        finally:
            server.discard()


def check_kill_9_in_the_middle_of_a_delivery(work):
    data = os.path.join(work, "d")
    answers = [None, DONE]
    with Receiver(lambda _: answers.pop(0) if len(answers) > 1 else answers[0]) as receiver:
        server = Server(data_dir=data).start()
        try:
            Client(server).put("s", webhook(receiver, "a/*"))
            Client(server).create("a/1", b"data")
            first = receiver.wait(1)
            server.kill()
            server = Server(data_dir=data, listen=f"127.0.0.1:{server.port}").start()
            second = receiver.wait(2)
            expect("the same wake", second.json["wake_id"], first.json["wake_id"])
            client = Client(server)
            wait_for("acknowledged", lambda: client.links("s")["a/1"][1].endswith("4"))
        finally:
            server.discard()


def check_receivers_that_misbehave(work):
    del work
    with Receiver(lambda _: DONE) as target:
        behaviours = {
            "redirect": lambda _: (302, {"Location": target.url}, b""),
            "huge": lambda _: (200, {}, b'{"done":true,"x":"' + b"x" * 1_000_000 + b'"}'),
            "error": lambda _: (404, {}, b'{"done":true}'),
        }
        for name, answer in behaviours.items():
            with Server() as server, Receiver(answer) as receiver:
                client = Client(server)
                client.put("s", webhook(receiver, "a/*", lease_ms=600_000))
                client.create("a/1", b"data")
                receiver.wait(1)
                wait_for(f"{name} fails", lambda: client.get("s")["status"] == "failed")
                expect(f"{name} acknowledges nothing", client.links("s")["a/1"][1], "-1")
                receiver.wait(2)
        expect("redirects are not followed", len(target.received), 0)


def check_callback_fences_and_forgeries(work):
    del work
    with Server() as server, Receiver() as receiver:
        client = Client(server)
        client.put("s", webhook(receiver, "a/*", lease_ms=600_000))
        client.put("other", webhook(receiver, "b/*", lease_ms=600_000))
        client.create("a/1", b"data")
        wake = receiver.wait(1).json
        token = wake["callback_token"]
        body = ack_of(wake)
        expect("404 before 401", error_of(client.post("none", "callback", body, "x")),
               (404, "SUBSCRIPTION_NOT_FOUND"))
        content, mac = token.split(".")
        forged = ["", "x", "x.y", content + "." + mac[:-1], content + "." + mac + "A",
                  content + "." + ("A" if mac[0] != "A" else "B") + mac[1:],
                  ("A" if content[0] != "A" else "B") + content[1:] + "." + mac, content + "."]
        for bad in [None] + forged:
            expect(f"token {bad}", error_of(client.post("s", "callback", body, bad)),
                   (401, "TOKEN_INVALID"))
        expect("another's token", error_of(client.post("other", "callback", body, token)),
               (401, "TOKEN_INVALID"))
        for change in ({"generation": 2}, {"wake_id": "w_0"}):
            expect(f"{change}", error_of(client.post("s", "callback", {**body, **change}, token)),
                   (409, "FENCED"))
        wrong = [("a/2", "0000000000000000_0000000000000004"), ("a/1", "-1"), ("a/1", "zzz"),
                 ("a/1", "0000000000000000_0000000000000005")]
        for path, offset in wrong:
            acks = body["acks"] + [{"stream": path, "offset": offset}]
            expect(f"{path} {offset}",
                   error_of(client.post("s", "callback", {**body, "acks": acks}, token)),
                   (409, "INVALID_OFFSET"))
        expect("all or nothing", client.links("s")["a/1"][1], "-1")
        expect("not done", client.post("s", "callback", {**body, "done": False}, token),
               (200, {"ok": True, "next_wake": False}))
        expect("below is refused",
               error_of(client.post("s", "callback", {**body, "acks": [
                   {"stream": "a/1", "offset": "0000000000000000_0000000000000003"}]}, token)),
               (409, "INVALID_OFFSET"))
        client.append("a/1")
        expect("done, and there is more", client.post("s", "callback", body, token),
               (200, {"ok": True, "next_wake": True}))
        expect("stale", error_of(client.post("s", "callback", body, token)), (409, "FENCED"))
        expect("generation", receiver.wait(2).json["generation"], 2)
        ask("DELETE", client.base + "__ds/subscriptions/s")
        expect("deleted", error_of(client.post("s", "callback", body, token)),
               (404, "SUBSCRIPTION_NOT_FOUND"))
        client.put("s", webhook(receiver, "a/*"))
        expect("its tokens died", error_of(client.post("s", "callback", body, token)),
               (401, "TOKEN_INVALID"))


def check_lease_ends(work):
    with Server(data_dir=os.path.join(work, "d")) as server, Receiver() as receiver:
        client = Client(server)
        client.put("s", webhook(receiver, "a/*"))
        client.create("a/1", b"data")
        first, second = receiver.wait(1), receiver.wait(2)
        expect(f"the lease: {second.at - first.at}", 0.9 < second.at - first.at < 5, True)
        expect("generations", (first.json["generation"], second.json["generation"]), (1, 2))
        client.pull("p", "b/*")
        client.create("b/1", b"data")
        status, one = client.claim("p", "first")
        expect("claim", status, 200)
        expect("busy", error_of(client.claim("p", "second")), (409, "ALREADY_CLAIMED"))
        status, two = wait_for("the lease ends", lambda: (
            lambda answer: answer if answer[0] == 200 else None)(client.claim("p", "second")))
        expect("a later wake", two["generation"] > one["generation"], True)
        expect("the first is fenced", error_of(client.post("p", "ack", ack_of(one), one["token"])),
               (409, "FENCED"))
        expect("the second is not", client.post("p", "ack", ack_of(two), two["token"])[0], 200)


def check_pull_wake(work):
    data = os.path.join(work, "d")
    server = Server(data_dir=data).start()
    try:
        client = Client(server)
        client.pull("p", "**", lease_ms=60_000)  # its own wake stream as well
        expect("nothing to do", error_of(client.claim("p")), (409, "NO_PENDING_WORK"))
        client.create("a/b/c", b"data")
        events = wait_for("a wake event", lambda: client.events("p"))
        expect("event", (events[0]["type"], events[0]["subscription_id"], events[0]["stream"],
                         events[0]["generation"]), ("wake", "p", "a/b/c", 1))
        status, claimed = client.claim("p")
        expect("claim", status, 200)
        expect("release", client.post("p", "release", {
            "wake_id": claimed["wake_id"], "generation": claimed["generation"]},
            claimed["token"])[0], 204)
        wait_for("another wake event", lambda: len(client.events("p")) == 2)
        status, claimed = client.claim("p")
        expect("acked", client.post("p", "ack", ack_of(claimed), claimed["token"]),
               (200, {"ok": True, "next_wake": False}))
        # Right after an append there is something to claim, and it shows that append.
        for round_ in range(50):
            tail = client.append("a/b/c")
            status, claimed = client.claim("p")
            expect(f"claim {round_} {claimed}", status, 200)
            shown = {one["path"]: one["tail_offset"] for one in claimed["streams"]}
            expect("its tail", shown["a/b/c"], tail)
            expect("acked", client.post("p", "ack", ack_of(claimed), claimed["token"])[0], 200)
        before = len(client.events("p"))
        time.sleep(0.3)
        expect("its own wake stream wakes nobody", len(client.events("p")), before)
        client.append("a/b/c")
        wait_for("an event", lambda: len(client.events("p")) > before)
        server.kill()
        server = Server(data_dir=data, listen=f"127.0.0.1:{server.port}").start()
        client = Client(server)
        status, claimed = client.claim("p")
        expect("claim after kill -9", status, 200)
        expect("events are not doubled",
               len({event["generation"] for event in client.events("p")}),
               len(client.events("p")))
        for sub, body, headers in (("none", None, None), ("text", b"", TEXT)):
            if headers is not None:
                client.create(f"wake/{sub}", body, headers)
            client.put(sub, {"type": "pull-wake", "pattern": f"{sub}/*",
                             "wake_stream": f"wake/{sub}"})
            client.create(f"{sub}/1", b"data")
            expect(f"claims work with wake stream {sub}", client.claim(sub)[0], 200)
    finally:
        server.discard()


def check_links(work):
    with Server(data_dir=os.path.join(work, "d")) as server, Receiver() as receiver:
        client = Client(server)
        client.create("m/there", b"12345")
        client.put("s", {"type": "webhook", "streams": ["m/there", "/m/not/"],
                         "webhook": {"url": receiver.url}})
        zero, five = ("explicit", "0000000000000000_" + "0" * 16), \
            ("explicit", "0000000000000000_0000000000000005")
        expect("explicit", client.links("s"), {"m/there": five, "m/not": zero})
        url = f"{client.base}__ds/subscriptions/s/streams"
        client.create("m/more", b"12345")
        expect("add", ask("POST", url, {"streams": ["m/more"]})[0], 204)
        expect("at its tail", client.links("s")["m/more"], five)
        expect("remove", ask("DELETE", url + "/m%2Fmore")[0], 204)
        expect("again", ask("DELETE", url + "/m/more")[0], 204)
        expect("gone", "m/more" in client.links("s"), False)
        expect("add again", ask("POST", url, {"streams": ["m/more"]})[0], 204)
        expect("at its tail again", client.links("s")["m/more"], five)
        for bad in ([], {"streams": "x"}, {"streams": [""]}, {"streams": [1]},
                    {"streams": ["a/../b"]}, {"streams": ["__ds/x"]}):
            expect(f"{bad}", ask("POST", url, bad)[0], 400)
        client.create("m/not", b"abc")
        wake = receiver.wait(1).json
        expect("what is pending", [one["path"] for one in wake["streams"] if one["has_pending"]],
               ["m/not"])
        expect("delete a stream", ask("DELETE", client.base + "m/not")[0], 204)
        wait_for("its link is gone", lambda: "m/not" not in client.links("s"))
        client.pull("p", "x/*")
        client.create("x/1", b"old")
        wait_for("linked", lambda: "x/1" in client.links("p"))
        ask("DELETE", client.base + "x/1")
        client.create("x/1", b"new one")
        status, claimed = client.claim("p")
        expect("a new life is linked before all", (status, claimed["streams"][0]["acked_offset"],
                                                   claimed["streams"][0]["tail_offset"][-1]),
               (200, "-1", "7"))


def check_forks(work):
    """What a fork inherits wakes nobody; a source that is deleted while it has one is gone."""
    del work
    with Server() as server:
        client = Client(server)
        client.pull("p", "f/*", lease_ms=600_000)
        client.create("f/source", b"12345")
        status, claimed = client.claim("p")
        expect("ack", client.post("p", "ack", ack_of(claimed), claimed["token"])[0], 200)
        client.create("f/fork", None, {**TEXT, "Stream-Forked-From": "/v1/stream/f/source"})
        expect("nothing new", error_of(client.claim("p")), (409, "NO_PENDING_WORK"))
        expect("delete", ask("DELETE", client.base + "f/source")[0], 204)
        wait_for("its link is gone", lambda: "f/source" not in client.links("p"))
        tail = client.append("f/fork")
        status, claimed = client.claim("p")
        expect("the fork", (status, [(one["path"], one["acked_offset"], one["tail_offset"])
                                     for one in claimed["streams"]]),
               (200, [("f/fork", "-1", tail)]))
        client.put("later", {"type": "pull-wake", "pattern": "f/*", "wake_stream": "wake/p"})
        expect("what is gone is not linked", sorted(client.links("later")), ["f/fork"])


def check_streams_of_a_bucket(work):
    """/{bucket}/__ds/... is the same for the streams of one bucket."""
    with Server(data_dir=os.path.join(work, "d")) as server, Receiver(lambda _: DONE) as receiver:
        client = Client(server)
        client.base = server.url + "/shop/"
        said = client.put("s", webhook(receiver, "**"), 404)
        expect("no bucket", said["error"]["code"], "BUCKET_NOT_FOUND")
        expect("PUT bucket", ask("PUT", server.url + "/shop")[0], 201)
        made = client.put("s", webhook(receiver, "**"))
        expect("jwks_url", made["webhook"]["signing"]["jwks_url"], client.base + "__ds/jwks.json")
        client.create("orders", b"data")
        client.create("north/orders", b"data")
        expect("elsewhere", ask("PUT", server.url + "/v1/stream/orders", b"x", TEXT)[0], 201)
        wait_for("both", lambda: {path: link[1][-1] for path, link in client.links("s").items()} ==
                 {"orders": "4", "north/orders": "4"})
        got = receiver.received[0]
        verify_signature(got.body, got.headers["Webhook-Signature"], client.keys())
        expect("callback_url", got.json["callback_url"],
               client.base + "__ds/subscriptions/s/callback")
        client.put("e", {"type": "pull-wake", "streams": ["north/orders"], "wake_stream": "wake"})
        client.append("north/orders")
        expect("claim", client.claim("e")[0], 200)


def check_requests_that_are_refused(work):
    del work
    with Server() as server, Receiver() as receiver:
        client = Client(server)
        good = webhook(receiver, "a/*")
        bad = [b"", b"[]", b"{", b"nul", {}, {**good, "type": "x"}, {**good, "pattern": 1},
               {"type": "webhook", "webhook": {"url": receiver.url}}, {**good, "webhook": {}},
               {**good, "lease_ttl_ms": 999}, {**good, "lease_ttl_ms": 600_001},
               {**good, "lease_ttl_ms": 1000.5}, {**good, "lease_ttl_ms": "1000"},
               {**good, "description": 1}, {"type": "pull-wake", "pattern": "a"},
               {"type": "pull-wake", "pattern": "a", "wake_stream": "../x"},
               b"[" * 100_000]
        for body in bad:
            said = client.put("s", body, 400)
            expect(f"{str(body)[:80]}", said["error"]["code"], "INVALID_REQUEST")
        for url in ("http://10.0.0.1/hook", "http://example.com/", "https://10.0.0.1/",
                    "https://[::1]:x/", "https://user@example.com/", "ftp://example.com/",
                    f"http://127.0.0.1:{server.port}/v1/stream/x", "https://169.254.169.254/",
                    "https://0x7f.1/", "https://2130706433/", "http://localhost./", ""):
            said = client.put("s", {**good, "webhook": {"url": url}}, 400)
            expect(url, said["error"]["code"], "WEBHOOK_URL_REJECTED")
        root = client.base + "__ds"
        for method, path, status in (
                ("GET", "", 404), ("GET", "/x", 404), ("POST", "/jwks.json", 405),
                ("GET", "/subscriptions", 404), ("GET", "/subscriptions/s", 404),
                ("PATCH", "/subscriptions/s", 405), ("POST", "/subscriptions/s", 405),
                ("GET", "/subscriptions/s/claim", 405), ("POST", "/subscriptions/s/x", 404),
                ("GET", "/subscriptions/%zz", 400), ("DELETE", "/subscriptions/s", 204),
                ("DELETE", "/subscriptions/s/streams/a", 404)):
            got, headers, body = ask(method, root + path)
            expect(f"{method} {path}", got, status)
            if status >= 400 and method != "PATCH":
                expect(f"{method} {path}", sorted(json.loads(body)), ["error"])
                expect("type", headers["Content-Type"], "application/json")
        expect("a neighbour is a stream", ask("PUT", client.base + "__dsx", b"x", TEXT)[0], 201)
        client.put("s", good)
        expect("claim of a webhook", error_of(client.claim("s")), (400, "INVALID_REQUEST"))
        client.pull("p", "a/*")
        expect("no worker", error_of(client.claim("p", "")), (400, "INVALID_REQUEST"))
        closed = ["--set", "webhooks.allow_loopback_http=false"]
        with Server(flags=closed) as strict:
            said = Client(strict).put("s", good, 400)
            expect("loopback is not allowed", said["error"]["code"], "WEBHOOK_URL_REJECTED")
        with Server(flags=["--set", "server.public_url=https://streams.example/"]) as named:
            made = Client(named).put("s", good)
            expect("public_url", made["webhook"]["signing"]["jwks_url"],
                   "https://streams.example/v1/stream/__ds/jwks.json")


def check_many_subscriptions_and_streams(work):
    """And every one of them survives."""
    data = os.path.join(work, "d")
    subs, streams = 60, 60
    flags = ["--set", "server.shards=2", "--set", "server.pin=false"]
    server = Server(data_dir=data, flags=flags).start()
    try:
        client = Client(server)
        for i in range(subs):
            client.put(f"s{i}", {"type": "pull-wake", "pattern": f"g{i % 6}/**",
                                 "wake_stream": "wake/none", "lease_ttl_ms": 600_000})
        for i in range(streams):
            client.create(f"g{i % 6}/{i}/x", b"data")
        for i in range(subs):
            status, claimed = client.claim(f"s{i}")
            expect(f"claim {i} {claimed}", status, 200)
            expect("streams", len(claimed["streams"]), streams // 6)
            expect("ack", client.post(f"s{i}", "ack", ack_of(claimed), claimed["token"]),
                   (200, {"ok": True, "next_wake": False}))
        server.kill()
        server = Server(data_dir=data, flags=flags).start()
        client = Client(server)
        for i in range(subs):
            links = client.links(f"s{i}")
            expect("links", (len(links), {acked[-1] for _, acked in links.values()}),
                   (streams // 6, {"4"}))
            expect("nothing is pending", error_of(client.claim(f"s{i}")),
                   (409, "NO_PENDING_WORK"))
    finally:
        server.discard()


if __name__ == "__main__":
    sys.exit(run_checks(dict(globals())))
