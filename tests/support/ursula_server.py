"""Starts, kills and stops a real `ursula` for the tests that talk to it from outside.

Python standard library only. The server's stderr goes to a file, never to a pipe that could fill.
"""

import os
import re
import signal
import subprocess
import tempfile
import time

READY_LINE = re.compile(r"ursula ready on (http://(\S+):(\d+))")
READY_TIMEOUT_S = 60.0


class ServerFailed(Exception):
    """The server did not come up; the message holds what it said."""


def server_binary():
    """The binary under test: $URSULA_BIN, or what tools/test builds."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.environ.get("URSULA_BIN") or os.path.join(root, "build", "release", "src", "ursula")


class Server:
    """One running process. `url`, `host` and `port` are known once start() has returned."""

    def __init__(self, data_dir=None, flags=(), binary=None, listen="127.0.0.1:0"):
        self.binary = binary or server_binary()
        self.data_dir = data_dir
        self.flags = list(flags)
        self.listen = listen
        self.process = None
        self.url = ""
        self.host = ""
        self.port = 0
        self.log_path = ""
        self.ready_s = 0.0

    def command(self):
        command = [self.binary, "--listen", self.listen]
        if self.data_dir:
            command += ["--data-dir", self.data_dir]
        return command + self.flags

    def launch(self):
        """Starts the process and returns at once."""
        handle, self.log_path = tempfile.mkstemp(prefix="ursula-", suffix=".log")
        with os.fdopen(handle, "wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self):
        """Starts the process and waits for its ready line."""
        begin = time.monotonic()
        self.launch()
        while True:
            found = READY_LINE.search(self.log())
            if found:
                self.url = found.group(1)
                self.host = found.group(2)
                self.port = int(found.group(3))
                self.ready_s = time.monotonic() - begin
                return self
            if self.process.poll() is not None:
                raise ServerFailed(f"exit {self.process.returncode} before ready: {self.log()}")
            if time.monotonic() - begin > READY_TIMEOUT_S:
                self.kill()
                raise ServerFailed(f"not ready after {READY_TIMEOUT_S} s: {self.log()}")
            time.sleep(0.005)

    def log(self):
        with open(self.log_path, "r", encoding="utf-8", errors="replace") as log:
            return log.read()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and waits until the process is gone."""
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        return self.process.wait()

    def stop(self, timeout_s=20.0):
        """SIGTERM; the exit code, or a kill and -9 when it does not end in time."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.discard()

    def discard(self):
        """Kills what still runs and removes the log."""
        if self.process is not None:
            self.kill()
        if self.log_path and os.path.exists(self.log_path):
            os.unlink(self.log_path)


def run_to_exit(arguments, timeout_s=20.0, binary=None):
    """Runs the binary to its end. Returns (exit code, everything it printed)."""
    result = subprocess.run(
        [binary or server_binary(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )
    return result.returncode, result.stdout.decode("utf-8", "replace")
