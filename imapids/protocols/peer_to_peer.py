"""File sharing and crypto-currency peers: BitTorrent, Gnutella, eDonkey, Bitcoin, Nano."""

from __future__ import annotations

from imapids.protocols.probing import Probe, dialogue, fixed, frames, le32, prefix

_BITTORRENT = prefix(b"\x13BitTorrent protocol")

_BITCOIN_NETS = (
    b"\xf9\xbe\xb4\xd9",
    b"\x0b\x11\x09\x07",
    b"\xfa\xbf\xb5\xda",
    b"\x0a\x03\xcf\x40",
    b"\xfb\xc0\xb6\xdb",
    b"\xbf\x0c\x6b\xbd",
    b"\xe3\xe1\xf3\xe8",
    b"\xc0\xc0\xc0\xc0",
)
"""Network magics: Bitcoin main, test 3, regression, signet; Litecoin, Dash, Bitcoin Cash, Dogecoin."""


def _bitcoin(header: bytes) -> int:
    """Magic, a command of twelve bytes padded with zeros, LE32 length."""
    command = header[4:16].rstrip(b"\x00")
    good = header[:4] in _BITCOIN_NETS and command.isalnum() and command.islower() and le32(header, 16) <= 1 << 25
    return 20 + le32(header, 16) if good else -1


def _edonkey(header: bytes) -> int:
    """E3 (eDonkey), C5 (eMule), D4 (packed), LE32 length, opcode."""
    good = header[0] in (0xE3, 0xC5, 0xD4) and 2 <= le32(header, 1) <= 1 << 20
    return 5 + le32(header, 1) if good else -1


def _nano(data: bytes) -> bool:
    """`R` and the network (A, B, C, X), three versions, message type."""
    return data[1] in b"ABCX" and data[2] >= data[4] and data[2] < 64 and data[3] < 64 and 2 <= data[5] <= 14


PROBES: tuple[Probe, ...] = (
    dialogue("bittorrent", server=_BITTORRENT, client=_BITTORRENT),
    dialogue("gnutella", server=prefix(b"GNUTELLA/0."), client=prefix(b"GNUTELLA CONNECT/")),
    dialogue(
        "edonkey", server=frames(6, _edonkey, b"\xe3\xc5\xd4"), client=frames(6, _edonkey, b"\xe3\xc5\xd4"), both=True
    ),
    dialogue("bitcoin", server=frames(20, _bitcoin, wanted=1), client=frames(20, _bitcoin, wanted=1)),
    dialogue("nano", server=fixed(8, _nano, b"R"), client=fixed(8, _nano, b"R"), both=True),
)
