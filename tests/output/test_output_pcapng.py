"""Packets that were written stand in the file as they were, for our own reader and for another program's."""

import io

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.capture import open_captures
from imapids.output.pcapng import COMMENT_BYTES, PcapngWriter

PACKETS = st.lists(st.tuples(
    st.binary(min_size=1, max_size=90), st.integers(0, 2**62), st.sampled_from((1, 101, 113)),
    st.sampled_from(("eth0", "", "naïve")), st.lists(st.text(max_size=20), max_size=3)), min_size=1, max_size=20)


def written(packets, **options):
    out = io.BytesIO()
    writer = PcapngWriter(out.write, application="test", **options)
    for data, time_ns, link_type, interface, comments in packets:
        writer.packet(data, time_ns, len(data) + 7, link_type, interface, comments)
    return out.getvalue()


@settings(max_examples=40)
@given(PACKETS)
def test_our_reader_gets_back_what_was_written(tmp_path_factory, packets):
    path = tmp_path_factory.mktemp("pcapng") / "x.pcapng"
    path.write_bytes(written(packets))
    found = []
    with open_captures([str(path)]) as reader:
        for batch in reader:
            for i in range(len(batch)):
                start = int(batch.offset[i])
                found.append((batch.buffer[start : start + int(batch.captured[i])].tobytes(), int(batch.time_ns[i]),
                              int(batch.link_type[i]), int(batch.original[i]),
                              batch.source.interfaces[int(batch.interface[i])]))
    assert found == [(data, time_ns, link_type, len(data) + 7, name) for data, time_ns, link_type, name, _ in packets]
    assert [account.status for account in reader.accounts] == ["ok"]


def test_another_program_reads_bytes_and_times():
    packets = [(bytes([number]) * 60, 1_700_000_000_123_456_789 + number, 1, "eth0", ["seen", "twice"])
               for number in range(5)]
    reader = dpkt.pcapng.Reader(io.BytesIO(written(packets, comment="why")))
    assert [(round(float(time), 3), data) for time, data in reader] == [
        (1_700_000_000.123, data) for data, *_ in packets]


@pytest.mark.parametrize("comment", [
    pytest.param("x" * (COMMENT_BYTES + 500), id="a long comment is cut"),
    pytest.param("ä" * COMMENT_BYTES, id="a comment is never cut inside a character"),
    pytest.param("\ud800 lone surrogate", id="what is no Unicode is replaced"),
])
def test_comments_stay_small_and_valid(comment):
    data = written([(b"x" * 4, 0, 1, "", [comment])])
    at = data.rindex(b"xxxx") + 4 if not comment.startswith("x") else data.index(b"xxxx") + 4
    length = int.from_bytes(data[at + 2 : at + 4], "little")
    assert data[at : at + 2] == b"\x01\x00"
    assert 0 < length <= COMMENT_BYTES
    assert data[at + 4 : at + 4 + length].decode()


def test_times_before_1970_do_not_break_the_file():
    assert len(written([(b"x", -5, 1, "", [])])) % 4 == 0
