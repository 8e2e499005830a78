"""A conversation on a mail port that is only peeked at: its first bytes become one `service` event."""

from __future__ import annotations

from imapids.config import DialogueLimits
from imapids.pipeline.prefix import Prefix
from imapids.protocols.mail_services import plain_protocol, service_facts
from imapids.records.events import Service
from imapids.records.streams import CLIENT, SERVER, Flow, Piece
from imapids.sniff import sniff


class PeekedConversation:
    """Keeps the first bytes of both sides, in order; what lies behind a gap is left out."""

    __slots__ = ("_prefix", "first_packet")

    def __init__(self, limits: DialogueLimits) -> None:
        self._prefix = Prefix(limits)
        self.first_packet = 0
        """Frame number of the server's first payload."""

    def feed(self, pieces: list[Piece]) -> None:
        """Takes the pieces of one batch."""
        packet = self._prefix.add_chunks(pieces)
        if packet is not None and not self.first_packet:
            self.first_packet = packet

    def service(self, flow: Flow) -> Service | None:
        """What the server is, as far as its first bytes say; None where it said nothing."""
        data = self._prefix.data
        client, server = bytes(data[CLIENT]), bytes(data[SERVER])
        if not server:
            return None
        facts = service_facts(plain_protocol(client, server) or self._sniffed(flow), client, server)
        return Service(
            protocol=facts.protocol, banner=facts.banner, software=facts.software, tls=facts.tls,
            starttls_offered=facts.starttls_offered, starttls_used=facts.starttls_used,
            sign_in_in_clear=facts.sign_in_in_clear, signed_in_in_clear=facts.signed_in_in_clear,
            proxy=list(facts.proxy), direction=flow.direction)

    def _sniffed(self, flow: Flow) -> str:
        candidate = sniff(self._prefix.opening(flow, sides_seen=flow.sides_seen, over=True))
        finding = candidate.finding
        protocol = candidate.kind if candidate.kind in ("imap", "tls") else ""
        if finding is not None and not finding.by_client_only:
            protocol = finding.protocol or protocol
        return protocol
