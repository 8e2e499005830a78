"""Knocks as columns for the counts of scans.py: which fields each row adds to, and what tells its groups apart."""

from __future__ import annotations

import numpy as np

from imapids import kernels
from imapids.observe.counting import SALT, Rows, mixed
from imapids.observe.knocks import METHODS, PORT_CODE, PORT_NAMES, Knocks, knocks_of
from imapids.protocols.scan_tools import TOOLS
from imapids.records.flows import EndedFlows
from imapids.records.packets import I64, U64, Bool
from imapids.records.segments import V4_PREFIX

(HOSTS, FAILED, TALKED, KNOCKS, CONVERSATIONS, REFUSED, UNANSWERED, HALF_OPEN, ODD, SOURCES, PORTS, VAIN_TARGETS,
 VAIN_HOSTS, NETWORKS, SOURCE_PORTS) = range(15)
METHOD = 15
PORT = METHOD + len(METHODS)
TOOL = PORT + len(PORT_NAMES)
FIELDS = TOOL + len(TOOLS)

(CLIENT, HOST, NETWORK, TARGET, TRAITS, HOST_PORT, SERVER_PORT, SOURCE_PORT) = range(8)
"""The columns of `ScanRows`: hashes of addresses, networks, servers with port and transport, traits of packets, servers
with port; ports."""
_COLUMNS = 8
_V4_NETWORK = ~np.uint64(0xFF)
_LOW32 = np.uint64(0xFFFF_FFFF)
_ONE = np.uint64(1)


class ScanRows(Rows, eq=False):
    """The ended flows that matter for scans: one row each."""

    at: I64
    """Positions in the ended flows."""
    traits: U64
    known: I64
    """See EndedFlows."""
    knock: Bool
    """Which rows are knocks on mail ports."""
    campaign_ns: I64
    """When the campaign began that a row belongs to, once it was counted for it."""

    def __len__(self) -> int:
        return len(self.at)


def scan_rows(ended: EndedFlows) -> ScanRows | None:
    """The rows that matter; None where there are none."""
    if kernels.COMPILED:
        count = len(ended)
        at, certain, offered = np.empty(count, np.int64), np.empty(count, np.uint64), np.empty(count, np.uint64)
        columns = np.empty((_COLUMNS, count), np.uint64)
        found = kernels.compiled.knock_rows(ended, PORT_CODE, SALT, at, certain, offered, columns)
        at, certain, offered, columns = at[:found], certain[:found], offered[:found], columns[:, :found]
    else:
        knocks = knocks_of(ended)
        if knocks is None:
            return None
        at, (certain, offered), columns = knocks.at, _fields_of(knocks), _columns_of(ended, knocks.at)
    if not at.size:
        return None
    return ScanRows(
        columns, certain, offered, ended.first_ns[at], ended.last_ns[at], ended.over_ns[at], at, ended.traits[at],
        ended.known[at], (certain & _bit(KNOCKS)) != 0, np.zeros(len(at), np.int64))


def _bit(field: int) -> np.uint64:
    return np.uint64(1 << field)


def _fields_of(knocks: Knocks) -> tuple[U64, U64]:
    """`Rows.certain` and `Rows.offered`."""
    knock, on_mail = knocks.method >= 0, knocks.on_mail
    vain = knocks.refused | knocks.unanswered
    certain, offered = np.zeros(len(knocks), np.uint64), np.zeros(len(knocks), np.uint64)
    line = np.flatnonzero(knock & on_mail)
    certain[line] = _bit(KNOCKS)
    for first, index in ((METHOD, knocks.method), (PORT, knocks.port), (TOOL, knocks.tool)):
        certain[line] |= _ONE << (first + index[line]).astype(np.uint64)
    for field, mask in ((REFUSED, knocks.refused), (UNANSWERED, knocks.unanswered), (HALF_OPEN, knocks.half_open),
                        (ODD, knocks.odd), (CONVERSATIONS, ~knock)):
        certain[mask & on_mail] |= _bit(field)
    offered[on_mail] = _bit(SOURCES) | _bit(NETWORKS) | _bit(SOURCE_PORTS)
    for field, mask in ((HOSTS, knock), (FAILED, knock & vain), (TALKED, ~knock)):
        offered[mask & on_mail] |= _bit(field)
    offered[vain] |= _bit(VAIN_TARGETS) | _bit(PORTS) | _bit(VAIN_HOSTS)
    return certain, offered


def _columns_of(ended: EndedFlows, at: I64) -> U64:
    client_hi, client_lo = ended.client_hi[at], ended.client_lo[at]
    v4 = (client_hi == 0) & (client_lo & ~_LOW32 == V4_PREFIX)
    host, port = mixed(ended.server_hi[at], ended.server_lo[at]), ended.server_port[at].astype(np.uint64)
    columns = np.empty((_COLUMNS, len(at)), np.uint64)
    columns[CLIENT], columns[HOST] = mixed(client_hi, client_lo), host
    columns[NETWORK] = mixed(client_hi, np.where(v4, client_lo & _V4_NETWORK, np.uint64(0)))
    columns[TARGET] = mixed(host, port, ended.protocol[at].astype(np.uint64))
    columns[TRAITS], columns[HOST_PORT] = mixed(ended.traits[at]), mixed(host, port)
    columns[SERVER_PORT], columns[SOURCE_PORT] = port, ended.client_port[at]
    return columns
