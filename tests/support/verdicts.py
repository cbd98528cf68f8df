"""What a load test makes of what its clients saw: outcomes, failures, and the history's verdict.

Python standard library only.
"""

import collections
import os
import subprocess
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK_S = 120.0


def outcome_of(status):
    """What a status says about an append: it happened, it certainly did not, or nobody knows
    (INTERFACE section 2: 4xx, 503 and 507 are certain refusals, another 5xx promises nothing)."""
    if status in (200, 204):
        return "acked"
    if 400 <= status < 500 or status in (503, 507):
        return "refused"
    return "unknown"


class Failures:
    """What went wrong, each kind shown a few times."""

    SHOWN = 5

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()

    def add(self, kind, message):
        with self.lock:
            self.counts[kind] += 1
            if self.counts[kind] <= self.SHOWN:
                print(f"FAILED {kind}: {message}", flush=True)

    def total(self):
        return sum(self.counts.values())


def check_history(lines, work, failures):
    """Gives the lines of a history (tools/check/history.h) to ursula-check ($URSULA_CHECK)."""
    path = os.path.join(work, "history.txt")
    with open(path, "w", encoding="ascii") as handle:
        handle.write("\n".join(lines) + "\n")
    checker = os.environ.get("URSULA_CHECK") or os.path.join(
        ROOT, "build", "release", "tools", "check", "ursula-check"
    )
    result = subprocess.run(
        [checker, path], capture_output=True, text=True, check=False, timeout=CHECK_S
    )
    print(f"ursula-check: {result.stdout.strip()} {result.stderr.strip()}")
    if result.returncode != 0:
        failures.add("history", f"ursula-check says {result.returncode}")
