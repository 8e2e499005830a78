"""flows -> sniff, parse: the ordered bytes of one side of a conversation, and what is missing of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

import msgspec

CLIENT, SERVER = 0, 1
SIDES = ("client", "server")


class Flow(msgspec.Struct, weakref=True):
    """One conversation: who, where, since when. The flow table fills the counts when it ends."""

    protocol: str
    """TCP or UDP."""
    client: str
    """Address of the side that opened the flow, as text."""
    client_port: int
    server: str
    server_port: int
    vlan: tuple[int, ...] = ()
    tunnels: tuple[str, ...] = ()
    source: str = ""
    """The capture's name."""
    interface: str = ""
    flow_id: int = 0
    """51 bits; the same however the work is cut."""
    community_id: str = ""
    direction: str = "unknown"
    """outbound, inbound, internal, external, unknown (by --home-net)."""
    watched: bool = True
    """The server's port is on the watch list; false for IMAP found elsewhere."""
    peeked: bool = False
    """Only the first bytes of each side are delivered: the server's port is one that is peeked at, for the exposure
    sheet. A flow that turns out to greet as IMAP does gets a new record, which says no."""
    roles_by: str = "syn"
    """How client and server were told apart: syn, port, content, lower-port, first-packet."""
    midstream: bool = False
    """The capture does not hold the start (TCP: no SYN of either side was seen)."""
    first_packet: int = 0
    start_ns: int = 0
    end_ns: int = 0
    last_packet: int = 0
    packets_client: int = 0
    packets_server: int = 0
    bytes_client: int = 0
    """Payload bytes that the side sent, as announced on the wire, retransmissions included."""
    bytes_server: int = 0
    flags_client: int = 0
    """TCP flags of all packets of the side, or-ed."""
    flags_server: int = 0
    state: str = "open"
    """open (both sides answered), closed (FIN or RST seen), rejected (RST to the SYN), silent (nobody answered)."""
    end_reason: str = ""
    """fin, rst, idle, reused, evicted, end-of-capture."""
    missing_client: int = 0
    """Bytes that the side sent and the capture does not hold."""
    missing_server: int = 0
    snapped: bool = False
    """Some payload was cut by the capture's snaplen."""
    anomalies: dict[str, int] = {}
    """Counts by anomaly name (events/anomaly lists the names)."""
    limits: list[str] = []
    """Names of the limits that cut the analysis of this flow short."""
    eve_head: bytes = b""
    """The encoded part of an EVE line that is the same for all events of the flow (output's cache)."""

    @property
    def sides_seen(self) -> str:
        """both, client, server or none: which sides sent packets that the capture holds."""
        if self.packets_client and self.packets_server:
            return "both"
        if self.packets_client:
            return "client"
        return "server" if self.packets_server else "none"


class StreamChunk(msgspec.Struct, gc=False):
    """Bytes of one side, in order, that follow the bytes delivered before."""

    side: int
    """CLIENT 0, SERVER 1."""
    offset: int
    """Position of data[0] in the side's stream; 0 is the first byte after the SYN (or the first byte seen)."""
    data: bytes
    time_ns: int
    """Time of the packet that carried data[0]."""
    packet: int
    """Frame number of the packet that carried data[0]."""
    starts: list[int] | None = None
    """Where further packets begin in data; None when one packet carried all."""
    packets: list[int] | None = None
    """Frame numbers of those packets, in step with `starts`."""
    times: list[int] | None = None
    """Times of those packets, in step with `starts`."""

    def locate(self, position: int) -> tuple[int, int]:
        """Frame number and time of the packet that carried data[position]."""
        if self.starts is None or self.packets is None or self.times is None or position < self.starts[0]:
            return self.packet, self.time_ns
        last = bisect_right(self.starts, position) - 1
        return self.packets[last], self.times[last]

    def head(self, position: int) -> StreamChunk:
        """The part of the chunk before data[position]."""
        return self.part(0, position)

    def tail(self, position: int) -> StreamChunk:
        """The rest of the chunk from data[position] on."""
        return self.part(position, len(self.data))

    def part(self, start: int, stop: int) -> StreamChunk:
        """The part of the chunk from data[start] to before data[stop]."""
        packet, time_ns = self.locate(start)
        part = StreamChunk(self.side, self.offset + start, self.data[start:stop], time_ns, packet)
        if self.starts is not None and self.packets is not None and self.times is not None:
            further = slice(bisect_right(self.starts, start), bisect_left(self.starts, stop))
            if further.start < further.stop:
                part.starts = [each - start for each in self.starts[further]] if start else self.starts[further]
                part.packets, part.times = self.packets[further], self.times[further]
        return part


class StreamGap(msgspec.Struct, gc=False):
    """Bytes one side sent that the capture does not hold."""

    side: int
    offset: int
    """Position of the first missing byte in the side's stream."""
    length: int
    time_ns: int
    packet: int
    """The packet that showed the gap."""
    reason: str = "lost"
    """lost, snaplen, limit."""


class StreamConflict(msgspec.Struct, gc=False):
    """A later copy of delivered or held bytes that differs: the first copy was delivered."""

    side: int
    offset: int
    """Stream offset of the first byte that differs."""
    first: bytes
    """The bytes that were delivered, from there on."""
    second: bytes
    """The later copy of them: another reading of the stream, which a host may have taken instead."""
    time_ns: int
    packet: int
    """The packet that carried the later copy."""
    reason: str = "overlap"


class StreamEnd(msgspec.Struct, gc=False):
    """The conversation is over: no more bytes will come of either side."""

    time_ns: int
    """When that became known, in packet time (a timeout counts from the last packet)."""
    packet: int
    """The flow's last packet."""
    reason: str
    known: int = 0
    """Frame number of the packet whose time showed it (of any flow): the order of output."""


Piece = StreamChunk | StreamGap | StreamConflict | StreamEnd


class FlowAccount(msgspec.Struct):
    """What the flow table did in a run."""

    flows: int = 0
    """Conversations of any port."""
    selected: int = 0
    one_sided: int = 0
    """Selected flows of which one side sent nothing that the capture holds, although payload was seen."""
    midstream: int = 0
    payload_bytes: int = 0
    """Payload bytes of selected TCP flows on the wire, gaps included."""
    missing_bytes: int = 0
    """Of these, bytes that the capture does not hold."""
    limits: dict[str, int] = {}
    """Limits that were hit, and how often."""


class FlowUpdate(msgspec.Struct, gc=False):
    """What a batch brought for one selected flow, in order."""

    flow: Flow
    pieces: list[Piece]
    key: int = 0
    """The flow's number in the run: the same for all updates of one flow."""
    late: Callable[[], list[Piece]] | None = None
    """Makes the pieces, where a flow table was asked to leave that to who reads them (`read_late`): before its next
    batch comes."""

    def read_late(self) -> None:
        """Has the pieces made, if they are not yet."""
        if self.late is not None:
            self.pieces, self.late = self.late(), None
