"""What was found once, shrunk: each sequence failed before its cause was mended."""

from model import token

TEXT = [("Content-Type", "text/plain")]


def request(method, target, headers=(), body=b""):
    return "req", method, target, list(headers), body, {}


SEQUENCES = {
    # A create that finds another configuration is told of a conflict, not of a closed stream.
    "conflict with a closed stream": [
        request("PUT", "/v1/stream/w/a", TEXT),
        request("POST", "/v1/stream/w/a", [("Stream-Closed", "true")]),
        request("PUT", "/v1/stream/w/a", [("Content-Type", "image/png")]),
    ],
    # The part of a large append that a fork has is as small as it is.
    "a fork that cuts a large append": [
        request("PUT", "/v1/stream/w/a", TEXT),
        request("POST", "/v1/stream/w/a", TEXT, b"small"),
        request("POST", "/v1/stream/w/a", TEXT, b"x" * 300_000),
        request("PUT", "/v1/stream/w/f", [
            ("Stream-Forked-From", "/v1/stream/w/a"), ("Stream-Fork-Offset", token(5)),
            ("Stream-Fork-Sub-Offset", "7")]),
        request("GET", "/v1/stream/w/f"),
        request("POST", "/v1/stream/w/f", TEXT, b"own"),
        request("GET", "/v1/stream/w/f"),
    ],
}
