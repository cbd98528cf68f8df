#!/usr/bin/env python3
"""Makes some traffic, then checks that /metrics is well formed (promtool) and counts what was done.

The last line is `N passed, N failed`.
"""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from http_client import Connection  # noqa: E402
from ursula_server import Server  # noqa: E402

TEXT = {"Content-Type": "text/plain"}
APPENDS = 50


def samples(text):
    """{sample with its labels: value}"""
    found = {}
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def main():
    failures = []
    checks = 0
    with tempfile.TemporaryDirectory(prefix="metrics-") as work, Server(
        data_dir=os.path.join(work, "d"), flags=["--shards", "2"]
    ) as server:
        connection = Connection(server.host, server.port)
        before = samples(connection.request("GET", "/metrics").body.decode())
        connection.request("PUT", "/v1/stream/x", TEXT)
        for _ in range(APPENDS):
            connection.request("POST", "/v1/stream/x", TEXT, b"0123456789")
        connection.request("GET", "/v1/stream/x")
        connection.request("GET", "/v1/stream/missing")
        response = connection.request("GET", "/metrics")
        text = response.body.decode()

        checks += 1
        if not response.header("content-type", "").startswith("text/plain; version=0.0.4"):
            failures.append(f"content type {response.header('content-type')}")
        checks += 1
        command = ["promtool", "check", "metrics"]
        result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if result.returncode != 0 or result.stderr.strip():
            failures.append(f"promtool: {result.stdout} {result.stderr}")
        checks += 1
        after = samples(text)
        grown = {name: after[name] - before.get(name, 0.0) for name in after}
        appended = [
            name for name in grown if re.search(r"append", name) and grown[name] >= APPENDS
        ]
        if not appended:
            failures.append(f"no sample of appends grew by {APPENDS}: {sorted(grown.items())}")
        for method, times in (("PUT", 1), ("POST", APPENDS)):
            checks += 1
            name = f'ursula_http_requests_total{{method="{method}",code="2xx"}}'
            if grown.get(name) != times:
                failures.append(f"{name} grew by {grown.get(name)}, not by {times}")
        checks += 1
        if not all(name.startswith("ursula_") or name.startswith("process_") for name in after):
            failures.append(f"foreign names: {sorted(after)}")
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{checks - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
