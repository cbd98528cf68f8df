#!/usr/bin/env python3
"""The process as INTERFACE.md section 1 says: flags, ready line, signals, exit codes, refusals; and
the first minute of README.md with plain curl, in memory and durable.

The last line is `N passed, N failed`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from checks import expect, run_checks  # noqa: E402
from http_client import Connection, Lost, NotSent  # noqa: E402
from ursula_server import Server, run_to_exit  # noqa: E402

TEXT = {"Content-Type": "text/plain"}


def expect_in(what, part, text):
    if part.lower() not in text.lower():
        raise AssertionError(f"{what}: {part!r} is not in {text[:400]!r}")


def refused(arguments, code, *words):
    """The binary ends with this code, and the last thing it says has the words."""
    got, said = run_to_exit(arguments)
    expect(f"exit code of {arguments} ({said.strip()[-300:]})", got, code)
    for word in words:
        expect_in(f"message of {arguments}", word, said)
    return said


def curl(*arguments):
    """Returns (status, headers as text, body) of one plain curl call."""
    command = ["curl", "-s", "-i", "--max-time", "10", *arguments]
    answer = subprocess.run(command, capture_output=True, check=False).stdout
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    return int(lines[0].split(" ")[1]) if len(lines[0]) > 9 else 0, "\n".join(lines[1:]), body


def curl_live(url, enough):
    """Follows a live URL until `enough` is in what came, at most ten seconds."""
    process = subprocess.Popen(
        ["curl", "-s", "-N", "--max-time", "10", url], stdout=subprocess.PIPE
    )
    got = b""
    while enough not in got:
        piece = process.stdout.read1(65536)
        if not piece:
            break
        got += piece
    process.kill()
    process.wait()
    return got.decode()


def first_minute(server, prefix):
    """What a newcomer types, for text, bytes and JSON."""
    hello = f"{server.url}{prefix}/hello"
    status, _, body = curl("-X", "POST", hello, "-H", "Content-Type: text/plain", "-d", "x")
    expect("POST to a missing stream", status, 404)
    problem = json.loads(body)
    expect_in("the hint", "PUT", problem["hint"])
    expect("status in the body", problem["status"], 404)
    if not body.endswith(b"\n"):
        raise AssertionError("an error body ends in a newline")

    expect("PUT", curl("-X", "PUT", hello, "-H", "Content-Type: text/plain")[0], 201)
    expect("PUT again", curl("-X", "PUT", hello, "-H", "Content-Type: text/plain")[0], 200)
    expect("PUT otherwise", curl("-X", "PUT", hello, "-H", "Content-Type: text/html")[0], 409)
    text = ("-H", "Content-Type: text/plain", "-d")
    status, head, _ = curl("-X", "POST", hello, *text, "hello, ")
    expect("POST", status, 204)
    expect_in("POST headers", "Stream-Next-Offset: 0000000000000000_0000000000000007", head)
    status, head, body = curl(f"{hello}?offset=-1")
    expect("GET", (status, body), (200, b"hello, "))
    expect_in("GET headers", "content-type: text/plain", head)
    expect_in("GET headers", "stream-up-to-date: true", head)

    late = threading.Timer(0.3, curl, ["-X", "POST", hello, *text, "world"])
    late.start()
    token = "0000000000000000_0000000000000007"
    got = curl_live(f"{hello}?offset={token}&live=sse", b"_0000000000000012")
    expect_in("SSE", "event: data\ndata:world\n", got)
    expect_in("SSE", '"streamNextOffset":"0000000000000000_0000000000000012"', got)
    late.join()
    late = threading.Timer(0.3, curl, ["-X", "POST", hello, *text, "!"])
    late.start()
    token = "0000000000000000_0000000000000012"
    status, head, body = curl(f"{hello}?offset={token}&live=long-poll")
    expect("long-poll", (status, body), (200, b"!"))
    late.join()
    status, head, body = curl("-I", hello)
    expect("HEAD", (status, body), (200, b""))
    expect_in("HEAD", "stream-next-offset: 0000000000000000_0000000000000013", head)

    data = f"{server.url}{prefix}/bytes"
    expect("PUT", curl("-X", "PUT", data)[0], 201)
    with tempfile.NamedTemporaryFile() as handle:
        handle.write(bytes(range(256)))
        handle.flush()
        octets = "Content-Type: application/octet-stream"
        status = curl("-X", "POST", data, "-H", octets, "--data-binary", f"@{handle.name}")[0]
        expect("POST", status, 204)
    expect("GET bytes", curl(data)[2], bytes(range(256)))

    events = f"{server.url}{prefix}/events"
    as_json = ("-H", "Content-Type: application/json")
    expect("PUT", curl("-X", "PUT", events, *as_json)[0], 201)
    expect("GET of nothing", curl(f"{events}?offset=-1")[2].strip(), b"[]")
    expect("POST", curl("-X", "POST", events, *as_json, "-d", '[{"id":1}, {"id":2.50}]')[0], 204)
    expect("POST", curl("-X", "POST", events, *as_json, "-d", '"three"')[0], 204)
    expect("POST of garbage", curl("-X", "POST", events, *as_json, "-d", "{")[0], 400)
    body = curl(f"{events}?offset=-1")[2]
    expect("GET JSON", json.loads(body), [{"id": 1}, {"id": 2.5}, "three"])
    expect_in("verbatim elements", '{"id":2.50}', body.decode())
    got = curl_live(f"{events}?offset=-1&live=sse", b"upToDate")
    data_lines = [line[5:] for line in got.split("\n") if line.startswith("data:")]
    expect("SSE JSON", json.loads(data_lines[0]), [{"id": 1}, {"id": 2.5}, "three"])

    for url in (hello, data, events):
        expect("DELETE", curl("-X", "DELETE", url)[0], 204)
        expect("GET after DELETE", curl(url)[0], 404)


def check_first_minute(work):
    for directory in (None, os.path.join(work, "d")):
        with Server(data_dir=directory) as server:
            expect("PUT /demo", curl("-X", "PUT", f"{server.url}/demo")[0], 201)
            expect("PUT /demo again", curl("-X", "PUT", f"{server.url}/demo")[0], 200)
            first_minute(server, "/demo")
            first_minute(server, "/v1/stream/a/b")
            status, _, body = curl("-X", "PUT", f"{server.url}/nobucket/x")
            expect("PUT into a missing bucket", status, 404)
            expect_in("hint", "/nobucket'", json.loads(body)["hint"])


def check_memory_says_so(_work):
    with Server() as server:
        expect_in("stderr without --data-dir", "memory", server.log())


def check_version_and_help(_work):
    for flag, word in (("--version", "ursula"), ("--help", "--data-dir")):
        code, said = run_to_exit([flag])
        expect(flag, code, 0)
        expect_in(flag, word, said)


def check_wrong_usage(work):
    refused(["--no-such-flag"], 2)
    refused(["--set", "server.listenn=1"], 2, "listenn", "server.listen")
    refused(["--set", "server.long_poll_timeout=soon"], 2, "long_poll_timeout")
    refused(["--config", os.path.join(work, "missing.toml")], 2, "missing.toml")


def check_the_check_command(work):
    path = os.path.join(work, "ursula.toml")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write('[server]\nlisten = "127.0.0.1:0"\nshards = 2\n')
    expect("check of a good file", run_to_exit(["check", "--config", path])[0], 0)
    with open(path, "w", encoding="utf-8") as handle:
        handle.write('[server]\nlissten = "127.0.0.1:0"\nshards = "two"\n')
    said = refused(["check", "--config", path], 2, "ursula.toml:2:", "ursula.toml:3:")
    expect_in("suggestion", "listen", said.replace("lissten", ""))
    refused(["--config", path], 2)


def check_environment_and_order(work):
    path = os.path.join(work, "ursula.toml")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write('[server]\nlisten = "127.0.0.1:1"\nlong_poll_timeout = "100ms"\n')
    os.environ["URSULA_SERVER__LONG_POLL_TIMEOUT"] = "300ms"
    try:
        with Server(flags=["--config", path]) as server:
            connection = Connection(server.host, server.port)
            connection.request("PUT", "/v1/stream/x", TEXT)
            begin = time.monotonic()
            response = connection.request("GET", "/v1/stream/x?offset=now&live=long-poll")
            took = time.monotonic() - begin
            expect("long-poll", response.status, 204)
            if not 0.25 < took < 3.0:
                raise AssertionError(f"the environment's 300 ms took {took:.2f} s")
    finally:
        del os.environ["URSULA_SERVER__LONG_POLL_TIMEOUT"]


def check_stop_signals(work):
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")):
        server = Server(data_dir=os.path.join(work, name)).start()
        connection = Connection(server.host, server.port)
        connection.request("PUT", "/v1/stream/x", TEXT)
        connection.request("POST", "/v1/stream/x", TEXT, b"kept")
        tail = Connection(server.host, server.port)
        tail.send("GET", "/v1/stream/x?offset=now&live=sse")
        pieces = tail.read_body("GET", tail.read_head())
        next(pieces)
        begin = time.monotonic()
        server.process.send_signal(number)
        for _ in pieces:  # A tail ends cleanly: with the last chunk, not with a reset.
            pass
        expect(f"exit code after {name}", server.process.wait(10), 0)
        took = time.monotonic() - begin
        if took > 6.0:
            raise AssertionError(f"{name} took {took:.1f} s, drain_timeout is 5 s")
        os.unlink(server.log_path)
        with Server(data_dir=server.data_dir) as again:
            connection = Connection(again.host, again.port)
            expect("kept", connection.request("GET", "/v1/stream/x").body, b"kept")


def check_stop_answers_what_it_took(work):
    """Two shards: a loop whose own clients are gone still serves the others' calls."""
    for turn in range(4):
        data_dir = os.path.join(work, str(turn))
        server = Server(data_dir=data_dir, flags=["--shards", "2"]).start()
        connection = Connection(server.host, server.port)
        connection.request("PUT", "/v1/stream/x", TEXT)
        acked = []

        def append_until_closed(connection=connection, acked=acked):
            try:
                while connection.request("POST", "/v1/stream/x", TEXT, b"0123456789").status == 204:
                    acked.append(1)
            except (Lost, NotSent):
                pass

        client = threading.Thread(target=append_until_closed)
        client.start()
        time.sleep(0.2)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        expect("exit code", server.process.wait(10), 0)
        if time.monotonic() - begin > 2.0:
            raise AssertionError("the drain waited for something that could have been answered")
        client.join(10)
        os.unlink(server.log_path)
        with Server(data_dir=data_dir) as again:
            connection = Connection(again.host, again.port)
            stored = len(connection.request("GET", "/v1/stream/x").body) // 10
            expect("stored and acknowledged", stored, len(acked))


def check_foreign_directory_is_left_alone(work):
    path = os.path.join(work, "other")
    os.mkdir(path)
    with open(os.path.join(path, "letter"), "w", encoding="ascii") as letter:
        letter.write("x")
    refused(["--listen", "127.0.0.1:0", "--data-dir", path], 3, path)
    expect("untouched", os.listdir(path), ["letter"])


def check_missing_shard_is_refused(work):
    with Server(data_dir=work, flags=["--shards", "2"]) as server:
        Connection(server.host, server.port).request("PUT", "/v1/stream/x", TEXT)
    again = ["--listen", "127.0.0.1:0", "--data-dir", work]
    for path in os.listdir(os.path.join(work, "shard-0001")):
        os.unlink(os.path.join(work, "shard-0001", path))
    refused(again, 3, "shard 1")
    os.rmdir(os.path.join(work, "shard-0001"))
    refused(again, 3, "shard-0001")


def check_second_signal_ends_at_once(work):
    server = Server(data_dir=os.path.join(work, "d")).start()
    connection = Connection(server.host, server.port)
    connection.request("PUT", "/v1/stream/x", TEXT)
    # A body that is not finished keeps the drain waiting.
    half = socket.create_connection((server.host, server.port), 5)
    half.sendall(b"POST /v1/stream/x HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                 b"Content-Length: 100\r\n\r\nhalf")
    connection.request("HEAD", "/v1/stream/x")
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    if not server.alive():
        raise AssertionError("the first SIGTERM did not wait for the unfinished body")
    begin = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    expect("exit code", server.process.wait(10), 1)
    if time.monotonic() - begin > 2.0:
        raise AssertionError("the second SIGTERM did not end the process at once")
    half.close()
    os.unlink(server.log_path)


def check_service_manager_is_told(work):
    path = os.path.join(work, "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(10)
    os.environ["NOTIFY_SOCKET"] = path
    try:
        with Server() as server:
            expect("told when ready", manager.recv(100), b"READY=1")
            server.process.send_signal(signal.SIGTERM)
            expect("told when asked to stop", manager.recv(100), b"STOPPING=1")
    finally:
        del os.environ["NOTIFY_SOCKET"]
        manager.close()


def check_locked_directory(work):
    with Server(data_dir=work) as server:
        refused(["--listen", "127.0.0.1:0", "--data-dir", work], 3, work)
        connection = Connection(server.host, server.port)
        expect("still served", connection.request("GET", "/livez").status, 200)


def check_taken_port(work):
    with Server() as server:
        listen = f"127.0.0.1:{server.port}"
        refused(["--listen", listen], 1, str(server.port))
        refused(["--listen", listen, "--data-dir", os.path.join(work, "d")], 1, str(server.port))


def check_changed_layout(work):
    base = ["--listen", "127.0.0.1:0", "--data-dir", work]
    with Server(data_dir=work, flags=["--shards", "2"]) as server:
        connection = Connection(server.host, server.port)
        connection.request("PUT", "/v1/stream/x", TEXT)
        connection.request("POST", "/v1/stream/x", TEXT, b"kept")
    for flags, word in ((["--set", "cluster.groups=32"], "groups"), (["--shards", "1"], "shards")):
        code, said = run_to_exit([*base, *flags])
        if code != 3:
            raise AssertionError(f"{flags}: exit code {code}, {said[-300:]}")
        expect_in(f"{flags}", word, said.strip().split("\n")[-1])
    with Server(data_dir=work) as server:  # The remembered values.
        connection = Connection(server.host, server.port)
        expect("kept", connection.request("GET", "/v1/stream/x").body, b"kept")


def check_health(_work):
    with Server() as server:
        connection = Connection(server.host, server.port)
        for path in ("/livez", "/readyz", "/health", "/metrics", "/"):
            expect(path, connection.request("GET", path).status, 200)
            expect(f"HEAD {path}", connection.request("HEAD", path).status, 200)


def check_restart_keeps_everything(work):
    with Server(data_dir=work) as server:
        connection = Connection(server.host, server.port)
        expect("bucket", connection.request("PUT", "/demo").status, 201)
        path = "/demo/s"
        connection.request("PUT", path, {"Content-Type": "Text/Plain; charset=utf-8"})
        producer = {**TEXT, "Producer-Id": "p", "Producer-Epoch": "3", "Producer-Seq": "0"}
        expect("append", connection.request("POST", path, producer, b"a").status, 200)
        ordered = {**TEXT, "Stream-Seq": "b"}
        expect("append", connection.request("POST", path, ordered, b"b").status, 204)
        closing = {**producer, "Producer-Seq": "1", "Stream-Closed": "true"}
        expect("close", connection.request("POST", path, closing, b"c").status, 200)
        tag = connection.request("GET", path).header("etag")
        server.kill()
    with Server(data_dir=work) as server:
        connection = Connection(server.host, server.port)
        expect("bucket", connection.request("PUT", "/demo").status, 200)
        response = connection.request("GET", path)
        expect("content", response.body, b"abc")
        expect("type", response.header("content-type"), "Text/Plain; charset=utf-8")
        expect("closed", response.header("stream-closed"), "true")
        expect("ETag", response.header("etag"), tag)
        expect("the closing retry", connection.request("POST", path, closing, b"c").status, 204)
        expect("after the close", connection.request("POST", path, TEXT, b"d").status, 409)


def check_windows_go_on_through_a_kill(work):
    directory = os.path.join(work, "windows")
    path = "/v1/stream/windows/"
    kept, left = 8.0, 3.0

    def status(server, method, name):
        connection = Connection(server.host, server.port)
        answer = connection.request(method, path + name)
        connection.close()
        return answer.status

    server = Server(directory).start()
    try:
        connection = Connection(server.host, server.port)
        for name, ttl in (("kept", kept), ("left", left)):
            headers = dict(TEXT, **{"Stream-TTL": str(int(ttl))})
            expect(name, connection.request("PUT", path + name, headers).status, 201)
        begin = time.monotonic()
        connection.close()
        time.sleep(1.0)
        server.kill()
        server.start()
        # It was not begun anew by the start; HEAD does not touch.
        if time.monotonic() - begin < left - 0.5:
            expect("in the window", status(server, "HEAD", "left"), 200)
        while time.monotonic() < begin + left + 0.5:
            time.sleep(0.05)
        expect("after its window", status(server, "HEAD", "left"), 404)
        expect("after its window", status(server, "DELETE", "left"), 404)
        if time.monotonic() - begin < kept - 1:
            expect("a longer one", status(server, "GET", "kept"), 200)
            touched = time.monotonic()
            while time.monotonic() < begin + kept + 0.5:
                time.sleep(0.05)
            if time.monotonic() - touched < kept * 7 / 8 - 0.5:
                expect("touched after the kill", status(server, "HEAD", "kept"), 200)
        # Over while it is down.
        server.kill()
        while time.monotonic() < begin + 2 * kept + 0.5:
            time.sleep(0.05)
        server.start()
        expect("over meanwhile", status(server, "GET", "kept"), 404)
        expect("made anew", status(server, "PUT", "kept"), 201)
    finally:
        server.discard()


def check_history_checker(work):
    checker = os.environ.get("URSULA_CHECK") or os.path.join(
        ROOT, "build", "release", "tools", "check", "ursula-check"
    )
    end = "0000000000000000_0000000000000005"
    append = f"append s 1 2 acked 1f {end}\n"
    for text, code, words in (
        (f"log s 1f {end}\nend s open\n{append}", 0, "1 appends acknowledged"),
        (f"end s open\n{append}", 1, "missing from the log"),
        ("end s open\nappend s 1\n", 2, "line 2"),
    ):
        path = os.path.join(work, "history.txt")
        with open(path, "w", encoding="ascii") as handle:
            handle.write(text)
        got, said = run_to_exit([path], binary=checker)
        expect(f"exit code for {text!r}", got, code)
        expect_in("verdict", words, said)
    expect("exit code for no file", run_to_exit([work + "/none"], binary=checker)[0], 2)


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
