"""Hosts, the wire between them, and conversations that look as real stacks make them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

CLIENT, SERVER = 0, 1
SECOND = 10**9
MILLISECOND = 10**6

# 2026-03-03T08:00:00Z, a Tuesday: every sample starts here, so that a reader can compare them.
START_NS = 1_772_524_800 * SECOND

MSS = 1_460
DELAYED_ACK_NS = 40 * MILLISECOND
"""Linux acknowledges after at most 40 ms; an answer that comes sooner carries the acknowledgement."""


@dataclass
class Host:
    """A machine: its address, the MAC address that the tap sees, and how its TCP stack shows itself."""

    address: str
    mac: int
    """Last byte of 00:00:5e:00:53:xx, the range for documentation (RFC 7042 section 2.1.1)."""
    ttl: int = 64
    system: str = "linux"
    far: bool = False
    """Behind the gateway: its answers take a round trip."""
    identification: int = 0
    next_port: int = 0

    def __post_init__(self) -> None:
        seed = random.Random(self.address)
        self.identification = seed.randrange(65_536)
        self.next_port = seed.randrange(33_000, 60_000) if self.system == "linux" else seed.randrange(49_700, 60_000)

    @property
    def hardware(self) -> str:
        return f"00:00:5e:00:53:{self.mac:02x}"

    def ephemeral_port(self) -> int:
        self.next_port += 2 if self.system == "linux" else 1
        return self.next_port


GATEWAY_MAC = 0x01


def inside(address: str, mac: int, system: str = "linux") -> Host:
    """A machine on the local network."""
    return Host(address, mac, 64 if system == "linux" else 128, system)


def outside(address: str, hops: int = 11, system: str = "linux") -> Host:
    """A machine on the Internet: the tap sees the gateway's MAC address and a lower TTL."""
    return Host(address, GATEWAY_MAC, (64 if system == "linux" else 128) - hops, system, far=True)


@dataclass
class Trace:
    """The frames that the tap saw, in any order; `records` sorts them by time."""

    seed: str
    frames: list[tuple[int, int, bytes]] = field(default_factory=list)
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def add(self, time_ns: int, source: Host, target: Host, payload: Packet) -> None:
        """One frame: `payload` is the transport packet; addresses, TTL and checksums are filled here."""
        source.identification = (source.identification + 1) & 0xFFFF
        if ":" in source.address:
            network: Packet = IPv6(src=source.address, dst=target.address, hlim=source.ttl)
        else:
            network = IP(src=source.address, dst=target.address, ttl=source.ttl, id=source.identification, flags="DF")
        frame = bytes(Ether(src=source.hardware, dst=target.hardware) / network / payload)
        self.frames.append((time_ns, len(self.frames), frame))

    def jitter(self, nanoseconds: int, share: float = 0.2) -> int:
        """A duration, up to `share` longer or shorter."""
        return int(nanoseconds * self.random.uniform(1 - share, 1 + share))

    def records(self) -> Iterator[tuple[int, bytes]]:
        """(time in ns, frame) in the order of the tap."""
        for time_ns, _, frame in sorted(self.frames):
            yield time_ns, frame

    def pcap(self) -> bytes:
        """The classic capture file: microseconds, Ethernet, little-endian."""
        parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)]
        for time_ns, frame in self.records():
            seconds, rest = divmod(time_ns, SECOND)
            parts.append(struct.pack("<IIII", seconds, rest // 1_000, len(frame), len(frame)) + frame)
        return b"".join(parts)


def at(seconds: float) -> int:
    """Nanoseconds since the epoch, so many seconds after the start of the sample."""
    return START_NS + round(seconds * SECOND)


class Tcp:
    """A TCP conversation as a tap beside the local hosts sees it.

    Handshake, options of the two stacks, acknowledgements (delayed, or carried by an answer), segments of at
    most MSS, and an orderly end. `now` is the time of the newest packet.
    """

    def __init__(
        self,
        trace: Trace,
        client: Host,
        server: Host,
        port: int = 143,
        *,
        start: float = 0.0,
        rtt_ms: float = 24.0,
        source_port: int | None = None,
        connect: bool = True,
    ) -> None:
        self.trace = trace
        self.hosts = (client, server)
        self.ports = (source_port or client.ephemeral_port(), port)
        self.now = at(start)
        self.sequence = [trace.random.randrange(1 << 32), trace.random.randrange(1 << 32)]
        self.acknowledged = [0, 0]
        self.delay = [round(rtt_ms * MILLISECOND) if host.far else MILLISECOND // 5 for host in self.hosts]
        self.last = CLIENT
        self.stamps = client.system == server.system == "linux"
        self.stamp_base = [trace.random.randrange(1 << 31), trace.random.randrange(1 << 31)]
        self.echo = [0, 0]
        self.limit = MSS - 12 if self.stamps else MSS
        if connect:
            self._handshake()

    def _options(self, side: int, syn: bool) -> list[tuple[str, object]]:
        options: list[tuple[str, object]] = []
        stamp = (self.stamp_base[side] + (self.now - START_NS) // MILLISECOND) & 0xFFFFFFFF
        if syn and self.hosts[side].system == "linux":
            options = [("MSS", MSS), ("SAckOK", b"")]
            if self.stamps or side == CLIENT:
                options.append(("Timestamp", (stamp, self.echo[side])))
            options += [("NOP", None), ("WScale", 7)]
        elif syn:
            options = [("MSS", MSS), ("NOP", None), ("WScale", 8), ("NOP", None), ("NOP", None), ("SAckOK", b"")]
        elif self.stamps:
            options = [("NOP", None), ("NOP", None), ("Timestamp", (stamp, self.echo[side]))]
        if self.stamps:
            self.echo[1 - side] = stamp
        return options

    def packet(self, side: int, flags: str, data: bytes = b"") -> None:
        """One segment of `side` at `now`, as it stands: for scans and for the odd cases."""
        other = 1 - side
        acknowledges = "A" in flags
        segment = TCP(
            sport=self.ports[side],
            dport=self.ports[other],
            flags=flags,
            seq=self.sequence[side],
            ack=self.sequence[other] if acknowledges else 0,
            window=64_240
            if "S" in flags
            else 0
            if "R" in flags
            else 502
            if self.hosts[side].system == "linux"
            else 1_026,
            options=[] if "R" in flags else self._options(side, "S" in flags),
        )
        self.trace.add(self.now, self.hosts[side], self.hosts[other], segment / Raw(data) if data else segment)
        self.sequence[side] = (self.sequence[side] + len(data) + ("S" in flags) + ("F" in flags)) & 0xFFFFFFFF
        if acknowledges:
            self.acknowledged[side] = self.sequence[other]
        self.last = side

    def _react(self, side: int) -> None:
        """Let the time pass until the tap sees an answer of `side`."""
        base = self.delay[side] if self.last != side else MILLISECOND // 20
        self.now += self.trace.jitter(base)

    def _handshake(self) -> None:
        self.packet(CLIENT, "S")
        self._react(SERVER)
        self.packet(SERVER, "SA")
        self._react(CLIENT)
        self.packet(CLIENT, "A")

    def _owes(self, side: int) -> bool:
        return self.acknowledged[side] != self.sequence[1 - side]

    def wait(self, seconds: float) -> Tcp:
        """Nothing is said for a while; what is owed is acknowledged."""
        until = self.now + round(seconds * SECOND)
        for side in (CLIENT, SERVER):
            if self._owes(side):
                self._react(side)
                self.now += min(DELAYED_ACK_NS, max(0, until - self.now) // 4)
                self.packet(side, "A")
        self.now = max(self.now, until)
        return self

    def say(self, side: int, data: bytes, pause: float = 0.0) -> Tcp:
        """`side` sends data after thinking for `pause` seconds, in as many segments as it takes."""
        if pause * SECOND > DELAYED_ACK_NS and self._owes(side):
            self.wait(pause)
        else:
            self.now += round(pause * SECOND)
        self._react(side)
        pieces = [data[i : i + self.limit] for i in range(0, len(data), self.limit)]
        for number, piece in enumerate(pieces, 1):
            if number > 1:
                self.now += self.trace.jitter(MILLISECOND // 50)
            self.packet(side, "PA" if number == len(pieces) else "A", piece)
            if number % 2 == 0 and number < len(pieces):  # every second full segment is acknowledged
                self.now += self.trace.jitter(MILLISECOND // 10)
                self.packet(1 - side, "A")
        self.last = side
        return self

    def client(self, data: bytes, pause: float = 0.0) -> Tcp:
        """The client sends."""
        return self.say(CLIENT, data, pause)

    def server(self, data: bytes, pause: float = 0.0) -> Tcp:
        """The server sends."""
        return self.say(SERVER, data, pause)

    def close(self, by: int = CLIENT) -> Tcp:
        """An orderly end: FIN and acknowledgement of both sides."""
        self._react(by)
        self.packet(by, "FA")
        self._react(1 - by)
        self.packet(1 - by, "FA")
        self._react(by)
        self.packet(by, "A")
        return self

    def reset(self, by: int = CLIENT) -> Tcp:
        """An abrupt end."""
        self._react(by)
        self.packet(by, "RA")
        return self

    @property
    def seconds(self) -> float:
        """Seconds since the start of the sample."""
        return (self.now - START_NS) / SECOND


def play(conversation: Tcp, script: str) -> Tcp:
    """Speak a dialogue: lines start with `C: ` or `S: `; `~ 1.5` lets seconds pass.

    Neighbouring lines of one side go out in one write, each with CRLF. A line that ends in a backslash has none.
    """
    held: list[bytes] = []
    side, pause = CLIENT, 0.0

    def flush() -> None:
        nonlocal pause
        if held:
            conversation.say(side, b"".join(held), pause)
            held.clear()
            pause = 0.0

    for line in script.strip("\n").splitlines():
        if line.startswith("~ "):
            flush()
            pause = float(line[2:])
            continue
        speaker = {"C: ": CLIENT, "S: ": SERVER}[line[:3]]
        if speaker != side:
            flush()
        side = speaker
        text = line[3:]
        held.append(text[:-1].encode() if text.endswith("\\") else text.encode() + b"\r\n")
    flush()
    return conversation


def datagram(trace: Trace, time_ns: int, source: Host, target: Host, source_port: int, port: int, data: bytes) -> None:
    """One UDP datagram."""
    trace.add(time_ns, source, target, UDP(sport=source_port, dport=port) / Raw(data))


def unreachable(trace: Trace, time_ns: int, sender: Host, target: Host, code: int, original: bytes) -> None:
    """An ICMP error (type 3) that quotes the packet that caused it: 13 = administratively prohibited."""
    trace.add(time_ns, sender, target, ICMP(type=3, code=code) / Raw(original))
