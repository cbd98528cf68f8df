"""Examples of the digest (sections 1 and 2) for the model itself: a checker that is wrong is worse
than none. run.py runs them."""

import unittest

from json_text import JsonRefused, elements
from model import Model, Reply, Request, instant_ms, token
from shrink import shrink
from wire import Broken, parse_events, parse_head

TEXT = [("Content-Type", "text/plain")]
JSON = [("Content-Type", "application/json")]
START_MS = 1_925_000_000_000


class Base(unittest.TestCase):
    def setUp(self):
        self.model = Model("h", START_MS)

    def ask(self, method, path, headers=(), body=b""):
        return self.model.handle(Request(method, "/v1/stream" + path, headers, body))

    def put(self, path, headers=(), body=b"", status=201):
        reply = self.ask("PUT", path, headers, body)
        self.assertEqual(reply.status, status, (path, reply.headers, reply.body))
        return reply

    def post(self, path, body=b"", headers=(), status=204, media="text/plain"):
        headers = [("Content-Type", media), *headers]
        reply = self.ask("POST", path, headers, body)
        self.assertEqual(reply.status, status, (path, reply.headers, reply.body))
        return reply

    def get(self, path, query="", status=200):
        reply = self.ask("GET", path + query)
        self.assertIsInstance(reply, Reply)
        self.assertEqual(reply.status, status, (path, reply.headers, reply.body))
        return reply

    def reads(self, path, body, query=""):
        self.assertEqual(self.get(path, query).body, body)

    def fork(self, path, source, offset=None, sub=None, status=201, headers=(), body=b""):
        own = [("Stream-Forked-From", "/v1/stream" + source), *headers]
        if offset is not None:
            own.append(("Stream-Fork-Offset", offset if isinstance(offset, str)
                        else token(offset)))
        if sub is not None:
            own.append(("Stream-Fork-Sub-Offset", str(sub)))
        return self.put(path, own, body, status)


class Forks(Base):
    """Digest 2.3."""

    def setUp(self):
        super().setUp()
        self.put("/s", TEXT)
        self.post("/s", b"one ")
        self.post("/s", b"two ")
        self.post("/s", b"three")

    def test_at_the_tail_by_default(self):
        self.fork("/f", "/s")
        self.post("/s", b"unseen")
        self.reads("/f", b"one two three")
        self.post("/f", b"!")
        self.reads("/f", b"one two three!")
        self.reads("/s", b"one two threeunseen")

    def test_at_an_offset_and_at_the_zero_token(self):
        self.fork("/f", "/s", 4)
        self.reads("/f", b"one ")
        self.fork("/z", "/s", 0)
        self.reads("/z", b"")
        self.post("/z", b"own")
        self.reads("/z", b"own")

    def test_own_offsets_go_on_where_the_sources_end(self):
        self.fork("/f", "/s", 4)
        self.assertEqual(self.post("/f", b"x").headers["stream-next-offset"], token(5))
        self.reads("/f", b"x", "?offset=" + token(4))

    def test_sub_offset_in_bytes_of_the_next_append(self):
        self.fork("/f", "/s", 4, 2)
        self.reads("/f", b"one tw")
        self.fork("/all", "/s", 4, 4)
        self.reads("/all", b"one two ")
        self.fork("/more", "/s", 4, 5, status=400)
        self.fork("/none", "/s", 13, 1, status=400)
        self.fork("/none", "/s", None, 1, status=400)

    def test_chained_sub_offsets(self):
        self.put("/a", TEXT, b"abcd")
        self.fork("/b", "/a", 0, 2)
        self.fork("/c", "/b", 0, 2, body=b"Z")
        self.reads("/b", b"ab")
        self.reads("/c", b"abZ")

    def test_sub_offset_in_messages(self):
        self.put("/j", JSON, b'[1,{"a":2},3]')
        self.fork("/f", "/j", 0, 2)
        self.reads("/f", b'[1,{"a":2}]')
        self.post("/f", b"[4]", media="application/json")
        self.reads("/f", b'[1,{"a":2},4]')
        self.fork("/g", "/j", 0, 4, status=400)

    def test_malformed(self):
        for offset in ("-1", "now", "4", ""):
            self.fork("/f", "/s", offset, status=400)
        for sub in ("-1", "abc", "1.5", "05", "+1", ""):
            self.fork("/f", "/s", 0, sub, status=400)
        self.fork("/f", "/s", "9999999999999999_9999999999999999", status=400)
        self.put("/f", [("Stream-Fork-Sub-Offset", "0")], status=400)
        self.put("/f", [("Stream-Fork-Offset", token(0))], status=400)

    def test_content_type(self):
        self.assertEqual(self.fork("/f", "/s").headers["content-type"], "text/plain")
        self.fork("/g", "/s", headers=[("Content-Type", "TEXT/plain; x=1")])
        self.fork("/h", "/s", headers=JSON, status=409)
        self.ask("DELETE", "/f")
        self.ask("DELETE", "/g")
        self.ask("DELETE", "/s")  # the refused one took no reference
        self.get("/s", status=404)

    def test_a_closed_source_gives_an_open_fork(self):
        self.post("/s", headers=[("Stream-Closed", "true")])
        self.assertNotIn("stream-closed", self.fork("/f", "/s").headers)
        self.post("/f", b"more")

    def test_same_again(self):
        self.put("/t", [*TEXT, ("Stream-TTL", "60")])
        self.fork("/f", "/t")
        self.fork("/f", "/t", status=200)  # it inherited a window and a type: still the same
        self.fork("/f", "/s", status=409)
        self.put("/f", TEXT, status=409)

    def test_no_producers_no_sequence(self):
        trio = [("Producer-Id", "p"), ("Producer-Epoch", "0"), ("Producer-Seq", "0")]
        self.post("/s", b"x", [*trio, ("Stream-Seq", "9")], status=200)
        self.fork("/f", "/s")
        self.post("/f", b"x", [*trio, ("Stream-Seq", "1")], status=200)

    def test_soft_delete_and_cascade(self):
        self.fork("/f", "/s", 4)
        self.fork("/g", "/f")
        self.assertEqual(self.ask("DELETE", "/s").status, 204)
        for method in ("GET", "HEAD", "POST", "DELETE"):
            self.assertEqual(self.ask(method, "/s").status, 410)
        self.put("/s", TEXT, status=409)
        self.fork("/h", "/s", status=409)
        self.reads("/g", b"one ")
        self.assertEqual(self.ask("DELETE", "/f").status, 204)
        self.get("/f", status=410)
        self.reads("/g", b"one ")
        self.assertEqual(self.ask("DELETE", "/g").status, 204)
        for path in ("/s", "/f", "/g"):
            self.get(path, status=404)
        self.put("/s", JSON)

    def test_a_source_stays_when_its_forks_go(self):
        self.fork("/f", "/s")
        self.ask("DELETE", "/f")
        self.reads("/s", b"one two three")
        self.fork("/none", "/missing", status=404)

    def test_windows(self):
        self.put("/t", [*TEXT, ("Stream-TTL", "3600")])
        self.fork("/f", "/t")
        self.assertEqual(self.ask("HEAD", "/f").headers["stream-ttl"], "3600")
        self.fork("/g", "/t", headers=[("Stream-TTL", "99999")])
        self.assertEqual(self.ask("HEAD", "/g").headers["stream-ttl"], "99999")
        self.model.advance(3_600_000)
        self.get("/t", status=410)  # over, with a fork that lives on
        self.get("/f", status=404)
        self.get("/g")
        self.put("/t", TEXT, status=409)
        self.model.advance(99_999_000)
        self.get("/t", status=404)  # its last fork is over: so is what was kept of it


class Others(Base):
    def test_window_to_the_millisecond(self):
        self.put("/s", [*TEXT, ("Stream-TTL", "1")])
        self.model.advance(999)
        self.assertEqual(self.ask("HEAD", "/s").status, 200)
        self.post("/s", b"x")
        self.model.advance(999)
        self.get("/s")
        self.model.advance(1000)
        self.get("/s", status=404)

    def test_a_touch_that_nobody_owes(self):
        """A read an eighth of the window after the last one need not renew it: time never stands
        where that would matter."""
        self.put("/s", [*TEXT, ("Stream-TTL", "8")])
        self.model.advance(500)
        self.get("/s")
        self.assertEqual(self.model.advance(7500) - START_MS, 8500)
        self.get("/s", status=404)

    def test_born_dead(self):
        self.put("/s", [("Stream-TTL", "0")])
        self.get("/s", status=404)
        self.put("/s", [("Stream-Expires-At", "1999-12-31T23:59:59Z")])
        self.get("/s", status=404)

    def test_instants(self):
        self.assertEqual(instant_ms("1970-01-01T00:00:01Z"), 1000)
        self.assertEqual(instant_ms("1970-01-01t01:00:00.0000001+01:00"), 1)
        self.assertEqual(instant_ms("2016-12-31T23:59:60Z"), 1483228800000)
        for wrong in ("2031", "2031-02-30T00:00:00Z", "2016-12-31T22:59:60Z", "1970-01-01T00:00:00",
                      "1970-01-01T00:00:00,5Z", "1970-01-01T00:00:00+24:00"):
            self.assertIsNone(instant_ms(wrong), wrong)

    def test_producers(self):
        self.put("/s", TEXT)

        def send(epoch, seq, status, **headers):
            reply = self.post("/s", b"x", [("Producer-Id", "p"), ("Producer-Epoch", str(epoch)),
                                           ("Producer-Seq", str(seq))], status)
            for name, value in headers.items():
                self.assertEqual(reply.headers[name.replace("_", "-")], value)

        send(0, 1, 409, producer_expected_seq="0", producer_received_seq="1")
        send(0, 0, 200)
        send(0, 1, 200)
        send(0, 0, 204, producer_seq="1", producer_epoch="0")
        send(0, 3, 409, producer_expected_seq="2")
        send(2, 1, 400)
        send(2, 0, 200)
        send(1, 0, 403, producer_epoch="2")
        self.reads("/s", b"xxx")

    def test_closing_tuple(self):
        self.put("/s", TEXT)
        trio = [("Producer-Id", "p"), ("Producer-Epoch", "0"), ("Producer-Seq", "0")]
        closing = [*trio, ("Stream-Closed", "TRUE")]
        self.assertEqual(self.post("/s", b"end", closing, 200).headers["stream-closed"], "true")
        self.post("/s", b"another", closing, 204)
        self.post("/s", b"another", trio, 204)
        self.post("/s", b"x", [], 409)
        self.post("/s", b"", [("Stream-Closed", "true")], 204)
        self.reads("/s", b"end")

    def test_sequences_are_text(self):
        self.put("/s", TEXT)
        for value, status in (("2", 204), ("10", 409), ("2", 409), ("a", 204), ("B", 409)):
            self.post("/s", b"x", [("Stream-Seq", value)], status)

    def test_unaligned_and_beyond(self):
        self.put("/s", TEXT, b"abc")
        self.post("/s", b"def")
        self.reads("/s", b"abcdef", "?offset=" + token(2))
        self.reads("/s", b"def", "?offset=" + token(3))
        self.reads("/s", b"def", "?offset=" + token(5))
        reply = self.get("/s", "?offset=" + token(7))
        self.assertEqual((reply.body, reply.headers["stream-next-offset"]), (b"", token(6)))
        self.get("/s", "?offset=now&offset=now", 400)
        self.get("/none", "?offset=wrong", 404)

    def test_chunks_are_whole_appends(self):
        self.put("/s", TEXT)
        for size in (700_000, 300_000, 60_000, 2_000_000, 1):
            self.post("/s", b"x" * size)
        sizes = []
        at = 0
        while at < 3_060_001:
            reply = self.get("/s", "?offset=" + token(at))
            sizes.append(len(reply.body))
            at += len(reply.body)
            self.assertEqual("stream-up-to-date" in reply.headers, at == 3_060_001)
        self.assertEqual(sizes, [1_000_000, 60_000, 2_000_000, 1])

    def test_json_elements(self):
        self.assertEqual(elements(b' [1 ,"a,]" , [2,{"b":[]}]]'),
                         [b"1 ", b'"a,]" ', b' [2,{"b":[]}]'])
        self.assertEqual(elements(b"[]"), [])
        self.assertEqual(elements(b" 1e400 "), [b"1e400"])
        for wrong in (b"", b"[1,]", b"NaN", b"\xef\xbb\xbf1", b'"\xff"', b"[1]]", b"[" * 100):
            with self.assertRaises(JsonRefused, msg=wrong):
                elements(wrong)
        elements(b"[" * 512 + b"]" * 512)
        with self.assertRaisesRegex(JsonRefused, "json_too_deep"):
            elements(b"[" * 513 + b"]" * 513)

    def test_long_poll(self):
        self.put("/s", TEXT)
        kind, wait = self.ask("GET", "/s?live=long-poll&offset=-1")
        self.assertEqual(kind, "poll")
        self.assertIsNone(self.model.poll(wait))
        self.post("/s", b"x")
        self.assertEqual(self.model.poll(wait).body, b"x")
        self.get("/s", "?live=long-poll", 400)
        self.ask("DELETE", "/s")
        self.assertEqual(self.model.poll(wait).status, 404)


class Strictness(unittest.TestCase):
    def test_events(self):
        events, comments = parse_events(b": hb\nid: 5\nevent: data\ndata:a\ndata:  b\n\n")
        self.assertEqual((events[0].kind, events[0].id, events[0].data, comments),
                         ("data", "5", b"a\n b", 1))
        for wrong in (b"data:x\n\n", b"event:data\ndata:x\n\n", b"event: data\ndata:x\n",
                      b"event: data\nretry: 5\n\n", b"event: data\ndata:x"):
            with self.assertRaises(Broken, msg=wrong):
                parse_events(wrong)

    def test_heads(self):
        self.assertEqual(parse_head(b"HTTP/1.1 200 OK\r\nA: b").headers, {"a": "b"})
        for wrong in (b"HTTP/1.0 200 OK", b"HTTP/1.1 200 Fine", b"HTTP/1.1 200 OK\r\nA:b",
                      b"HTTP/1.1 200 OK\r\nA: b\r\na: c", b"HTTP/1.1 200 OK\r\nA : b",
                      b"HTTP/1.1 200 OK\r\nA: b\nC: d"):
            with self.assertRaises(Broken, msg=wrong):
                parse_head(wrong)

    def test_shrinking(self):
        self.assertEqual(shrink(list(range(200)), lambda kept: {17, 99} <= set(kept)), [17, 99])
