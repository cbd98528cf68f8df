"""A small reference model of the Durable Streams Protocol, as the project's protocol digest
(sections 1, 2 and 8) and DESIGN have it. It takes requests and says what their responses must be;
it has no sockets and no clock of its own. Where the digest leaves a choice, the comment names the
one that this project made.

The state is of one server whose clock, when it is `timed`, stands still between calls of advance().
"""

import json
import re
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote_to_bytes

from json_text import JsonRefused, elements

ZERO = "0000000000000000_0000000000000000"
TOKEN = re.compile(r"([0-9]{16})_([0-9]{16})")
NUMBER_MAX = 2**53 - 1
CHUNK_BYTES = 1 << 20         # soft limit of a reply (DESIGN: 1 MiB)
GZIP_CHUNK_BYTES = 256 << 10  # of one that is compressed
GZIP_BYTES_MIN = 1024
CURSOR_EPOCH_MS = 1_728_432_000_000  # 2024-10-09
CURSOR_MS = 20_000
JITTER_MAX = 180              # 3600 s of cursors
TOUCH_PART = 8                # DESIGN, "Time": at most one touch per TTL/8 is promised
RESERVED = {"health", "livez", "readyz", "metrics", "console", "admin", "debug", "__ursula",
            "__ds", "v1"}
CACHED = "public, max-age=60, stale-while-revalidate=300"
CORS_EXPOSED = (
    "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-TTL, "
    "Stream-Expires-At, Stream-SSE-Data-Encoding, Producer-Epoch, Producer-Seq, "
    "Producer-Expected-Seq, Producer-Received-Seq, ETag, Location, Retry-After, Content-Type, "
    "Content-Encoding, Vary").split(", ")


def token(position):
    return f"0000000000000000_{position:016d}"


class Request:
    """`headers` are pairs; names are compared without case, of two the first is seen."""

    __slots__ = ("method", "target", "headers", "body", "fields")

    def __init__(self, method, target, headers=(), body=b""):
        self.method = method
        self.target = target
        self.headers = list(headers)
        self.body = body
        self.fields = {name.lower(): value.strip() for name, value in reversed(self.headers)}

    def get(self, name):
        return self.fields.get(name)

    def says_closed(self):
        """Exactly one line, `true` in any case; everything else is as if it were not there."""
        values = [value.strip().lower() for name, value in self.headers
                  if name.lower() == "stream-closed"]
        return values == ["true"]


class Reply:
    """`headers`: by lower-case name, without those that every response has. Values are text, or
    ('tag', key), or ('cursor', least, most). `body`: bytes; of a problem, the set of codes that it
    may have."""

    __slots__ = ("status", "headers", "body", "gzip")

    def __init__(self, status, headers=None, body=b""):
        self.status = status
        self.headers = headers or {}
        self.body = body
        self.gzip = False


class Problem(Exception):
    def __init__(self, status, code, headers=None):
        super().__init__(code)
        self.status = status
        self.codes = {code} if isinstance(code, str) else set(code)
        self.headers = headers or {}

    def reply(self):
        return Reply(self.status, {**self.headers, "content-type": "application/problem+json",
                                   "cache-control": "no-store"}, self.codes)


class Stream:
    count = 0  # identities are never used twice, in any model

    def __init__(self, name, media):
        Stream.count += 1
        self.life = Stream.count
        self.name = name
        self.type = media
        self.kind = kind_of(media)
        self.data = bytearray()
        self.ends = []          # of appends
        self.marks = []         # JSON: of elements
        self.closed = False
        self.closer = None
        self.producers = {}
        self.seq = ""
        self.ttl = None         # as the client wrote it
        self.expires = None     # as the client wrote it
        self.expires_ms = None
        self.touched = (0, 0)   # the least and the most that the server's last touch may be
        self.config = None      # what the create asked for
        self.source = None
        self.anchor = None
        self.forks = 0
        self.was_forked = False
        self.soft_deleted = False

    @property
    def tail(self):
        return len(self.data)

    def add(self, stored, marks):
        if stored:
            base = self.tail
            self.marks += [base + mark for mark in marks]
            self.data += stored
            self.ends.append(self.tail)

    def deadlines(self):
        """The first moment at which it may be gone, and the first at which it must be."""
        if self.expires_ms is not None:
            return self.expires_ms, self.expires_ms
        if self.ttl is not None:
            window = int(self.ttl) * 1000
            return self.touched[0] + window, self.touched[1] + window
        return None

    def span(self, offset, limit):
        """Whole appends: all whose end is beyond the offset, as many as fit, at least one."""
        start = 0
        for end in self.ends:
            if end > offset:
                break
            start = end
        else:
            return self.tail, self.tail
        stop = None
        for end in self.ends:
            if end > start and (stop is None or end - start <= limit):
                stop = end
        return start, stop


def media_of(text):
    return text.split(";")[0].strip().lower()


def kind_of(text):
    media = media_of(text)
    return "json" if media == "application/json" else \
        "text" if media.startswith("text/") else "binary"


def is_media_type(text):
    return re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+",
                        text.split(";")[0].strip()) is not None


def stored_form(kind, body):
    """What is stored of a body, and where its elements end in it. JSON is stored verbatim between
    the brackets, with a comma behind the last element: positions are of that text."""
    if kind != "json":
        return body, []
    found = elements(body)
    if not found:
        return b"", []
    marks = []
    at = 0
    for element in found:
        at += len(element) + 1
        marks.append(at)
    return b",".join(found) + b",", marks


def number_of(text, leading_zeros):
    if text is None or not re.fullmatch("[0-9]+", text) or int(text) > NUMBER_MAX or \
            (not leading_zeros and len(text) > 1 and text[0] == "0"):
        return None
    return int(text)


INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
                     r"([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def instant_ms(text):
    """RFC 3339, in milliseconds since 1970, rounded up; None when it is none."""
    found = INSTANT.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    zone = found.group(8)
    offset = 0
    if zone[0] in "+-":
        if int(zone[1:3]) > 23 or int(zone[4:6]) > 59:
            return None
        offset = (int(zone[1:3]) * 60 + int(zone[4:6])) * (1 if zone[0] == "+" else -1)
    try:
        # A leap second is no moment of datetime's: the one before it, and one more.
        at = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone.utc)
    except ValueError:
        return None
    leap = second == 60
    if second > 60:
        return None
    seconds = (at - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(seconds=1)
    seconds += (1 if leap else 0) - offset * 60
    if leap and seconds % 86400:
        return None
    fraction = int((found.group(7) or "").ljust(9, "0"))
    return seconds * 1000 + -(-fraction // 1_000_000)


def wants(header, name):
    """Whether a list of names with weights has this one, with a weight above zero."""
    for item in (header or "").split(","):
        first, *parameters = item.split(";")
        if first.strip().lower() == name and not any(
                re.fullmatch(r"q=0(\.0*)?", one.strip().lower()) for one in parameters):
            return True
    return False


class Query:
    """The parameters of a read (digest 1.8)."""

    def __init__(self, text):
        self.problem = None
        self.given = False
        self.now = False
        self.offset = 0
        self.live = None
        self.cursor = None
        seen = set()
        for part in text.split("&") if text else []:
            name, _, value = part.partition("=")
            value = unquote_to_bytes(value)
            if name in ("live", "cursor") and name in seen:
                self.problem = "query_repeated"
                return
            if name == "offset":
                self.take_offset(value, name in seen)
                if self.problem:
                    return
            elif name == "live" and value in (b"long-poll", b"sse"):
                self.live = value.decode()
            elif name == "cursor" and re.fullmatch(b"[0-9]+", value) and int(value) < 2**64:
                self.cursor = int(value)
            seen.add(name)
        if self.live and not self.given:
            self.problem = "offset_missing"

    def take_offset(self, value, again):
        found = TOKEN.fullmatch(value.decode("latin-1"))
        if again or not (found or value in (b"-1", b"now")):
            self.problem = "offset_malformed"
        self.given = True
        self.now = value == b"now"
        self.offset = 0
        if found:
            self.offset = int(found.group(2)) if int(found.group(1)) == 0 else 2**64


class Wait:
    """A long-poll that found nothing yet; or a tail of events, from `offset` on."""

    def __init__(self, stream, offset, query, request, now_ms):
        self.stream = stream
        self.offset = offset
        self.request = request
        interval = (now_ms - CURSOR_EPOCH_MS) // CURSOR_MS
        if query.cursor is None or query.cursor < interval:
            self.cursor = (interval, interval)
        else:
            self.cursor = (min(query.cursor + 1, 2**64 - 1),
                           min(query.cursor + JITTER_MAX, 2**64 - 1))


class Model:
    def __init__(self, host, now_ms, timed=True, chunk_bytes=CHUNK_BYTES):
        self.host = host
        self.now_ms = now_ms
        self.timed = timed
        self.chunk_bytes = chunk_bytes
        self.streams = {}
        self.buckets = set()
        self.purged = []  # what goes when its forks have let it go, which may take a moment (2.16)
        self.tags = {}   # what was learned: (life, from, to, ...) -> tag
        self.last_tag = {}

    # --- names ---

    def resolve(self, target):
        """('stream', name) or ('bucket', name)."""
        path = unquote_to_bytes(target.split("?")[0]).decode("utf-8")
        segments = path[1:].split("/")
        if segments[:2] in (["v1", "stream"], ["v1", "streams"]) and len(segments) > 2:
            return "stream", "v1/" + "/".join(segments[2:])
        if len(segments) == 1:
            return "bucket", segments[0]
        return "stream", "/".join(segments)

    def find(self, name):
        """The stream that the name has, dying ones too."""
        return self.streams.get(name)

    def stream_or_problem(self, name):
        stream = self.find(name)
        if stream is None:
            raise Problem(404, "stream_not_found")
        if stream.soft_deleted:
            raise Problem(410, "stream_deleted")
        return stream

    # --- time ---

    def moment(self, ms):
        """The first one, at least so far ahead, at which it is certain which streams are gone."""
        at = self.now_ms + ms
        again = True
        while again:
            again = False
            for stream in self.streams.values():
                ends = stream.deadlines()
                if ends is not None and not stream.soft_deleted and ends[0] <= at < ends[1]:
                    at = ends[1]
                    again = True
        return at

    def advance(self, ms):
        """Moves the clock to moment(ms), which is returned."""
        self.now_ms = self.moment(ms)
        self.sweep()
        return self.now_ms

    def sweep(self):
        """What is over goes; an expired fork releases its source."""
        again = True
        while again:
            again = False
            for stream in list(self.streams.values()):
                ends = stream.deadlines()
                if ends is not None and not stream.soft_deleted and ends[1] <= self.now_ms:
                    self.remove(stream)
                    again = True

    def touch(self, stream, certain):
        if stream.ttl is None:
            return
        if certain:
            stream.touched = (self.now_ms, self.now_ms)
        else:
            young = int(stream.ttl) * 1000 // TOUCH_PART
            stream.touched = (max(stream.touched[0], self.now_ms - young + 1), self.now_ms)

    def remove(self, stream):
        """Deleted or expired: soft while forks live (digest 2.3)."""
        if stream.forks > 0:
            stream.soft_deleted = True
            return
        while stream is not None:
            del self.streams[stream.name]
            if stream.was_forked:
                self.purged.append(stream.name)
            source, stream = stream.source, None
            if source is not None:
                source.forks -= 1
                if source.forks == 0 and source.soft_deleted:
                    stream = source

    # --- requests ---

    def handle(self, request):
        """A Reply; or ('poll', Wait) for a long-poll that has to wait, ('sse', Wait)."""
        try:
            if request.method == "OPTIONS":
                return self.preflight(request)
            kind, name = self.resolve(request.target)
            if kind == "bucket":
                return self.bucket(request, name)
            return getattr(self, request.method.lower())(request, name)
        except Problem as problem:
            return problem.reply()

    @staticmethod
    def preflight(request):
        asked = request.get("access-control-request-headers")
        return Reply(204, {
            "allow": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
            "access-control-allow-methods": "GET, POST, PUT, DELETE, HEAD, OPTIONS",
            "access-control-max-age": "86400",
            "access-control-allow-headers": ("names", (
                "Content-Type", "Authorization", "If-None-Match", "Stream-Seq", "Stream-TTL",
                "Stream-Expires-At", "Stream-Closed", "Producer-Id", "Producer-Epoch",
                "Producer-Seq", "Stream-Forked-From", "Stream-Fork-Offset",
                "Stream-Fork-Sub-Offset", *(asked.split(", ") if asked else ()))),
        })

    @staticmethod
    def check_coding(request):
        if (request.get("content-encoding") or "identity").lower() != "identity":
            raise Problem(415, "content_encoding")

    # --- buckets (INTERFACE 2) ---

    def bucket(self, request, name):
        if request.method == "POST":
            raise Problem(405, "method_not_allowed", {"allow": "PUT, GET, HEAD, DELETE, OPTIONS"})
        if name == "":
            return self.listed(request, "buckets", sorted(self.buckets), 1000)
        if request.method == "PUT":
            if request.body or any(key == "content-type" or key.startswith("stream-")
                                   for key in request.fields):
                raise Problem(400, "bucket_takes_no_content")
            if name in self.buckets:
                return Reply(200)
            self.buckets.add(name)
            return Reply(201, {"location": f"http://{self.host}{request.target}"})
        if name not in self.buckets:
            raise Problem(404, "bucket_not_found")
        inside = sorted(path[len(name) + 1:] for path, stream in self.streams.items()
                        if path.startswith(name + "/"))
        if request.method == "DELETE":
            if inside:
                raise Problem(409, "bucket_not_empty")
            self.buckets.discard(name)
            return Reply(204)
        return self.listing(request, name)

    def listing(self, request, name):
        options = dict(part.split("=") for part in request.target.partition("?")[2].split("&")
                       if part)
        limit = int(options.get("limit", 1000))
        prefix = unquote_to_bytes(options.get("prefix", "")).decode()
        after = unquote_to_bytes(options.get("after", "")).decode()
        names = sorted((path[len(name) + 1:] for path, stream in self.streams.items()
                        if path.startswith(name + "/") and not stream.soft_deleted),
                       key=lambda text: text.encode())
        names = [one for one in names
                 if one.startswith(prefix) and one.encode() > after.encode()]
        return self.listed(request, "streams", names, limit)

    @staticmethod
    def listed(request, what, names, limit):
        quoted = [json.dumps(one, ensure_ascii=False) for one in names[:limit]]
        text = f'{{"{what}":[' + ",".join(quoted) + "]"
        if len(names) > limit:
            text += f',"after":{quoted[-1]}'
        body = (text + "}\n").encode()
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        if request.method == "HEAD":
            headers["content-length"] = str(len(body))
        return Reply(200, headers, body)

    # --- PUT ---

    def expiry_of(self, request):
        ttl, at = request.get("stream-ttl"), request.get("stream-expires-at")
        if ttl is not None and at is not None:
            raise Problem(400, "two_expiries")
        if ttl is not None and number_of(ttl, leading_zeros=False) is None:
            raise Problem(400, "ttl")
        if at is not None and instant_ms(at) is None:
            raise Problem(400, "expires_at")
        return ttl, at

    def fork_of(self, request):
        """(source name, anchor, sub-offset) as asked for; None for a stream of its own."""
        source = request.get("stream-forked-from")
        anchor = request.get("stream-fork-offset")
        sub = request.get("stream-fork-sub-offset")
        if source is None:
            if anchor is not None or sub is not None:
                raise Problem(400, "fork_without_source")
            return None
        if anchor is not None and not TOKEN.fullmatch(anchor):
            raise Problem(400, "fork_offset")
        if sub is not None and number_of(sub, leading_zeros=False) is None:
            raise Problem(400, "fork_sub_offset")
        if anchor is not None:
            found = TOKEN.fullmatch(anchor)
            anchor = int(found.group(2)) if int(found.group(1)) == 0 else 2**64
        kind, name = self.resolve(source)
        return name, anchor, int(sub or 0)

    def put(self, request, name):
        self.check_coding(request)
        wrong = set()  # of several slips, any one may be told
        for check in (self.expiry_of, self.fork_of):
            try:
                check(request)
            except Problem as problem:
                wrong |= problem.codes
        if wrong:
            raise Problem(400, wrong)
        ttl, at = self.expiry_of(request)
        fork = self.fork_of(request)
        media = request.get("content-type") or ""
        given_media = is_media_type(media)
        if not given_media:
            media = "application/octet-stream"
        closed = request.says_closed()
        config = (media_of(media) if given_media or fork is None else None,
                  None if ttl is None else int(ttl), None if at is None else instant_ms(at),
                  closed, fork)
        bucket = name.split("/")[0]
        if not name.startswith("v1/") and bucket not in self.buckets:
            raise Problem(404, "bucket_not_found")
        there = self.find(name)
        if there is not None:
            return self.put_again(there, config)
        if fork is None:
            stream = Stream(name, media)
        else:
            stream = self.make_fork(name, fork, media if given_media else None)
        if ttl is not None or at is not None:
            stream.ttl, stream.expires = ttl, at
            stream.expires_ms = None if at is None else instant_ms(at)
        if request.body:
            try:
                stream.add(*stored_form(stream.kind, request.body))
            except JsonRefused as refused:
                raise Problem(400, str(refused)) from refused
        stream.closed = closed
        stream.config = config
        stream.touched = (self.now_ms, self.now_ms)
        self.streams[name] = stream
        if stream.source is not None:
            stream.source.forks += 1
        reply = Reply(201, self.put_headers(stream))
        reply.headers["location"] = f"http://{self.host}{request.target}"
        self.sweep()  # it may have been over before it began
        return reply

    def put_again(self, there, config):
        """Compared is what was asked for (digest 1.2); an offset only when it is given. A fork may
        also be named by what it inherited."""
        media, ttl, at, closed, fork = config
        has_media, has_ttl, has_at, has_closed, has_fork = there.config
        own = (None if there.ttl is None else int(there.ttl), there.expires_ms)
        same = closed == there.closed and (
            (ttl, at) == (has_ttl, has_at) or (has_fork is not None and (ttl, at) == own))
        if fork is None or has_fork is None:
            same = same and fork == has_fork and media == has_media
        else:
            same = same and media in (None, media_of(there.type)) and fork[0] == has_fork[0] and \
                fork[2] == has_fork[2] and (fork[1] is None or fork[1] == there.anchor)
        if there.soft_deleted:
            raise Problem(409, "stream_held")
        if not same:
            raise Problem(409, "stream_exists")
        return Reply(200, self.put_headers(there))

    def put_headers(self, stream):
        headers = {"content-type": stream.type, "stream-next-offset": token(stream.tail)}
        if stream.closed:
            headers["stream-closed"] = "true"
        return headers

    def make_fork(self, name, fork, media):
        """Digest 2.3. The prefix is copied: the model has no other place where it could change."""
        source_name, anchor, sub = fork
        source = self.find(source_name)
        if source is None:
            raise Problem(404, "fork_source_not_found")
        if source.soft_deleted:
            raise Problem(409, "fork_source_deleted")
        source.was_forked = True
        if media is not None and media_of(media) != media_of(source.type):
            raise Problem(409, "fork_type_mismatch")
        point = source.tail if anchor is None else anchor
        if point != 0 and point not in source.ends:  # beyond the tail, or no offset of ours
            raise Problem(400, "fork_offset_invalid")
        stream = Stream(name, media if media is not None else source.type)
        stream.anchor = point
        if sub > 0:
            after = [end for end in source.ends if end > point]
            if not after:
                raise Problem(400, "fork_sub_offset_invalid")
            if stream.kind == "json":
                units = [mark for mark in source.marks if point < mark <= after[0]]
            else:
                units = range(point + 1, after[0] + 1)
            if sub > len(units):
                raise Problem(400, "fork_sub_offset_invalid")
            point = units[sub - 1]
        stream.data = source.data[:point]
        stream.ends = [end for end in source.ends if end < point]
        stream.marks = [mark for mark in source.marks if mark <= point]
        if point > 0:
            stream.ends.append(point)
        stream.source = source
        stream.ttl, stream.expires = source.ttl, source.expires
        stream.expires_ms = source.expires_ms
        return stream

    # --- POST (the precedence is digest 1.3's) ---

    def post(self, request, name):
        producer = self.producer_of(request)
        self.check_coding(request)
        stream = self.stream_or_problem(name)
        close = request.says_closed()
        media = request.get("content-type") or ""
        if not request.body and not close:
            raise Problem(400, "empty_append")
        if request.body and not media:
            raise Problem(400, "content_type_missing")
        if stream.closed:
            return self.post_closed(request, stream, producer)
        if request.body and media_of(media) != media_of(stream.type):
            raise Problem(409, "content_type_mismatch")
        if producer is not None:
            duplicate = self.judge_producer(stream, producer)
            if duplicate is not None:
                return duplicate
        seq = request.get("stream-seq") or ""
        if seq and seq <= stream.seq and stream.seq:
            raise Problem(409, "stream_seq_not_increasing")
        if request.body:
            try:
                stored, marks = stored_form(stream.kind, request.body)
            except JsonRefused as refused:
                raise Problem(400, str(refused)) from refused
            if not stored:
                raise Problem(400, "json_empty_array")
            stream.add(stored, marks)
        headers = {"stream-next-offset": token(stream.tail)}
        if producer is not None:
            stream.producers[producer[0]] = producer[1:]
            headers["producer-epoch"], headers["producer-seq"] = map(str, producer[1:])
        if seq:
            stream.seq = seq
        if close:
            stream.closed = True
            stream.closer = producer
            headers["stream-closed"] = "true"
        self.touch(stream, certain=True)
        return Reply(200 if producer is not None and request.body else 204, headers)

    def producer_of(self, request):
        given = [request.get(name) for name in ("producer-id", "producer-epoch", "producer-seq")]
        if given == [None, None, None]:
            return None
        if None in given:
            raise Problem(400, "producer_headers")
        epoch, seq = (number_of(text, leading_zeros=True) for text in given[1:])
        if given[0] == "":
            raise Problem(400, "producer_id")
        if epoch is None or seq is None:
            raise Problem(400, "producer_number")
        return given[0], epoch, seq

    def post_closed(self, request, stream, producer):
        headers = {"stream-next-offset": token(stream.tail), "stream-closed": "true"}
        if producer is None and not request.body:
            self.touch(stream, certain=True)
            return Reply(204, headers)
        if producer is not None and producer == stream.closer:
            headers["producer-epoch"], headers["producer-seq"] = map(str, producer[1:])
            self.touch(stream, certain=True)
            return Reply(204, headers)
        if producer is not None:  # its own number: clients take none for "begin at 0" (digest 5.3)
            headers["producer-expected-seq"] = headers["producer-received-seq"] = str(producer[2])
        raise Problem(409, "stream_closed", headers)

    def judge_producer(self, stream, producer):
        """None: it brings something new. A Reply: it is a duplicate."""
        name, epoch, seq = producer
        known = stream.producers.get(name)
        expected = 0
        if known is not None:
            if epoch < known[0]:
                raise Problem(403, "producer_fenced", {"producer-epoch": str(known[0])})
            if epoch > known[0]:
                if seq != 0:
                    raise Problem(400, "producer_epoch_start")
                return None
            if seq <= known[1]:
                self.touch(stream, certain=True)
                return Reply(204, {"stream-next-offset": token(stream.tail),
                                   "producer-epoch": str(known[0]), "producer-seq": str(known[1])})
            expected = known[1] + 1
        if seq != expected:
            raise Problem(409, "producer_gap", {"producer-expected-seq": str(expected),
                                                "producer-received-seq": str(seq)})
        return None

    # --- DELETE, HEAD ---

    def delete(self, request, name):
        self.remove(self.stream_or_problem(name))
        return Reply(204)

    def head(self, request, name):
        stream = self.stream_or_problem(name)
        headers = self.put_headers(stream)
        headers["cache-control"] = "no-store"
        headers["vary"] = self.vary(stream)
        if stream.ttl is not None:
            headers["stream-ttl"] = stream.ttl
        elif stream.expires is not None:
            headers["stream-expires-at"] = stream.expires
        return Reply(200, headers)

    @staticmethod
    def vary(stream):
        return "Accept, Accept-Encoding" if stream.kind == "json" else "Accept-Encoding"

    # --- GET ---

    def get(self, request, name):
        query = Query(request.target.partition("?")[2])
        stream = self.stream_or_problem(name)
        if query.problem:
            raise Problem(400, query.problem)
        last = request.get("last-event-id")
        if query.live == "sse" and last is not None and TOKEN.fullmatch(last):
            query.now = False
            query.offset = int(last[17:]) if int(last[:16]) == 0 else 2**64
        self.touch(stream, certain=False)
        offset = stream.tail if query.now else min(query.offset, stream.tail)
        if query.live == "sse":
            offset = stream.span(offset, 0)[0]
            return "sse", Wait(stream, offset, query, request, self.now_ms)
        if query.live == "long-poll":
            wait = Wait(stream, offset, query, request, self.now_ms)
            return self.poll(wait) or ("poll", wait)
        gzip = wants(request.get("accept-encoding"), "gzip")
        limit = min(self.chunk_bytes, GZIP_CHUNK_BYTES) if gzip else self.chunk_bytes
        reply = self.content(stream, offset, limit, request)
        if query.now:
            del reply.headers["etag"]
            reply.headers["cache-control"] = "no-store"
            return reply
        wanted = request.get("if-none-match")
        if wanted is not None and self.matches(wanted, reply.headers["etag"][1]):
            kept = {"stream-next-offset", "stream-up-to-date", "stream-closed", "etag",
                    "cache-control", "vary"}
            return Reply(304, {key: reply.headers[key] for key in reply.headers if key in kept})
        return reply

    def content(self, stream, offset, limit, request):
        """A catch-up reply."""
        start, stop = stream.span(offset, limit)
        lines = stream.kind == "json" and wants(request.get("accept"), "application/x-ndjson")
        part = bytes(stream.data[start:stop])
        if lines:
            cuts = [mark for mark in stream.marks if start < mark <= stop]
            body = b"".join(
                bytes(stream.data[begin:end - 1]).replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
                for begin, end in zip([start] + cuts, cuts))
        elif stream.kind == "json":
            body = b"[" + part[:-1] + b"]"
        else:
            body = part
        up_to_date = stop == stream.tail
        closed = up_to_date and stream.closed
        gzip = wants(request.get("accept-encoding"), "gzip") and len(part) >= GZIP_BYTES_MIN
        headers = {
            "content-type": "application/x-ndjson" if lines else stream.type,
            "stream-next-offset": token(stop),
            "etag": ("tag", (stream.life, start, stop, closed, lines, gzip)),
            "cache-control": CACHED if closed or not up_to_date else "no-cache",
            "vary": self.vary(stream),
            "content-security-policy": "default-src 'none'; sandbox",
        }
        if up_to_date:
            headers["stream-up-to-date"] = "true"
        if closed:
            headers["stream-closed"] = "true"
        reply = Reply(200, headers, body)
        if gzip:
            headers["content-encoding"] = "gzip"
            reply.gzip = True
        return reply

    def matches(self, wanted, key):
        """RFC 9110, 13.1.2, by tags that were learned from earlier responses."""
        own = self.tags.get(key)
        for item in re.findall(r'\*|(?:W/)?"[^"]*"', wanted):
            if item == "*" or item.removeprefix("W/") == own:
                return True
        return False

    def cursor(self, wait):
        interval = (self.now_ms - CURSOR_EPOCH_MS) // CURSOR_MS
        return "cursor", max(wait.cursor[0], interval), max(wait.cursor[1], interval)

    def poll(self, wait, over=False):
        """The reply to a long-poll by now, or None: it waits on. `over`: its time is."""
        stream = wait.stream
        if self.streams.get(stream.name) is not stream or stream.soft_deleted:
            return Problem(404, {"stream_not_found"}).reply()
        if wait.offset >= stream.tail:
            if not stream.closed and not over:
                return None
            headers = {"stream-next-offset": token(stream.tail), "stream-up-to-date": "true",
                       "cache-control": "no-store"}
            if stream.closed:
                headers["stream-closed"] = "true"
            else:
                headers["stream-cursor"] = self.cursor(wait)
            self.touch(stream, certain=False)
            return Reply(204, headers)
        reply = self.content(stream, wait.offset, self.chunk_bytes, wait.request)
        self.touch(stream, certain=False)
        reply.headers["cache-control"] = CACHED
        if "stream-closed" not in reply.headers:
            reply.headers["stream-cursor"] = self.cursor(wait)
        return reply

    def sse_headers(self, wait):
        headers = {"content-type": "text/event-stream", "cache-control": "no-cache",
                   "x-accel-buffering": "no", "transfer-encoding": "chunked"}
        if wait.stream.kind == "binary":
            headers["stream-sse-data-encoding"] = "base64"
        return headers
