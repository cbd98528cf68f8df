#!/usr/bin/env python3
"""Peers with TLS: who has no certificate of the cluster is nobody, whatever it says.

The certificates are made with the openssl command. The last line is `N passed, N failed`.
"""

import os
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from checks import expect, expect_in, folder, run_checks  # noqa: E402
from cluster import Cluster  # noqa: E402


def openssl(*arguments, stdin=None):
    subprocess.run(
        ["openssl", *arguments], input=stdin, check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, timeout=60,
    )


class Authority:
    """ca.pem and ca.key in a folder of its own."""

    def __init__(self, work, name):
        self.work = folder(work, name)
        self.pem = os.path.join(self.work, "ca.pem")
        self.key = os.path.join(self.work, "ca.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "1", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.pem)

    def issue(self, data_dir, cluster, node):
        """Fills data_dir/tls for this node."""
        target = os.path.join(data_dir, "tls")
        os.makedirs(target, exist_ok=True)
        key = os.path.join(target, "node.key")
        request = os.path.join(self.work, "node.csr")
        extensions = os.path.join(self.work, "node.ext")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN=node{node}", "-keyout", key, "-out", request)
        os.chmod(key, 0o600)
        with open(extensions, "w", encoding="ascii") as handle:
            handle.write(f"subjectAltName=URI:urn:ursula:{cluster}:node:{node}\n")
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key,
                "-CAcreateserial", "-days", "1", "-extfile", extensions,
                "-out", os.path.join(target, "node.pem"))
        with open(self.pem, "rb") as source, open(os.path.join(target, "ca.pem"), "wb") as copy:
            copy.write(source.read())


def check_cluster_with_tls(work):
    authority = Authority(work, "authority")
    with Cluster(folder(work, "c"), shards=[1, 2, 1]) as cluster:
        for node in cluster.nodes:
            authority.issue(node.data_dir, cluster.name, node.number)
        cluster.start()
        expect_in("what node 1 says", "cluster.tls_ends days=", cluster.node(1).log())
        cluster.create("/v1/stream/s")
        cluster.append("/v1/stream/s", "one ")
        # More than fits any buffer on the way, twice over.
        big = "x" * 900_000
        for _ in range(6):
            cluster.append("/v1/stream/s", big)
        victim = cluster.node(2)
        victim.kill()
        cluster.append("/v1/stream/s", "two")
        cluster.start([2])
        text = cluster.read_all("/v1/stream/s")
        expect("first and last", (text[:4], text[-3:]), ("one ", "two"))
        expect("length", len(text) >= 7 + 6 * len(big), True)
        # What goes over the wire in the clear is the preamble alone.
        stranger = socket.create_connection(
            (cluster.node(1).host, cluster.node(1).peer_port), 5.0
        )
        stranger.sendall(struct.pack("<IIII", 0x31507255, 1, 0, 0))
        stranger.sendall(b"\x55\x72\x48\x31" + bytes(60))
        stranger.settimeout(20.0)
        said = b""
        try:
            while piece := stranger.recv(4096):
                said += piece
        except ConnectionError:
            pass
        expect("a record of TLS is the answer", said[:1] in (b"", b"\x15"), True)


def check_who_has_no_certificate_waits(work):
    authority = Authority(work, "authority")
    other = Authority(work, "other")
    with Cluster(folder(work, "c")) as cluster:
        authority.issue(cluster.node(1).data_dir, cluster.name, 1)
        authority.issue(cluster.node(2).data_dir, cluster.name, 2)
        other.issue(cluster.node(3).data_dir, cluster.name, 3)
        for node in cluster.nodes:
            node.launch()
        cluster.node(1).wait_log("its certificate is not accepted")
        cluster.node(3).wait_log("peer.refused")
        expect("ready", [node.ready() for node in cluster.nodes], [False] * 3)
        cluster.node(3).stop()
        authority.issue(cluster.node(3).data_dir, cluster.name, 3)
        cluster.node(3).launch()
        for node in cluster.nodes:
            node.wait_ready()
        # A member that comes back without any.
        cluster.node(3).stop()
        for name in ("ca.pem", "node.pem", "node.key"):
            os.unlink(os.path.join(cluster.node(3).data_dir, "tls", name))
        os.rmdir(os.path.join(cluster.node(3).data_dir, "tls"))
        cluster.node(3).launch()
        cluster.node(1).wait_log("side=refused why=\"the TLS handshake failed")
        expect("ready", cluster.node(3).ready(), False)


def check_files_that_do_not_fit(work):
    authority = Authority(work, "authority")
    with Cluster(folder(work, "c")) as cluster:
        node = cluster.node(1)
        key = os.path.join(node.data_dir, "tls", "node.key")
        authority.issue(node.data_dir, cluster.name, 2)
        for words in ("certificate of node 2 and cluster.node_id = 1",
                      "of cluster \"elsewhere\"", "may be read by others: chmod 600",
                      "no PEM key", "No such file"):
            node.launch()
            expect(f"exit code for: {words}", node.wait_exit(), 2)
            expect_in("why", words, node.log())
            if "certificate of node" in words:
                authority.issue(node.data_dir, "elsewhere", 1)
            elif "elsewhere" in words:
                authority.issue(node.data_dir, cluster.name, 1)
                os.chmod(key, 0o644)
            elif "chmod" in words:
                os.chmod(key, 0o600)
                with open(key, "w", encoding="ascii") as handle:
                    handle.write("nothing\n")
            elif "PEM" in words:
                os.unlink(key)


def check_beyond_loopback(work):
    """Without TLS and without `insecure` nobody listens to other machines."""
    with Cluster(folder(work, "c"), size=1) as cluster:
        node = cluster.node(1)
        lines = ["node_id = 1", f'listen = "0.0.0.0:{node.peer_port}"',
                 f"members = [ {node.member()} ]"]
        node.write_config(lines)
        node.launch()
        expect("exit code", node.wait_exit(), 2)
        expect_in("why", "lets other machines in, without TLS", node.log())
        node.write_config(lines + ["insecure = true"])
        cluster.start()
        expect_in("warning", "cluster.plain", node.log())
        expect("exit code", node.stop(), 0)
        Authority(work, "authority").issue(node.data_dir, "prod", 1)
        node.write_config(lines)
        cluster.start()


if __name__ == "__main__":
    sys.exit(run_checks(globals()))
