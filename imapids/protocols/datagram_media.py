"""Media, games and peers in datagrams: RTP, RTCP, BitTorrent's DHT, RakNet, and protocols with a mark of their own."""

from __future__ import annotations

import itertools

import msgspec

from imapids.protocols.datagram_exchange import exchange, firsts
from imapids.protocols.probing import NEED_MORE, NO, Answer, Probe, anything, be16, found, le32, speaks
from imapids.records.candidates import Opening


def _rtp_header(data: bytes) -> bool:
    """RFC 3550 section 5.1: version 2, payload types that RTCP does not take (RFC 5761)."""
    return (
        len(data) >= 12
        and data[0] >> 6 == 2
        and not 64 <= data[1] & 0x7F <= 95
        and len(data) >= 12 + 4 * (data[0] & 0x0F)
    )


_RTP_DATAGRAMS = 6


def _zrtp(data: bytes) -> bool:
    """RFC 6189 section 5: key agreement between the packets of the stream that it protects, told by its cookie."""
    return data[:1] == b"\x10" and data[4:8] == b"ZRTP"


def _look_rtp(opening: Opening) -> Answer:
    """Several datagrams of one source whose sequence numbers follow each other; a key agreement may stand between."""
    client, server = ([data for data in stream if not _zrtp(data)] for stream in firsts(opening, _RTP_DATAGRAMS))
    streams = [stream for stream in (client, server) if stream]
    over = opening.client_ended and opening.server_ended
    if any(not _rtp_header(data) for stream in streams for data in stream[:1]):
        return NO, None
    good = []
    for stream in streams:
        rows = [data for data in stream if _rtp_header(data)]
        close = sum(
            1
            for one, two in itertools.pairwise(rows)
            if 0 <= (be16(two, 2) - be16(one, 2)) & 0xFFFF <= 8
            and one[8:12] == two[8:12]
            and one[1] & 0x7F == two[1] & 0x7F
        )
        if 2 * close >= len(stream) - 1 > 0 and close >= (1 if over and len(stream) == 2 else 2):
            good.append(stream)
        elif len(stream) >= 3:
            return NO, None
    if not over and any(len(stream) < _RTP_DATAGRAMS for stream in (client, server)):
        return NEED_MORE, None
    if not good:
        return NO, None
    side = "client" if good[0] is client else "server"
    return found("rtp", "high" if len(good) == 2 else "medium", speaks(side, "rtp", good[0][0]))


def _rtcp(data: bytes) -> bool:
    """RFC 3550 section 6.4: version 2, packet types 200 to 207 with lengths that lead to the end."""
    at = 0
    while at + 4 <= len(data):
        if data[at] >> 6 != 2 or not 200 <= data[at + 1] <= 207:
            break
        at += 4 + 4 * be16(data, at + 2)
    return at == len(data) and len(data) >= 8


# ---- routing and monitoring ---------------------------------------------------------------------------------


_RAKNET_MAGIC = b"\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"


def _raknet(data: bytes) -> bool:
    """RakNet's offline messages carry a magic of sixteen bytes."""
    return _RAKNET_MAGIC in data[:40]


def _uftp(data: bytes) -> bool:
    """UFTP 4 and 5: version, function 1 to 17, sequence, source id, message id (or group id)."""
    return (
        len(data) >= 16
        and data[0] in (0x40, 0x50)
        and 1 <= data[1] <= 17
        and any(data[4:8])
        and (data[16:17] != b"" and len(data) % 4 == 0)
    )


def _oicq(data: bytes) -> bool:
    """OICQ: 02, version, command, sequence, account number, ended by 03."""
    return (
        len(data) >= 14
        and data[0] == 2
        and data[-1] == 3
        and be16(data, 1) in range(0x0100, 0x4000)
        and be16(data, 3) < 0x0800
    )


def _dht(data: bytes) -> bool:
    """BitTorrent's distributed hash table (BEP 5): a bencoded dictionary with y, t and a or r."""
    return data[:1] == b"d" and data[-1:] == b"e" and (b"1:y1:" in data) and (b"1:t" in data)


def _kcp(data: bytes) -> bool:
    """KCP: LE32 conversation, command 81 to 84, fragment, window, time, numbers, and LE32 length that fits."""
    return (
        len(data) >= 24
        and 81 <= data[4] <= 84
        and le32(data, 20) <= len(data) - 24
        and (le32(data, 20) == len(data) - 24 or data[4] >= 82 or len(data) > 48)
    )


def _valve(data: bytes) -> bool:
    """Source engine queries: FF FF FF FF and a letter of the query protocol."""
    return len(data) >= 5 and data[:4] == b"\xff\xff\xff\xff" and data[4] in b"TUVWIDEAijmqrs"


class _Mark(msgspec.Struct, frozen=True):
    """A protocol whose datagrams carry fixed bytes at a fixed place."""

    name: str
    offset: int
    bytes_there: bytes
    least: int = 0

    def check(self, data: bytes) -> bool:
        """Are the bytes there, in a datagram that is long enough?"""
        return data.startswith(self.bytes_there, self.offset) and len(data) >= self.least


_MARKS = (
    _Mark("dropbox", 0, b'{"host_int": '),
    _Mark("spotify", 0, b"SpotUdp"),
    _Mark("teamspeak", 0, b"TS3INIT1"),
    _Mark("syncthing", 0, b"\x2e\xa7\xd9\x0b"),
    _Mark("tailscale", 0, b"TS\xf0\x9f\x92\xac"),
    _Mark("telegram", 16, b"\xff" * 12),
    _Mark("roughtime", 0, b"ROUGHTIM"),
    _Mark("ethersio", 0, b"ESIO\x00"),
    _Mark("steam", 0, b"\xff\xff\xff\xff\x21\x4c\x5f\xa0"),
    _Mark("discord", 0, b"\x00\x01\x00\x46", 74),
    _Mark("merakicloud", 0, b"\xfe\xf7\x28\x91"),
)


PROBES: tuple[Probe, ...] = (
    exchange("raknet", _raknet),
    exchange("rtcp", _rtcp, starts=bytes(range(0x80, 0xC0))),
    Probe("rtp", _look_rtp, anything),
    *(exchange(mark.name, mark.check) for mark in _MARKS),  # after media: silence looks like a mark
    exchange("bt-dht", _dht, starts=b"d"),
    exchange("oicq", _oicq, starts=b"\x02"),
    exchange("uftp", _uftp, starts=b"\x40\x50"),
    exchange("kcp", _kcp),
    exchange("source-engine", _valve, starts=b"\xff"),
)
