"""The columns of a segment batch while they are filled: one place for each packet, so that no sort is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imapids import kernels
from imapids.records.packets import U8, U16, Bool, PacketBatch
from imapids.records.segments import SegmentBatch

_FILLED = {
    "protocol": np.uint8, "src_hi": np.uint64, "src_lo": np.uint64, "dst_hi": np.uint64, "dst_lo": np.uint64,
    "src_port": np.uint16, "dst_port": np.uint16, "tunnel": np.uint32, "payload": np.int64, "captured": np.int64,
    "length": np.int64, "seq": np.uint32, "ack": np.uint32, "flags": np.uint8, "window": np.uint16, "ttl": np.uint8,
    "ip_offset": np.int64, "transport_offset": np.int64,
}


class SegmentColumns:
    """Columns of shape (packets,), by row of the packet batch; a packet gives one segment or none."""

    def __init__(self, packets: int) -> None:
        self.present = np.zeros(packets, np.bool_)
        """Which packets gave a segment; what stands in the places of the others means nothing."""
        self.columns = {name: np.empty(packets, kind) for name, kind in _FILLED.items()}

    def finish(self, batch: PacketBatch, buffer: U8, fragmented: Bool) -> SegmentBatch:
        """The segment batch, in capture order."""
        interface = None if not batch.interface[:1].any() and are_alike(batch.interface) else batch.interface
        if self.present[:1].all() and are_alike(self.present.view(np.uint8)):
            return SegmentBatch(batch.source, buffer, batch.number, batch.time_ns, fragmented=fragmented,
                                interface=interface, **self.columns)
        shared = [batch.number, batch.time_ns] + ([] if interface is None else [interface])
        number, time_ns, *named, fragmented = self._present(shared, [*self.columns.values(), fragmented])
        if interface is not None:
            interface, *named = named
        return SegmentBatch(batch.source, buffer, number, time_ns, fragmented=fragmented, interface=interface,
                            **dict(zip(self.columns, named, strict=True)))

    def _present(self, shared: list[npt.NDArray[Any]], own: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The rows of columns that are present; those that are our own are overwritten."""
        if not kernels.COMPILED:
            pick = np.flatnonzero(self.present)
            return [column.take(pick) for column in (*shared, *own)]
        kept = [*map(np.empty_like, shared), *own]
        count = kernels.compiled.keep_rows(self.present.view(np.uint8), [*shared, *own], kept)
        return [column[:count] for column in kept]


def are_alike(column: U8 | U16) -> bool:
    """Whether all numbers of a column are the same."""
    if kernels.COMPILED:
        return kernels.compiled.are_alike(column)
    return bool((column == column[:1]).all())
