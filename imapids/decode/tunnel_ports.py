"""Which UDP ports suggest a tunnel, and which never do."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from imapids.decode.headers import Header
from imapids.protocols import encapsulations as tun
from imapids.protocols.ip_headers import NO_NEXT_HEADER
from imapids.records.packets import I64, U8, U32, Bool

_SERVICES: dict[int, Header] = {
    **dict.fromkeys(tun.VXLAN_PORTS, Header.VXLAN), tun.VXLAN_GPE_PORT: Header.VXLAN_GPE,
    tun.GENEVE_PORT: Header.GENEVE, tun.GTP_U_PORT: Header.GTP_U, tun.TEREDO_PORT: Header.TEREDO,
    tun.L2TP_PORT: Header.L2TP, tun.CAPWAP_PORT: Header.CAPWAP, tun.GRE_IN_UDP_PORT: Header.GRE,
    tun.MPLS_IN_UDP_PORT: Header.MPLS, tun.LISP_PORT: Header.LISP, tun.TZSP_PORT: Header.TZSP,
}
"""What a destination port suggests."""
_ANSWERING = {tun.TEREDO_PORT: Header.TEREDO, tun.L2TP_PORT: Header.L2TP, tun.CAPWAP_PORT: Header.CAPWAP,
              tun.GTP_U_PORT: Header.GTP_U}
"""What a source port suggests: these services answer from their port to wherever the client sent from (RFC 4380
section 5.2.4, RFC 2661 section 8.1, RFC 5415 section 3.1); GTP-U ought not to, and translators on its way make it. The
other tunnels have the service's number as destination port in both directions (RFC 7348 section 5)."""

_FIRST_WORDS = {
    Header.VXLAN: (0x0800_0000, 0x0800_0000), Header.VXLAN_GPE: (0xCC00_0000, 0x0C00_0000),
    Header.GENEVE: (0xC000_0000, 0), Header.GTP_U: (0xF0FF_0000, 0x30FF_0000), Header.L2TP: (0xB4FF_0000, 0x0002_0000),
    Header.CAPWAP: (0xFF00_0088, 0), Header.GRE: (0x4FFF_0000, 0), Header.TZSP: (0xFFFE_FFFF, 0x0100_0001),
}
"""Bits of the first 32 behind the UDP header that are fixed, and their values: versions, flags and kinds of message.
Most datagrams that only have a tunnel's port by chance are told apart by them at once; `udp_tunnels` looks closer."""
_MASKS, _VALUES = np.zeros(len(Header), np.uint32), np.zeros(len(Header), np.uint32)
for _service, (_mask, _value) in _FIRST_WORDS.items():
    _MASKS[_service], _VALUES[_service] = _mask, _value


class TunnelPorts:
    """Which UDP ports suggest a tunnel. Datagrams from or to a plain port are never unwrapped."""

    def __init__(self, plain: Collection[int] = ()) -> None:
        self._to = np.zeros(65_536, np.uint8)
        self._from = np.zeros(65_536, np.uint8)
        for port, service in _SERVICES.items():
            self._to[port] = service
        for port, service in _ANSWERING.items():
            self._from[port] = service
        self._named: U8 = np.packbits(self._to | self._from, bitorder="little")
        """A bit for each port that suggests something: 8 KiB that stay in the cache, which 128 KiB do not."""
        self._plain = np.zeros(65_536, np.bool_)
        self._plain[list(plain)] = True

    @property
    def tables(self) -> tuple[U8, U8, U8, U8, U32, U32]:
        """All that `suspects` goes by: ports that suggest something (a bit each, the lowest first), services by
        destination and by source port, plain ports, and by service the fixed bits of the first word and their values.
        """
        return self._named, self._to, self._from, self._plain.view(np.uint8), _MASKS, _VALUES

    def suspects(self, ports: U32, first: U32, second: U32, length: I64 | U32) -> Bool:
        """Which datagrams `enter_udp_tunnel` wants to see; all columns have shape (n,).

        `ports` is the UDP header's first word, `first` and `second` the words behind it, `length` that of UDP. An
        IPv6 header that ends where the datagram ends, and has no next header or 8 bytes behind it, may be Teredo
        between two peers (a DNS answer looks like the header, but asks fewer questions than 8).
        """
        source, destination = ports >> 16, ports & 0xFFFF
        found: Bool = (self._to.take(destination) | self._from.take(source)) != 0
        pick = np.flatnonzero(found)
        if len(pick):
            service = self.services(ports[pick])
            found[pick] = first[pick] & _MASKS[service] == _VALUES[service]
        peers = first >> 28 == 6
        if peers.any():
            behind = second >> 16
            peers &= behind + 48 == length
            found |= peers & ((behind >= 8) | ((second >> 8 & 0xFF) == NO_NEXT_HEADER))
        pick = np.flatnonzero(found)
        if len(pick):
            found[pick] = ~(self._plain[source[pick]] | self._plain[destination[pick]])
        return found

    def services(self, ports: I64 | U32) -> U8:
        """The header that the ports suggest, UNKNOWN where none."""
        to = self._to[ports & 0xFFFF]
        services: U8 = np.where(to == Header.UNKNOWN, self._from[ports >> 16], to)
        return services
