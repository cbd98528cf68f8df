"""Random operations that a model's state makes interesting. Concrete once made: a sequence can be
cut anywhere and still means something to the model and to the server.
"""

from model import TOKEN, token

TYPES = ["text/plain", "text/plain", "application/json", "application/json", "application/json",
         "application/octet-stream", "text/plain; charset=utf-8", "Application/JSON; charset=utf-8",
         "image/png", "application/x-ndjson", "TEXT/html",
         "application/json ;v=1"]
ODD_TYPES = ["", "nonsense", "text", "/", "a b/c"]
BAD_TTLS = ["abc", "-1", "00060", "+60", "60.5", "1e3", "", "9007199254740992", "6 0"]
TTLS = ["0", "1", "2", "10", "60", "60", "3600", "86400", "604800", "9007199254740991"]
BAD_INSTANTS = ["not-a-timestamp", "2031", "2031-02-30T00:00:00Z", "2031-01-01T00:00:00",
                "2031-01-01 00:00:00Z", "2031-01-01T24:00:00Z", "", "2031-01-01T00:00:00,5Z"]
BAD_OFFSETS = ["", "0", "-2", "0,1", "0%201", "..%2F..", "%00", "now%0A", "-1%20", "NOW",
               "0000000000000000_000000000000000", "0000000000000000-0000000000000000",
               "0000000000000000_00000000000000000", "%30"]
BAD_NUMBERS = ["1abc", "0xyz", "1e3", "-1", "9007199254740992", "", "1.0", "+1"]
BAD_JSON = [b"{", b"[1,]", b"[1 2]", b"nul", b"{\"a\":}", b"01", b"[1]]", b"\xef\xbb\xbf[1]", b"  ",
            b"\"\xff\"", b"NaN", b"[Infinity]", b"'a'", b"{\"a\":1,}", b"\"\t\"", b"[\"\\x\"]",
            b"1 2",
            b"[" * 513 + b"]" * 513, b"[" * 100]
PIECES = [b"a", b"event: data\ndata:forged\n\n", b"\r", b"\n", b"\r\n", b"\n\n", b"data:x",
          b" lead", b": hb\n", b"\xe2\x80\xa8", b"\xc2\x85", b"id: 5\n", b"\xff\xfe", b"\0",
          b"tail ", b"{}"]
JSON_PIECES = [b"1", b"-0", b"1.50", b"1e400", b"12345678901234567890123", b"null", b"true",
               b"\"\"", b"\"a,b]\\\"}\"", b"{}", b"[]", b"[[1,2],3]",
               b"{\"b\":1,\"a\":{\"c\":[null]},\"b\":2}", b"\"\\ud800\"", b"\"\\u0000\"",
               b"{\"x\" : \"\xe2\x80\xa8\"}", b"\"event: data\"",
               b"{\n  \"pretty\": [\n    1\n  ]\n}", b"\"\xf0\x9f\x8c\x8d\""]
GARBAGE_TAGS = ['"nope"', "nope", "W/", '"', '"a" "b"', ",", 'W/"nope", "other"']
CLOSED_VALUES = ["true", "true", "true", "TRUE", "True", "false", "1", "yes", ""]


class Generator:
    """`timed`: the clock may be moved; `kills`: the server may be killed; `forks`: are there;
    `alone`: nobody else makes buckets; `loops`: connections are served by several, so that nobody
    knows when a long-poll begins, whose offset is the tail then."""

    def __init__(self, rng, model, prefix, timed=True, kills=False, forks=False,
                 alone=True, loops=False):
        self.rng = rng
        self.model = model
        self.timed = timed
        self.kills = kills
        self.forks = forks
        self.alone = alone
        self.loops = loops
        self.buckets = [f"{prefix}b0", f"{prefix}b1"]
        self.paths = [f"/v1/stream/{prefix}/s{n}" for n in range(6)]
        self.paths += [f"/v1/stream/{prefix}/deep/er/.s", f"/v1/stream/{prefix}/%C3%BC%20x"]
        self.paths += [f"/{self.buckets[0]}/s{n}" for n in range(3)]
        self.paths += [f"/{self.buckets[0]}/near/s0", f"/{self.buckets[1]}/s0",
                       f"/{self.buckets[1]}/%22%C3%A9"]
        self.names = {path: model.resolve(path)[1] for path in self.paths}
        self.kinds = [
            (30, self.append), (12, self.produce), (10, self.create), (22, self.read),
            (4, self.head), (3, self.remove), (3, self.close), (4, self.long_poll),
            (2, self.events), (2, self.bucket), (1, self.options), (1, self.drop),
        ]
        if timed:
            self.kinds.append((2, self.clock))
        if forks:
            self.kinds.append((5, self.fork))
        self.total = sum(weight for weight, _ in self.kinds)

    def chance(self, one_in):
        return self.rng.random() * one_in < 1

    def next(self):
        if self.kills and self.chance(250):
            return self.kill()
        at = self.rng.random() * self.total
        for weight, make in self.kinds:
            at -= weight
            if at < 0:
                return make()
        return self.read()

    # --- parts of requests ---

    def path(self, there=True):
        """Rather one that is there, or rather not."""
        for _ in range(4):
            path = self.rng.choice(self.paths)
            if (self.names[path] in self.model.streams) == there:
                break
        return path

    def spelled(self, path):
        """Another spelling of the same name, now and then."""
        if self.chance(30) and path.startswith("/v1/stream/"):
            return "/v1/streams/" + path[11:]
        if self.chance(30) and "%" not in path[-3:]:
            return path[:-1] + f"%{ord(path[-1]):02X}"
        return path

    def stream(self, path):
        return self.model.streams.get(self.names[path])

    def text_body(self):
        rng = self.rng
        if rng.random() < 0.6:
            return b"payload %d" % rng.randrange(1000)
        if self.chance(12):
            return bytes(rng.randrange(97, 123) for _ in range(50)) * rng.randrange(18, 90)
        if self.chance(60):
            return rng.randbytes(64) * rng.randrange(3000, 11000)
        return b"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 8)))

    def json_body(self):
        rng = self.rng
        if self.chance(9):
            return rng.choice(BAD_JSON)
        if self.chance(60):
            return b"[" + b",".join(b'{"n":%d}' % n for n in range(rng.randrange(20000))) + b"]"
        if self.chance(30):
            return b"[]" if rng.random() < 0.5 else b" [ ] "
        if self.chance(60):
            return b"[" * 512 + b"]" * 512
        if rng.random() < 0.4:
            return rng.choice(JSON_PIECES)
        comma = rng.choice([b",", b",", b" , ", b",\n  ", b",\r\n"])
        parts = [rng.choice(JSON_PIECES) for _ in range(rng.randrange(1, 6 if rng.random() < 0.8
                                                                       else 300))]
        opening = rng.choice([b"[", b" [ ", b"\n[\n"])
        return opening + comma.join(parts) + rng.choice([b"]", b" ]\n"])

    def body_for(self, media):
        if "json" in media.lower() and "nd" not in media:
            return self.json_body()
        return self.text_body()

    def with_origin(self, headers):
        if self.chance(12):
            headers.append(("Origin", "https://elsewhere.example"))
        return headers

    def request(self, method, target, headers, body=b""):
        options = {}
        if body and self.chance(10):
            options["chunks"] = [self.rng.randrange(1, 20) for _ in range(self.rng.randrange(1, 9))]
        if self.chance(4):
            options["pipe"] = True
        return "req", method, target, self.with_origin(headers), body, options

    # --- creates ---

    def media(self):
        if self.chance(10):
            return self.rng.choice(ODD_TYPES)
        return None if self.chance(12) else self.rng.choice(TYPES)

    def expiry(self, headers):
        rng = self.rng
        if self.chance(30):
            headers.append(("Stream-TTL", rng.choice(BAD_TTLS)))
        elif self.chance(40):
            headers.append(("Stream-Expires-At", rng.choice(BAD_INSTANTS)))
        elif self.chance(3):
            headers.append(("Stream-TTL", rng.choice(TTLS if self.timed else TTLS[-4:])))
        elif self.chance(5):
            headers.append(("Stream-Expires-At", self.instant()))
        if self.chance(60):
            headers.append(("Stream-TTL", "60"))
            headers[:] = list(dict(headers).items())

    def instant(self):
        """One that is near, in one of its many forms."""
        from datetime import datetime, timedelta, timezone
        rng = self.rng
        ahead_ms = rng.choice([-1000, 0, 1, 1500, 60_000, 7_200_000] if self.timed
                              else [-1000, 86_400_000])
        at = datetime(1970, 1, 1) + timedelta(milliseconds=self.model.now_ms + ahead_ms)
        form = rng.randrange(4)
        if form == 0:
            return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
        if form == 1:
            return at.strftime("%Y-%m-%dt%H:%M:%S.%f") + "1z"
        zone = timezone(timedelta(minutes=rng.choice([0, 60, -330, 825])))
        text = at.replace(tzinfo=timezone.utc).astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S%z")
        return text[:-2] + ":" + text[-2:]

    def create(self):
        rng = self.rng
        path = self.path(there=self.chance(3))
        headers = []
        there = self.stream(path)
        media = self.media()
        if there is not None and rng.random() < 0.6:  # as it is, or nearly
            media = there.type
            if there.ttl is not None:
                headers.append(("Stream-TTL", there.ttl))
            if there.expires is not None:
                headers.append(("Stream-Expires-At", there.expires))
            if there.closed:
                headers.append(("Stream-Closed", "True"))
            if self.chance(5):
                self.expiry(headers)
        else:
            self.expiry(headers)
            if self.chance(10):
                headers.append(("Stream-Closed", rng.choice(CLOSED_VALUES)))
        if media is not None:
            headers.append(("Content-Type", media))
        if self.chance(50):
            headers.append(("Content-Encoding", rng.choice(["gzip", "identity"])))
        body = self.body_for(media or "") if rng.random() < 0.4 else b""
        return self.request("PUT", self.spelled(path), list(dict(headers).items()), body)

    def fork(self):
        rng = self.rng
        source = self.path()
        there = self.stream(source)
        headers = [("Stream-Forked-From", self.spelled(source))]
        if rng.random() < 0.7:
            headers.append(("Stream-Fork-Offset", self.anchor(there)))
        if self.chance(3):
            headers.append(("Stream-Fork-Sub-Offset", rng.choice(
                ["0", "1", "2", "3", "7", "12", "-1", "05", "", "1.5", "+1"])))
        if self.chance(30):
            headers.pop(0)
        if self.chance(3):
            headers.append(("Content-Type", there.type if there is not None and
                            not self.chance(4) else rng.choice(TYPES)))
        if self.chance(3):
            self.expiry(headers)
        if self.chance(15):
            headers.append(("Stream-Closed", "true"))
        body = self.body_for(there.type if there is not None else "") if self.chance(4) else b""
        again = [path for path in self.paths if self.stream(path) is not None and
                 self.stream(path).source is not None]
        path = rng.choice(again) if again and self.chance(5) else self.path(there=False)
        return self.request("PUT", path, list(dict(headers).items()), body)

    def anchor(self, there):
        rng = self.rng
        if there is None or self.chance(12):
            return rng.choice(["-1", "now", "9999999999999999_9999999999999999", "0", token(0)])
        return token(self.place_in(there))

    # --- writes ---

    def append(self):
        rng = self.rng
        path = self.path()
        there = self.stream(path)
        media = there.type if there is not None else rng.choice(TYPES)
        headers = []
        if self.chance(25):
            media = rng.choice(TYPES)
        body = b"" if self.chance(30) else self.body_for(media)
        if not self.chance(40):
            headers.append(("Content-Type", media.upper() if self.chance(20) else media))
        if self.chance(5):
            headers.append(("Stream-Seq", self.sequence(there)))
        if self.chance(25):
            headers.append(("Stream-Closed", rng.choice(CLOSED_VALUES)))
        if self.chance(100):
            headers.append(("Content-Encoding", rng.choice(["gzip", "IDENTITY", "identity"])))
        return self.request("POST", self.spelled(path), headers, body)

    def sequence(self, there):
        rng = self.rng
        last = there.seq if there is not None else ""
        return rng.choice([last or "1", last + "0", "a", "B", str(rng.randrange(20)),
                           last[:-1] + chr(min(126, ord(last[-1]) + 1)) if last else "2", ""])

    def produce(self):
        rng = self.rng
        path = self.path()
        there = self.stream(path)
        ident = rng.choice(["p", "p", "q/1:x", "0b8a3c5e-aaaa-bbbb-cccc-1234567890ab", "z" * 140])
        known = there.producers.get(ident) if there is not None else None
        epoch, seq = known or (0, -1)
        roll = rng.random()
        if roll < 0.5:
            seq += 1
        elif roll < 0.62:
            seq = max(0, seq - rng.randrange(2))        # a duplicate
        elif roll < 0.7:
            seq += rng.randrange(2, 5)                  # a gap
        elif roll < 0.78:
            epoch, seq = epoch + rng.randrange(1, 4), 0
        elif roll < 0.84:
            epoch, seq = max(0, epoch - 1), rng.randrange(3)
        elif roll < 0.88:
            epoch, seq = epoch + 1, 1
        elif roll < 0.9:
            epoch, seq = 2**53 - 1, rng.choice([0, 2**53 - 1])
        else:
            seq = rng.randrange(4)
        values = [ident, str(epoch), str(max(0, seq))]
        if there is not None and there.closer is not None and rng.random() < 0.5:
            values = [str(part) for part in there.closer]
        if self.chance(25):
            values[rng.randrange(1, 3)] = rng.choice(BAD_NUMBERS)
        elif self.chance(40):
            values[0] = ""
        elif self.chance(15):
            values[rng.randrange(1, 3)] = "00" + values[2]
        headers = list(zip(["Producer-Id", "Producer-Epoch", "Producer-Seq"], values))
        if self.chance(40):
            headers.pop(rng.randrange(3))
        media = there.type if there is not None else "text/plain"
        closing = self.chance(8)
        if closing:
            headers.append(("Stream-Closed", "true"))
        body = self.body_for(media)
        if (closing and self.chance(2)) or self.chance(50):
            body = b""
        if not self.chance(40):
            headers.append(("Content-Type", media))
        if self.chance(12):
            headers.append(("Stream-Seq", self.sequence(there)))
        rng.shuffle(headers)
        return self.request("POST", path, headers, body)

    def close(self):
        headers = [("Stream-Closed", self.rng.choice(CLOSED_VALUES))]
        if self.chance(3):
            headers.append(("Content-Type", "image/none"))
        if self.chance(12):
            headers.append(("stream-closed", "true"))
        return self.request("POST", self.path(), headers)

    def remove(self):
        return self.request("DELETE", self.spelled(self.path()), [])

    # --- reads ---

    def place_in(self, there):
        rng = self.rng
        roll = rng.random()
        if there.ends and roll < 0.5:
            return rng.choice(there.ends)
        if roll < 0.65:
            return rng.randrange(there.tail + 1)
        if roll < 0.75:
            return there.tail + rng.randrange(3)
        return there.tail if roll < 0.85 else 0

    def offset(self, path):
        rng = self.rng
        there = self.stream(path)
        if self.chance(20):
            return rng.choice(BAD_OFFSETS)
        if self.chance(30):
            return rng.choice(["9999999999999999_9999999999999999", "%2D1", "n%6Fw",
                               "0000000000000001_0000000000000000"])
        if there is None or rng.random() < 0.35:
            return rng.choice(["-1", "-1", "now", token(0)])
        return token(self.place_in(there))

    def read(self):
        rng = self.rng
        path = self.path()
        query = [f"offset={self.offset(path)}"] if rng.random() < 0.8 else []
        if self.chance(40):
            query.append(rng.choice(["offset=-1", "live=no", "cursor=12abc", "x=%zz", "cursor=1",
                                     "OFFSET=5", "live", "=", "live=&live="]))
        headers = []
        if self.chance(6):
            headers.append(("Accept", rng.choice(["application/x-ndjson", "*/*", "application/json",
                                                  "text/html, application/x-ndjson;q=0.5",
                                                  "application/x-ndjson;q=0"])))
        if self.chance(5):
            headers.append(("Accept-Encoding", rng.choice(["gzip", "br", "gzip;q=0", "GZIP, br",
                                                           "br;q=1.0, gzip;q=0.8", "*"])))
        if self.chance(5):
            headers.append(("If-None-Match", rng.choice(
                ["{tag}", "{tag}", "W/{tag}", '"x", {tag}', "*"] + GARBAGE_TAGS[:1] +
                [rng.choice(GARBAGE_TAGS)])))
        if self.chance(40):
            headers.append(("Stream-Forked-From", "/v1/stream/ignored"))
        target = self.spelled(path) + ("?" + "&".join(query) if query else "")
        return self.request("GET", target, headers)

    def head(self):
        return self.request("HEAD", self.spelled(self.path()), [])

    def live(self, kind):
        rng = self.rng
        path = self.path()
        query = [f"live={kind}"]
        if not self.chance(25):
            offset = self.offset(path)
            there = self.stream(path)
            if self.loops and kind == "long-poll" and there is not None and (
                    offset.endswith("w") or TOKEN.fullmatch(offset)) and offset > token(there.tail):
                offset = token(there.tail)
            query.append(f"offset={offset}")
        if self.chance(4):
            interval = (self.model.now_ms - 1_728_432_000_000) // 20_000
            near = [interval, interval + 7, interval - 1]
            query.append(f"cursor={rng.choice([*near, 'x1', 2**64])}")
        headers = []
        if kind == "sse" and self.chance(8):
            headers.append(("Last-Event-ID", token(0) if self.chance(2) else "x"))
        if kind == "long-poll" and self.chance(8):
            headers.append(("Accept", "application/x-ndjson"))
        rng.shuffle(query)
        return "req", "GET", path + "?" + "&".join(query), self.with_origin(headers), b"", {}

    def long_poll(self):
        return self.live("long-poll")

    def events(self):
        return self.live("sse")

    def drop(self):
        return "drop", self.rng.randrange(4)

    # --- the rest ---

    def bucket(self):
        rng = self.rng
        name = rng.choice(self.buckets)
        roll = rng.random()
        if roll < 0.4 or name not in self.model.buckets:
            headers = [("Content-Type", "text/plain")] if self.chance(10) else []
            return self.request("PUT", f"/{name}", headers)
        if roll < 0.85:
            query = rng.choice(["", "", "?limit=2", "?prefix=s", "?prefix=ne&limit=1", "?after=s0",
                                "?limit=1&after=near/s0"])
            return self.request("GET" if rng.random() < 0.8 else "HEAD", f"/{name}{query}", [])
        return self.request("DELETE", f"/{name}", [])

    def options(self):
        headers = [("Origin", "https://elsewhere.example"),
                   ("Access-Control-Request-Method", "GET")]
        if self.chance(2):
            headers.append(("Access-Control-Request-Headers", "x-own, stream-seq"))
        if self.alone and self.chance(3):
            return self.request("GET", "/", [("Accept", "application/json")])
        if self.chance(4):
            return self.request("POST", f"/{self.buckets[0]}", [])
        return "req", "OPTIONS", self.rng.choice(self.paths), headers, b"", {}

    def clock(self):
        """To the last moment of a stream's life, to its end, or anywhere."""
        rng = self.rng
        ends = sorted({end for stream in self.model.streams.values()
                       for end in stream.deadlines() or () if end > self.model.now_ms})
        roll = rng.random()
        if ends and roll < 0.7:
            end = ends[0] if rng.random() < 0.7 else rng.choice(ends)
            ahead = end - self.model.now_ms
            part = rng.random()
            if part < 0.4:
                ahead -= 1
            elif part > 0.7:
                ahead = ahead * rng.randrange(1, 9) // 8
            if ahead < 40 * 86_400_000:
                return "clock", max(1, ahead)
        return "clock", rng.choice([1, 50, 1000, 5000, 21_000, 60_000, 400_000, 86_400_000])

    def kill(self):
        if self.rng.random() < 0.5:
            return ("kill",)
        makes = [self.append, self.append, self.produce, self.create, self.remove]
        if self.forks:
            makes += [self.fork, self.fork]
        _, method, target, headers, body, _ = self.rng.choice(makes)()
        return "kill_in", method, target, headers, body, self.rng.choice([0, 300, 1000, 3000])
