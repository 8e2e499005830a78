"""Captures of other projects, from the file to the bytes of each side: what tshark has, and what their tests demand."""

from __future__ import annotations

import csv
import hashlib
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from helpers.analysis import Run, analyze_all

from imapids.capture import open_captures
from imapids.config import DecodeLimits, FlowLimits
from imapids.decode import Decoder
from imapids.errors import InputError
from imapids.flows import FlowTable
from imapids.records.segments import EncapsulationTable
from imapids.records.streams import Flow, FlowUpdate, StreamChunk, StreamConflict, StreamGap

EXPLAINED = tomllib.loads(Path(__file__).with_name("differences.toml").read_text())
FOLLOWED = re.compile(r"s\d+ (\S+)>(\S+) c2s=(\d+)B/(\w+) s2c=(\d+)B/(\w+)")


@dataclass
class Conversation:
    """What both sides of a flow said: 0 the client, 1 the server."""

    flow: Flow
    data: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    gaps: tuple[list[tuple[int, int]], list[tuple[int, int]]] = field(default_factory=lambda: ([], []))
    """(offset, length)"""
    conflicts: list[StreamConflict] = field(default_factory=list)

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.data[0]), len(self.data[1])

    @property
    def missing(self) -> tuple[list[int], list[int]]:
        return [size for _, size in self.gaps[0]], [size for _, size in self.gaps[1]]

    def side(self, number: int) -> tuple[str, int, str]:
        """(address and port, bytes, start of their hash) of a side, as tshark's columns have it."""
        host, port = ((self.flow.client, self.flow.client_port), (self.flow.server, self.flow.server_port))[number]
        digest = hashlib.sha256(self.data[number]).hexdigest()[:8]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", len(self.data[number]), digest


@cache
def conversations(path: Path) -> list[Conversation]:
    """All conversations of a capture, of any port, in the order of their first packets."""
    encapsulations = EncapsulationTable()
    decoder = Decoder(DecodeLimits(), encapsulations)
    table = FlowTable(FlowLimits(), encapsulations, watch_all=True)
    found: dict[int, Conversation] = {}

    def take(updates: list[FlowUpdate]) -> None:
        for update in updates:
            conversation = found.setdefault(id(update.flow), Conversation(update.flow))
            for piece in update.pieces:
                if isinstance(piece, StreamChunk):
                    assert piece.offset == len(conversation.data[piece.side]) + sum(conversation.missing[piece.side])
                    conversation.data[piece.side].extend(piece.data)
                elif isinstance(piece, StreamGap):
                    conversation.gaps[piece.side].append((piece.offset, piece.length))
                elif isinstance(piece, StreamConflict):
                    conversation.conflicts.append(piece)

    try:
        for batch in open_captures([str(path)]):
            decoded = decoder.feed(batch)
            take(table.feed(decoded.segments, decoded.icmp_errors))
    except InputError:
        return []
    decoder.finish()
    for updates in table.finish():
        take(updates)
    return sorted(found.values(), key=lambda conversation: conversation.flow.first_packet)


@pytest.fixture(scope="module")
def rows(shared: Path) -> list[dict[str, str]]:
    with (shared / "hard" / "catalogue" / "expected.tsv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def paths(shared: Path) -> dict[str, Path]:
    return {path.name.partition(".")[0]: path for path in (shared / "hard" / "catalogue").glob("H*")}


def differences(row: dict[str, str], path: Path) -> set[str]:
    """The columns of tshark that are not met."""
    tcp = [conversation for conversation in conversations(path) if conversation.flow.protocol == "TCP"]
    have = {frozenset((each.side(0), each.side(1))) for each in tcp}
    found = set()
    for one, other, size, digest, back_size, back_digest in FOLLOWED.findall(
            row["tshark_follow_streams(first2: bytes/sha256_8)"]):
        if frozenset(((one, int(size), digest), (other, int(back_size), back_digest))) not in have:
            found.add("sides")
    if len(tcp) != int(row["tshark_tcp_streams"] or 0):
        found.add("streams")
    return found


def test_the_bytes_of_each_side_are_those_of_tshark(rows: list[dict[str, str]], paths: dict[str, Path]) -> None:
    found = {}
    for row in rows:
        name = row["capture"].partition(".")[0]
        different = differences(row, paths[name])
        if different:
            found[name] = sorted(different)
    assert found == {name: entry["what"] for name, entry in EXPLAINED["tshark"].items()}


# ---- what the projects demand, as far as it is a matter of conversations -------------------------------------------

Check = Callable[[list[Conversation]], bool]


def only(check: Callable[[Conversation], bool]) -> Check:
    """There is one conversation, and it is like this."""
    return lambda found: len(found) == 1 and check(found[0])


def sizes(client: int, server: int) -> Check:
    return only(lambda each: each.sizes == (client, server))


def in_all(size: int) -> Check:
    """There is one conversation of this many bytes (of a single packet nobody knows which side is the client)."""
    return only(lambda each: sum(each.sizes) == size)


def noted(name: str, count: int | None = None) -> Check:
    return only(lambda each: each.flow.anomalies.get(name, 0) == count if count else name in each.flow.anomalies)


def gaps(client: list[int], server: list[int]) -> Check:
    return only(lambda each: each.missing == (client, server))


def many(count: int) -> Check:
    return lambda found: len(found) == count


def anything(found: list[Conversation]) -> bool:
    """No crash is all that is demanded."""
    return found is not None


def conflict_keeps_both(first: bytes, second: bytes) -> Check:
    return only(lambda each: [(c.first, c.second) for c in each.conflicts] == [(first, second)]
                and bytes(each.data[0]) == b"GOOD")


DEMANDS: dict[str, Check] = {
    "H001": conflict_keeps_both(b"GOOD", b"EVIL"), "H002": conflict_keeps_both(b"GOOD", b"EVIL"),
    "H003": noted("overlap-conflict", 1),
    "H004": only(lambda each: len(each.conflicts) == 1 and len(each.conflicts[0].second) == 3
                 and bytes(each.data[0]) == b"GOOD"),
    "H005": noted("overlap-conflict", 1), "H006": anything, "H008": noted("overlap-conflict", 6), "H014": many(14),
    "H015": sizes(785, 1444), "H017": only(lambda each: each.sizes == (3705, 4273)
                                           and each.flow.anomalies["retransmission"] > 1),
    "H021": only(lambda each: bytes(each.data[0]) == b"VERYDATA" and each.gaps[0] == [(4, 4)]),
    "H022": only(lambda each: bytes(each.data[0]) == b"GOODDATA" and each.gaps[0] == [(0, 4)]),
    "H023": gaps([], [14]), "H024": gaps([], [14, 14]), "H025": gaps([], [14]),
    "H027": only(lambda each: each.missing == ([34], []) and each.sizes == (68, 678)), "H028": gaps([], [2902]),
    "H030": only(lambda each: not each.data[0] and "reset-payload" in each.flow.anomalies),
    "H036": only(lambda each: sum(each.sizes) == 29577), "H037": only(lambda each: each.sizes[0] == 771),
    "H039": only(lambda each: each.sizes[0] == 757),
    "H040": sizes(338, 79), "H044": only(lambda each: each.flow.end_reason == "rst"), "H045": many(1),
    "H046": only(lambda each: each.sizes == (0, 0)), "H048": sizes(4, 0),
    "H049": lambda found: found[0].sizes == (916, 4610),
    "H051": lambda found: found[0].sizes == (65, 200), "H052": lambda found: found[0].sizes == (65, 309),
    "H053": only(lambda each: each.sizes[0] == 839), "H054": sizes(839, 6072),
    "H055": lambda found: [bytes(each.data[0] + each.data[1])[:6] for each in found] == [
        bytes(found[0].data[0] + found[0].data[1])[:6]] * 2 and {each.sizes for each in found} == {(3, 6)},
    "H057": sizes(100, 0), "H058": sizes(0, 110), "H060": only(lambda each: each.flow.client == "141.142.228.5"),
    "H061": anything, "H063": sizes(60, 0), "H066": anything, "H068": sizes(168, 210),
    "H071": only(lambda each: each.flow.server_port == 80 and each.flow.midstream),
    "H074": only(lambda each: each.sizes == (98, 9417) and each.flow.server_port == 80),
    "H077": only(lambda each: each.sizes == (427, 12252) and each.flow.server_port == 80),
    "H082": only(lambda each: (each.flow.packets_client, each.flow.packets_server) == (5, 0)), "H084": many(2),
    "H085": sizes(18530, 0), "H205": sizes(74, 432),
    "H123": many(3), "H149": sizes(30, 27), "H150": sizes(87, 9212), "H155": sizes(781, 23111),
    "H195": sizes(16, 191), "H198": in_all(80000), "H200": in_all(7240), "H201": in_all(1976),
}
"""The column `demand_of_imapids`, by capture; what is a matter of decoding alone is tested there."""

CLASSES = {"tcp-overlap", "tcp-state", "tcp-ooo", "tcp-retrans", "tcp-gap", "rst-tricks", "handshake", "seq", "urgent",
           "midstream", "asymmetric", "checksum"}


def test_every_capture_of_conversations_has_a_check_or_a_reason(rows: list[dict[str, str]]) -> None:
    named = {row["capture"].partition(".")[0] for row in rows if row["class"] in CLASSES}
    assert named - DEMANDS.keys() - PROGRAM.keys() - EXPLAINED["demands"].keys() == set()
    assert EXPLAINED["demands"].keys() & (DEMANDS.keys() | PROGRAM.keys()) == set()


@pytest.mark.parametrize("name", sorted(DEMANDS))
def test_the_conversations_of_a_capture_are_as_demanded(paths: dict[str, Path], name: str) -> None:
    assert DEMANDS[name](conversations(paths[name]))


# ---- what is demanded of the whole program -------------------------------------------------------------------------


def one(verdict: str, confidence: str, **fields: object) -> Callable[[Run], bool]:
    """There is one session, with this verdict and these fields."""
    return lambda run: (run.session.verdict, run.session.confidence) == (verdict, confidence) and all(
        getattr(run.session, name) == value for name, value in fields.items())


def nothing_on_143(run: Run) -> bool:
    return run.sessions == [] and run.alerts == []


def counts(packets: int, code: int = 0) -> Callable[[Run], bool]:
    def check(run: Run) -> bool:
        assert run.result is not None
        return (run.capture.packets, int(run.result.exit_code())) == (packets, code)

    return check


PROGRAM: dict[str, Callable[[Run], bool]] = {
    "H078": one("genuine", "low", sides_seen="server", protocol="imap"),
    "H209": counts(0), "H210": counts(0), "H211": counts(2),
    "H212": lambda run: (run.capture.start[:10], run.capture.end[:10]) == ("2009-11-26", "2038-08-01"),
    "H221": counts(1), "H222": nothing_on_143, "H224": nothing_on_143, "H225": nothing_on_143, "H226": nothing_on_143,
    "H227": nothing_on_143, "H228": nothing_on_143, "H229": nothing_on_143, "H230": nothing_on_143,
    "H223": lambda run: re.search(rb"[^\n\x20-\x7e]", run.text) is None,
    "H231": nothing_on_143, "H232": nothing_on_143, "H233": nothing_on_143, "H235": nothing_on_143,
    "H236": nothing_on_143, "H237": nothing_on_143,
    "H238": one("genuine", "high", protocol="imap"),
    "H239": one("genuine", "high", bytes_client=746, bytes_server=20769),
    "H240": one("undecided", "low", reason="greeting-only", protocol="imap"),
}


@pytest.mark.parametrize("name", sorted(PROGRAM))
def test_the_program_says_of_a_capture_what_is_demanded(paths: dict[str, Path], name: str) -> None:
    run = analyze_all(paths[name])
    assert PROGRAM[name](run)
    assert run.capture.packets == run.capture.processed + sum(run.capture.skipped.values())


@pytest.mark.parametrize("name", ["H216", "H217"])
def test_a_pcapng_of_another_version_is_refused(paths: dict[str, Path], name: str) -> None:
    with pytest.raises(InputError, match="version"):
        analyze_all(paths[name])


# ---- hard to read ---------------------------------------------------------------------------------------------------


def hard_to_read(shared: Path) -> Iterator[tuple[dict[str, str], Path]]:
    folder = shared / "hard" / "read"
    with (folder / "expected.tsv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row, folder / row["file"]


def test_captures_that_are_hard_to_read_go_through_the_whole_program(shared: Path) -> None:
    for row, path in hard_to_read(shared):
        try:
            run = analyze_all(path)
        except InputError:
            assert row["packets"] in ("", "0", "-"), path.name
            continue
        capture = run.capture
        assert capture.packets == capture.processed + sum(capture.skipped.values()), path.name
        assert re.search(rb"[^\n\x20-\x7e]", run.text) is None, path.name
