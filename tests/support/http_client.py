"""A small HTTP/1.1 client on blocking sockets for the tests: it hides nothing and retries nothing.

Python standard library only.
"""

import socket

RECEIVE_BYTES = 1 << 18


class Lost(Exception):
    """The connection ended before the response was whole: the outcome is unknown."""


class NotSent(Exception):
    """No byte of the request left this machine."""


class Response:
    """Status, headers by lower-case name, and the whole body unless it was asked as a stream."""

    def __init__(self, status, headers):
        self.status = status
        self.headers = headers
        self.body = b""

    def header(self, name, default=None):
        return self.headers.get(name, default)


class Connection:
    """One connection, opened at the first request; one request at a time."""

    def __init__(self, host, port, timeout_s=30.0):
        self.host = host
        self.port = port
        self.timeout_s = timeout_s
        self.socket = None
        self.buffer = b""

    def open(self):
        try:
            self.socket = socket.create_connection((self.host, self.port), self.timeout_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise NotSent(str(error)) from error
        self.buffer = b""

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def send(self, method, path, headers=None, body=None):
        """Sends one request and returns at once."""
        if self.socket is None:
            self.open()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        for name, value in (headers or {}).items():
            lines.append(f"{name}: {value}")
        if body is not None or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body or b'')}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        try:
            self.socket.sendall(head + (body or b""))
        except OSError as error:
            self.close()
            raise Lost(str(error)) from error

    def request(self, method, path, headers=None, body=None):
        """One request and its whole response."""
        self.send(method, path, headers, body)
        response = self.read_head()
        response.body = b"".join(self.read_body(method, response))
        if response.header("connection", "").lower() == "close":
            self.close()
        return response

    def read_head(self):
        """Reads a response head, skipping 100 Continue."""
        while True:
            while b"\r\n\r\n" not in self.buffer:
                self._receive()
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            try:
                status = int(lines[0].split(" ")[1])
            except (IndexError, ValueError) as error:
                self.close()
                raise Lost(f"not a status line: {lines[0]!r}") from error
            if status == 100:
                continue
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            return Response(status, headers)

    def read_body(self, method, response):
        """Yields the body in pieces as they come; a chunked body piece by chunk."""
        if method == "HEAD" or response.status in (204, 304):
            return
        if response.header("transfer-encoding", "").lower() == "chunked":
            while True:
                size = int(self._line().split(b";")[0], 16)
                if size == 0:
                    while self._line():
                        pass
                    return
                yield self._exactly(size)
                self._line()
        elif response.header("content-length") is not None:
            left = int(response.header("content-length"))
            if left:
                yield self._exactly(left)
        else:
            while True:
                if self.buffer:
                    piece, self.buffer = self.buffer, b""
                    yield piece
                try:
                    self._receive()
                except Lost:
                    return

    def _receive(self):
        if self.socket is None:
            raise Lost("closed")
        try:
            got = self.socket.recv(RECEIVE_BYTES)
        except OSError as error:
            self.close()
            raise Lost(str(error)) from error
        if not got:
            self.close()
            raise Lost("closed by the server")
        self.buffer += got

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._receive()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _exactly(self, size):
        if len(self.buffer) < size:
            pieces = [self.buffer]
            have = len(self.buffer)
            self.buffer = b""
            while have < size:
                self._receive()
                pieces.append(self.buffer)
                have += len(self.buffer)
                self.buffer = b""
            self.buffer = b"".join(pieces)
        piece, self.buffer = self.buffer[:size], self.buffer[size:]
        return piece


def sse_events(pieces):
    """Yields (event name, data) from the pieces of a text/event-stream body, without comments."""
    buffer = ""
    for piece in pieces:
        buffer += piece.decode("utf-8")
        while "\n\n" in buffer:
            block, buffer = buffer.split("\n\n", 1)
            name = "message"
            data = []
            for line in block.split("\n"):
                field, _, value = line.partition(":")
                if field == "event":
                    name = value.strip()
                elif field == "data":
                    data.append(value.removeprefix(" "))
            if data:
                yield name, "\n".join(data)
