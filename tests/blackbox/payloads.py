"""Payloads that say who they are, and the words of a history about them (tools/check/history.h)."""

import hashlib
import json

FOLD_PRIME = (1 << 61) - 1
FOLD_BASE = 1099511628211
ZERO = "0000000000000000_0000000000000000"

# A binary payload: "<", its number in 16 hex digits, ":", its length in 8 digits, ">", filler.
BINARY_HEAD = 27


class Torn(Exception):
    """Bytes that no client sent as a whole."""


def digest(data):
    """The 64-bit name of a payload in a history."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def fold(names):
    value = 0
    for name in names:
        value = (value * FOLD_BASE + name) % FOLD_PRIME
    return value


def offset_token(position):
    return f"{0:016d}_{position:016d}"


def position_of(token):
    """The byte position an offset token stands for."""
    high, _, low = token.partition("_")
    if len(high) != 16 or len(low) != 16 or int(high) != 0:
        raise Torn(f"not an offset token: {token!r}")
    return int(low)


def binary_payload(number, size):
    """`size` bytes (at least BINARY_HEAD) whose filler follows from the number."""
    size = max(size, BINARY_HEAD)
    head = b"<%016x:%08d>" % (number, size)
    seed = hashlib.blake2b(head, digest_size=64).digest()
    return head + (seed * (size // len(seed) + 1))[: size - len(head)]


def split_binary(data):
    """Splits what was read into payloads; raises Torn when it is not a row of whole ones."""
    payloads = []
    at = 0
    while at < len(data):
        head = data[at:at + BINARY_HEAD]
        if len(head) < BINARY_HEAD or head[:1] != b"<" or head[17:18] != b":" or head[26:] != b">":
            raise Torn(f"no payload begins at byte {at}: {head!r}")
        number, size = int(head[1:17], 16), int(head[18:26])
        payload = data[at:at + size]
        if payload != binary_payload(number, size):
            raise Torn(f"payload {number:x} at byte {at} is damaged or cut ({len(payload)}/{size})")
        payloads.append(payload)
        at += size
    return payloads


def json_elements(number, count, size):
    """The elements of one JSON append: each tells its append, its place and how many there are."""
    pad = "x" * max(0, size // count - 60)
    return [
        json.dumps({"id": f"{number:016x}", "i": index, "of": count, "pad": pad})
        for index in range(count)
    ]


def json_body(elements, as_array):
    """What is posted: a bare value when there is one element and as_array is false."""
    if len(elements) == 1 and not as_array:
        return elements[0].encode()
    return ("[" + ", ".join(elements) + "]").encode()


def json_name(elements):
    """The name of a JSON append: its elements as they were written, one a line."""
    return digest("\n".join(elements).encode())


def split_json(data):
    """Splits a read array into the appends it came from, as lists of element texts."""
    try:
        values = json.loads(data)
    except ValueError as error:
        raise Torn(f"not JSON: {error}: {data[:80]!r}") from error
    if not isinstance(values, list):
        raise Torn(f"not an array: {data[:80]!r}")
    appends = []
    at = 0
    while at < len(values):
        count = values[at]["of"]
        batch = values[at:at + count]
        if [(value["id"], value["i"]) for value in batch] != [
            (values[at]["id"], index) for index in range(count)
        ]:
            raise Torn(f"append {values[at]['id']} is torn at element {at}")
        appends.append([json.dumps(value) for value in batch])
        at += count
    return appends


def names_in(kind, data):
    """The payload names in what a stream of this kind ("json" or "bytes") answered."""
    if kind == "json":
        return [json_name(elements) for elements in split_json(data)]
    return [digest(payload) for payload in split_binary(data)]
