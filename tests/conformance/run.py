#!/usr/bin/env python3
"""Runs the official Durable Streams suite against the real binary, in memory and durable.

    tests/conformance/run.py [--mode memory|durable]... [--url URL] [--install-only]

Every test must pass, except those named in not-yet.txt, which belong to parts that are not built
yet: each of them must FAIL. One that passes fails the run until it is struck from the list, so the
list can only shrink.
With --url an already running server is tested instead (its long-poll timeout should be 500 ms).
Needs $URSULA_BIN or build/release/src/ursula. The last line is `N passed, N failed`.
"""

import argparse
import collections
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from ursula_server import Server, ServerFailed  # noqa: E402

SUITE_TIMEOUT_S = 300
# Version 0.3.6 has 338 tests. Fewer means that the suite did not really run.
SUITE_TESTS = 338
SERVER_FLAGS = ["--set", "server.long_poll_timeout=500ms"]
NODE_BUILDS = {"x86_64": "x64", "aarch64": "arm64"}
PACKAGE_FILES = ["package.json", "package-lock.json", ".npmrc"]


def cache_dir():
    """One installed copy per lock file, shared by all clones: a second run needs no network."""
    digest = hashlib.sha256()
    for name in PACKAGE_FILES:
        with open(os.path.join(HERE, name), "rb") as handle:
            digest.update(handle.read())
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ursula", "conformance-" + digest.hexdigest()[:16])


def install():
    """Installs the suite, vitest and a recent enough Node. Returns the directory."""
    target = cache_dir()
    if os.path.exists(os.path.join(target, "installed")):
        return target
    print(f"installing the conformance suite into {target}", flush=True)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    aside = tempfile.mkdtemp(prefix="conformance-", dir=os.path.dirname(target))
    for name in PACKAGE_FILES:
        shutil.copy(os.path.join(HERE, name), aside)
    subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=aside,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    with open(os.path.join(aside, "installed"), "w", encoding="utf-8"):
        pass
    try:
        os.rename(aside, target)
    except OSError:
        shutil.rmtree(aside)  # Another run was faster.
    return target


def read_not_yet():
    with open(os.path.join(HERE, "not-yet.txt"), encoding="utf-8") as handle:
        lines = [line.strip() for line in handle]
    return [line for line in lines if line and not line.startswith("#")]


def run_suite(installed, url, work):
    """Runs vitest once. Returns a list of (name, passed, message)."""
    for name in ["package.json", "suite.test.mjs"]:
        shutil.copy(os.path.join(HERE, name), work)
    os.symlink(os.path.join(installed, "node_modules"), os.path.join(work, "node_modules"))
    report = os.path.join(work, "report.json")
    environment = dict(os.environ, CONFORMANCE_URL=url, NO_COLOR="1", CI="1")
    modules = os.path.join(installed, "node_modules")
    # Debian's own Node is too old for vitest 4.
    node = os.path.join(modules, "node-linux-" + NODE_BUILDS[os.uname().machine], "bin")
    environment["PATH"] = f"{node}:{modules}/.bin:" + os.environ["PATH"]
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


def judge(outcomes, not_yet):
    """Returns (passed, [what is wrong])."""
    wrong = []
    passed = 0
    listed = collections.Counter(not_yet)
    seen = collections.Counter()
    for name, ok, message in outcomes:
        seen[name] += 1
        if name in listed:
            if ok:
                wrong.append(f"PASSES BUT IS LISTED: {name}\n    strike it from not-yet.txt")
            else:
                passed += 1
        elif ok:
            passed += 1
        else:
            short = "\n".join(message.splitlines()[:6])
            wrong.append(f"FAILED: {name}\n    " + short.replace("\n", "\n    "))
    for name in listed:
        if listed[name] > 1:
            wrong.append(f"LISTED TWICE: {name}")
        if name not in seen:
            wrong.append(f"LISTED BUT UNKNOWN TO THE SUITE: {name}")
    if len(outcomes) < SUITE_TESTS:
        wrong.append(f"only {len(outcomes)} tests ran, {SUITE_TESTS} were expected")
    return passed, wrong


def check_mode(mode, url, installed):
    """Runs one mode; returns (passed, failed)."""
    work = tempfile.mkdtemp(prefix="conformance-run-")
    server = None
    try:
        if not url:
            data_dir = os.path.join(work, "data") if mode == "durable" else None
            server = Server(data_dir=data_dir, flags=SERVER_FLAGS)
            server.start()
        outcomes = run_suite(installed, url or server.url, work)
        passed, wrong = judge(outcomes, read_not_yet())
        if server and not server.alive():
            wrong.append(f"the server died: {server.log()[-2000:]}")
    except (ServerFailed, subprocess.SubprocessError, OSError) as error:
        passed, wrong = 0, [str(error)]
    finally:
        if server:
            server.discard()
        shutil.rmtree(work, ignore_errors=True)
    for line in wrong:
        print(f"[{mode}] {line}")
    listed = len(read_not_yet())
    print(f"conformance {mode}: {passed} as expected ({listed} of them listed), {len(wrong)} wrong")
    sys.stdout.flush()
    return passed, len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", action="append", choices=["memory", "durable"])
    parser.add_argument("--url", help="test a running server instead")
    parser.add_argument("--install-only", action="store_true")
    options = parser.parse_args()
    try:
        installed = install()
    except (subprocess.SubprocessError, OSError) as error:
        print(f"cannot install the suite: {error}\n0 passed, 1 failed")
        return 1
    if options.install_only:
        return 0
    modes = options.mode or (["memory"] if options.url else ["memory", "durable"])
    passed = failed = 0
    for mode in modes:
        counts = check_mode(mode, options.url, installed)
        passed += counts[0]
        failed += counts[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
