"""Which ended conversations were knocks on mail ports, by which method, and with whose marks: columns from columns."""

from __future__ import annotations

import msgspec
import numpy as np

from imapids.protocols.mail_services import MAIL_PORTS
from imapids.records.flows import REJECTED, SILENT, EndedFlows
from imapids.records.packets import I64, U8, Bool
from imapids.records.segments import ACK, FIN, PSH, RST, SYN, TCP, UDP, URG

METHODS = ("syn", "connect", "banner", "fin", "null", "xmas", "ack", "udp")
_SYN, _CONNECT, _BANNER, _FIN, _NULL, _XMAS, _ACK, _UDP = range(8)
UDP_PORT = 143
"""The only UDP port that is looked at (RFC 9051 knows no IMAP over UDP: whatever comes there is a knock)."""
PORT_NAMES = (*MAIL_PORTS, UDP_PORT)
"""The mail port behind each value of `Knocks.port`; the last one is UDP."""
_LONE_ACK_PACKETS = 2
"""A lone ACK that is sent once or twice, and no more, is a probe; a connection under way sends more."""

PORT_CODE = np.full(65_536, -1, np.int8)
PORT_CODE[list(MAIL_PORTS)] = np.arange(len(MAIL_PORTS))
"""Index into `PORT_NAMES` by TCP port; -1 for those that are not of mail."""


class Knocks(msgspec.Struct, eq=False):
    """Rows of ended flows that matter for scans. Columns have shape (n,)."""

    at: I64
    """Position in the ended flows."""
    port: I64
    """Index into `PORT_NAMES`, -1 for ports that are not of mail."""
    method: I64
    """Index into `METHODS`; -1 for a conversation."""
    refused: Bool
    unanswered: Bool
    half_open: Bool
    odd: Bool
    tool: I64
    """Index into scan_tools.TOOLS, 0 where the headers bear no mark."""

    @property
    def on_mail(self) -> Bool:
        """Which rows are about a mail port."""
        mask: Bool = self.port >= 0
        return mask

    def __len__(self) -> int:
        return len(self.at)


def knocks_of(ended: EndedFlows) -> Knocks | None:
    """The rows on mail ports, and TCP connections to any port that nobody took up; None where there are none."""
    tcp, udp = ended.protocol == TCP, ended.protocol == UDP
    port = np.where(tcp, PORT_CODE[ended.server_port], -1)
    port[udp & (ended.server_port == UDP_PORT)] = len(MAIL_PORTS)
    in_vain = tcp & ((ended.state == REJECTED) | (ended.state == SILENT)) & (ended.bytes[:, 0] == 0)
    at = np.flatnonzero((port >= 0) | in_vain)
    if not at.size:
        return None
    method, keep, half_open = _methods(ended, at)
    if not keep.all():
        at, method, half_open = at[keep], method[keep], half_open[keep]
    if not at.size:
        return None
    state = ended.state[at]
    knock = method >= 0
    without_syn = (method >= _FIN) & (method <= _ACK)  # a reset is the answer of a closed port, and of any to an ACK
    return Knocks(
        at=at, port=port[at].astype(np.int64), method=method,
        refused=knock & ((state == REJECTED) | (without_syn & ((ended.flags[at, 1] & RST) != 0))),
        unanswered=knock & (state == SILENT), half_open=half_open,
        odd=half_open | (method == _FIN) | (method == _NULL) | (method == _XMAS),
        tool=np.where(knock, ended.tool[at], 0).astype(np.int64))


def _methods(ended: EndedFlows, at: I64) -> tuple[I64, Bool, Bool]:
    """Method of each row (-1: a conversation), which rows say anything at all, and which are half-open connections.

    A row says nothing where only one side was captured, or where a connection was under way before the capture began.
    """
    client: U8 = ended.flags[at, 0]
    server: U8 = ended.flags[at, 1]
    sent, got = ended.bytes[at, 0] > 0, ended.bytes[at, 1] > 0
    udp = ended.protocol[at] == UDP
    syn, acked = (client & SYN) != 0, (client & ACK) != 0
    silent = ended.packets[at, 1] == 0
    few = ended.packets[at, 0] <= _LONE_ACK_PACKETS
    quiet = ~sent & ~got
    method = np.full(len(at), -2, np.int64)
    method[udp] = np.where(got[udp], -1, _UDP)
    bare = ~udp & ~syn & quiet
    method[bare & (client == FIN)] = _FIN
    method[bare & (client == 0)] = _NULL
    method[bare & (client == FIN | PSH | URG)] = _XMAS
    answered_ack = silent | ((server & (RST | SYN | FIN)) == RST)
    method[bare & few & (client == ACK) & answered_ack & ~ended.began[at]] = _ACK
    opened = ~udp & syn & ~(silent & (acked | sent))
    method[opened & quiet & ~acked] = _SYN
    method[opened & quiet & acked] = _CONNECT
    method[opened & got & ~sent] = _BANNER
    method[~udp & sent & got] = -1
    keep = (method > -2) & (ended.packets[at, 0] > 0)
    accepted = (server & (SYN | ACK)) == SYN | ACK
    half_open: Bool = (method == _SYN) & accepted & ((client & RST) != 0)
    return method, keep, half_open
