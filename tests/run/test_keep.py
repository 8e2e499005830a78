"""Packets that a live run keeps on disk: readable as captures, never more than asked for, the newest of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.frames import batch_of, ethernet, ip4, tcp, udp, vlan

from imapids.capture import open_captures
from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.records.packets import PacketBatch
from imapids.records.segments import EncapsulationTable
from imapids.run.keep import SMALLEST_BYTES, PacketKeeper

START = 1_700_000_000_123_456_789


class Writer:
    """Frames into a keeper, as a live run gives them."""

    def __init__(self, folder: Path, size: int = 64 << 20) -> None:
        self.keeper = PacketKeeper(str(folder), size, "eth0", (143,), (143,))
        self.decoder = Decoder(DecodeLimits(), EncapsulationTable())
        self.sent = 0

    def keep(self, frames: list[bytes]) -> None:
        times = [START + (self.sent + number) * 1_000_003 for number in range(len(frames))]
        batch: PacketBatch = batch_of(frames, times_ns=times, first_number=self.sent + 1)
        self.sent += len(frames)
        self.keeper.keep(batch, self.decoder.feed(batch))


def packets_in(folder: Path) -> list[tuple[bytes, int, int]]:
    found = []
    for batch in open_captures([str(path) for path in sorted(folder.glob("*.pcapng"))]):
        columns = (batch.offset, batch.captured, batch.original, batch.time_ns)
        for at, size, original, time_ns in zip(*(column.tolist() for column in columns), strict=True):
            found.append((batch.buffer[at : at + size].tobytes(), original, time_ns))
    return found


MAIL = [ethernet(ip4(tcp(b"a1 NOOP\r\n"[: size % 10], sport=40_000 + size))) for size in range(30)]
WEB = ethernet(ip4(tcp(b"GET /", dport=80)))


def test_packets_of_watched_flows_are_kept_as_they_were(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    frames = [WEB, *MAIL[:5], ethernet(ip4(udp(b"x", sport=143, dport=5_000), 17)),
              ethernet(vlan(7) + ip4(tcp(b"tagged")), 0x8100), WEB, ethernet(ip4(udp(b"x", dport=53), 17))]
    writer.keep(frames)
    writer.keep(MAIL[5:])
    writer.keeper.close()
    wanted = [(frame, START + number * 1_000_003) for number, frame in enumerate(frames + MAIL[5:])
              if frame != WEB and b"tagged" not in frame[:1]]
    wanted = [each for each in wanted if each[0] != frames[-1]]
    assert packets_in(tmp_path) == [(frame, len(frame), time_ns) for frame, time_ns in wanted]
    assert writer.keeper.kept == len(wanted)


def test_nothing_is_written_where_nothing_is_watched(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.keep([WEB] * 10)
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_segments_make_room(tmp_path: Path) -> None:
    size = 3 * SMALLEST_BYTES
    writer = Writer(tmp_path, size)
    large = [ethernet(ip4(tcp(bytes([number % 251]) * 1400))) for number in range(256)]
    for _ in range(24):
        writer.keep(large)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= size
    writer.keeper.close()
    kept = packets_in(tmp_path)
    assert len(kept) > 1_000
    assert kept[-1][2] == START + (writer.sent - 1) * 1_000_003
    assert [each[2] for each in kept] == sorted(each[2] for each in kept)


def test_segments_of_an_earlier_run_count(tmp_path: Path) -> None:
    first = Writer(tmp_path, 3 * SMALLEST_BYTES)
    large = [ethernet(ip4(tcp(bytes(1400))))] * 256
    for _ in range(8):
        first.keep(large)
    first.keeper.close()
    second = Writer(tmp_path, 3 * SMALLEST_BYTES)
    second.sent = first.sent
    for _ in range(12):
        second.keep(large)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * SMALLEST_BYTES


@pytest.mark.parametrize("size", range(5))
def test_every_length_is_padded_as_the_format_wants(tmp_path: Path, size: int) -> None:
    writer = Writer(tmp_path)
    frame = ethernet(ip4(tcp(b"x" * size)))
    writer.keep([frame, frame])
    writer.keeper.close()
    assert [each[0] for each in packets_in(tmp_path)] == [frame, frame]


def test_a_folder_that_is_gone_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "packets"
    folder.mkdir()
    writer = Writer(folder)
    folder.rmdir()
    writer.keep(MAIL)
    assert (writer.keeper.kept, writer.keeper.failed) == (0, len(MAIL))
