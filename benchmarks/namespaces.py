"""Two network namespaces with a pair of virtual interfaces between them: a wire on which nobody else speaks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple


class Wire(NamedTuple):
    """The two ends of the pair: what goes in at the near one comes out at the far one."""

    near: str
    far: str
    near_device: str
    far_device: str

    def at_near(self, *command: str) -> list[str]:
        """A command as it is run where packets are sent."""
        return ["ip", "netns", "exec", self.near, *command]

    def at_far(self, *command: str) -> list[str]:
        """A command as it is run where packets are read."""
        return ["ip", "netns", "exec", self.far, *command]


@contextlib.contextmanager
def a_wire(name: str) -> Iterator[Wire]:
    """Lays a wire; it is removed at the end. `name`: a short word that tells it from others.

    Ends the program where root, iproute2 or tcpreplay is missing.
    """
    if os.geteuid() or not shutil.which("tcpreplay") or not shutil.which("ip"):
        sys.exit(f"{sys.argv[0]} needs root, iproute2 and tcpreplay")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # who is ended by others tidies up, too
    own = f"imapids-{name}-{os.getpid()}"
    wire = Wire(f"{own}-a", f"{own}-b", f"{name}0", f"{name}1")
    ends = ((wire.near, wire.near_device), (wire.far, wire.far_device))
    try:
        for namespace, _ in ends:
            _run("ip", "netns", "add", namespace)
        _run("ip", "link", "add", wire.near_device, "mtu", "65535", "netns", wire.near, "type", "veth",
             "peer", "name", wire.far_device, "mtu", "65535", "netns", wire.far)
        for namespace, device in ends:
            _run("ip", "netns", "exec", namespace, "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
            _run("ip", "-n", namespace, "link", "set", device, "up")
        yield wire
    finally:
        for namespace, _ in ends:
            subprocess.run(["ip", "netns", "del", namespace], check=False, stderr=subprocess.DEVNULL)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
