"""The order in which protocols and shapes are asked for, with its reasons."""

from __future__ import annotations

from imapids.protocols import (
    databases,
    datagram_tunnels,
    datagrams,
    directories,
    dns_messages,
    industrial,
    mail_protocols,
    messaging,
    peer_to_peer,
    rats,
    remote_access,
    routing,
    shapes,
    tls_opening,
    tunnels,
    web_protocols,
)
from imapids.protocols.probing import Probe

TCP_PROBES: tuple[Probe, ...] = (
    *tls_opening.PROBES,  # first: records and hellos hold lengths that agree; nothing else has them
    *remote_access.PROBES,
    *web_protocols.PROBES,
    *mail_protocols.PROBES,
    *databases.PROBES,
    *directories.PROBES,
    *dns_messages.PROBES,
    *messaging.PROBES,
    *industrial.PROBES,
    *routing.PROBES,
    *tunnels.PROBES,
    *peer_to_peer.PROBES,
    *rats.PROBES,
    *shapes.PROBES,
)

UDP_PROBES: tuple[Probe, ...] = (*datagrams.PROBES, *datagram_tunnels.PROBES)
