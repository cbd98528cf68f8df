"""What tests of single checks share: expectations, folders, and running every check_*."""

import os
import sys
import tempfile
import time


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, expected {wanted!r}")


def expect_in(what, part, text):
    if part not in text:
        raise AssertionError(f"{what}: {part!r} is not in {text[-1500:]!r}")


def folder(work, name):
    """A folder of this name in `work`, made."""
    path = os.path.join(work, str(name))
    os.makedirs(path)
    return path


def run_checks(names):
    """Runs every check_* of a module, or those named on the command line, each with a directory
    of its own. Prints the count; returns the exit code."""
    wanted = sys.argv[1:]
    passed = failed = 0
    for name, check in sorted(names.items()):
        if not name.startswith("check_") or (wanted and name not in wanted):
            continue
        with tempfile.TemporaryDirectory(prefix="checks-") as work:
            begin = time.monotonic()
            try:
                check(work)
                passed += 1
                print(f"{name}: {time.monotonic() - begin:.1f} s", flush=True)
            except Exception as error:  # A broken answer of any kind is a failure of this check.
                failed += 1
                print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
