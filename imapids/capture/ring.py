"""Packets of a network interface: the kernel's packet ring (AF_PACKET, TPACKET_V3) as packet batches.

Source: packet(7), netdevice(7), the kernel's Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np

from imapids.capture import bpf, ring_blocks
from imapids.capture.ledger import Ledger
from imapids.config import CaptureLimits, LiveLimits
from imapids.errors import InputError, UnsupportedInput
from imapids.protocols.text import safe_str
from imapids.records.packets import CaptureSource, PacketBatch

_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _RESERVE = 1, 5, 6, 10, 12
_FANOUT, _FANOUT_DATA, _IGNORE_OUTGOING = 18, 22, 23
_TPACKET_V3, _FANOUT_CBPF, _PROMISCUOUS = 2, 6, 1
_ETH_P_ALL = 3
_FRAME_BYTES = 2_048
"""What the kernel wants to hear; packets of version 3 have the length that they have."""
_ROOM_FOR_TAG = 4

_GET_FLAGS, _GET_MTU, _GET_HARDWARE, _GET_INDEX = 0x8913, 0x8921, 0x8927, 0x8933
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_NAME_BYTES = 15

_LINK_TYPES = {
    1: bpf.ETHERNET, 772: bpf.ETHERNET,  # ARPHRD_ETHER, ARPHRD_LOOPBACK
    519: bpf.RAW_IP, 65534: bpf.RAW_IP, 768: bpf.RAW_IP, 769: bpf.RAW_IP, 776: bpf.RAW_IP,  # RAWIP, NONE, IP tunnels
    801: 105, 803: 127,  # IEEE80211, IEEE80211_RADIOTAP
}
"""LINKTYPE_ by ARPHRD_: kinds whose frames come as captures show them."""


@dataclass(slots=True)
class RingCounts:
    """What the kernel counted since the ring was opened."""

    packets: int = 0
    """Packets that passed the filter; those that were dropped are among them."""
    dropped: int = 0
    """Packets for which the ring had no room."""
    frozen: int = 0
    """Times that the ring was full."""


class PacketRing:
    """Reads one interface. Opening needs CAP_NET_RAW; everything later does not, not even an interface that returns.

    Packets arrive from `start` on: until then a filter refuses all, so that rings can join a group first.
    """

    def __init__(self, interface: str, *, limits: LiveLimits = LiveLimits(), batch: CaptureLimits = CaptureLimits(),  # noqa: B008
                 program: bpf.Program | None = None, share: tuple[int, int] | None = None, index: int = 0) -> None:
        """
        Args:
            program: kernel filter; None takes all packets.
            share: (group number, place in the group) where several rings share the packets of the interface.

        Raises:
            InputError: the interface does not exist, or may not be read.
            UnsupportedInput: it is of a kind whose frames nobody here decodes.
        """
        self.interface = interface
        self.limits = limits
        self.counts = RingCounts()
        self.state = "up"
        """up, down, removed."""
        self.source = CaptureSource(interface, index, "live", [interface])
        self.ledger = Ledger(self.source)
        self._batch = batch
        self._program = program
        self._at = 0
        self._lent: list[int] = []
        self._closing = False
        self._above_mtu = 0
        self._socket = _open_socket(interface)
        try:
            self._set_up(share)
        except OSError as error:
            self._socket.close()
            raise InputError(f"{safe_str(interface)}: cannot be read: {error.strerror or error}") from error
        except BaseException:
            self._socket.close()
            raise

    def _set_up(self, share: tuple[int, int] | None) -> None:
        sock, limits = self._socket, self.limits
        self.link_type = self._look_up_link_type()
        self._mtu = self._ask(_GET_MTU)
        bpf.attach(sock, bpf.REFUSE_ALL)
        sock.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        sock.setsockopt(_SOL_PACKET, _RESERVE, _ROOM_FOR_TAG)
        self._blocks = max(8, limits.ring_bytes // limits.block_bytes)
        size = self._blocks * limits.block_bytes
        sock.setsockopt(_SOL_PACKET, _RX_RING, struct.pack(
            "7I", limits.block_bytes, self._blocks, _FRAME_BYTES, size // _FRAME_BYTES,
            limits.block_timeout_ns // 10**6, 0, 0))
        self._memory = mmap.mmap(sock.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._ring = np.frombuffer(self._memory, np.uint8)
        self._status = self._ring.view(np.uint32)[ring_blocks.STATUS_WORD :: limits.block_bytes // 4]
        self._packet_counts = self._ring.view(np.uint32)[ring_blocks.COUNT_WORD :: limits.block_bytes // 4]
        # own packets come twice on the loopback interface, out and back in; elsewhere they belong to the link
        self._drop_outgoing = False
        if self._flags() & _IFF_LOOPBACK:
            try:
                sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            except OSError:  # before Linux 4.20
                self._drop_outgoing = True
        self._bind()
        if share is not None:
            sock.setsockopt(_SOL_PACKET, _FANOUT, (share[0] & 0xFFFF) | _FANOUT_CBPF << 16)
            if share[1] == 0:
                bpf.set_program(sock, _SOL_PACKET, _FANOUT_DATA, bpf.sharing_program())
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN | select.POLLERR)

    def _bind(self) -> None:
        """Attaches to the interface of this name, and asks it for all packets."""
        self._socket.bind((self.interface, _ETH_P_ALL))
        self._index = self._ask(_GET_INDEX)
        with contextlib.suppress(OSError):  # a kind without hardware addresses hears everything anyway
            wish = struct.pack("iHH8s", self._index, _PROMISCUOUS, 0, b"")
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, wish)

    def start(self) -> None:
        """Lets packets in."""
        if self._program is None:
            self._socket.setsockopt(socket.SOL_SOCKET, bpf.SO_DETACH_FILTER, 0)
        else:
            bpf.attach(self._socket, self._program)

    # ---- packets ------------------------------------------------------------------------------------------------

    def read(self, wait_ns: int) -> PacketBatch | None:
        """The next packets, or None where none came within this time. The batch is valid until the next call."""
        self.release()
        found = self._ready()
        if not found:
            self._wait(wait_ns)
            found = self._ready()
        if 0 < found < self.limits.gather_blocks and not self._closing:
            time.sleep(self.limits.gather_ns / 1e9)
            found = self._ready()
        return self._take(self._in_one_batch(found)) if found else None

    def release(self) -> None:
        """Gives the blocks of the last batch back to the kernel."""
        if self._lent:
            self._status[self._lent] = 0
            self._lent = []

    def _wait(self, wait_ns: int) -> None:
        for _, what in self._poll.poll(wait_ns / 1e6):
            if what & select.POLLERR:
                failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading clears it
                if failed:
                    self.ledger.note("link-went-down" if failed == errno.ENETDOWN else "socket-error")
                    self.look()

    def _ready(self) -> int:
        """How many blocks in a row are ours, within the bytes that one batch may hold."""
        most = max(1, self._batch.batch_bytes // self.limits.block_bytes)
        ready = (self._status[self._at : self._at + most] & ring_blocks.STATUS_USER) != 0
        return int(np.argmin(ready)) if not ready.all() else len(ready)

    def _in_one_batch(self, ready: int) -> int:
        """How many of these blocks the next batch takes: few packets, or many when more wait than should."""
        most = self.limits.batch_packets if ready < self.limits.hurry_blocks else self.limits.hurry_packets
        most = min(most, self._batch.batch_packets)
        packets = np.cumsum(self._packet_counts[self._at : self._at + ready])
        return max(1, int(np.searchsorted(packets, most, side="right")))

    def _take(self, found: int) -> PacketBatch | None:
        size, first = self.limits.block_bytes, self._at
        blocks = np.arange(first, first + found)
        self._lent = blocks.tolist()
        self._at = (first + found) % self._blocks
        frames = ring_blocks.frames_of(self._ring, blocks, size, ethernet=self.link_type == bpf.ETHERNET)
        if self._drop_outgoing and frames.outgoing.any():
            self.ledger.note("outgoing-duplicate", int(np.count_nonzero(frames.outgoing)))
            frames = frames.select(~frames.outgoing)
        count = len(frames.offset)
        if not count:
            return None
        low = first * size
        above = int(np.count_nonzero(frames.original > self._mtu + 64))
        if above:  # offloads joined packets: their number and borders are not those of the wire
            self.ledger.note("frames-above-mtu", above)
        number = np.arange(self.ledger.account.packets + 1, self.ledger.account.packets + count + 1)
        link_type = np.full(count, self.link_type, np.uint16)
        self.ledger.packets(frames.time_ns, link_type)
        self.ledger.account.bytes_read += int(frames.captured.sum())
        return PacketBatch(
            self.source, self._ring[low : low + found * size], frames.offset - low, frames.captured, frames.original,
            frames.time_ns, number, link_type, np.zeros(count, np.uint16))

    def stop(self) -> None:
        """Lets no more packets in; what the ring holds is still to be read."""
        self._closing = True
        with contextlib.suppress(OSError):
            bpf.attach(self._socket, bpf.REFUSE_ALL)

    # ---- the link -----------------------------------------------------------------------------------------------

    def count(self) -> RingCounts:
        """What the kernel counted so far."""
        with contextlib.suppress(OSError):
            packets, dropped, frozen = struct.unpack("3I", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
            self.counts.packets += packets  # the kernel begins anew at each reading
            self.counts.dropped += dropped
            self.counts.frozen += frozen
        return self.counts

    def look(self) -> str:
        """Looks at the link, and attaches to an interface that was removed and is back; `state` afterwards.

        A ring that shares packets with others cannot attach again: its group cannot be left.
        """
        try:
            index = self._ask(_GET_INDEX)
            if index != self._index:
                self._bind()
                self.ledger.note("interface-returned")
            self.state = "up" if self._flags() & _IFF_UP else "down"
        except OSError:
            self.state = "removed"
        return self.state

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Gives the ring back; batches are not valid any more."""
        self.release()
        self._socket.close()
        self._ring = np.empty(0, np.uint8)
        self._status = self._packet_counts = np.empty(0, np.uint32)
        with contextlib.suppress(BufferError):  # somebody still holds a batch: the memory goes when that goes
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look_up_link_type(self) -> int:
        kind = self._ask(_GET_HARDWARE) & 0xFFFF
        if kind not in _LINK_TYPES:
            raise UnsupportedInput(f"{safe_str(self.interface)}: frames of hardware type {kind} are not decoded; "
                                   "capture with tcpdump -i and pipe it: tcpdump -i ... -U -w - | imapids analyze -")
        return _LINK_TYPES[kind]

    def _flags(self) -> int:
        return self._ask(_GET_FLAGS) & 0xFFFF

    def _ask(self, what: int) -> int:
        """The number that stands behind the name in a struct ifreq."""
        answer = fcntl.ioctl(self._socket, what, struct.pack("16s24x", os.fsencode(self.interface)))
        number: int = struct.unpack_from("i", answer, 16)[0]
        return number


def open_rings(interface: str, count: int, *, limits: LiveLimits, batch: CaptureLimits,
               program: bpf.Program | None = None) -> Sequence[PacketRing]:
    """Rings that share the packets of an interface; both directions of two hosts come to the same one.

    Each has its part of `limits.ring_bytes`. Errors are those of `PacketRing`.
    """
    rings: list[PacketRing] = []
    limits = msgspec.structs.replace(limits, ring_bytes=limits.ring_bytes // count)
    try:
        for place in range(count):
            share = (os.getpid(), place) if count > 1 else None
            rings.append(PacketRing(interface, limits=limits, batch=batch, program=program, share=share))
    except BaseException:
        for ring in rings:
            ring.close()
        raise
    return rings


def _open_socket(interface: str) -> socket.socket:
    """A raw socket that hears nothing yet.

    Raises:
        InputError: no right to open one, or the name is no interface's.
    """
    if not interface or len(os.fsencode(interface)) > _NAME_BYTES or "\0" in interface:
        raise InputError(f"{safe_str(interface)}: no interface has such a name.")
    if not hasattr(socket, "AF_PACKET"):
        raise UnsupportedInput("live capture needs the packet ring of Linux.")
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise InputError("reading an interface needs the capability CAP_NET_RAW: start as root (they are given up "
                         "before a packet is read) or by systemd with AmbientCapabilities=CAP_NET_RAW.") from error
    except OSError as error:
        raise InputError(f"no packet socket: {error.strerror}") from error
    try:
        fcntl.ioctl(sock, _GET_INDEX, struct.pack("16s24x", os.fsencode(interface)))
    except OSError as error:
        sock.close()
        raise InputError(f"{safe_str(interface)}: no such interface; there are: "
                         f"{', '.join(sorted(name for _, name in socket.if_nameindex()))}.") from error
    return sock
