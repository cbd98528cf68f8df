#!/usr/bin/env python3
"""Runs fuzz targets for some seconds each, from the kept corpora, and judges the runs.

usage: run.py SECONDS BUILD_DIR [TARGET...]

A target fails when it finds a crash, a leak, a timeout, or when it covers fewer edges than
tests/fuzz/floors.txt says. A target marked `crash` there fails when it does not crash.
TARGET's corpus is tests/fuzz/corpus/NAME and its dictionary tests/fuzz/NAME.dict, where NAME is
TARGET without what follows its first '_' (http_parser_fuzz: http). New inputs are not kept: to
keep some, run the target by hand with -merge=1.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def floors():
    result = {}
    for line in (HERE / "floors.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            target, floor = line.split()
            result[target] = floor
    return result


def fuzz(target, binary, seconds, floor):
    """Returns what is wrong, or None."""
    canary = floor == "crash"
    name = "http" if target == "canary_fuzz" else target.split("_")[0]
    if canary:
        seconds = max(seconds, 120)  # it ends at its crash, seconds after the start
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            str(binary),
            f"-max_total_time={seconds}",
            "-timeout=10",
            "-max_len=4096",
            "-rss_limit_mb=1024",
            f"-artifact_prefix={scratch}/",
            "-print_final_stats=1",
        ]
        if canary:
            command.append("-seed=1")
        dictionary = HERE / f"{name}.dict"
        if dictionary.exists():
            command.append(f"-dict={dictionary}")
        new = pathlib.Path(scratch) / "new"
        new.mkdir()
        command.append(str(new))
        corpus = HERE / "corpus" / name
        if not canary and corpus.is_dir():
            command.append(str(corpus))
        run = subprocess.run(command, capture_output=True, text=True, errors="replace",
                             timeout=seconds + 120)
    output = run.stdout + run.stderr
    covered = [int(number) for number in re.findall(r"\bcov: (\d+)", output)]
    runs = re.findall(r"stat::number_of_executed_units: *(\d+)", output)
    print(f"{target}: {runs[-1] if runs else '?'} runs, cov {max(covered, default=0)}, "
          f"floor {floor}, exit {run.returncode}", flush=True)
    if canary:
        if run.returncode == 0:
            return "it did not crash: the fuzzers do not see the code they should"
        if "canary: the planted bug was found" not in output:
            return "it ended for another reason:\n" + output[-3000:]
        return None
    if run.returncode != 0:
        return output[-6000:]
    if max(covered, default=0) < int(floor):
        return f"coverage {max(covered, default=0)} is below the floor of {floor}"
    return None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    seconds, build = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    known = floors()
    targets = sys.argv[3:] or sorted(known)
    failed = 0
    for target in targets:
        if target not in known:
            sys.exit(f"run.py: {target} is not in floors.txt")
        binary = build / "tests" / "fuzz" / target
        if not binary.exists():
            binary = build / target
        problem = fuzz(target, binary, seconds, known[target])
        if problem:
            failed += 1
            print(f"FAILED {target}: {problem}", flush=True)
    print(f"{len(targets) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
