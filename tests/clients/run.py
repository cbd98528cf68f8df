#!/usr/bin/env python3
"""Drives the official clients, the packages that build on them and a browser against the server.

    tests/clients/run.py [--only npm|pypi|browser|raw]... [--install-only]

npm and browser: the *.test.mjs of this folder under Node's own test runner, and the npm client on a
cluster. pypi: the Python client in an environment of its own, with what requirements.txt names.
raw: what further clients rely on, as requests of ours. Nothing may be skipped. Needs $URSULA_BIN or
build/release/src/ursula, and Debian's `chromium` for the browser. The last line is
`N passed, N failed`.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from npm_packages import INSTALL_ERRORS, install, install_once, node_path  # noqa: E402
from ursula_server import server_binary  # noqa: E402

FILE_LIMIT_S = 240
PARTS = {
    "npm": ["client.test.mjs", "packages.test.mjs", "failover_test.py"],
    "pypi": ["python_client_test.py"],
    "browser": ["browser.test.mjs"],
    "raw": ["behaviours_test.py"],
}
NODE_COUNT = re.compile(r"^# (pass|fail|cancelled|skipped|todo) (\d+)$", re.MULTILINE)
COUNT = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def install_python():
    """The environment of the Python client. Returns its interpreter."""
    requirements = os.path.join(HERE, "requirements.txt")

    def fill(aside):
        subprocess.run([sys.executable, "-m", "venv", aside], check=True)
        # Through the interpreter: the directory is renamed, and pip's own script would not follow.
        command = [os.path.join(aside, "bin", "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run(
            [*command, "--disable-pip-version-check", "--no-deps", "-r", requirements],
            stdin=subprocess.DEVNULL, check=True,
        )

    installed = install_once("clients-python", [requirements], fill)
    return os.path.join(installed, "bin", "python")


def run_bounded(command, environment, work=HERE):
    """(what it printed, its exit code); one that hangs is ended and has failed. What it started
    and left behind is ended too: all of it is one session."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            code = process.wait(FILE_LIMIT_S)
        except subprocess.TimeoutExpired:
            code = -1
            output.write(f"\nended after {FILE_LIMIT_S} s\n".encode())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return output.read().decode("utf-8", "replace"), code


def run_node(file, work, environment):
    """One file under `node --test`. Returns (passed, failed)."""
    command = ["node", "--test", "--test-reporter=tap", "--test-force-exit"]
    said, code = run_bounded([*command, "--test-timeout=120000", file], environment, work)
    counts = {name: int(count) for name, count in NODE_COUNT.findall(said)}
    passed = counts.get("pass", 0)
    # A test that is left out counts as one that failed.
    failed = sum(counts.values()) - passed
    if code != 0 or failed or not passed:
        print(said)
        failed = max(failed, 1)
    return passed, failed


def run_python(file, interpreter, environment):
    """One file of checks. Returns (passed, failed)."""
    said, code = run_bounded([interpreter, os.path.join(HERE, file)], environment)
    counts = COUNT.findall(said)
    passed, failed = (int(count) for count in counts[-1]) if counts else (0, 0)
    if code != 0 or failed or not passed:
        print(said)
        failed = max(failed, 1)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--install-only", action="store_true")
    options = parser.parse_args()
    # Who stops this program stops what it started: run_bounded's `finally` does that.
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))
    try:
        installed = install("clients", HERE)
        interpreter = install_python()
    except INSTALL_ERRORS as error:
        print(f"cannot install the clients: {error}\n0 passed, 1 failed")
        return 1
    if options.install_only:
        return 0
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="clients-") as work:
        # Packages are looked for from where a file lies.
        os.symlink(os.path.join(installed, "node_modules"), os.path.join(work, "node_modules"))
        for name in os.listdir(HERE):
            if name.endswith(".mjs"):
                shutil.copy(os.path.join(HERE, name), work)
        environment = dict(
            os.environ, PATH=node_path(installed), URSULA_BIN=server_binary(), CLIENTS_WORK=work,
        )
        for part in options.only or PARTS:
            for file in PARTS[part]:
                if file.endswith(".mjs"):
                    counts = run_node(file, work, environment)
                else:
                    counts = run_python(file, interpreter, environment)
                print(f"clients {file}: {counts[0]} passed, {counts[1]} failed", flush=True)
                passed += counts[0]
                failed += counts[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
