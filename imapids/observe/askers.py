"""Conversations with mail ports as columns: which server address and port, asked by whom, and what it answered."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from imapids.observe.counting import mixed
from imapids.protocols.addresses import Networks, address_text, network_text, parse_address
from imapids.protocols.mail_services import MAIL_PORTS
from imapids.records.flows import REJECTED, SILENT, EndedFlows
from imapids.records.packets import I64, U64, Bool
from imapids.records.segments import ACK, RST, SYN, TCP, UDP, V4_PREFIX
from imapids.records.streams import Flow

_UDP_PORT = 143
_WATCHED, _FOUND = 1, 2
"""EndedFlows.selected: on a watched port, and IMAP that was found by its greeting on another one."""
_MAIL = np.zeros(65_536, np.bool_)
_MAIL[list(MAIL_PORTS)] = True
_LOW32 = np.uint64(0xFFFF_FFFF)


def endpoint_rows(ended: EndedFlows) -> I64:
    """Positions of rows about mail ports, watched ports and IMAP elsewhere, where somebody asked or answered."""
    tcp, udp = ended.protocol == TCP, ended.protocol == UDP
    mail = (tcp & _MAIL[ended.server_port]) | (udp & (ended.server_port == _UDP_PORT))
    at: I64 = np.flatnonzero(mail | (ended.selected == _WATCHED) | (ended.selected == _FOUND))
    if not at.size:
        return at
    flags, sizes, packets = ended.flags[at], ended.bytes[at], ended.packets[at]
    asked = udp[at] | (((flags[:, 0] | flags[:, 1]) & SYN) != 0) | ((sizes[:, 0] | sizes[:, 1]) > 0)
    asking: I64 = at[asked & ((packets[:, 0] | packets[:, 1]) > 0)]
    return asking


def endpoint_keys(ended: EndedFlows, at: I64) -> U64:
    """One hash for each server address, port and transport; shape (n,)."""
    port = ended.server_port[at].astype(np.uint64) << np.uint64(8) | ended.protocol[at]
    return mixed(ended.server_hi[at], ended.server_lo[at], port)


@lru_cache(maxsize=8192)
def service_key(server: str, port: int, protocol: int) -> int:
    """The same hash for an address in text, a port and the number of a transport."""
    hi, lo = parse_address(server)
    return int(mixed(np.array([hi], np.uint64), np.array([lo], np.uint64), port << 8 | protocol)[0])


def endpoint_key(flow: Flow) -> int:
    """The same for the server of a conversation."""
    return service_key(flow.server, flow.server_port, TCP if flow.protocol == "TCP" else UDP)


class Askers:
    """Some rows of ended flows, as the exposure sheet looks at them. Columns have shape (n,)."""

    def __init__(self, ended: EndedFlows, at: I64, home: Networks) -> None:
        self.ended = ended
        self.at = at
        self.keys = endpoint_keys(ended, at)
        self.client_hi, self.client_lo = ended.client_hi[at], ended.client_lo[at]
        self.server_hi, self.server_lo = ended.server_hi[at], ended.server_lo[at]
        self.client = mixed(self.client_hi, self.client_lo)
        self.first_ns, self.last_ns, self.over_ns = ended.first_ns[at], ended.last_ns[at], ended.over_ns[at]
        self.known = ended.known[at]
        self.from_wan: Bool = ~home.contains_columns(self.client_hi, self.client_lo)
        flags, sizes, packets = ended.flags[at], ended.bytes[at], ended.packets[at]
        accepted = (flags[:, 1] & (SYN | ACK)) == SYN | ACK
        # who acknowledges had an answer, though the capture may hold one side only
        went_on = ((flags[:, 0] & (SYN | ACK)) == SYN | ACK) & (packets[:, 1] == 0)
        self.answered: Bool = accepted | (sizes[:, 1] > 0) | went_on
        state = ended.state[at]
        reset = (flags[:, 1] & RST) != 0
        self.refused: Bool = ~self.answered & ((state == REJECTED) | reset)
        self.unanswered: Bool = ~self.answered & ~self.refused & (state == SILENT)

    def __len__(self) -> int:
        return len(self.at)

    def networks(self) -> U64:
        """One hash for each client's /24 (IPv4) or /64 (IPv6)."""
        v4 = (self.client_hi == 0) & (self.client_lo & ~_LOW32 == V4_PREFIX)
        return mixed(self.client_hi, np.where(v4, self.client_lo & ~np.uint64(0xFF), np.uint64(0)))

    def client_text(self, row: int) -> str:
        """Address of a client."""
        return address_text(int(self.client_hi[row]), int(self.client_lo[row]))

    def network_text(self, row: int) -> str:
        """Network of a client, as CIDR."""
        return network_text(int(self.client_hi[row]), int(self.client_lo[row]))
