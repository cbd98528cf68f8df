#!/usr/bin/env python3
"""Three real nodes in three network namespaces under kills, pauses, cuts and full disks.

    tests/cluster/faults_test.py [--kills 12] [--hold 2.5] [--seed N] [--only ROW]... [--keep]

Clients on random nodes append, produce, read and tail all the time. Each row is one fault; the time
until every stream takes appends again is printed for it. At the end all streams are closed and
read from every node: the nodes must agree byte for byte, and the whole history goes through
ursula-check ($URSULA_CHECK). The last line is `N passed, N failed`.
"""

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import netns  # noqa: E402
from clients import Load, Tailer, Writer, create_streams  # noqa: E402
from ctl import OK, ctl_of  # noqa: E402
from finals import check_tails, final_reads  # noqa: E402
from nodes import Cluster, Lost, NotSent  # noqa: E402
from verdicts import check_history  # noqa: E402

WRITERS = 18
TAILERS = 6
STREAMS = 24
BOUND_S = 10.0  # Of an outage: a sanity bound, the figure is what is printed.
SETTLE_S = 30.0
SMALL_DISK_MB = 1000


class Row:
    """One fault: what it does, what ends it, and what came of it."""

    def __init__(self, name, begin, end, hold=None):
        self.name = name
        self.begin = begin
        self.end = end
        self.hold = hold


class Run:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.work = tempfile.mkdtemp(prefix="cluster-blackbox-")
        self.cluster = Cluster(self.work)
        self.load = Load(self.cluster, STREAMS, options.seed)
        self.outages = collections.defaultdict(list)
        self.passed = 0

    # --- rows ---

    def other(self, node):
        return self.random.choice([one for one in self.cluster.nodes if one is not node])

    def kill_row(self, choose):
        def begin():
            node = choose()
            node.kill()
            return node

        return begin, lambda node: node.begin()

    def isolation_row(self, choose, out, into):
        def begin():
            node = choose()
            self.cluster.isolate(node, out, into)
            return node

        return begin, lambda node: self.cluster.rejoin(node, out, into)

    def rows(self):
        leader = self.cluster.most_leading

        def follower():
            return self.other(leader())

        rows = []
        for number in range(self.options.kills):
            name, choose = ("kill leader", leader) if number % 3 else ("kill follower", follower)
            rows.append(Row(name, *self.kill_row(choose)))

        def pause():
            node = leader()
            node.pause()
            return node

        rows.append(Row("pause leader", pause, lambda node: node.resume(), 4.0))
        rows.append(Row("isolate leader", *self.isolation_row(leader, True, True), 5.0))
        rows.append(Row("isolate follower", *self.isolation_row(follower, True, True)))
        rows.append(Row("leader cannot send", *self.isolation_row(leader, True, False), 5.0))
        rows.append(Row("leader cannot hear", *self.isolation_row(leader, False, True), 5.0))
        rows.append(Row("follower cannot send", *self.isolation_row(follower, True, False)))
        rows.append(Row("one link cut", self.cut_one_link, self.mend_one_link, 4.0))
        rows.append(Row("full disk", self.fill_disk, self.free_disk, 5.0))
        rows.append(Row("all killed", self.kill_all, self.start_all, 0.2))
        rows.append(Row("rolling restart", self.restart_each, lambda node: None, 0.0))
        if self.options.only:
            rows = [row for row in rows if row.name in self.options.only]
        return rows

    def cut_one_link(self):
        node = self.cluster.most_leading()
        other = self.other(node)
        node.namespace.cut_to(other.number)
        other.namespace.cut_to(node.number)
        return node, other

    def mend_one_link(self, pair):
        pair[0].namespace.mend_to(pair[1].number)
        pair[1].namespace.mend_to(pair[0].number)

    def fill_disk(self):
        node = self.cluster.node(3)
        filler = os.path.join(node.data, "filler")
        with open(filler, "wb") as out:
            block = bytes(1 << 20)
            try:
                while True:
                    out.write(block)
            except OSError:
                pass
        return filler

    def free_disk(self, filler):
        os.unlink(filler)

    def kill_all(self):
        for node in self.cluster.nodes:
            node.kill()

    def start_all(self, _):
        for node in self.cluster.nodes:
            node.begin()

    def restart_each(self):
        for node in self.cluster.nodes:
            code = node.stop()
            if code != 0:
                self.load.failures.add("stop", f"node {node.number}: exit {code} at SIGTERM")
            node.begin()
            self.cluster.wait_ready([node])
            self.settle(f"after the restart of node {node.number}")

    # --- the run ---

    def whole(self):
        """Clients, the rows one after the other, the reads at the end and the verdict on it all."""
        sys.setswitchinterval(0.001)
        load = self.load
        self.cluster.node(3).on_small_disk(SMALL_DISK_MB)
        tailers = [Tailer(load, index) for index in range(TAILERS)]
        writers = [Writer(load, index) for index in range(WRITERS)]
        threads = [
            threading.Thread(target=client.run, daemon=True) for client in [*tailers, *writers]
        ]
        began = time.monotonic()
        try:
            self.cluster.start()
            create_streams(load, self.cluster.node(1))
            for thread in threads:
                thread.start()
            for row in self.rows():
                self.run_row(row)
            if not self.options.only or "one disk wiped" in self.options.only:
                self.replace_row(self.wiped_row())
            load.over = True
            for thread in threads:
                thread.join(20.0)
            final_reads(load, self.random, self.cluster.nodes)
            check_tails(load, tailers)
            check_history(load.history, self.work, load.failures)
        except (OSError, Lost, NotSent, subprocess.SubprocessError) as error:
            load.failures.add("run", str(error))
        finally:
            load.over = True
            self.put_away()
        for name, seconds in sorted(self.outages.items()):
            known = sorted(second for second in seconds if second is not None)
            print(f"outage {name:22s} median {known[len(known) // 2] * 1e3:6.0f} ms,"
                  f" longest {known[-1] * 1e3:6.0f} ms, {len(known)} times")
        print(" · ".join(f"{name} {count}" for name, count in sorted(load.counts.items())))
        print(f"{load.operations()} operations in {time.monotonic() - began:.0f} s")

    def put_away(self):
        cluster = self.cluster
        if self.options.keep:
            print(f"kept in {self.work}: " + " ".join(node.log_path for node in cluster.nodes))
            cluster.old_logs.clear()
            for node in cluster.nodes:
                node.log_path = ""
        cluster.close()
        if not self.options.keep:
            shutil.rmtree(self.work, ignore_errors=True)

    def settle(self, when):
        """Waits until every stream took an append that began after now."""
        since = time.monotonic_ns()
        end = time.monotonic() + SETTLE_S
        while True:
            _, _, streams = self.load.outage(since)
            if streams == len(self.load.streams):
                return True
            if time.monotonic() > end:
                self.load.failures.add(
                    "settle", f"{when}: {streams} of {len(self.load.streams)} streams take appends")
                return False
            time.sleep(0.02)

    def run_row(self, row):
        before = self.load.failures.total()
        self.settle(f"before {row.name}")
        what = row.begin()
        since = time.monotonic_ns()
        time.sleep(self.options.hold if row.hold is None else row.hold)
        row.end(what)
        healed = time.monotonic_ns()
        self.cluster.wait_ready(self.cluster.nodes)
        self.settle(f"after {row.name}")
        slowest, first, _ = self.load.outage(since)
        after, _, _ = self.load.outage(healed)
        self.outages[row.name].append(slowest)
        print(f"{row.name:22s} first append after {first * 1e3:6.0f} ms, every stream after"
              f" {slowest * 1e3:6.0f} ms; once healed, after {after * 1e3:6.0f} ms", flush=True)
        # Rows that take the quorum away can only be measured from their end.
        if min(slowest, after) > BOUND_S:
            self.load.failures.add("outage", f"{row.name}: {slowest:.1f} s")
        if self.load.failures.total() == before:
            self.passed += 1

    def wiped_row(self):
        """A node that lost its disk must stay out: an empty log must never count for a quorum."""
        before = self.load.failures.total()
        node = self.cluster.node(2)
        node.kill()
        node.wipe()
        node.begin()
        self.settle("with one node wiped")
        time.sleep(2.0)
        if node.is_ready():
            self.load.failures.add("wiped", "a node with an empty disk became ready by itself")
        if not node.alive():
            self.load.failures.add("wiped", f"ended: {node.log()[-1000:]}")
        print("one disk wiped         the node waits: " +
              (node.log().strip().splitlines() or ["it says nothing"])[-1][:160], flush=True)
        if self.load.failures.total() == before:
            self.passed += 1
        return node

    def replace_row(self, node):
        """What an operator does then: it comes back as another member of the same id."""
        before = self.load.failures.total()
        other = self.other(node)
        code, _, err = ctl_of(other.data, "cluster", "replace", str(node.number), "--yes")
        if code != OK:
            self.load.failures.add("replace", f"exit {code}: {err}")
            return
        self.cluster.wait_ready([node])
        self.settle("with the wiped one replaced")
        print("wiped disk replaced    " + err.strip().splitlines()[-1][:160], flush=True)
        if self.load.failures.total() == before:
            self.passed += 1


# A run that did less than this proved nothing.
LEAST = {"acked": 8000, "reads": 3000, "tail events": 500, "unknown": 5}
LEAST_OPERATIONS = 20_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--hold", type=float, default=2.5, help="seconds a fault lasts")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--only", action="append", default=[], help="the rows of this name")
    parser.add_argument("--keep", action="store_true", help="keep data, logs and history")
    options = parser.parse_args()
    netns.enter()
    print(f"cluster black box: {options.kills} kills, seed {options.seed}", flush=True)
    run = Run(options)
    load = run.load
    run.whole()
    if not options.only:
        for name, least in LEAST.items():
            if load.counts[name] < least:
                load.failures.add("vacuous", f"{name}: {load.counts[name]}, at least {least}")
        if load.operations() < LEAST_OPERATIONS:
            load.failures.add("vacuous", f"{load.operations()} operations")
    failed = load.failures.total()
    print(f"{run.passed + (0 if failed else 1)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
