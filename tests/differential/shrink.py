"""Makes a failing sequence of operations short: delta debugging, with a budget of time."""

import time


def shrink(operations, fails, budget_s=60.0):
    """`fails(operations)`: whether they still do. Returns a sequence of which no operation can be
    left out, or as short a one as there was time for."""
    end = time.monotonic() + budget_s
    parts = 2
    while len(operations) > 1 and time.monotonic() < end:
        size = max(1, len(operations) // parts)
        shorter = None
        # From the back: the last operation is the one that shows it, what is before it is setting.
        for start in range((len(operations) - 1) // size * size, -1, -size):
            candidate = operations[:start] + operations[start + size:]
            if candidate and time.monotonic() < end and fails(candidate):
                shorter = candidate
                break
        if shorter is not None:
            operations = shorter
            parts = max(2, min(parts, len(operations)))
        elif size == 1:
            break
        else:
            parts = min(len(operations), parts * 2)
    return operations
