"""Bytes that came twice and differ are read both ways, and the difference is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.analysis import Run, analyze_all, limits_of
from helpers.captures import START_S, Packet, pcap
from helpers.frames import ethernet, ip4, tcp, udp

from imapids.records.segments import ACK, FIN, PSH, SYN

GREETING = b"* OK [CAPABILITY IMAP4rev1] mail.example.test ready\r\n"
NOOP = ((0, b"a1 NOOP\r\n", b""), (1, b"a1 OK NOOP completed\r\n", b""))
END = ((0, b"a9 LOGOUT\r\n", b""), (1, b"* BYE see you\r\na9 OK LOGOUT completed\r\n", b""))
SHELL = b"uid=0(root) gid=0(root) groups=0(root)\nLinux mail 6.1.0\n"

Turn = tuple[int, bytes, bytes]
"""Who speaks, what, and another copy of it that comes at once behind it (of any length up to the first)."""


def capture(turns: Sequence[Turn], folder: Path, *, later: bool = False) -> Path:
    """One conversation on port 143; `later`: and a datagram of others, an hour after it."""
    sequence = [1_000, 9_000]
    found: list[Packet] = []

    def send(side: int, flags: int, data: bytes = b"", *, counts: bool = True) -> None:
        ends, ports = (("10.0.0.5", "203.0.113.10"), (40_000, 143))
        segment = tcp(data, ports[side], ports[1 - side], seq=sequence[side],
                      ack=sequence[1 - side] if flags & ACK else 0, flags=flags)
        frame = ethernet(ip4(segment, src=ends[side], dst=ends[1 - side]))
        found.append(Packet(frame, START_S * 10**9 + len(found) * 10**7))
        if counts:
            sequence[side] += len(data) + bool(flags & (SYN | FIN))

    for side, flags in ((0, SYN), (1, SYN | ACK), (0, ACK)):
        send(side, flags)
    for side, data, other in turns:
        send(side, PSH | ACK, data)
        if other:
            sequence[side] -= len(data)
            send(side, PSH | ACK, other, counts=False)
            sequence[side] += len(data)
    for side, flags in ((0, FIN | ACK), (1, FIN | ACK), (0, ACK)):
        send(side, flags)
    if later:
        frame = ethernet(ip4(udp(b"x", 40_000, 9), src="10.0.0.7", dst="10.0.0.8", protocol=17))
        found.append(Packet(frame, (START_S + 3_600) * 10**9))
    path = folder / "readings.pcap"
    path.write_bytes(pcap(found))
    return path


def told(run: Run) -> list[tuple[str, int, str]]:
    return [(each.side, each.packet, each.text) for each in run.session.evidence if each.code == "reads-otherwise"]


def test_a_dialogue_that_is_something_else_with_the_later_copies_says_so(tmp_path: Path) -> None:
    banner = b"SSH-2.0-OpenSSH_9.2p1\r\n".ljust(len(GREETING), b"\0")
    run = analyze_all(capture(((1, GREETING, banner), *NOOP, *END), tmp_path))
    assert (run.session.verdict, run.session.confidence) == ("genuine", "low")
    assert told(run) == [("server", 5, "not-imap, ssh")]
    assert "two_readings" in run.rules


def test_a_server_that_breaks_the_grammar_with_the_later_copy_only_says_so(tmp_path: Path) -> None:
    answer = b"a1 OK NOOP completed and all is well here as ever\r\n".ljust(len(SHELL), b" ")[:-2] + b"\r\n"
    run = analyze_all(capture(((1, GREETING, b""), NOOP[0], (1, answer, SHELL), *END), tmp_path))
    ((side, packet, text),) = told(run)
    assert (side, packet) == ("server", 7)
    assert text.startswith("mimic")


@pytest.mark.parametrize("turns", [
    pytest.param(((1, GREETING, GREETING), *NOOP, *END), id="a copy that is the same"),
    pytest.param(((1, GREETING, GREETING.replace(b"mail", b"post")), *NOOP, *END), id="another name in the greeting"),
    pytest.param(((1, GREETING, b""), (0, b"a1 NOOP\r\n", b"a1 noop\r\n"), NOOP[1], *END),
                 id="a command in other letters"),
])
def test_copies_that_read_as_the_same_are_no_evidence(turns: Sequence[Turn], tmp_path: Path) -> None:
    run = analyze_all(capture(turns, tmp_path))
    assert (run.session.verdict, run.session.confidence) == ("genuine", "high")
    assert not told(run)
    assert "two_readings" not in run.rules


def test_a_difference_behind_the_first_bytes_is_an_anomaly_only(tmp_path: Path) -> None:
    many = tuple((side, data.replace(b"a1", b"b%04d" % number), b"")
                 for number in range(600) for side, data, _ in NOOP)
    last = (1, b"* BYE see you\r\na9 OK LOGOUT completed\r\n", b"\0" * 38)
    run = analyze_all(capture(((1, GREETING, b""), *many, END[0], last), tmp_path))
    assert not told(run)
    assert run.session.anomalies["overlap-conflict"] == 1


@pytest.mark.parametrize("size", [50_000, 50], ids=["in one batch", "in many batches"])
def test_many_differing_copies_cost_two_readings(size: int, tmp_path: Path) -> None:
    turns = tuple((side, data.replace(b"a1", b"b%03d" % number), b"\0" * len(data))
                  for number in range(300) for side, data, _ in NOOP)
    path = capture(((1, GREETING, b"\0" * len(GREETING)), *turns, *END), tmp_path, later=True)
    run = analyze_all(path, limits=limits_of(batch_packets=size))
    assert len(told(run)) == 1
    assert "reading-conflicts" in run.session.limits
    assert run.capture.limits["reading-conflicts"] == 1


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_cut_into_batches_does_not_show(size: int, tmp_path: Path) -> None:
    banner = b"SSH-2.0-OpenSSH_9.2p1\r\n".ljust(len(GREETING), b"\0")
    path = capture(((1, GREETING, banner), *NOOP, *END), tmp_path)
    assert analyze_all(path, limits=limits_of(batch_packets=size)).text == analyze_all(path).text
