"""Packets of an interface through scapy's socket, where the kernel has no packet ring (macOS, BSD, Windows).

Each packet is a Python object here: some thousand a second. Needs the extra `scapy`, which nothing else imports.
"""

from __future__ import annotations

import contextlib
import select
import time
from typing import Any

import numpy as np

from imapids.capture.ledger import Ledger
from imapids.capture.ring import RingCounts
from imapids.config import CaptureLimits
from imapids.errors import InputError, UsageError
from imapids.protocols.text import safe_str
from imapids.records.packets import CaptureSource, PacketBatch

RATE_WARNING = ("reading through scapy: some thousand packets a second, and what is lost beyond that is not counted; "
                "Linux has a packet ring")
_PAUSE_SECONDS = 0.01


class ScapySource:
    """What PacketRing is, slower. The number of packets that were lost is not known."""

    def __init__(self, interface: str, *, limits: CaptureLimits = CaptureLimits(), expression: str = "",  # noqa: B008
                 index: int = 0) -> None:
        """
        Args:
            expression: a filter in the words of tcpdump; empty: all packets.

        Raises:
            UsageError: scapy is not installed.
            InputError: the interface cannot be opened.
        """
        try:
            import scapy.arch  # settles which sockets there are
            import scapy.layers.l2  # noqa: F401  # and which link types have which numbers
            from scapy.config import conf
            from scapy.error import Scapy_Exception
        except ImportError as error:
            raise UsageError("reading without a packet ring needs scapy: pip install 'imapids[scapy]'") from error
        self.interface = interface
        self.state = "up"
        self.source = CaptureSource(interface, index, "live", [interface])
        self.ledger = Ledger(self.source)
        self.counts = RingCounts()
        self._limits = limits
        self._socket: Any = None
        try:
            self._socket = conf.L2listen(iface=interface, filter=expression or None)
        except (OSError, ValueError, Scapy_Exception) as error:
            raise InputError(f"{safe_str(interface)}: cannot be read through scapy: {safe_str(str(error))}") from error
        self._link_type = int(conf.l2types.layer2num.get(self._socket.LL, 1))
        self._open = False

    def start(self) -> None:
        """Packets that came before are of no interest."""
        self._open = True

    def read(self, wait_ns: int) -> PacketBatch | None:
        """The packets that are there, or that come within this time; None where none did."""
        if not self._open:
            return None
        until = time.monotonic_ns() + wait_ns
        frames: list[bytes] = []
        times: list[int] = []
        size = 0
        while len(frames) < self._limits.batch_packets and size < self._limits.batch_bytes:
            frame, stamp = self._next(0 if frames else max(0, until - time.monotonic_ns()))
            if frame is None:
                break
            frames.append(frame)
            times.append(int(stamp * 1e9) if stamp is not None else time.time_ns())
            size += len(frame)
        return self._batch(frames, times) if frames else None

    def _next(self, wait_ns: int) -> tuple[bytes | None, float | None]:
        with contextlib.suppress(OSError, ValueError):
            if hasattr(self._socket, "fileno"):
                if not select.select([self._socket], [], [], wait_ns / 1e9)[0]:
                    return None, None
            elif wait_ns:
                time.sleep(min(_PAUSE_SECONDS, wait_ns / 1e9))
            _, frame, stamp = self._socket.recv_raw()
            return frame, float(stamp) if stamp is not None else None
        self.state = "down"
        time.sleep(_PAUSE_SECONDS)
        return None, None

    def _batch(self, frames: list[bytes], times: list[int]) -> PacketBatch:
        count = len(frames)
        size = np.array([len(frame) for frame in frames], np.int64)
        time_ns = np.array(times, np.int64)
        link_type = np.full(count, self._link_type, np.uint16)
        number = np.arange(self.ledger.account.packets + 1, self.ledger.account.packets + count + 1)
        self.ledger.packets(time_ns, link_type)
        self.ledger.account.bytes_read += int(size.sum())
        self.counts.packets += count
        return PacketBatch(
            self.source, np.frombuffer(b"".join(frames), np.uint8), np.cumsum(size) - size, size, size.copy(), time_ns,
            number, link_type, np.zeros(count, np.uint16))

    def stop(self) -> None:
        """No more packets are taken."""
        self._open = False

    def look(self) -> str:
        """What is known of the link."""
        return self.state

    def count(self) -> RingCounts:
        """Packets that came here: those that were lost before are not known."""
        return self.counts

    def close(self) -> None:
        """Gives the socket back."""
        with contextlib.suppress(OSError):
            self._socket.close()
