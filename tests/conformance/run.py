#!/usr/bin/env python3
"""Runs the official Durable Streams suite against the real binary, four ways (modes.py).

    tests/conformance/run.py [--mode memory|durable|cluster|killed]... [--url URL] [--install-only]

Every test must pass.
With --url an already running server is tested instead (its long-poll timeout should be 500 ms).
Needs $URSULA_BIN or build/release/src/ursula. The last line is `N passed, N failed`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from modes import MODES, Running  # noqa: E402
from npm_packages import INSTALL_ERRORS, install, node_path  # noqa: E402
from ursula_server import ServerFailed  # noqa: E402

SUITE_TIMEOUT_S = 300
# Version 0.3.6 has 338 tests. Fewer means that the suite did not really run.
SUITE_TESTS = 338


def run_suite(installed, mode, work):
    """Runs vitest once. Returns a list of (name, passed, message)."""
    for name in ["package.json", "suite.test.mjs"]:
        shutil.copy(os.path.join(HERE, name), work)
    os.symlink(os.path.join(installed, "node_modules"), os.path.join(work, "node_modules"))
    report = os.path.join(work, "report.json")
    environment = dict(os.environ, CONFORMANCE_URL=mode.url, NO_COLOR="1", CI="1")
    environment.update(mode.suite_environment)
    environment["PATH"] = node_path(installed)
    command = ["vitest", "run", "--root", work, "--reporter=json", f"--outputFile={report}"]
    with open(os.path.join(work, "vitest.log"), "wb") as log:
        subprocess.run(
            command,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=SUITE_TIMEOUT_S,
            check=False,
        )
    if not os.path.exists(report):
        with open(os.path.join(work, "vitest.log"), encoding="utf-8", errors="replace") as log:
            raise ServerFailed("vitest left no report:\n" + log.read()[-4000:])
    with open(report, encoding="utf-8") as handle:
        tests = json.load(handle)["testResults"][0]["assertionResults"]
    outcomes = []
    for test in tests:
        name = " > ".join([*test["ancestorTitles"], test["title"]])
        message = "\n".join(test.get("failureMessages") or [])
        outcomes.append((name, test["status"] == "passed", message))
    return outcomes


def judge(outcomes):
    """Returns (passed, [what is wrong])."""
    wrong = []
    passed = 0
    for name, ok, message in outcomes:
        if ok:
            passed += 1
        else:
            short = "\n".join(message.splitlines()[:6])
            wrong.append(f"FAILED: {name}\n    " + short.replace("\n", "\n    "))
    if len(outcomes) < SUITE_TESTS:
        wrong.append(f"only {len(outcomes)} tests ran, {SUITE_TESTS} were expected")
    return passed, wrong


def check_mode(name, make, installed):
    """Runs one mode; returns (passed, failed)."""
    work = tempfile.mkdtemp(prefix="conformance-run-")
    begin = time.monotonic()
    try:
        with make(work) as mode:
            outcomes = run_suite(installed, mode, work)
            passed, wrong = judge(outcomes)
            wrong += mode.complaints()
    except (ServerFailed, AssertionError, subprocess.SubprocessError, OSError) as error:
        passed, wrong = 0, [str(error)]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for line in wrong:
        print(f"[{name}] {line}")
    print(
        f"conformance {name}: {passed} passed, {len(wrong)} wrong,"
        f" {time.monotonic() - begin:.0f} s"
    )
    sys.stdout.flush()
    return passed, len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", action="append", choices=list(MODES))
    parser.add_argument("--url", help="test a running server instead")
    parser.add_argument("--install-only", action="store_true")
    options = parser.parse_args()
    try:
        installed = install("conformance", HERE)
    except INSTALL_ERRORS as error:
        print(f"cannot install the suite: {error}\n0 passed, 1 failed")
        return 1
    if options.install_only:
        return 0
    chosen = {name: MODES[name] for name in options.mode or MODES}
    if options.url:
        chosen = {"running": lambda work: Running(options.url)}
    passed = failed = 0
    for name, make in chosen.items():
        counts = check_mode(name, make, installed)
        passed += counts[0]
        failed += counts[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
