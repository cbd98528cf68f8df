"""Sends operations to a real server, asks the model what the answers must be, and compares every
status, header and byte. An operation is a tuple, so that a sequence can be kept, cut and replayed:

    ("req", method, target, headers, body, options)
    ("clock", ms)        moves the server's clock
    ("drop", n)          the client of the n-th live reader goes away
    ("kill",)            kill -9 and a start on the same directory
    ("kill_in", method, target, headers, body, us)   the same so long after this was sent

Options of a request: "chunks", sizes that its body is cut into; "pipe", True when it leaves with
the one behind it in one write. In a header's value `{tag}` is the last ETag that was seen under
that path, of whichever life.
"""

import copy
import email.utils
import json
import re
import select
import shlex
import time
import zlib
from urllib.parse import quote

import wire
from model import CORS_EXPOSED, Problem, Reply, Request, token

REQUEST_ID = re.compile(r"[0-9a-f]{16}")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
READERS_MAX = 6
GONE_FOR_GOOD_MS = 21_000  # beyond the long-poll timeout: no long-poll lasts longer
PURGE_S = 5.0              # as the conformance suite has it
POLL_LIFE_MS = 10_000      # one that is younger goes on
EVENTS_LIFE_MS = 40_000    # and an event stream: it lives for a minute


class Differs(Exception):
    """The server and the model disagree."""


class Disturbed(Exception):
    """A leader was lost, as busy machines have it: what the server said is no answer."""


def differ(what, got, wanted):
    raise Differs(f"{what}\n    server: {got!r:.900}\n    model:  {wanted!r:.900}")


class Reader:
    """A live reader: its connection, and what the model knows of it."""

    def __init__(self, connection, wait, now_ms, tail=None):
        self.connection = connection
        self.wait = wait
        self.since_ms = now_ms
        self.since_s = time.monotonic()
        self.tail = tail          # of an event stream
        self.offset = wait.offset
        self.cursor = 0
        self.closed_told = False

    def age_ms(self, model):
        """As the server sees it: a clock that is moved goes on by itself as well."""
        age_ms = (time.monotonic() - self.since_s) * 1000
        return age_ms + (model.now_ms - self.since_ms if model.timed else 0)

    def may_stay(self, age_ms):
        return age_ms < (POLL_LIFE_MS if self.tail is None else EVENTS_LIFE_MS)


class Driver:
    """`server`: something with host, port and, for ("kill",), kill() and start()."""

    def __init__(self, server, model):
        self.server = server
        self.model = model
        self.may_be_disturbed = False  # there are several nodes
        self.barrier = []  # requests that reach every group, for before a clock moves
        self.connection = None
        self.pipe = []
        self.readers = []
        self.request_ids = set()
        self.tag_keys = {}

    # --- sending ---

    def connect(self):
        return wire.Connection((self.server.host, self.server.port))

    def main(self):
        if self.connection is None:
            self.connection = self.connect()
        return self.connection

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def wire_bytes(self, request, options):
        lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: {self.model.host}"]
        lines += [f"{name}: {value}" if value else f"{name}:" for name, value in request.headers]
        body = request.body
        if options.get("chunks") and body:
            lines.append("Transfer-Encoding: chunked")
            coded = b""
            for size in options["chunks"]:
                if body:
                    part, body = body[:size], body[size:]
                    coded += b"%x\r\n%s\r\n" % (len(part), part)
            if body:
                coded += b"%x\r\n%s\r\n" % (len(body), body)
            body = coded + b"0\r\n\r\n"
        elif body or request.method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def request_of(self, operation):
        _, method, target, headers, body = operation[:5]
        path = target.split("?")[0]
        tag = self.model.last_tag.get(path, '"none"')
        headers = [(name, value.replace("{tag}", tag)) for name, value in headers]
        return Request(method, target, headers, body)

    # --- one operation ---

    def run(self, operation):
        for reader in list(self.readers):
            if not reader.may_stay(reader.age_ms(self.model)):
                self.readers.remove(reader)
                reader.connection.abort()
        kind = operation[0]
        if kind == "req":
            self.take_request(operation)
            return
        self.flush()
        if kind == "clock":
            self.move_clock(operation[1])
        elif kind == "drop":
            if operation[1] < len(self.readers):
                self.readers.pop(operation[1]).connection.abort()
        elif kind == "kill":
            self.restart()
        elif kind == "kill_in":
            self.kill_in(operation)
        else:
            raise ValueError(kind)

    def take_request(self, operation):
        request = self.request_of(operation)
        options = operation[5] if len(operation) > 5 else {}
        # What is told to a live reader, and tags that are not known yet, need an order. Of several
        # reasons to refuse a fork, which one is told may depend on what is under way.
        if self.pipe and (self.readers or "{tag}" in str(operation[3]) or
                          request.get("stream-forked-from") is not None):
            self.flush()
        expected = self.model.handle(request)
        if self.model.purged:
            options = {}
        data = self.wire_bytes(request, options)
        if isinstance(expected, Reply):
            self.pipe.append((request, data, expected))
            if not options.get("pipe") or self.readers or len(self.pipe) >= 8:
                self.flush()
            return
        self.flush()
        self.open_reader(request, data, *expected)

    def flush(self):
        """Sends what was collected as one write, and reads the responses in their order."""
        if self.pipe:
            batch, self.pipe = self.pipe, []
            connection = self.main()
            connection.send(b"".join(data for _, data, _ in batch))
            for request, _, expected in batch:
                response = connection.read_response(request.method)
                self.compare(request, response, expected)
            if connection.buffer:
                differ("bytes behind the last response", connection.buffer, b"")
        if self.readers:
            self.look_at_readers()
        self.wait_for_purges()

    def wait_for_purges(self):
        """What was kept for forks goes when the last of them does; other groups, and other nodes,
        have a say in that, so it may take a moment."""
        purged, self.model.purged = self.model.purged, []
        for name in purged:
            path = quote("/v1/stream/" + name[3:] if name.startswith("v1/") else "/" + name)
            end = time.monotonic() + PURGE_S
            while name not in self.model.streams:
                connection = self.main()
                connection.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                status = connection.read_response("HEAD").status
                if status == 404:
                    break
                if status != 410 or time.monotonic() > end:
                    differ(f"HEAD {path}, whose last fork is gone", status, 404)
                time.sleep(0.002)

    # --- comparing ---

    def compare(self, request, response, expected):
        what = f"{request.method} {request.target}"
        if response.status != expected.status:
            if self.may_be_disturbed and response.status in (500, 503):
                raise Disturbed(f"{what}: {response.body!r}")
            differ(f"{what}: status", (response.status, response.headers, response.body),
                   (expected.status, expected.headers, expected.body))
        headers = dict(response.headers)
        self.check_first_headers(what, headers, request.get("origin"))
        body = self.body_of(what, response, expected, headers)
        if expected.status not in (204, 304) and request.method != "HEAD":
            length = headers.pop("content-length", None)
            if "transfer-encoding" not in expected.headers and length != str(len(response.body)):
                differ(f"{what}: Content-Length", length, len(response.body))
        elif request.method == "HEAD" and isinstance(expected.body, set):
            headers.pop("content-length", None)
        if isinstance(expected.body, set):
            headers.pop("x-request-id", None)
        self.compare_headers(what, request, headers, expected.headers)
        if isinstance(expected.body, set):
            ident = response.headers.get("x-request-id", "")
            if not REQUEST_ID.fullmatch(ident) or ident in self.request_ids:
                differ(f"{what}: X-Request-Id", ident, "one that was not there before")
            self.request_ids.add(ident)
            if request.method != "HEAD":
                self.check_problem(what, response, expected)
            elif response.body:
                differ(f"{what}: body of a HEAD", response.body, b"")
        elif request.method != "HEAD" and body != expected.body:
            differ(f"{what}: body", body, expected.body)

    def body_of(self, what, response, expected, headers):
        if not expected.gzip:
            return response.body
        try:
            unpacker = zlib.decompressobj(31)
            body = unpacker.decompress(response.body)
        except zlib.error as error:
            differ(f"{what}: no gzip: {error}", headers, expected.headers)
        if not unpacker.eof or unpacker.unused_data:
            differ(f"{what}: gzip is cut or has more behind it", response.body, expected.body)
        return body

    def check_first_headers(self, what, headers, origin):
        """What every response has; CORS, always for other origins, all of it or nothing."""
        date = headers.pop("date", "")
        if not DATE.fullmatch(date):
            differ(f"{what}: Date", date, "an HTTP date")
        at = email.utils.parsedate_to_datetime(date).timestamp()
        if abs(at - self.model.now_ms / 1000) > (1 if self.model.timed else 30):
            differ(f"{what}: Date", date, self.model.now_ms)
        if headers.pop("x-content-type-options", None) != "nosniff":
            differ(f"{what}: X-Content-Type-Options", headers, "nosniff")
        if headers.pop("cross-origin-resource-policy", None) != "cross-origin":
            differ(f"{what}: Cross-Origin-Resource-Policy", headers, "cross-origin")
        allowed = headers.pop("access-control-allow-origin", None)
        exposed = headers.pop("access-control-expose-headers", None)
        if (allowed is None) != (exposed is None) or allowed not in (None, "*") or \
                (origin and allowed is None):
            differ(f"{what}: CORS", (allowed, exposed), "both, or neither without Origin")
        if exposed is not None and not set(CORS_EXPOSED) <= set(exposed.split(", ")):
            differ(f"{what}: exposed headers", exposed, CORS_EXPOSED)

    def compare_headers(self, what, request, headers, wanted):
        for name in wanted.keys() | headers.keys():
            value, want = headers.get(name), wanted.get(name)
            if isinstance(want, tuple) and value is not None:
                if want[0] == "tag":
                    self.check_tag(what, request, value, want[1])
                    continue
                if want[0] == "cursor":
                    self.check_cursor(what, value, want)
                    continue
                if set(want[1]) <= set(value.split(", ")):
                    continue
            if value != want:
                differ(f"{what}: {name}", value, want)

    def check_tag(self, what, request, tag, key):
        """One tag for one range of one life in one form, and never again."""
        if not re.fullmatch(r'"[!#-~]+"', tag):
            differ(f"{what}: ETag", tag, "a strong one")
        if self.model.tags.setdefault(key, tag) != tag:
            differ(f"{what}: ETag of {key}", tag, self.model.tags[key])
        if self.tag_keys.setdefault(tag, key) != key:
            differ(f"{what}: ETag {tag} of {self.tag_keys[tag]} too", tag, key)
        self.model.last_tag[request.target.split("?")[0]] = tag

    def check_cursor(self, what, text, want):
        slack = 0 if self.model.timed else 2
        if not re.fullmatch("0|[1-9][0-9]*", text) or \
                not want[1] - slack <= int(text) <= want[2] + slack:
            differ(f"{what}: cursor", text, want)

    def check_problem(self, what, response, expected):
        if not response.body.endswith(b"}\n") or response.body.count(b"\n") != 1:
            differ(f"{what}: problem", response.body, "one line of JSON")
        problem = json.loads(response.body)
        if list(problem) != ["status", "code", "title", "hint", "request_id"]:
            differ(f"{what}: problem", problem, "status, code, title, hint, request_id")
        if problem["status"] != expected.status or problem["code"] not in expected.body:
            differ(f"{what}: problem", problem, (expected.status, expected.body))
        if problem["request_id"] != response.headers["x-request-id"]:
            differ(f"{what}: request_id", problem, response.headers["x-request-id"])

    # --- live readers ---

    def open_reader(self, request, data, kind, wait):
        if len(self.readers) >= READERS_MAX:
            self.readers.pop(0).connection.abort()
        connection = self.connect()
        connection.send(data)
        if kind == "poll":
            reader = Reader(connection, wait, self.model.now_ms)
            self.readers.append(reader)
            # It waits when what was asked behind it has been answered and it has not.
            self.ping()
            self.look_at_readers()
            return
        response = connection.read_head()
        self.compare(request, response, Reply(200, self.model.sse_headers(wait)))
        reader = Reader(connection, wait, self.model.now_ms, wire.Tail(connection))
        if self.follow(reader, first=True):
            self.readers.append(reader)

    def ping(self):
        connection = self.main()
        connection.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.read_response("GET")

    def look_at_readers(self):
        for reader in list(self.readers):
            if reader.tail is not None:
                going_on = self.follow(reader)
            else:
                expected = self.model.poll(reader.wait)
                going_on = expected is None
                if expected is not None:
                    self.end_poll(reader, expected)
            if not going_on:
                self.readers.remove(reader)
                reader.connection.close()
        self.expect_silence()

    def end_poll(self, reader, expected):
        response = reader.connection.read_response("GET")
        self.compare(reader.wait.request, response, expected)
        if not reader.connection.is_silent():
            differ("bytes behind a long-poll's response", reader.connection.buffer, b"")

    def expect_silence(self):
        """Nobody is told anything that the model does not know of."""
        waiting = [reader for reader in self.readers if reader.tail is None]
        if not waiting:
            return
        readable, _, _ = select.select([one.connection.socket for one in waiting], [], [], 0)
        for reader in waiting:
            if reader.connection.socket in readable:
                response = reader.connection.read_head()
                differ(f"a long-poll ended: {reader.wait.request.target}",
                       (response.status, response.headers), "it waits")

    def follow(self, reader, first=False):
        """Reads the events that must come by now. False: the body has ended, as it had to."""
        stream = reader.wait.stream
        model = self.model
        what = f"events of {reader.wait.request.target}"
        gone = model.streams.get(stream.name) is not stream or stream.soft_deleted
        told = not first
        while not gone and (reader.offset < stream.tail or not told):
            self.next_events(what, reader, stream)
            told = True
        if not first and not gone and stream.closed and reader.offset == stream.tail and \
                not reader.tail.ended and not reader.closed_told:
            self.next_events(what, reader, stream)
        if not gone and not stream.closed:
            return True
        event = reader.tail.next_event()
        if event is not None:
            differ(f"{what}: behind the end", (event.kind, event.data), "the end")
        return False

    def next_events(self, what, reader, stream):
        """A data event with its control event, or a control event alone."""
        event = reader.tail.next_event()
        if event is None:
            if self.may_be_disturbed:
                raise Disturbed(f"{what}: the end")
            differ(f"{what}: the end", reader.offset, stream.tail)
        data = None
        if event.kind == "data":
            data = event
            event = reader.tail.next_event()
        if event is None or event.kind != "control":
            differ(f"{what}: an event without its control", event and event.kind, "control")
        try:
            control = json.loads(event.data)
        except ValueError:
            differ(f"{what}: control", event.data, "JSON")
        if b"\n" in event.data or event.data.count(b"{") != 1 or b"\\" in event.data:
            differ(f"{what}: control", event.data, "one flat line")
        if data is None and reader.offset < stream.tail:
            differ(f"{what}: control {event.data!r} before the data", reader.offset, stream.tail)
        stop = self.check_data(what, reader, stream, data, control)
        reader.offset = stop
        up_to_date = stop == stream.tail
        closed = up_to_date and stream.closed
        wanted = {"streamNextOffset": token(stop)}
        if not closed:
            wanted["streamCursor"] = control.get("streamCursor")
            self.check_event_cursor(what, reader, control)
        if up_to_date:
            wanted["upToDate"] = True
        if closed:
            wanted["streamClosed"] = True
        if control != wanted:
            differ(f"{what}: control", control, wanted)
        if (data or event).id != token(stop) or (data is not None and event.id is not None):
            differ(f"{what}: id", (data and data.id, event.id), token(stop))
        reader.closed_told = closed

    def check_data(self, what, reader, stream, data, control):
        """The offset that the control event must name."""
        if data is None:
            return reader.offset
        found = re.fullmatch(r"0000000000000000_([0-9]{16})",
                             str(control.get("streamNextOffset")))
        stop = int(found.group(1)) if found else -1
        if stop <= reader.offset or stop not in stream.ends:
            differ(f"{what}: next offset", control, [reader.offset, stream.ends])
        part = bytes(stream.data[reader.offset:stop])
        if stream.kind == "json":
            part = b"[" + part[:-1] + b"]"
        if stream.kind == "binary":
            wanted = [wire.base64_of(part)]
        else:
            wanted = [b"\n".join(wire.LINE_END.split(part))]
        if data.data not in wanted:
            differ(f"{what}: data of {reader.offset}..{stop}", data.data, wanted)
        return stop

    def check_event_cursor(self, what, reader, control):
        text = control.get("streamCursor")
        if not isinstance(text, str) or not text.isdigit():
            differ(f"{what}: cursor", control, "digits")
        low = max(self.model.cursor(reader.wait)[1], reader.cursor)
        high = max(self.model.cursor(reader.wait)[2], reader.cursor)
        self.check_cursor(what, text, ("cursor", low, high))
        reader.cursor = int(text)

    # --- time, and the end of the process ---

    def move_clock(self, ms):
        """No touch may be under way, and what becomes of the live readers must be certain: their
        time is over, or they stay, and keep their streams alive."""
        ms = self.model.moment(ms) - self.model.now_ms
        over = []
        stay = []
        for reader in self.readers:
            stream = reader.wait.stream
            if reader.tail is None and ms >= GONE_FOR_GOOD_MS and stream.deadlines() is None:
                over.append(reader)
            elif reader.may_stay(reader.age_ms(self.model) + ms) and (
                    stream.deadlines() is None or
                    (stream.ttl is not None and ms < int(stream.ttl) * 750)):
                stay.append(reader)
            else:
                reader.connection.abort()
        self.readers = stay
        self.settle()
        watched = [reader.wait.stream for reader in stay]
        self.model.advance(ms)
        self.set_clock()
        self.settle()
        for stream in watched:
            self.model.touch(stream, certain=False)
        self.wait_for_purges()
        for reader in over:
            self.end_poll(reader, self.model.poll(reader.wait, over=True))
            reader.connection.close()
        if self.readers:
            self.look_at_readers()

    def set_clock(self):
        """Idle connections are over when the clock moves far."""
        self.disconnect()
        connection = self.connect()
        connection.send(f"POST /admin/test-clock?wall_ms={self.model.now_ms} HTTP/1.1\r\n"
                        "Host: x\r\nContent-Length: 0\r\n\r\n".encode())
        if connection.read_response("POST").status != 204:
            raise Differs("this server has no clock to move: it is not ursula-clocked")
        connection.close()

    def settle(self):
        """Every loop has had turns, and every group has committed what was asked of it."""
        for _ in range(2):
            connection = self.main()
            connection.send(b"".join(self.barrier) +
                            b"GET /admin/v1/groups HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in self.barrier:
                connection.read_response("POST")
            connection.read_response("GET")

    def restart(self):
        for reader in self.readers:
            reader.connection.close()
        self.readers = []
        self.disconnect()
        self.server.kill()
        self.server.start()
        if self.model.timed:
            self.set_clock()

    def kill_in(self, operation):
        """The request's outcome is unknown: the state afterwards is that before it or that behind
        it, and the next answers say which."""
        request = self.request_of(operation)
        connection = self.connect()
        connection.send(self.wire_bytes(request, {}))
        time.sleep(operation[5] / 1e6)
        self.restart()
        connection.close()
        model = self.model
        name = model.resolve(request.target)[1]
        saved = copy.deepcopy(model.__dict__)
        before = self.facts(name)
        model.handle(request)
        after = self.facts(name)
        probe = self.main()
        probe.send(f"HEAD {request.target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = probe.read_response("HEAD")
        seen = (response.status, response.headers.get("stream-next-offset"),
                response.headers.get("stream-closed"))
        if seen not in (before, after):
            differ(f"kill -9 in {request.method} {request.target}", seen, [before, after])
        if seen == before:
            model.__dict__.update(saved)
            stream = model.find(name)
            if stream is not None:  # what changed nothing else may have touched it
                stream.touched = (stream.touched[0], model.now_ms)

    def facts(self, name):
        """What a HEAD of the stream shows of its state."""
        try:
            headers = self.model.head(None, name).headers
        except Problem as problem:
            return problem.status, None, None
        return 200, headers["stream-next-offset"], headers.get("stream-closed")

    def finish(self):
        self.flush()
        for reader in self.readers:
            reader.connection.close()
        self.disconnect()


def curl_lines(operations, base="http://127.0.0.1:4437"):
    """The operations as one would type them."""
    lines = []
    for number, operation in enumerate(operations, 1):
        if operation[0] != "req" and operation[0] != "kill_in":
            lines.append(f"{number:4}  # {' '.join(str(part) for part in operation)}")
            continue
        _, method, target, headers, body = operation[:5]
        parts = ["curl -sS -i" if method != "HEAD" else "curl -sS -I"]
        if method not in ("GET", "HEAD"):
            parts.append(f"-X {method}")
        parts += ["-H " + shlex.quote(f"{name}: {value}" if value else f"{name};")
                  for name, value in headers]
        if body:
            text = body if len(body) <= 400 else body[:100] + b"..."
            if all(32 <= byte < 127 for byte in text):
                parts.append("--data-binary " + shlex.quote(text.decode()))
            else:
                parts.append(f"--data-binary @<(printf {repr(text)[1:]})")
            if len(body) > 400:
                parts.append(f"# {len(body)} bytes")
        parts.insert(1, shlex.quote(base + target))
        note = "   # " + operation[0] if operation[0] == "kill_in" else ""
        lines.append(f"{number:4}  " + " ".join(parts) + note)
    return lines


def real_time_ms():
    return int(time.time() * 1000)
