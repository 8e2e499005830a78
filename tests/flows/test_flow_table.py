"""The flow table: order, roles, ends, and the law that the cut into batches changes nothing."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace

import pytest
from helpers.outcomes import run
from helpers.segments import CLIENT, MS, SERVER, START_NS, S, Segment, Talk, batch_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imapids.config import FlowLimits
from imapids.flows import FlowTable
from imapids.records.segments import UDP, Encapsulation, EncapsulationTable, IcmpError
from imapids.records.streams import StreamChunk, StreamEnd


def plain_session(**options: int) -> Talk:
    talk = Talk(**options).open()
    talk.say(1, b"* OK ready\r\n").say(0, b"a1 LOGIN bob hunter2\r\n").say(1, b"a1 OK done\r\n")
    return talk.say(0, b"a2 LOGOUT\r\n").say(1, b"* BYE\r\na2 OK\r\n").close()


CLIENT_BYTES = b"a1 LOGIN bob hunter2\r\na2 LOGOUT\r\n"
SERVER_BYTES = b"* OK ready\r\na1 OK done\r\n* BYE\r\na2 OK\r\n"


def test_a_session_in_order_is_delivered_whole_with_its_counts() -> None:
    talk = plain_session()
    (only,) = run(talk.segments)
    assert only.data == {0: CLIENT_BYTES, 1: SERVER_BYTES}
    flow = only.flow
    assert (flow.client, flow.client_port, flow.server, flow.server_port) == ("10.0.0.5", 40_000, "203.0.113.10", 143)
    assert flow.packets_client + flow.packets_server == len(talk.segments)
    assert (flow.bytes_client, flow.bytes_server) == (len(CLIENT_BYTES), len(SERVER_BYTES))
    assert (flow.state, flow.end_reason, flow.roles_by, flow.midstream) == ("closed", "fin", "syn", False)
    assert not flow.anomalies
    assert not only.gaps


def shuffled(talk: Talk, seed: int) -> list[Segment]:
    """The handshake first, the rest in any order."""
    rest = talk.segments[3:]
    random.Random(seed).shuffle(rest)
    return talk.segments[:3] + rest


def odd(name: str) -> list[Segment]:
    """A session with one kind of trouble."""
    segments = list(plain_session().segments)
    login = next(i for i, s in enumerate(segments) if s.data.startswith(b"a1 LOGIN"))
    if name == "lost client line":
        del segments[login]
    elif name == "every packet twice":
        segments = [s for s in segments for _ in range(2)]
    elif name == "wrapped sequence numbers":
        segments = list(plain_session(client_isn=2**32 - 10, server_isn=2**32 - 3).segments)
    elif name == "retransmission with other bytes":
        segments.insert(login + 4, replace(segments[login], data=b"a1 LOGIN eve s3cret!\r\n"))
    elif name == "keep-alives":
        segments.insert(login + 2, replace(segments[login], seq=segments[login].seq - 1, data=b"\0"))
    elif name == "cut by the snaplen":
        segments[login] = replace(segments[login], data=b"a1 LO", length=len(segments[login].data))
    elif name == "no handshake":
        segments = segments[3:]
    elif name == "client half only":
        segments = [s for s in segments if s.source == CLIENT]
    elif name == "server half only":
        segments = [s for s in segments if s.source == SERVER]
    elif name == "reset at the end":
        segments[-3:] = [replace(segments[-3], flags=0x14)]
    elif name == "port used again":
        segments += plain_session(client_isn=77_000, server_isn=99_000, start_ns=segments[-1].time_ns + S).segments
    elif name == "pause longer than the timeout":
        segments += plain_session(client_isn=77_000, start_ns=segments[-1].time_ns + 3 * 3600 * S).segments
    elif name == "forged handshake first":
        segments.insert(0, replace(segments[0], seq=555_555))
    elif name == "a stamp far in the future":
        segments[login] = replace(segments[login], time_ns=segments[login].time_ns + 10**9 * S)
    elif name == "clock goes back":
        segments[login:] = [replace(s, time_ns=s.time_ns - 3600 * S) for s in segments[login:]]
    elif name == "urgent data":
        segments[login] = replace(segments[login], flags=0x38)
    elif name == "FIN again after the close":
        fin = segments[-2]
        segments += [replace(fin, time_ns=fin.time_ns + after * S) for after in (5, 28, 57, 220)]
    elif name == "bytes after FIN":
        last = segments[-1]
        segments.append(replace(last, seq=last.seq, flags=0x18, data=b"a3 NOOP\r\n", time_ns=last.time_ns + MS))
    return segments


TROUBLES = ["none", "lost client line", "every packet twice", "wrapped sequence numbers", "keep-alives", "no handshake",
            "retransmission with other bytes", "cut by the snaplen", "client half only", "server half only",
            "reset at the end", "port used again", "pause longer than the timeout", "forged handshake first",
            "a stamp far in the future", "clock goes back", "urgent data", "bytes after FIN",
            "FIN again after the close"]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_any_cut_into_batches_gives_the_same_flows(trouble: str) -> None:
    segments = odd(trouble)
    whole = [outcome.facts() for outcome in run(segments)]
    every = list(range(1, len(segments)))
    assert [outcome.facts() for outcome in run(segments, every)] == whole
    for cut in every:
        assert [outcome.facts() for outcome in run(segments, [cut])] == whole, cut


def segment(side: int, seq: int, ack: int, data: bytes = b"", flags: int = 0x10, after_s: int = 0) -> Segment:
    """A segment of one conversation, `after_s` seconds behind the first one."""
    ends = (CLIENT, SERVER)
    return Segment(ends[side], ends[1 - side], seq, ack, flags, data, START_NS + after_s * S)


FOUND_BY_THE_FUZZER = [
    pytest.param([segment(0, 1000, 9001), segment(1, 9000, 1001, flags=0x12), segment(0, 1129, 9001, b"x"),
                  segment(0, 1000, 9001), segment(0, 1000, 9001)],
                 id="a SYN/ACK moves the start that an ACK told of before"),
    pytest.param([segment(1, 9001, 1001, bytes(20)), segment(1, 9021, 1001, bytes(1)),
                  segment(1, 9018, 1002, b"x" * 15), segment(0, 1000, 9001)],
                 id="a later copy differs from two delivered chunks in a row"),
    pytest.param([segment(1, 9001, 1001, bytes(20)), segment(0, 1001, 9001, bytes(15)),
                  segment(1, 9021, 1001, bytes(30)), segment(1, 9016, 1001, bytes(16)),
                  segment(0, 1016, 9001, flags=0x11), segment(1, 9051, 1001, flags=0x11),
                  segment(0, 1000, 9002, b"x" * 16)],
                 id="another copy comes after the close of a flow that was in disorder"),
    pytest.param([segment(0, 1000, 9001, flags=0x04), segment(0, 1000, 9001, flags=0x12, after_s=70),
                  segment(0, 1000, 9001, flags=0x11, after_s=70), segment(1, 9000, 1001, flags=0x11, after_s=70),
                  segment(0, 1000, 9001, after_s=140)],
                 id="a stray of a conversation that changed its roles with the 5-tuple"),
]


@pytest.mark.parametrize("segments", FOUND_BY_THE_FUZZER)
def test_no_cut_into_batches_shows(segments: list[Segment]) -> None:
    whole = [outcome.facts() for outcome in run(segments)]
    for cuts in [list(range(1, len(segments))), *([cut] for cut in range(1, len(segments)))]:
        assert [outcome.facts() for outcome in run(segments, cuts)] == whole, cuts


@example(258, [2, 4], "forged handshake first")  # the forged SYN comes last, its rejection in the next batch
@example(12, [12], "clock goes back")  # another flow shows that a closed one is over before its ports are used again
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 60), max_size=8), st.sampled_from(TROUBLES))
def test_any_cut_of_several_shuffled_flows_gives_the_same_flows(seed: int, cuts: list[int], trouble: str) -> None:
    other = Talk(client=(CLIENT[0], 40_001), start_ns=START_NS + 3 * MS).open()
    other.say(1, b"* OK other\r\n", size=3).say(0, b"x NOOP\r\n", size=2)
    third = Talk(client=(CLIENT[0] + 9, 50_000), server=(SERVER[0], 80)).open().say(0, b"GET / HTTP/1.0\r\n\r\n")
    segments = sorted(odd(trouble) + shuffled(other, seed) + third.segments, key=lambda s: s.time_ns)
    segments = segments if seed % 3 else shuffle_near(segments, seed)
    assert [o.facts() for o in run(segments, cuts)] == [o.facts() for o in run(segments)]


def shuffle_near(segments: list[Segment], seed: int) -> list[Segment]:
    """Neighbours change places, as a span port does it."""
    chooser = random.Random(seed)
    moved = sorted(range(len(segments)), key=lambda i: i + chooser.uniform(0, 3))
    return [segments[i] for i in moved]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([1000, 2**32 - 20]))
def test_any_order_of_segments_inside_the_window_gives_the_same_stream(seed: int, size: int, isn: int) -> None:
    data = bytes(random.Random(seed).randbytes(200))
    talk = Talk(client_isn=isn, server_isn=isn).open().say(0, data, size).say(1, data[::-1], size)
    first_ack = (isn + 1) % 2**32  # an ACK that overtakes its data would tell of loss
    (only,) = run([replace(s, ack=first_ack) for s in shuffled(talk, seed)])
    assert only.data == {0: data, 1: data[::-1]}
    assert not only.conflicts


def test_lost_bytes_become_a_gap_of_exact_length() -> None:
    (only,) = run(odd("lost client line"))
    assert only.gaps == [(0, 0, len(b"a1 LOGIN bob hunter2\r\n"), "lost")]
    assert only.flow.missing_client == len(b"a1 LOGIN bob hunter2\r\n")
    assert only.data == {0: b"a2 LOGOUT\r\n", 1: SERVER_BYTES}


def test_bytes_that_the_snaplen_cut_are_a_gap_with_that_reason() -> None:
    (only,) = run(odd("cut by the snaplen"))
    assert only.gaps == [(0, 5, len(b"a1 LOGIN bob hunter2\r\n") - 5, "snaplen")]
    assert only.flow.snapped


def test_a_later_copy_with_other_bytes_is_kept_and_the_first_delivered() -> None:
    (only,) = run(odd("retransmission with other bytes"))
    assert only.data[0] == CLIENT_BYTES
    assert [(side, offset) for side, offset, _, _ in only.conflicts] == [(0, 9)]
    assert only.conflicts[0][2:] == (b"bob hunter2\r\n", b"eve s3cret!\r\n")
    assert only.flow.anomalies["overlap-conflict"] == 1


@pytest.mark.parametrize("trouble", ["every packet twice", "keep-alives", "wrapped sequence numbers", "urgent data",
                                     "forged handshake first", "a stamp far in the future", "clock goes back"])
def test_the_stream_survives(trouble: str) -> None:
    (only,) = run(odd(trouble))
    assert only.data == {0: CLIENT_BYTES, 1: SERVER_BYTES}
    assert not only.conflicts
    assert not only.gaps


@pytest.mark.parametrize("trouble", ["port used again", "pause longer than the timeout"])
def test_a_reused_port_is_a_conversation_of_its_own(trouble: str) -> None:
    first, second = run(odd(trouble))
    assert first.data == second.data == {0: CLIENT_BYTES, 1: SERVER_BYTES}
    assert first.flow.flow_id != second.flow.flow_id
    assert (first.flow.end_reason, second.flow.end_reason) == ("reused", "fin")


def test_a_fin_that_comes_again_long_after_the_close_is_no_conversation() -> None:
    segments = odd("FIN again after the close")
    (only,) = run(segments)
    assert only.flow.packets_client + only.flow.packets_server == len(segments) - 3  # the first one came in time
    assert only.end is not None
    assert only.end.reason == "fin"


@pytest.mark.parametrize(("late", "after"), [
    pytest.param({"flags": 0x11, "data": b"late"}, 30, id="payload"),
    pytest.param({"flags": 0x02, "seq": 5}, 30, id="a handshake"),
    pytest.param({"flags": 0x11}, 300, id="nobody waits any more"),
])
def test_what_is_no_stray_begins_a_conversation(late: dict, after: int) -> None:
    segments = odd("none")
    segments.append(replace(segments[-3], time_ns=segments[-1].time_ns + after * S, **late))
    assert len(run(segments)) == 2
    assert len(run(segments, list(range(1, len(segments))))) == 2


def test_strays_are_known_although_the_index_is_made_anew() -> None:
    segments = odd("none")
    fin = segments[-2]
    others = [Segment((0x0B000000 + i, 1024), (SERVER[0], 80), seq=i, flags=2, time_ns=fin.time_ns + (20 + i // 50) * S)
              for i in range(2_000)]
    segments += [*others, replace(fin, time_ns=others[-1].time_ns + S)]
    assert len(run(segments)) == len(run(segments, list(range(20, len(segments), 97)))) == 1


def test_a_port_that_is_used_again_keeps_its_conversation_when_the_index_is_made_anew() -> None:
    first = plain_session()
    again = Talk(client_isn=77_000, start_ns=first.now + 20 * S).open().say(1, b"* OK ready\r\n")
    again.say(0, b"a1 LOGIN bob hunter2\r\n")
    others = [Segment((0x0B000000 + i, 1024), (SERVER[0], 80), seq=i, flags=2, time_ns=again.now + i * MS)
              for i in range(9_000)]
    again.now += 10 * S
    again.say(1, b"a1 OK done\r\n").say(0, b"a2 LOGOUT\r\n").say(1, b"* BYE\r\na2 OK\r\n").close()
    segments = sorted([*first.segments, *again.segments, *others], key=lambda segment: segment.time_ns)
    for cuts in (None, list(range(20, len(segments), 997))):
        whole = run(segments, cuts)
        assert [outcome.data for outcome in whole] == [{0: CLIENT_BYTES, 1: SERVER_BYTES}] * 2
        assert [outcome.flow.end_reason for outcome in whole] == ["fin", "fin"]


def test_a_flow_that_a_full_table_drops_is_not_taken_for_the_one_in_its_row() -> None:
    table = FlowTable(FlowLimits(flows=8), EncapsulationTable())
    told: dict[int, set[int]] = defaultdict(set)
    for number in range(0, 64, 8):
        talks = [Talk(client=(CLIENT[0], 1000 + port), start_ns=START_NS + number * S).open().say(1, b"* OK x\r\n")
                 for port in range(number, number + 8)]
        for update in table.feed(batch_of([s for talk in talks for s in talk.segments], 1 + 40 * number)):
            told[update.key].add(update.flow.client_port)
    assert len(told) == 64
    assert all(len(ports) == 1 for ports in told.values())


@pytest.mark.parametrize(("trouble", "sides"), [("client half only", "client"), ("server half only", "server")])
def test_half_of_a_conversation_is_delivered_too(trouble: str, sides: str) -> None:
    (only,) = run(odd(trouble))
    assert only.flow.sides_seen == sides
    assert only.data[0 if sides == "client" else 1] == (CLIENT_BYTES if sides == "client" else SERVER_BYTES)
    assert only.flow.client_port == 40_000


@pytest.mark.parametrize(("segments", "roles"), [
    pytest.param([Segment(SERVER, CLIENT, data=b"* OK hi\r\n")], ("10.0.0.5", "port"),
                 id="the watched port is the server's"),
    pytest.param([Segment((5, 9143), (6, 2000), data=b"* OK [CAPABILITY IMAP4rev1] hi\r\n")], ("0.0.0.6", "content"),
                 id="who greets is the server, whatever the ports"),
    pytest.param([Segment((5, 143), (6, 2000), flags=2)], None,
                 id="a client that uses 143 as its own port is no server"),
    pytest.param([Segment((6, 143), (5, 2000), flags=0x12)], ("0.0.0.5", "syn"), id="who answers a SYN is the server"),
    pytest.param([Segment((6, 2000), (5, 143), protocol=UDP, data=b"x")], ("0.0.0.6", "port"), id="UDP by port"),
])
def test_roles(segments: list[Segment], roles: tuple[str, str] | None) -> None:
    found = run(segments)
    assert [(o.flow.client, o.flow.roles_by) for o in found] == ([roles] if roles else [])


def test_a_greeting_on_any_port_selects_the_flow() -> None:
    talk = Talk(server=(SERVER[0], 9143)).open().say(1, b"* OK hello\r\n").say(0, b"a NOOP\r\n").close()
    (only,) = run(talk.segments)
    assert not only.flow.watched
    assert only.data == {0: b"a NOOP\r\n", 1: b"* OK hello\r\n"}


def test_the_two_directions_on_different_vlans_are_one_flow() -> None:
    table = EncapsulationTable()
    tags = table.intern(Encapsulation((10,))), table.intern(Encapsulation((20,)))
    talk = Talk(tunnels=tags).open().say(1, b"* OK hello\r\n").say(0, b"a NOOP\r\n").close()
    for cuts in ([], list(range(1, len(talk.segments)))):
        (only,) = run(talk.segments, cuts, encapsulations=table)
        assert only.data == {0: b"a NOOP\r\n", 1: b"* OK hello\r\n"}
        assert only.flow.vlan == (10,)


def test_the_same_addresses_on_two_vlans_are_two_flows() -> None:
    table = EncapsulationTable()
    one, two = table.intern(Encapsulation((10,))), table.intern(Encapsulation((20,)))
    talks = [plain_session(), plain_session(start_ns=START_NS + MS)]
    tagged = [replace(s, tunnel=tag) for talk, tag in zip(talks, (one, two), strict=True) for s in talk.segments]
    segments = sorted(tagged, key=lambda s: s.time_ns)
    found = run(segments, encapsulations=table)
    assert [o.data for o in found] == [{0: CLIENT_BYTES, 1: SERVER_BYTES}] * 2
    assert [o.flow.vlan for o in found] == [(10,), (20,)]


@pytest.mark.parametrize(("answer", "state"), [
    pytest.param([], "silent", id="nobody answers"),
    pytest.param([Segment(SERVER, CLIENT, flags=0x14)], "rejected", id="a reset answers"),
    pytest.param([Segment(SERVER, CLIENT, seq=77, flags=0x12), Segment(CLIENT, SERVER, seq=2, flags=4)], "closed",
                 id="open, and reset by the scanner"),
])
def test_states_of_a_scan(answer: list[Segment], state: str) -> None:
    (only,) = run([Segment(CLIENT, SERVER, seq=1, flags=2), *answer])
    assert only.flow.state == state


def test_an_icmp_error_says_that_a_port_is_filtered() -> None:
    def packed(address: int) -> bytes:
        return bytes(10) + b"\xff\xff" + address.to_bytes(4, "big")

    error = IcmpError(START_NS, 2, packed(9), "admin-prohibited", 6, packed(CLIENT[0]), CLIENT[1],
                      packed(SERVER[0]), 143)
    (only,) = run([Segment(CLIENT, SERVER, seq=1, flags=2)], icmp=error)
    assert only.flow.state == "rejected"


def test_a_full_table_evicts_who_was_not_answered_and_counts_it() -> None:
    talk = Talk().open()
    flood = [Segment((0x0B000000 + i, 1024 + i), SERVER, seq=i, flags=2, time_ns=START_NS + S) for i in range(400)]
    limits = FlowLimits(flows=128)
    table = FlowTable(limits, EncapsulationTable())
    seen: dict[str, int] = defaultdict(int)
    kept = b""
    talk_rest = Talk(start_ns=START_NS + 2 * S).open().say(1, b"* OK ready\r\n").segments[3:]
    for start, batch in enumerate([talk.segments, *[flood[i : i + 50] for i in range(0, 400, 50)], talk_rest]):
        for update in table.feed(batch_of(batch, start * 50 + 1)):
            for piece in update.pieces:
                if isinstance(piece, StreamEnd):
                    seen[piece.reason] += 1
                elif isinstance(piece, StreamChunk):
                    kept += piece.data
    for updates in table.finish():
        for update in updates:
            seen[update.pieces[-1].reason] += 1
    assert seen["evicted"] == table.account.limits["flow-table"] > 0
    assert sum(seen.values()) == 401
    assert kept == b"* OK ready\r\n"  # the conversation that was answered is still there


def test_holes_are_held_within_limits_and_delivered_at_the_end() -> None:
    talk = Talk().open()
    late = replace(talk.segments[2], flags=0x18, data=b"x", time_ns=START_NS + S)
    lost = [replace(late, seq=1002 + 2 * i) for i in range(3000)]
    (only,) = run(talk.segments + lost)
    assert "reassembly-pending" in only.flow.limits
    assert len(only.data[0]) <= FlowLimits().pending_segments + 1
    assert only.flow.missing_client >= len(only.data[0]) - 1


def test_a_resent_segment_fills_its_hole() -> None:
    segments = odd("none")
    login = next(i for i, s in enumerate(segments) if s.data.startswith(b"a1 LOGIN"))
    late = segments.pop(login)
    segments.insert(login + 1, late)
    (only,) = run(segments)
    assert only.data == {0: CLIENT_BYTES, 1: SERVER_BYTES}
    assert not only.gaps
