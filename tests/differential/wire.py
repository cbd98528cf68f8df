"""HTTP/1.1 and server-sent events as a strict client reads them: whatever is not exactly what the
RFCs and the protocol's digest write is an error. Python standard library only.
"""

import base64
import re
import socket
import struct

TIMEOUT = 20.0  # seconds, of any single wait
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([A-Za-z][A-Za-z -]*)")
FIELD_NAME = re.compile(r"[A-Za-z0-9-]+")
FIELD_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
REASONS = {
    200: b"OK", 201: b"Created", 204: b"No Content", 304: b"Not Modified", 400: b"Bad Request",
    403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 409: b"Conflict",
    410: b"Gone", 413: b"Content Too Large", 415: b"Unsupported Media Type",
    500: b"Internal Server Error", 501: b"Not Implemented", 503: b"Service Unavailable",
    507: b"Insufficient Storage",
}


class Broken(Exception):
    """What came is no response, no event, or ended too early."""


class Response:
    __slots__ = ("status", "headers", "body")

    def __init__(self, status, headers):
        self.status = status
        self.headers = headers  # by lower-case name; a name that stands twice is Broken
        self.body = b""


def parse_head(head):
    lines = head.split(b"\r\n")
    found = STATUS_LINE.fullmatch(lines[0])
    if found is None:
        raise Broken(f"not a status line: {lines[0]!r}")
    status = int(found.group(1))
    if REASONS.get(status) != found.group(2):
        raise Broken(f"another reason phrase: {lines[0]!r}")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.decode("latin-1").partition(": ")
        name = name.lower()
        if not colon or not FIELD_NAME.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            raise Broken(f"not a header: {line!r}")
        if name in headers:
            raise Broken(f"a header stands twice: {line!r}")
        headers[name] = value
    return Response(status, headers)


class Connection:
    """One keep-alive connection. Requests may be sent ahead of the responses to earlier ones."""

    def __init__(self, address, timeout_s=None):
        self.socket = socket.create_connection(address, timeout_s or TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def abort(self):
        """With a reset: a server that sees the end of what a client sends cannot know whether the
        client still reads."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        try:
            got = self.socket.recv(1 << 18)
        except socket.timeout as error:
            raise Broken(f"no answer in time; so far: {self.buffer[:200]!r}") from error
        except OSError as error:
            raise Broken(f"connection lost: {error}") from error
        if not got:
            raise Broken(f"connection closed by the server; so far: {self.buffer[:200]!r}")
        self.buffer += got

    def is_silent(self):
        """Whether nothing came that nobody asked for."""
        if self.buffer:
            return False
        self.socket.setblocking(False)
        try:
            got = self.socket.recv(1 << 16)
            self.buffer += got
            return False  # bytes, or the end
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)

    def until(self, mark):
        """The bytes before the next `mark`, which is taken too."""
        searched = 0
        while True:
            at = self.buffer.find(mark, searched)
            if at >= 0:
                part = self.buffer[:at]
                self.buffer = self.buffer[at + len(mark):]
                return part
            searched = max(0, len(self.buffer) - len(mark))
            self.more()

    def exactly(self, size):
        while len(self.buffer) < size:
            self.more()
        part, self.buffer = self.buffer[:size], self.buffer[size:]
        return part

    def read_head(self):
        return parse_head(self.until(b"\r\n\r\n"))

    def read_response(self, method):
        response = self.read_head()
        length = response.headers.get("content-length")
        coding = response.headers.get("transfer-encoding")
        if method == "HEAD":
            return response
        if response.status in (204, 304):
            if length is not None or coding is not None:
                raise Broken(f"{response.status} with a framing header")
            return response
        if coding is not None or length is None or not re.fullmatch("0|[1-9][0-9]*", length):
            raise Broken(f"a finite response with length {length!r}, coding {coding!r}")
        response.body = self.exactly(int(length))
        return response

    def read_chunk(self):
        """One chunk's bytes; empty for the last one, which has no trailers."""
        line = self.until(b"\r\n")
        if not re.fullmatch(rb"0|[1-9a-f][0-9a-f]*", line):
            raise Broken(f"not a chunk size: {line!r}")
        chunk = self.exactly(int(line, 16))
        if self.exactly(2) != b"\r\n":
            raise Broken("a chunk does not end where it said")
        return chunk


class Event:
    __slots__ = ("kind", "id", "data")

    def __init__(self, kind, ident, data):
        self.kind = kind
        self.id = ident
        self.data = data


LINE_END = re.compile(rb"\r\n|\r|\n")


def parse_events(text):
    """The events of a text that ends with an event's empty line, and the number of comments; by
    the rules of the HTML standard, and without its leniency."""
    lines = LINE_END.split(text)
    if lines.pop() != b"":
        raise Broken(f"an event does not end with its chunk: {text[-100:]!r}")
    events = []
    comments = 0
    kind = ident = None
    data = []
    for line in lines:
        if line == b"":
            if kind is not None:
                events.append(Event(kind.decode(), ident and ident.decode(), b"\n".join(data)))
            elif data or ident is not None:
                raise Broken(f"an event without a name: {text[:300]!r}")
            kind = ident = None
            data = []
            continue
        field, colon, value = line.partition(b":")
        if field == b"" and colon:
            comments += 1
        elif field == b"data" and colon:
            # Readers take one blank away; ours is there only to save one of the payload's.
            if value.startswith(b" "):
                value = value[1:]
                if not value.startswith(b" "):
                    raise Broken(f"a blank that readers take away: {line!r}")
            data.append(value)
        elif field == b"event" and value.startswith(b" ") and kind is None:
            kind = value[1:]
        elif field == b"id" and value.startswith(b" ") and ident is None:
            ident = value[1:]
        else:
            raise Broken(f"a line of no event: {line!r}")
    if kind is not None or data or ident is not None:
        raise Broken(f"an event is cut: {text[-100:]!r}")
    return events, comments


class Tail:
    """The events of a text/event-stream body on a connection whose head has been read."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []
        self.ended = False

    def next_event(self):
        """None at the clean end of the body."""
        while not self.events and not self.ended:
            chunk = self.connection.read_chunk()
            if chunk == b"":
                self.ended = True
                break
            self.events, comments = parse_events(chunk)
            # A data event and its control event leave together (digest 2.7).
            if self.events and self.events[-1].kind != "control":
                raise Broken(f"a chunk ends with {self.events[-1].kind!r}")
            if not self.events and comments == 0:
                raise Broken(f"a chunk of nothing: {chunk!r}")
        return self.events.pop(0) if self.events else None


def base64_of(data):
    return base64.b64encode(data)
