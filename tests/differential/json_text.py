"""JSON bodies as the protocol's digest 2.5 reads them: judged, and cut into elements verbatim."""

import json
import re

DEPTH_MAX = 512  # DESIGN, "JSON"
BLANK = b" \t\n\r"
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def _refuse(name):
    raise ValueError(name)


DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse)


class JsonRefused(Exception):
    """The argument is the problem's code."""


def depth_of(body):
    depth = deepest = 0
    for token in TOKEN.finditer(body):
        if token.group() in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token.group() in (b"]", b"}"):
            depth -= 1
    return deepest


def elements(body):
    """The messages in a body: the elements of a top-level array, else the value itself, each with
    the white space that stands around it between commas, but for the outer one."""
    text = body.strip(BLANK)
    if depth_of(text) > DEPTH_MAX:
        raise JsonRefused("json_too_deep")
    try:
        DECODER.decode(text.decode("utf-8"))  # a byte order mark is no white space of JSON
    except (ValueError, RecursionError) as error:
        raise JsonRefused("json_invalid") from error
    if not text.startswith(b"["):
        return [text]
    inner = text[1:-1].strip(BLANK)
    if not inner:
        return []
    found = []
    depth = begin = 0
    for token in TOKEN.finditer(inner):
        kind = token.group()
        if kind in (b"[", b"{"):
            depth += 1
        elif kind in (b"]", b"}"):
            depth -= 1
        elif kind == b"," and depth == 0:
            found.append(inner[begin:token.start()])
            begin = token.end()
    return found + [inner[begin:]]
