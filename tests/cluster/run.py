#!/usr/bin/env python3
"""Runs every *_test.py of this folder, one after the other, and adds up what they count.

The last line is `N passed, N failed`. Arguments are handed to each.
"""

import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def main():
    passed = failed = 0
    for path in sorted(glob.glob(os.path.join(HERE, "*_test.py"))):
        print(f"--- {os.path.basename(path)}", flush=True)
        ran = subprocess.run(
            [sys.executable, path, *sys.argv[1:]], stdout=subprocess.PIPE, check=False
        )
        said = ran.stdout.decode("utf-8", "replace")
        print(said, end="", flush=True)
        counts = COUNT.findall(said)
        if counts:
            passed += int(counts[-1][0])
            failed += int(counts[-1][1])
        if ran.returncode != 0 and (not counts or counts[-1][1] == "0"):
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
