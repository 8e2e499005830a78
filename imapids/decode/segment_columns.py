"""The columns of a segment batch while they are filled: one place for each packet, so that no sort is needed."""

from __future__ import annotations

import numpy as np

from imapids.records.packets import U8, Bool, PacketBatch
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
        interface = batch.interface if batch.interface.any() else None
        if self.present.all():
            return SegmentBatch(batch.source, buffer, batch.number, batch.time_ns, fragmented=fragmented,
                                interface=interface, **self.columns)
        pick = np.flatnonzero(self.present)
        return SegmentBatch(batch.source, buffer, batch.number.take(pick), batch.time_ns.take(pick),
                            fragmented=fragmented.take(pick),
                            interface=None if interface is None else interface.take(pick),
                            **{name: column.take(pick) for name, column in self.columns.items()})
