#!/usr/bin/env python3
"""Subscriptions on three real nodes: any node answers, and nothing is lost when one is killed in
the middle of deliveries. The last line is `N passed, N failed`.
"""

import json
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
sys.path.insert(0, HERE)

from checks import expect, run_checks  # noqa: E402
from cluster import TEXT, Cluster, wait_for  # noqa: E402
from webhook_receiver import Receiver, verify_signature  # noqa: E402

JSON = {"Content-Type": "application/json"}
SUBS = "/v1/stream/__ds/subscriptions/"
DONE = (200, {}, b'{"done":true}')
SUBSCRIPTIONS = 9  # Enough that every node leads the groups of some.


def put(cluster, sub, config):
    cluster.ask("PUT", SUBS + sub, JSON, json.dumps(config).encode())


def get(node, sub):
    answer = node.request("GET", SUBS + sub)
    return json.loads(answer.body) if answer is not None and answer.status == 200 else None


def acked(cluster, sub):
    """What any node says, by path."""
    answer = json.loads(cluster.ask("GET", SUBS + sub).body)
    return {link["path"]: int(link["acked_offset"][-16:]) for link in answer["streams"]}


def post(node, sub, action, body, token=None):
    headers = dict(JSON, **({"Authorization": f"Bearer {token}"} if token else {}))
    answer = node.request("POST", SUBS + f"{sub}/{action}", headers, json.dumps(body).encode(),
                          timeout_s=15.0)
    return None if answer is None else (answer.status, json.loads(answer.body or b"null"))


def check_any_node_answers(work):
    with Cluster(work) as cluster, Receiver(lambda _: DONE) as receiver:
        cluster.start()
        base = f"http://{cluster.node(2).host}:{cluster.node(2).port}/v1/stream/__ds"
        config = {"type": "webhook", "pattern": "a/**", "webhook": {"url": receiver.url}}
        answer = cluster.node(2).request("PUT", SUBS + "s", JSON, json.dumps(config).encode())
        expect("PUT", answer.status, 201)
        for node in cluster.nodes:
            wait_for("every node knows it", lambda n=node: get(n, "s") is not None)
            again = node.request("PUT", SUBS + "s", JSON, json.dumps(config).encode())
            expect("PUT again", again.status, 200)
        jwks = {node.request("GET", "/v1/stream/__ds/jwks.json").body for node in cluster.nodes}
        expect("one set of keys", len(jwks), 1)
        for number in range(12):
            cluster.ask("PUT", f"/v1/stream/a/{number}/x", TEXT, b"data")
        wait_for("all delivered", lambda: acked(cluster, "s") ==
                 {f"a/{number}/x": 4 for number in range(12)})
        keys = json.loads(jwks.pop())
        for got in receiver.received:
            verify_signature(got.body, got.headers["Webhook-Signature"], keys)
            expect("callback_url", got.json["callback_url"], base + "/subscriptions/s/callback")
        # A claim at any node right after an append at any other has it.
        cluster.ask("PUT", "/v1/stream/wake", JSON, b"[]")
        put(cluster, "p", {"type": "pull-wake", "pattern": "b/*", "wake_stream": "wake",
                           "lease_ttl_ms": 600_000})
        cluster.create("/v1/stream/b/1")
        for turn in range(18):
            answer = cluster.node(turn % 3 + 1).request("POST", "/v1/stream/b/1", TEXT, b"x")
            expect("append", answer.status, 204)
            node = cluster.node((turn // 3) % 3 + 1)
            status, claimed = post(node, "p", "claim", {"worker": "w"})
            expect(f"claim {turn} {claimed}", status, 200)
            tail = claimed["streams"][0]["tail_offset"]
            expect("its tail", tail, answer.header("stream-next-offset"))
            node = cluster.node((turn + 1) % 3 + 1)
            status, said = post(node, "p", "ack", {
                "wake_id": claimed["wake_id"], "generation": claimed["generation"],
                "acks": [{"stream": "b/1", "offset": tail}], "done": True}, claimed["token"])
            expect("ack", (status, said), (200, {"ok": True, "next_wake": False}))


def check_a_leader_is_killed_in_the_middle_of_deliveries(work):
    """First all receivers hold what they get; a node is killed; then they answer. Every append
    that was acknowledged is shown in some delivery, and acknowledged by it."""
    hold = threading.Event()
    hold.set()
    shown = {}  # by subscription and path: the highest tail

    def answer(got):
        if hold.is_set():
            return None
        for link in got.json["streams"]:
            key = (got.json["subscription_id"], link["path"])
            shown[key] = max(shown.get(key, 0), int(link["tail_offset"][-16:]))
        return DONE

    with Cluster(work, groups=6) as cluster, Receiver(answer) as receiver:
        cluster.start()
        subs = [f"s{number}" for number in range(SUBSCRIPTIONS)]
        for sub in subs:
            put(cluster, sub, {"type": "webhook", "pattern": f"{sub}/*",
                               "webhook": {"url": receiver.url}, "lease_ttl_ms": 1000})
        for sub in subs:
            for stream in range(3):
                cluster.ask("PUT", f"/v1/stream/{sub}/{stream}", TEXT, b"first")
        wait_for("all are being delivered",
                 lambda: {got.json["subscription_id"] for got in receiver.received} == set(subs))
        cluster.node(1).kill()
        hold.clear()
        receiver.held.set()
        for sub in subs:
            for stream in range(3):
                cluster.append(f"/v1/stream/{sub}/{stream}", "more")
        cluster.start([1])
        for sub in subs:
            for stream in range(3):
                path = f"{sub}/{stream}"
                head = cluster.ask("HEAD", f"/v1/stream/{path}")
                tail = int(head.header("stream-next-offset")[-16:])
                wait_for(f"{path} is acknowledged up to {tail}",
                         lambda s=sub, p=path, t=tail: acked(cluster, s).get(p) == t)
                expect(f"{path} was shown", shown[(sub, path)], tail)
        expect("stays active", {json.loads(cluster.ask("GET", SUBS + sub).body)["status"]
                                for sub in subs}, {"active"})


def check_schedules_and_wake_events_survive_each_node(work):
    """Each node is killed once, while wakes are announced and retries are waited for."""
    refuse = [True]
    with Cluster(work, groups=6) as cluster, \
            Receiver(lambda _: (503, {}, b"") if refuse[0] else DONE) as receiver:
        cluster.start()
        cluster.ask("PUT", "/v1/stream/wake", JSON, b"[]")
        subs = [f"p{number}" for number in range(6)]
        for sub in subs:
            put(cluster, sub, {"type": "pull-wake", "pattern": f"{sub}/*", "wake_stream": "wake",
                               "lease_ttl_ms": 1000})
        put(cluster, "w", {"type": "webhook", "pattern": "**", "webhook": {"url": receiver.url}})
        for number in (1, 2, 3):
            for sub in subs:
                cluster.ask("PUT", f"/v1/stream/{sub}/{number}", TEXT, b"data")
            cluster.node(number).kill()
            for sub in subs:
                cluster.append(f"/v1/stream/{sub}/{number}", "x")
            for sub in subs:
                def claim(sub=sub):
                    for node in cluster.running():
                        said = post(node, sub, "claim", {"worker": "w"})
                        if said is not None and said[0] == 200:
                            return node, said[1]
                    return None

                def take(sub=sub, claim=claim):
                    claimed = claim()
                    if claimed is None:
                        return None
                    node, wake = claimed
                    acks = [{"stream": link["path"], "offset": link["tail_offset"]}
                            for link in wake["streams"] if link["has_pending"]]
                    said = post(node, sub, "ack", {
                        "wake_id": wake["wake_id"], "generation": wake["generation"],
                        "acks": acks, "done": True}, wake["token"])
                    return said is not None and said[0] == 200

                wait_for(f"{sub} is claimed and done", take)
                head = cluster.ask("HEAD", f"/v1/stream/{sub}/{number}")
                expect(f"{sub}/{number}", acked(cluster, sub).get(f"{sub}/{number}"),
                       int(head.header("stream-next-offset")[-16:]))
            cluster.start([number])
        events = json.loads(cluster.ask("GET", "/v1/stream/wake").body)
        wakes = [(event["subscription_id"], event["generation"]) for event in events]
        expect("no wake is announced twice", len(set(wakes)), len(wakes))
        expect("all were announced", {sub for sub, _ in wakes}, set(subs))
        refuse[0] = False
        count = len(receiver.received)
        wait_for("the retries went on", lambda: len(receiver.received) > count, 90)
        wait_for("all is acknowledged", lambda: all(
            offset > 0 for path, offset in acked(cluster, "w").items() if path != "wake"), 90)


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
