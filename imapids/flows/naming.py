"""Makes the records of selected flows out of the columns: who, where, since when, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imapids import kernels
from imapids.flows.columns import PEEKED, ROLES, WATCHED, FlowColumns
from imapids.protocols.addresses import address_text
from imapids.protocols.identifiers import community_ids, flow_hash, flow_hashes
from imapids.records.flows import CLOSED, OPEN, REJECTED, SILENT, STATES
from imapids.records.packets import I32, I64, U8, U32, U64, Bool, CaptureSource
from imapids.records.segments import FIN, RST, SYN, TCP, EncapsulationTable
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import FlowRecords

Directions = Callable[[U64, U64, U64, U64], list[str]]
"""Names the directions of flows from columns: (client hi, lo, server hi, lo)."""

_FOUND_OVER = ("idle", "end-of-capture")
"""Reasons that count less than a flow's own close: they only found it closed."""
_IDENTITY = np.dtype([("a_hi", ">u8"), ("a_lo", ">u8"), ("b_hi", ">u8"), ("b_lo", ">u8"), ("ports", ">u4"),
                      ("start", ">i8"), ("seq", ">u4"), ("protocol", "u1")])
"""What a flow's id is made of: its key, the time of its first packet and the first sequence number."""
_TEXTS = 65_536
"""Addresses whose text is remembered."""


class KeptRows:
    """Copies of some columns of some rows, for what is told of them after the rows are used again."""

    __slots__ = ("columns",)

    def __init__(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, source: FlowColumns | KeptRows, names: Iterable[str], rows: I32 | I64) -> KeptRows:
        """Copies of the named columns. (`take` makes them in a tenth of the time of a subscript.)"""
        rows = rows.astype(np.int64)
        return cls({name: source[name].take(rows, axis=0) for name in names})

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]


class FlowNamer:
    """Turns rows into records, many at a time: single reads of columns cost more than the records."""

    def __init__(self, columns: FlowColumns, encapsulations: EncapsulationTable, sources: list[CaptureSource],
                 directions: Directions | None) -> None:
        self.columns = columns
        self._encapsulations = encapsulations
        self._sources = sources
        self._directions = directions
        self._memo: dict[int, str] = {}
        self._compiled: FlowRecords | None = None

    def services(self, rows: I32) -> list[tuple[int, int, int, str]]:
        """The server's address and port, and the direction, of rows: what is asked of one service is alike."""
        columns = self.columns
        ends, ports = _ends(columns, rows), columns.keys[rows, 4]
        ports = ports >> np.where(columns.client_end[rows] == 1, np.uint64(48), np.uint64(32)) & np.uint64(0xFFFF)
        return list(zip(ends[2].tolist(), ends[3].tolist(), ports.tolist(), self._named(*ends), strict=True))

    def _named(self, client_hi: U64, client_lo: U64, server_hi: U64, server_lo: U64) -> list[str]:
        if self._directions is None:
            return ["unknown"] * len(client_hi)
        return self._directions(client_hi, client_lo, server_hi, server_lo)

    def open(self, rows: I32 | I64, kept: KeptRows | None = None) -> list[Flow]:
        """Records of flows that were just selected, or that end without payload (rows of the table, or of `kept`)."""
        source = self.columns if kept is None else kept
        ends = _ends(source, rows)
        if kernels.COMPILED:
            return self._records().make(source, np.ascontiguousarray(rows, np.int64), ends, self._named(*ends))
        keys, protocol = source["keys"][rows], source["protocol"][rows]
        a, b = (keys[:, 0], keys[:, 1]), (keys[:, 2], keys[:, 3])
        a_port = (keys[:, 4] >> np.uint64(48)).astype(np.uint16)
        b_port = (keys[:, 4] >> np.uint64(32)).astype(np.uint16)
        start, paths = source["first_ns"][rows], source["path"][rows]
        identities = self._identities(keys, start, source["first_seq"][rows], protocol, paths)
        turned = source["client_end"][rows] == 1
        client_hi, client_lo, server_hi, server_lo = ends.tolist()
        selected = source["selected"][rows]
        numbers = zip(*(source[name][rows].tolist() for name in ("source", "interface")), strict=True)
        encapsulations = [self._encapsulations.paths[path] for path in paths.tolist()]
        return list(map(
            Flow, ["TCP" if number == TCP else "UDP" for number in protocol.tolist()],
            self._texts(client_hi, client_lo), np.where(turned, b_port, a_port).tolist(),
            self._texts(server_hi, server_lo), np.where(turned, a_port, b_port).tolist(),
            [path.vlan for path in encapsulations], [path.tunnels for path in encapsulations],
            *zip(*(self._origin(capture, interface) for capture, interface in numbers), strict=True),
            flow_hashes(identities), community_ids(protocol, a, a_port, b, b_port), self._named(*ends),
            (selected == WATCHED).tolist(), (selected == PEEKED).tolist(),
            [ROLES[number] for number in source["roles"][rows].tolist()], (~source["began"][rows]).tolist(),
            source["first_number"][rows].tolist(), start.tolist())) if identities else []

    def _identities(self, keys: U64, start: I64, first_seq: U32, protocol: U8, paths: U32) -> list[bytes]:
        packed = np.empty(len(keys), _IDENTITY)
        for number, name in enumerate(("a_hi", "a_lo", "b_hi", "b_lo")):
            packed[name] = keys[:, number]
        packed["ports"] = keys[:, 4] >> np.uint64(32)
        packed["start"], packed["seq"], packed["protocol"] = start, first_seq, protocol
        data, size = packed.tobytes(), _IDENTITY.itemsize
        identities = [data[at : at + size] for at in range(0, len(data), size)]
        for at in np.flatnonzero(paths).tolist():
            identities[at] += self._way(int(paths[at]))[2]
        return identities

    def _records(self) -> FlowRecords:
        """The compiled way to the same records."""
        if self._compiled is None:
            self._compiled = kernels.events.FlowRecords(
                alike=Flow("", "", 0, "", 0), address_text=address_text, flow_hash=flow_hash, way=self._way,
                origin=self._origin, roles=ROLES, states=STATES, watched=WATCHED, peeked=PEEKED, most_texts=_TEXTS)
        return self._compiled

    def _way(self, path: int) -> tuple[tuple[int, ...], tuple[str, ...], bytes]:
        """VLANs and tunnels by their number, and what they add to a flow's identity."""
        way = self._encapsulations.paths[path]
        return way.vlan, way.tunnels, repr((way.vlan, way.tunnels)).encode() if path else b""

    def _origin(self, capture: int, interface: int) -> tuple[str, str]:
        """Names of a capture and of one of its interfaces, "" where the capture tells none."""
        source = self._sources[capture]
        return source.name, source.interfaces[interface] if interface < len(source.interfaces) else ""

    def _texts(self, his: list[int], los: list[int]) -> list[str]:
        """Addresses as text; the same ones come again and again."""
        memo = self._memo
        if len(memo) > _TEXTS:
            memo.clear()
        texts = []
        for hi, lo in zip(his, los, strict=True):
            key = hi << 64 | lo if hi else lo
            text = memo.get(key)
            if text is None:
                text = memo[key] = address_text(hi, lo)
            texts.append(text)
        return texts

    def complete(self, rows: I32 | I64, flows: list[Flow], reasons: list[str],
                 kept: KeptRows | None = None) -> None:
        """Fills in what is known of flows when they are over, each for its reason."""
        source = self.columns if kept is None else kept
        if kernels.COMPILED:
            self._records().complete(source, np.ascontiguousarray(rows, np.int64), flows, reasons)
            return
        client = source["client_end"][rows].astype(np.int64)
        end = np.stack((client, 1 - client), axis=1)
        line = np.arange(len(end))[:, None]
        packets, sizes, flags = (source[name][rows][line, end] for name in ("packets", "bytes", "flags"))
        states = states_of(source["protocol"][rows], packets, sizes, flags, source["unreachable"][rows])
        either = (flags[:, 0] | flags[:, 1]) & (FIN | RST)
        fields = (source["last_ns"][rows], source["last_number"][rows], packets, sizes, flags, states, either)
        for flow, reason, last_ns, packet, of_packets, of_bytes, of_flags, state, closed in zip(
                flows, reasons, *(field.tolist() for field in fields), strict=True):
            flow.end_ns, flow.last_packet = last_ns, packet
            flow.packets_client, flow.packets_server = of_packets
            flow.bytes_client, flow.bytes_server = of_bytes
            flow.flags_client, flow.flags_server = of_flags
            flow.state = STATES[state]
            flow.end_reason = reason if not closed or reason not in _FOUND_OVER else "rst" if closed & RST else "fin"


def _ends(source: FlowColumns | KeptRows, rows: I32 | I64) -> U64:
    """Addresses of clients and servers, high and low halves: shape (4, n)."""
    if kernels.COMPILED:
        ends: U64 = np.empty((4, len(rows)), np.uint64)
        kernels.events.ends_of(source, np.ascontiguousarray(rows, np.int64), ends)
        return ends
    a_hi, a_lo, b_hi, b_lo, _ = source["keys"][rows].T
    turned = source["client_end"][rows] == 1
    return np.stack((np.where(turned, b_hi, a_hi), np.where(turned, b_lo, a_lo),
                     np.where(turned, a_hi, b_hi), np.where(turned, a_lo, b_lo)))


def states_of(protocol: U8, packets: I64, sizes: I64, flags: U8, unreachable: Bool) -> U8:
    """Indexes into `STATES`: what the packets of flows say of them. Shapes (n,) and, client first, (n, 2)."""
    refused = (protocol == TCP) & ((flags[:, 1] & (RST | SYN)) == RST) & (sizes[:, 1] == 0) & ((flags[:, 0] & SYN) != 0)
    unanswered = packets[:, 1] == 0
    rejected = refused | (unreachable & unanswered)
    silent = unanswered & (sizes[:, 0] == 0)
    closed = ((flags[:, 0] | flags[:, 1]) & (FIN | RST)) != 0
    states = np.where(closed, np.uint8(CLOSED), np.uint8(OPEN))
    states[silent] = SILENT
    states[rejected] = REJECTED
    return states
