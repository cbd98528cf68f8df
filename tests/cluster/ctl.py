"""ursulactl as a process, over the socket of one node."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from checks import expect  # noqa: E402

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE, CONFLICT, UNHEALTHY = 0, 1, 2, 3, 5, 6, 10


def start_ctl(data_dir, *arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE):
    """The process, its output in pipes; for a command that is to be interrupted, or asks."""
    binary = os.environ.get("URSULACTL_BIN") or os.path.join(
        ROOT, "build", "release", "tools", "ursulactl", "ursulactl"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("URSULA")}
    return subprocess.Popen(
        [binary, "--data-dir", data_dir, *arguments], stdin=stdin,
        stdout=subprocess.PIPE, stderr=stderr, env=clean,
    )


def ctl_of(data_dir, *arguments, timeout_s=150):
    """Over the socket in that directory. Returns (exit code, stdout, stderr)."""
    process = start_ctl(data_dir, *arguments)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"ursulactl {arguments}: not within {timeout_s} s: {err}") from None
    return process.returncode, out.decode(), err.decode()


def ctl(node, *arguments):
    return ctl_of(node.data_dir, *arguments)


def ctl_json(node, *arguments, code=OK):
    got, out, err = ctl(node, *arguments, "-o", "json")
    expect(f"exit code of {arguments} ({err})", got, code)
    return json.loads(out)
