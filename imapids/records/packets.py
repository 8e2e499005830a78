"""capture -> decode: many packets of one capture as columns over one byte buffer.

Records that hold columns are not compared as a whole (`eq=False`): arrays have no one answer to that. Records are
msgspec's, which makes a class in a tenth of the time that a dataclass takes: there are many, and each start makes all.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class CaptureSource(msgspec.Struct):
    """Where packets come from: one file, pipe or interface."""

    name: str
    """As the user named it; shown as `pcap_filename` (escaped on output)."""
    index: int
    """Position among the sources of the run."""
    format: str = ""
    """pcap, pcapng, pcap.gz, ... once known."""
    interfaces: list[str] = []
    """Interface names as the capture tells them, by `PacketBatch.interface`."""


class PacketBatch(msgspec.Struct, eq=False):
    """Many packets of one capture. All columns have shape (n,), in the order of the capture.

    The buffer is valid until the next batch is asked for (one batch longer where the capture was opened to be read
    ahead): who keeps bytes longer copies them.
    """

    source: CaptureSource
    buffer: U8
    """The bytes of the window, shape (m,)."""
    offset: I64
    """Where a packet's captured bytes start in `buffer`."""
    captured: I64
    """Captured bytes of a packet; offset + captured <= len(buffer) always holds."""
    original: I64
    """Bytes of the packet on the wire (never less than `captured`)."""
    time_ns: I64
    """Nanoseconds since 1970-01-01 UTC; 0 where the capture holds no time (simple packet blocks)."""
    number: I64
    """Frame number as Wireshark shows it, from 1."""
    link_type: U16
    """LINKTYPE_ value of the packet's interface (without FCS bits)."""
    interface: U16
    """Index into `source.interfaces`; 0 for classic pcap."""

    def __len__(self) -> int:
        return len(self.offset)

    def select(self, keep: Bool | I64) -> PacketBatch:
        """The packets that a mask or an index column picks, over the same buffer."""
        return PacketBatch(
            self.source, self.buffer, self.offset[keep], self.captured[keep], self.original[keep],
            self.time_ns[keep], self.number[keep], self.link_type[keep], self.interface[keep],
        )


class Damage(msgspec.Struct):
    """A place where a capture could not be read."""

    source: str
    offset: int
    """Byte offset in the (decompressed) file."""
    reason: str
    """Closed list, see capture/__init__.py: cut, bad-record, bad-block, foreign-bytes, ..."""
    skipped_bytes: int = 0
    message: str = ""
    """One line for people: what, where."""


class SourceAccount(msgspec.Struct):
    """What became of one source: the reader's side of the account at the end."""

    source: CaptureSource
    status: str = "ok"
    """ok, cut, damaged, unreadable, unsupported; of an interface: lossy (packets came that nobody has seen)."""
    message: str = ""
    """One line for people where the status is not ok: safe text that names the source."""
    packets: int = 0
    """Packets handed on."""
    bytes_read: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    skipped: dict[str, int] = {}
    """Packets or blocks that could not be handed on, by reason."""
    damage: list[Damage] = []
    """The first places of damage (at most 32); `damage_count` counts all."""
    damage_count: int = 0
    notes: dict[str, int] = {}
    """Oddities that lost nothing, by name (option-past-block, absurd-tsresol, ...)."""
    link_types: dict[int, int] = {}
    """Packets by LINKTYPE_ number; -1 stands for the numbers that a capture of very many has beyond a limit."""
