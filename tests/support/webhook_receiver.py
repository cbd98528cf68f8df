"""A webhook receiver on loopback for tests, and the proof of what it received.

Python standard library, and openssl's command line for Ed25519.
"""

import base64
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
import time

SIGNATURE = re.compile(r"^t=(\d+),kid=([^,]+),ed25519=([A-Za-z0-9_-]+)$")
# SubjectPublicKeyInfo of Ed25519 (RFC 8410) in front of the 32 bytes of a key.
ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify_signature(body, header, jwks):
    """Raises unless one of the keys signed these very bytes. Returns the time in the header."""
    found = SIGNATURE.match(header or "")
    if not found:
        raise AssertionError(f"no signature header: {header!r}")
    time_s, kid, signature = found.groups()
    keys = [key for key in jwks["keys"] if key["kid"] == kid]
    if len(keys) != 1 or keys[0]["kty"] != "OKP" or keys[0]["crv"] != "Ed25519":
        raise AssertionError(f"no key {kid} in {jwks}")
    with tempfile.TemporaryDirectory(prefix="signature-") as work:
        parts = {
            "key": ED25519_PREFIX + unbase64url(keys[0]["x"]),
            "signature": unbase64url(signature),
            "text": time_s.encode() + b"." + body,
        }
        paths = {}
        for name, content in parts.items():
            paths[name] = os.path.join(work, name)
            with open(paths[name], "wb") as handle:
                handle.write(content)
        check = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", paths["key"],
             "-rawin", "-in", paths["text"], "-sigfile", paths["signature"]],
            capture_output=True,
            check=False,
        )
    if check.returncode != 0:
        raise AssertionError(f"the signature is wrong: {check.stdout + check.stderr!r}")
    return int(time_s)


class Received:
    """One request."""

    def __init__(self, path, headers, body):
        self.path = path
        self.headers = headers
        self.body = body
        self.json = json.loads(body)
        self.at = time.monotonic()


class Receiver:
    """Keeps every POST. `answers` is asked for (status, headers, body) by each, or None: it never
    answers, and keeps the connection open."""

    def __init__(self, answers=None):
        self.answers = answers or (lambda received: (200, {}, b"{}"))
        self.received = []
        self.changed = threading.Condition()
        self.held = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                size = int(self.headers["Content-Length"])
                got = Received(self.path, self.headers, self.rfile.read(size))
                with receiver.changed:
                    receiver.received.append(got)
                    receiver.changed.notify_all()
                answer = receiver.answers(got)
                if answer is None:
                    receiver.held.wait(60)
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *unused):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *unused: None  # a killed server resets connections
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def wait(self, count, timeout_s=20.0):
        """Until so many came; returns the newest of them."""
        end = time.monotonic() + timeout_s
        with self.changed:
            while len(self.received) < count:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{len(self.received)} of {count} requests came")
                self.changed.wait(left)
            return self.received[count - 1]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.held.set()
        self.server.shutdown()
        self.server.server_close()
