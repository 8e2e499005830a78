"""Conversations with mail ports as columns: which server address and port, asked by whom, and what it answered."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from imapids import kernels
from imapids.observe.counting import SALT, Rows, mixed, mixed_one
from imapids.observe.sheet import (
    ANSWERED,
    ANSWERED_LAN,
    ANSWERED_WAN,
    CLIENTS_LAN,
    CLIENTS_WAN,
    CONNECTIONS,
    FIELDS,
    FROM_WAN,
    REFUSED,
    UNANSWERED,
)
from imapids.protocols.addresses import Networks, address_text, network_text, parse_address
from imapids.protocols.mail_services import MAIL_PORTS
from imapids.records.flows import REJECTED, SILENT, EndedFlows
from imapids.records.packets import I64, U64, Bool
from imapids.records.segments import ACK, RST, SYN, TCP, UDP, V4_PREFIX
from imapids.records.streams import Flow

(ENDPOINT, CLIENT, SERVER, NETWORK) = range(4)
"""The columns of `Askers`: hashes of server address, port and transport, of addresses, and of clients' networks."""
(NEW_NETWORK, NEW_ASKING, NEW_STRANGER) = range(FIELDS, FIELDS + 3)
"""Beside the counts of an endpoint: a network that it had not answered, or that had not asked it from outside, before,
and a client that it had not answered before, for the inventory."""
_UDP_PORT = 143
_WATCHED, _FOUND = 1, 2
"""EndedFlows.selected: on a watched port, and IMAP that was found by its greeting on another one."""
_MAIL = np.zeros(65_536, np.bool_)
_MAIL[list(MAIL_PORTS)] = True
_LOW32 = np.uint64(0xFFFF_FFFF)


@lru_cache(maxsize=8192)
def service_key(server: str, port: int, protocol: int) -> int:
    """The same hash for an address in text, a port and the number of a transport."""
    return mixed_one(*parse_address(server), port << 8 | protocol)


def endpoint_key(flow: Flow) -> int:
    """The same for the server of a conversation."""
    return service_key(flow.server, flow.server_port, TCP if flow.protocol == "TCP" else UDP)


class Askers(Rows, eq=False):
    """The ended flows that the exposure sheet is about, one row each: about mail ports, watched ports and IMAP
    elsewhere, where somebody asked or answered.
    """

    ended: EndedFlows
    at: I64
    """Positions in the ended flows."""
    known: I64
    """See EndedFlows."""

    def __len__(self) -> int:
        return len(self.at)

    def client_text(self, row: int) -> str:
        """Address of a client."""
        return address_text(*self._client(row))

    def network_text(self, row: int) -> str:
        """Network of a client, as CIDR."""
        return network_text(*self._client(row))

    def server(self, row: int) -> tuple[int, int]:
        """Address of a server, two 64-bit halves."""
        at = self.at[row]
        return int(self.ended.server_hi[at]), int(self.ended.server_lo[at])

    def _client(self, row: int) -> tuple[int, int]:
        at = self.at[row]
        return int(self.ended.client_hi[at]), int(self.ended.client_lo[at])


def askers(ended: EndedFlows, home: Networks) -> Askers | None:
    """The rows that the sheet is about; None where there are none. `home`: what is LAN; everything else is WAN."""
    inside = home.contains_columns(ended.client_hi, ended.client_lo)
    if kernels.COMPILED:
        count = len(ended)
        at, certain, offered = np.empty(count, np.int64), np.empty(count, np.uint64), np.empty(count, np.uint64)
        columns = np.empty((4, count), np.uint64)
        found = kernels.compiled.asker_rows(ended, _MAIL.view(np.uint8), inside.view(np.uint8), SALT, at, certain,
                                            offered, columns)
        at, certain, offered, columns = at[:found], certain[:found], offered[:found], columns[:, :found]
    else:
        at = _rows_of(ended)
        (certain, offered), columns = _fields_of(ended, at, ~inside[at]), _columns_of(ended, at)
    if not at.size:
        return None
    return Askers(columns, certain, offered, ended.first_ns[at], ended.last_ns[at], ended.over_ns[at], ended, at,
                  ended.known[at])


def _bit(field: int) -> np.uint64:
    return np.uint64(1 << field)


def _rows_of(ended: EndedFlows) -> I64:
    tcp, udp = ended.protocol == TCP, ended.protocol == UDP
    mail = (tcp & _MAIL[ended.server_port]) | (udp & (ended.server_port == _UDP_PORT))
    at: I64 = np.flatnonzero(mail | (ended.selected == _WATCHED) | (ended.selected == _FOUND))
    flags, sizes, packets = ended.flags[at], ended.bytes[at], ended.packets[at]
    asked = udp[at] | (((flags[:, 0] | flags[:, 1]) & SYN) != 0) | ((sizes[:, 0] | sizes[:, 1]) > 0)
    asking: I64 = at[asked & ((packets[:, 0] | packets[:, 1]) > 0)]
    return asking


def _fields_of(ended: EndedFlows, at: I64, wan: Bool) -> tuple[U64, U64]:
    """`Rows.certain` and `Rows.offered`; `wan`: whose client is not at home."""
    flags, sizes, packets = ended.flags[at], ended.bytes[at], ended.packets[at]
    accepted = (flags[:, 1] & (SYN | ACK)) == SYN | ACK
    # who acknowledges had an answer, though the capture may hold one side only
    went_on = ((flags[:, 0] & (SYN | ACK)) == SYN | ACK) & (packets[:, 1] == 0)
    answered = accepted | (sizes[:, 1] > 0) | went_on
    state = ended.state[at]
    reset = (flags[:, 1] & RST) != 0
    refused = ~answered & ((state == REJECTED) | reset)
    unanswered = ~answered & ~refused & (state == SILENT)
    certain, offered = np.full(len(at), _bit(CONNECTIONS)), np.zeros(len(at), np.uint64)
    for field, mask in ((FROM_WAN, wan), (ANSWERED, answered), (ANSWERED_LAN, answered & ~wan),
                        (ANSWERED_WAN, answered & wan), (REFUSED, refused), (UNANSWERED, unanswered)):
        certain[mask] |= _bit(field)
    for field, mask in ((CLIENTS_LAN, answered & ~wan), (CLIENTS_WAN, answered & wan), (NEW_NETWORK, answered),
                        (NEW_STRANGER, answered), (NEW_ASKING, wan)):
        offered[mask] |= _bit(field)
    return certain, offered


def _columns_of(ended: EndedFlows, at: I64) -> U64:
    client_hi, client_lo = ended.client_hi[at], ended.client_lo[at]
    server_hi, server_lo = ended.server_hi[at], ended.server_lo[at]
    v4 = (client_hi == 0) & (client_lo & ~_LOW32 == V4_PREFIX)
    port = ended.server_port[at].astype(np.uint64) << np.uint64(8) | ended.protocol[at]
    return np.stack((mixed(server_hi, server_lo, port), mixed(client_hi, client_lo), mixed(server_hi, server_lo),
                     mixed(client_hi, np.where(v4, client_lo & ~np.uint64(0xFF), np.uint64(0)))))
