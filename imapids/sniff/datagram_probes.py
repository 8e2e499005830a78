"""The order in which protocols and shapes of UDP conversations are asked for, with its reasons."""

from __future__ import annotations

from imapids.protocols import (
    datagram_calls,
    datagram_media,
    datagram_routing,
    datagram_shapes,
    datagram_tunnels,
    datagrams,
)
from imapids.protocols.probing import Probe

UDP_PROBES: tuple[Probe, ...] = (
    *datagram_calls.PROBES,  # magic cookies, and text that names itself
    *datagrams.PROBES,
    *datagram_tunnels.PROBES,
    *datagram_routing.PROBES,
    *datagram_media.PROBES,
    *datagrams.LATE,  # few bytes of structure
    *datagram_calls.LATE,
    *datagram_shapes.PROBES,  # last: what has no name
)
