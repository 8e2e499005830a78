"""The interface of a packet stays with its segment, and costs nothing where a capture has only one."""

from __future__ import annotations

import numpy as np
from helpers.frames import batch_of, ethernet, ip4, tcp

from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.records.segments import EncapsulationTable

FRAME = ethernet(ip4(tcp(b"hi")))
FRAGMENTS = [ethernet(ip4(tcp(bytes(28))[:24], more=True)), ethernet(ip4(tcp(bytes(28))[24:], offset=24))]


def segments_of(frames, interfaces, names):
    batch = batch_of(frames)
    batch.source.interfaces += names
    batch.interface = np.array(interfaces, np.uint16)
    return Decoder(DecodeLimits(), EncapsulationTable()).feed(batch).segments


def test_one_interface_needs_no_column():
    segments = segments_of([FRAME] * 3, [0, 0, 0], ["eth0"])
    assert segments.interface is None
    assert segments.interface_name(2) == "eth0"


def test_packets_that_give_no_segment_leave_the_column():
    segments = segments_of([FRAME, b"short", FRAME], [0, 1, 2], ["eth0", "eth1", ""])
    assert segments.interface.tolist() == [0, 2]
    assert [segments.interface_name(i) for i in (0, 1)] == ["eth0", ""]
    assert segments.select(np.array([1])).interface.tolist() == [2]


def test_a_rebuilt_datagram_was_seen_where_its_last_fragment_was():
    segments = segments_of(FRAGMENTS, [1, 3], ["a", "b", "c", "d"])
    assert [segments.interface_name(i) for i in range(len(segments))] == ["d"]


def test_a_number_without_a_name_is_no_error():
    assert segments_of([FRAME], [7], ["a"]).interface_name(0) == ""
