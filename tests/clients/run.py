#!/usr/bin/env python3
"""Drives the official clients, the packages that build on them and a browser against the server.

    tests/clients/run.py [--only npm|pypi|browser|raw]... [--install-only]

npm and browser: the *.test.mjs of this folder under Node's own test runner. pypi: the Python client
in an environment of its own, with what requirements.txt names. raw: what further clients rely on,
as requests of ours. Nothing may be skipped. Needs $URSULA_BIN or build/release/src/ursula, and
Debian's `chromium` for the browser. The last line is `N passed, N failed`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from npm_packages import INSTALL_ERRORS, install, install_once, node_path  # noqa: E402
from ursula_server import server_binary  # noqa: E402

FILE_LIMIT_S = 240
NODE_TESTS = {"npm": ["client.test.mjs", "packages.test.mjs"], "browser": ["browser.test.mjs"]}
PYTHON_TESTS = {"pypi": ["python_client_test.py"], "raw": ["behaviours_test.py"]}
PARTS = ["npm", "pypi", "browser", "raw"]
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
    """(what it printed, its exit code); one that hangs is ended and has failed."""
    try:
        ran = subprocess.run(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=FILE_LIMIT_S, check=False,
        )
        return ran.stdout.decode("utf-8", "replace"), ran.returncode
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode("utf-8", "replace")
        return said + f"\nended after {FILE_LIMIT_S} s\n", -1


def run_node(file, installed):
    """One file under `node --test`. Returns (passed, failed)."""
    environment = dict(os.environ, PATH=node_path(installed), URSULA_BIN=server_binary())
    command = ["node", "--test", "--test-reporter=tap", "--test-force-exit"]
    with tempfile.TemporaryDirectory(prefix="clients-") as work:
        # Packages are looked for from where a file lies.
        os.symlink(os.path.join(installed, "node_modules"), os.path.join(work, "node_modules"))
        for name in os.listdir(HERE):
            if name.endswith(".mjs"):
                shutil.copy(os.path.join(HERE, name), work)
        said, code = run_bounded([*command, "--test-timeout=120000", file], environment, work)
    counts = {name: int(count) for name, count in NODE_COUNT.findall(said)}
    passed = counts.get("pass", 0)
    # A test that is left out counts as one that failed.
    failed = sum(counts.values()) - passed
    if code != 0 or failed or not passed:
        print(said)
        failed = max(failed, 1)
    return passed, failed


def run_python(file, interpreter):
    """One file under the installed environment. Returns (passed, failed)."""
    said, code = run_bounded([interpreter, os.path.join(HERE, file)], dict(os.environ))
    counts = COUNT.findall(said)
    passed, failed = (int(count) for count in counts[-1]) if counts else (0, 0)
    if code != 0 or failed or not passed:
        print(said)
        failed = max(failed, 1)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--install-only", action="store_true")
    options = parser.parse_args()
    try:
        installed = install("clients", HERE)
        interpreter = install_python()
    except INSTALL_ERRORS as error:
        print(f"cannot install the clients: {error}\n0 passed, 1 failed")
        return 1
    if options.install_only:
        return 0
    passed = failed = 0
    for part in options.only or PARTS:
        runs = [(file, run_node, installed) for file in NODE_TESTS.get(part, [])]
        runs += [(file, run_python, interpreter) for file in PYTHON_TESTS.get(part, [])]
        for file, run, tool in runs:
            counts = run(file, tool)
            print(f"clients {file}: {counts[0]} passed, {counts[1]} failed", flush=True)
            passed += counts[0]
            failed += counts[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
