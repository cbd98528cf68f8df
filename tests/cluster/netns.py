"""Network namespaces of one test: a bridge in our own namespace, one namespace per node, cuts.

enter() moves the whole test into fresh network and mount namespaces, with root's rights or with
`unshare --map-root-user`, so nothing of the machine's own network is touched and the kernel takes
everything away when the test ends. A cut is silent, as a broken cable is: the cut node gets a
neighbour entry that leads nowhere, so its packets leave and never arrive. Needs iproute2.
"""

import os
import subprocess
import sys

NOWHERE = "02:00:00:00:00:fe"  # No interface has this address.
INSIDE = "URSULA_TEST_NETNS"


def address_of(node):
    return f"10.77.0.{node}"


def enter():
    """Starts this program again inside its own namespaces; returns only there."""
    if os.environ.get(INSIDE):
        ip("link", "set", "lo", "up")
        ip("link", "add", "br0", "type", "bridge")
        ip("addr", "add", address_of(254) + "/24", "dev", "br0")
        ip("link", "set", "br0", "up")
        return
    # Root of a container may lack the right, and have it in a user namespace of its own.
    command = ["unshare", "--net", "--mount"]
    if os.geteuid() != 0 or subprocess.run([*command, "true"], check=False).returncode != 0:
        command.append("--map-root-user")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*command, sys.executable, *sys.argv])


def ip(*words, pid=None):
    """One `ip` command, in the namespace of a process when pid is given."""
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else []
    result = subprocess.run(
        [*inside, "ip", *words], capture_output=True, text=True, timeout=10, check=False
    )
    if result.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {result.stderr.strip()}")
    return result.stdout


class Namespace:
    """One node's network: an interface with its own address on the bridge."""

    def __init__(self, node):
        self.node = node
        self.address = address_of(node)
        # The namespace lives as long as this process, which only waits for its input to end.
        self.holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self._wait_for_namespace()
        inside = f"in{node}"
        ip("link", "add", f"out{node}", "type", "veth", "peer", "name", inside)
        ip("link", "set", inside, "netns", str(self.holder.pid))
        ip("link", "set", f"out{node}", "master", "br0", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", self.address + "/24", "dev", inside),
            ("link", "set", inside, "up"),
        ):
            ip(*words, pid=self.holder.pid)

    def _wait_for_namespace(self):
        own = os.readlink("/proc/self/ns/net")
        while True:
            try:
                if os.readlink(f"/proc/{self.holder.pid}/ns/net") != own:
                    return
            except OSError:
                pass
            if self.holder.poll() is not None:
                raise OSError("unshare --net did not work here")

    def wrap(self, command):
        """The command, run in this namespace."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]

    def cut_to(self, other):
        """Nothing from this node reaches the other any more."""
        ip("neigh", "replace", address_of(other), "lladdr", NOWHERE, "dev", f"in{self.node}",
           "nud", "permanent", pid=self.holder.pid)

    def mend_to(self, other):
        ip("neigh", "del", address_of(other), "dev", f"in{self.node}", pid=self.holder.pid)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(10)
