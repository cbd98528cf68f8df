#!/usr/bin/env python3
"""Counts what a `meson test` run passed and failed, and shows the output of what failed.

    count_meson.py build/x/meson-logs/NAME.json

A test that prints doctest's closing line counts as its test cases; one that closes with
`N passed, N failed` counts as it says; any other counts as one. Prints that same line for the whole
file; a missing or empty log is one failure.
"""

import json
import re
import sys

DOCTEST = re.compile(r"\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed")
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
SHOWN_CHARACTERS = 6000


def counts_of(test):
    """(passed, failed) of one test; a test that meson calls failed has at least one failure."""
    output = test.get("stdout", "") + test.get("stderr", "")
    ok = test["result"] == "OK"
    doctest = DOCTEST.findall(output)
    plain = PLAIN.findall(output)
    if doctest:
        passed = sum(int(found[1]) for found in doctest)
        failed = sum(int(found[2]) for found in doctest)
    elif plain:
        passed, failed = int(plain[-1][0]), int(plain[-1][1])
    else:
        passed, failed = (1, 0) if ok else (0, 1)
    if not ok:
        failed = max(failed, 1)
    return passed, failed


def main():
    passed = failed = 0
    try:
        with open(sys.argv[1], encoding="utf-8") as handle:
            tests = [json.loads(line) for line in handle if line.strip()]
    except (OSError, ValueError) as error:
        print(f"no test log: {error}")
        tests = []
    for test in tests:
        ok, wrong = counts_of(test)
        passed += ok
        failed += wrong
        if wrong:
            output = test.get("stdout", "") + test.get("stderr", "")
            print(f"--- {test['name']}: {test['result']}")
            print(output[-SHOWN_CHARACTERS:])
    if passed + failed == 0:
        failed = 1
        print("no test ran")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
