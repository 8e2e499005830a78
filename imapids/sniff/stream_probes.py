"""The order in which protocols and shapes of TCP conversations are asked for, with its reasons."""

from __future__ import annotations

from imapids.protocols import (
    databases,
    directories,
    dns_messages,
    industrial,
    line_services,
    mail_protocols,
    messaging,
    middleware,
    peer_to_peer,
    rats,
    remote_access,
    remote_calls,
    routing,
    shapes,
    tls_opening,
    tunnels,
    web_protocols,
)
from imapids.protocols.probing import Probe

TCP_PROBES: tuple[Probe, ...] = (
    *tls_opening.PROBES,  # first: records and hellos hold lengths that agree; nothing else has them
    *remote_access.PROBES,  # fixed banners and TPKT, whose first byte others take for a version
    *web_protocols.PROBES,
    *mail_protocols.PROBES,  # text that names itself, before text that is known by its commands
    *databases.PROBES,
    *line_services.PROBES,  # words that name a service, after those of mail and of databases
    *directories.PROBES,
    *dns_messages.PROBES,
    *messaging.PROBES,
    *remote_calls.PROBES,
    *middleware.PROBES,
    *industrial.PROBES,
    *routing.PROBES,  # short headers of a version and a length: after all that have more to show
    *tunnels.PROBES,
    *peer_to_peer.PROBES,
    *rats.PROBES,  # after honest protocols: a trojan inside HTTP is HTTP
    *shapes.PROBES,  # last: what has no name
)
"""Within a family, too, the order is the one in which they are asked."""
