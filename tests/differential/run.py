#!/usr/bin/env python3
"""Random operations against the real server and the reference model of model.py: every status,
header and byte must be the model's. A failure is shrunk and printed as curl commands.

usage: run.py [--quick] [--seed N] [--ops N] [--part NAME]...

Parts: `memory` (the server with the moved clock, $URSULA_CLOCKED), `shards` (the product,
$URSULA_BIN, two shards), `durable` (moved clock, kill -9 and restarts), `follower` (the product,
through one node of three), `planted` (bugs compiled into $URSULA_CLOCKED must be found),
`absent` (the product has no clock to move), `found` (what was found before, found.py), `model`
(examples of the digest for the model itself).
The last line is `N passed, N failed`.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import unittest
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
for folder in ("tests/support", "tests/cluster", "tests/differential"):
    sys.path.insert(0, os.path.join(ROOT, folder))

import wire  # noqa: E402
from cluster import Cluster  # noqa: E402
from driver import Differs, Disturbed, Driver, curl_lines, real_time_ms  # noqa: E402
from found import SEQUENCES  # noqa: E402
from generate import Generator  # noqa: E402
from model import CHUNK_BYTES, Model  # noqa: E402
from shrink import shrink  # noqa: E402
from ursula_server import Server, ServerFailed, server_binary  # noqa: E402

FIRST_MS = 1_925_000_000_123  # where moved clocks begin: 2031, after any test's real time
LIFE = 2500                   # operations between two fresh servers
SHRINK_S = 60.0
FAILURES_MAX = 4              # each is shrunk, which takes a minute
SHOWN = 60                    # lines, of a sequence that could not be shrunk to fewer
SHARES = {"memory": 60, "shards": 25, "durable": 13, "follower": 2}
OPERATIONS = 100_000
QUICK_OPERATIONS = 12_000
PLANTED_OPERATIONS = 20_000   # each bug is found within so many
GROUPS = 4
DISTURBED_MAX = 4             # lives of a cluster that lost a leader before one that did not
SMALL_CHUNK = 65_536          # of reads, where it is not the default
# What must be found, and by which part.
PLANTED = [
    ("tag_without_life", "memory"), ("tag_without_form", "memory"), ("always_up_to_date", "memory"),
    ("control_always_new", "memory"), ("duplicate_is_new", "memory"),
    ("poll_keeps_cursor", "memory"), ("seq_may_repeat", "memory"), ("gap_accepted", "memory"),
    ("closed_after_type", "memory"), ("close_without_touch", "memory"), ("dies_late", "memory"),
    ("append_split", "memory"), ("source_not_kept", "memory"),
    ("touch_forgotten", "memory"), ("producer_forgotten", "durable"),
]


def clocked_binary():
    return os.environ.get("URSULA_CLOCKED") or os.path.join(
        ROOT, "build", "release", "tests", "differential", "ursula-clocked")


class Life:
    """A fresh server and a fresh model of it. `part` says which; use it in a `with`."""

    def __init__(self, part, environment=None):
        self.part = part
        self.timed = part in ("memory", "durable")
        self.kills = part == "durable"
        self.forks = False
        self.environment = environment or {}
        self.work = None

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="differential-")
        self.cluster = self.server = None
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        if self.part == "follower":
            self.cluster = Cluster(self.work, groups=GROUPS)
            self.cluster.start()
            place = self.cluster.node(2)
        else:
            flags = ["--set", f"cluster.groups={GROUPS}", "--set", "server.pin=false"]
            flags += ["--shards", "2" if self.part == "shards" else "1"]
            if self.timed:
                flags += ["--set", f"server.read_chunk={SMALL_CHUNK}"]
            data = os.path.join(self.work, "data") if self.part == "durable" else None
            binary = clocked_binary() if self.timed else server_binary()
            # Its restarts have the same bug, if any: a process is for one life at a time.
            os.environ.pop("URSULA_PLANT", None)
            os.environ.update(self.environment)
            self.server = place = Server(data_dir=data, flags=flags, binary=binary)
            self.server.start()
        now_ms = FIRST_MS if self.timed else real_time_ms()
        self.model = Model(f"{place.host}:{place.port}", now_ms, timed=self.timed,
                           chunk_bytes=SMALL_CHUNK if self.timed else CHUNK_BYTES)
        self.driver = Driver(place if self.cluster else self.server, self.model)
        self.driver.may_be_disturbed = self.cluster is not None
        self.forks = self.has_forks()
        if self.timed:
            self.driver.set_clock()
            self.driver.barrier = self.scratch_appends()

    def has_forks(self):
        """Whether this version makes them."""
        connection = self.driver.connect()
        connection.send(b"PUT /v1/stream/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                        b"Stream-Forked-From: /v1/stream/missing\r\n\r\n")
        status = connection.read_response("PUT").status
        connection.close()
        return status != 501

    def scratch_appends(self):
        """One append to each group."""
        connection = self.driver.connect()
        found = {}
        number = 0
        while len(found) < GROUPS:
            number += 1
            path = f"/v1/stream/scratch/{number}"
            connection.send(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                            "Content-Length: 0\r\n\r\n".encode())
            connection.read_response("PUT")
            connection.send(f"GET /admin/v1/streams{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            group = json.loads(connection.read_response("GET").body)["group"]
            found.setdefault(group, path)
        connection.close()
        return [f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                "Content-Length: 1\r\n\r\nx".encode() for path in found.values()]

    def __exit__(self, *unused):
        if self.cluster is not None:
            self.cluster.__exit__()
        if self.server is not None:
            self.server.discard()
        shutil.rmtree(self.work, ignore_errors=True)

    def generator(self, seed):
        return Generator(random.Random(seed), self.model, "w", timed=self.timed, kills=self.kills,
                         forks=self.forks, alone=self.part != "shards",
                         loops=self.part == "shards")

    def companion(self, seed, count):
        """Another client with other streams, at the same time: neither may notice."""
        model = Model(self.model.host, real_time_ms(), timed=False)
        driver = Driver(self.server, model)
        generator = Generator(random.Random(seed), model, "c", timed=False, forks=self.forks,
                              alone=False, loops=True)
        for _ in range(count):
            model.now_ms = real_time_ms()
            driver.run(generator.next())
        driver.finish()

    def run(self, operations):
        """What went wrong, or None; `operations` may be made while they run."""
        try:
            for operation in operations:
                if not self.timed:
                    self.model.now_ms = real_time_ms()
                self.driver.run(operation)
            self.driver.finish()
        except (Differs, wire.Broken, OSError, ServerFailed) as error:
            return error
        if self.server is not None and not self.server.alive():
            return Differs(f"the server ended: {self.server.log()[-1500:]}")
        return None


def random_operations(generator, count, kept):
    for _ in range(count):
        operation = generator.next()
        kept.append(operation)
        yield operation


def run_life(part, seed, count, environment=None):
    """(what went wrong or None, the operations)."""
    kept = []
    with Life(part, environment) as life:
        operations = random_operations(life.generator(seed), count, kept)
        if part != "shards":
            return life.run(operations), kept
        with ThreadPoolExecutor(1) as other:
            companion = other.submit(life.companion, seed + 1, count)
            error = life.run(operations)
            try:
                companion.result()
            except (Differs, wire.Broken, OSError) as its_error:
                error = error or Differs(f"the other client: {its_error}")
        return error, kept


def reduced(part, operations, environment=None):
    """A short sequence that goes wrong, and what does."""
    last = []

    def fails(candidate):
        with Life(part, environment) as life:
            error = life.run(candidate)
        if error is not None:
            last[:] = [error]
        return error is not None

    wire.TIMEOUT = 2.0
    try:
        return shrink(operations, fails, SHRINK_S), last[0] if last else None
    finally:
        wire.TIMEOUT = 20.0


def end_by_signals():
    """A process that is told to end takes its servers along."""
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))


def work_on(job):
    """One process's work: ('life', part, seed, count), or ('planted', bug, part, seed)."""
    sys.setrecursionlimit(5000)
    begin = time.monotonic()
    try:
        if job[0] == "planted":
            return search_planted(*job[1:])
        _, part, seed, count = job
        for _ in range(DISTURBED_MAX):
            try:
                error, operations = run_life(part, seed, count)
                break
            except Disturbed as disturbed:
                error, operations = disturbed, []
                seed += 1000
        if error is None:
            return True, part, count, time.monotonic() - begin, ""
        lines = [f"{part}, seed {seed}, operation {len(operations)}: {error}"]
        if part != "follower":
            short, seen = reduced(part, operations)
            if seen is None:
                lines += ["not seen again; the last ones:", *curl_lines(operations[-20:])]
            else:
                lines += [f"shrunk to {len(short)}: {seen}", *curl_lines(short)[-SHOWN:]]
        else:
            lines += ["the last ones:", *curl_lines(operations[-20:])]
        return False, part, len(operations), time.monotonic() - begin, "\n".join(lines)
    except Exception:  # whatever breaks in a process is a failure of its job, with its cause
        return False, str(job), 0, time.monotonic() - begin, traceback.format_exc()


def search_planted(bug, part, seed):
    begin = time.monotonic()
    done = 0
    while done < PLANTED_OPERATIONS:
        error, operations = run_life(part, seed, LIFE, {"URSULA_PLANT": bug})
        done += len(operations)
        if error is not None:
            first = str(error).split("\n", maxsplit=1)[0]
            return True, bug, done, time.monotonic() - begin, \
                f"{bug}: found by operation {done}: {first[:120]}"
        seed += 1
    return False, bug, done, time.monotonic() - begin, f"{bug}: not found in {done} operations"


def check_absent():
    """The product has neither the call nor a trace of it."""
    with open(server_binary(), "rb") as handle:
        if b"test-clock" in handle.read():
            raise Differs("the product's binary names the test clock")
    with open(clocked_binary(), "rb") as handle:
        if b"test-clock" not in handle.read():
            raise Differs("the clocked binary does not name its clock: the check sees nothing")
    with Server(flags=["--shards", "1"]) as server:
        connection = wire.Connection((server.host, server.port))
        connection.send(b"POST /admin/test-clock?wall_ms=1925000000123 HTTP/1.1\r\nHost: x\r\n"
                        b"Content-Length: 0\r\n\r\n")
        response = connection.read_response("POST")
        connection.close()
        if response.status != 404:
            raise Differs(f"the product answers the test clock with {response.status}")


def check_model():
    suite = unittest.defaultTestLoader.discover(HERE, "model_test.py")
    result = unittest.TextTestRunner(sys.stdout, verbosity=0).run(suite)
    if not result.wasSuccessful() or result.testsRun < 20:
        raise Differs(f"the model's own examples: {result}")
    return result.testsRun


def check_found():
    for name, operations in SEQUENCES.items():
        with Life("memory") as life:
            error = life.run(operations)
        if error is not None:
            raise Differs(f"{name}: {error}")


def jobs_of(parts, seed, total):
    jobs = []
    for part, share in SHARES.items():
        count = total * share // 100
        while part in parts and count > 0:
            jobs.append(("life", part, seed + len(jobs), min(LIFE, count)))
            count -= LIFE
    if "planted" in parts:
        jobs += [("planted", bug, part, seed) for bug, part in PLANTED]
    return jobs


def main():
    known = [*SHARES, "planted", "absent", "found", "model"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ops", type=int)
    parser.add_argument("--part", action="append", choices=known)
    options = parser.parse_args()
    parts = options.part or known
    total = options.ops or (QUICK_OPERATIONS if options.quick else OPERATIONS)
    passed = failed = 0
    for name, check in (("model", check_model), ("absent", check_absent),
                        ("found", check_found)):
        if name in parts:
            try:
                check()
                passed += 1
            except (Differs, wire.Broken, OSError) as error:
                failed += 1
                print(f"FAILED {name}: {error}")
    done = {}
    begin = time.monotonic()
    with multiprocessing.Pool(2, end_by_signals, maxtasksperchild=8) as pool:
        for good, what, count, seconds, text in pool.imap_unordered(
                work_on, jobs_of(parts, options.seed, total)):
            passed += good
            failed += not good
            if what in SHARES:
                had = done.get(what, (0, 0.0))
                done[what] = had[0] + count, had[1] + seconds
            if text:
                print(text if good else f"FAILED {text}", flush=True)
            if failed >= FAILURES_MAX:
                print("that is enough: the rest is left out")
                pool.terminate()
                break
    for part, (count, seconds) in sorted(done.items()):
        print(f"{part}: {count} operations, {count / seconds:.0f}/s in each process")
    count = sum(part[0] for part in done.values())
    print(f"{count} operations in {time.monotonic() - begin:.0f} s, seed {options.seed}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
