"""The order in which protocols and shapes are asked for, with its reasons."""

from __future__ import annotations

from imapids.protocols import mail_protocols, remote_access, tls_opening, web_protocols
from imapids.protocols.probing import Probe

TCP_PROBES: tuple[Probe, ...] = (
    *tls_opening.PROBES,  # first: records and hellos hold lengths that agree; nothing else has them
    *remote_access.PROBES,
    *web_protocols.PROBES,
    *mail_protocols.PROBES,
)

UDP_PROBES: tuple[Probe, ...] = ()
