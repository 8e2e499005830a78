"""Opens captures of every kind and reads them one after the other, in the order of their first packets."""

from __future__ import annotations

import glob
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Self

from imapids.capture.bytestreams import RawStream
from imapids.capture.follow import POLL_SECONDS, Follower
from imapids.capture.inputs import Input, expand
from imapids.capture.ledger import Ledger
from imapids.capture.opening import first_packet_time, reader_for, window_for
from imapids.capture.recordreader import RecordReader
from imapids.capture.window import Window
from imapids.config import CaptureLimits
from imapids.errors import InputError, UnsupportedInput
from imapids.records.packets import CaptureSource, PacketBatch, SourceAccount


class CaptureReader:
    """Iterates over the packet batches of all inputs; `accounts` says what became of each input.

    Made by `open_captures`. Inputs that cannot be read are accounts with a message; reading goes on with the next.

    Raises (while iterating):
        InputError: no input could be read.
        UnsupportedInput: no input could be read, and at least one is a capture of a kind that is not read.
    """

    def __init__(
        self, paths: Sequence[str], limits: CaptureLimits, follow: bool = False,
        stop: Callable[[], bool] | None = None, ahead: bool = False,
    ) -> None:
        self.accounts: list[SourceAccount] = []
        """One for each input, in reading order; complete after the iteration."""
        self._paths = list(paths)
        self._limits = limits
        self._follow = follow
        self._stop = stop
        self._ahead = ahead
        self._seen: set[tuple[int, int]] = set()
        self._inputs = self._in_time_order(expand(self._paths))
        self._raw: RawStream | None = None
        self._done_before = 0
        self._window: Window | None = None
        self._folders_with_captures: set[str] = set()
        self._iterator: Generator[PacketBatch, None, None] | None = None

    # ---- progress ----------------------------------------------------------------------------------------------------

    @property
    def bytes_done(self) -> int:
        """Bytes of the inputs (as they are stored) read so far. Other threads may ask, too."""
        raw = self._raw
        return self._done_before + (raw.position if raw is not None else 0)

    @property
    def bytes_total(self) -> int | None:
        """Bytes of all inputs; None when one is a pipe or grows."""
        if self._follow:
            return None
        total = 0
        for item in self._inputs:
            status = item.status()
            if status is None and not item.is_standard_input:
                continue
            if status is None or not stat.S_ISREG(status.st_mode):
                return None
            total += status.st_size
        return total

    # ---- reading -----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[PacketBatch]:
        if self._iterator is None:
            self._iterator = self._read_all()
        return self._iterator

    def close(self) -> None:
        """Stop reading and give the open file back; the accounts stay."""
        if self._iterator is not None:
            self._iterator.close()
        self._window = None  # the largest buffers of a run: its end needs the room
        self._close_raw()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_all(self) -> Generator[PacketBatch, None, None]:
        waiting = list(self._inputs)
        while self._follow and not waiting and self._watched() and not self._stopped():
            time.sleep(POLL_SECONDS)  # a folder or a glob that is followed may be empty at first
            waiting = self._newcomers()
        while waiting:
            item = waiting.pop(0)
            last = not waiting
            if self._follow and last:
                yield from self._follow_one(item)
                waiting = [] if self._stopped() else self._newcomers()
            else:
                yield from self._read_one(item)
            if self._stopped():
                break
        self._account_for_empty_folders()
        self._raise_if_nothing_was_read()

    def _follow_one(self, item: Input) -> Iterator[PacketBatch]:
        """All batches of what stands at one path, file after file."""
        follower = Follower(item, self._seen, self._stop, lambda: bool(self._newcomers()))
        descriptor: int | None = None
        try:
            while True:
                yield from self._read_one(item, follower, descriptor)
                descriptor = None if self._stopped() else follower.next_file()
                if descriptor is None:
                    return
        finally:
            follower.close()

    def _read_one(
        self, item: Input, follower: Follower | None = None, descriptor: int | None = None
    ) -> Iterator[PacketBatch]:
        """All batches of one file, opened here or before."""
        ledger = Ledger(CaptureSource(item.path, len(self.accounts)))
        reader: RecordReader | None = None
        try:
            raw = self._raw = RawStream(item.open() if descriptor is None else descriptor, self._stop)
        except OSError as error:
            ledger.refuse("unreadable", error.strerror or "cannot be opened")
            self.accounts.append(ledger.account)
            return
        try:
            self._seen.add(raw.identity)
            if follower is not None:
                follower.attach(raw)
            reader = reader_for(raw, ledger, self._limits, self._window_for(), follower, self._stop)
            if reader is None and item.folder and ledger.account.status == "unreadable":
                return  # no capture: a folder may hold other files
            self._folders_with_captures.add(item.folder)
            self.accounts.append(ledger.account)
            if reader is not None:
                for batch in reader.batches():
                    yield batch
                    if self._stopped():
                        break
        finally:
            ledger.close(reader.window.position if reader is not None else 0)
            self._close_raw()

    def _window_for(self) -> Window:
        if self._window is None:
            self._window = window_for(self._limits, ahead=self._ahead)
        self._window.reset()
        return self._window

    def _close_raw(self) -> None:
        if self._raw is not None:
            self._done_before += self._raw.position
            self._raw.close()
            self._raw = None

    def _stopped(self) -> bool:
        return self._stop is not None and self._stop()

    def _watched(self) -> bool:
        """Whether a named path is a folder or a glob, in which files may appear."""
        return any(Path(path).is_dir() or glob.has_magic(path) for path in self._paths)

    def _account_for_empty_folders(self) -> None:
        """A named folder without any capture is an input that could not be read."""
        for path in dict.fromkeys(self._paths):
            if path not in self._folders_with_captures and path != "-" and Path(path).is_dir() and not self._stopped():
                ledger = Ledger(CaptureSource(path, len(self.accounts)))
                ledger.refuse("unreadable", "the folder holds no capture file that was not read already")
                self.accounts.append(ledger.account)

    def _raise_if_nothing_was_read(self) -> None:
        bad = [account for account in self.accounts if account.status in ("unreadable", "unsupported")]
        if self._stopped() or len(bad) < len(self.accounts):
            return
        if not bad:
            raise InputError("no capture was named")
        text = "\n".join(account.message for account in bad)
        raise (UnsupportedInput if any(a.status == "unsupported" for a in bad) else InputError)(text)

    # ---- order and newcomers -----------------------------------------------------------------------------------------

    def _newcomers(self) -> list[Input]:
        """Files of followed folders and globs that were not read yet, in time order; empty ones are not there yet."""
        fresh = []
        for item in expand(self._paths):
            status = item.status()
            if status is not None and status.st_size and (status.st_dev, status.st_ino) not in self._seen:
                fresh.append(item)
        return self._in_time_order(fresh) if len(fresh) > 1 else fresh

    def _in_time_order(self, items: list[Input]) -> list[Input]:
        """Regular files by their first packet; then those without one, pipes and the unreadable, in the order given."""
        if len(items) < 2:
            return items
        early = [first_packet_time(item) for item in items]
        order = sorted(range(len(items)), key=lambda i: (early[i] is None, early[i] or 0, i))
        return [items[i] for i in order]


def open_captures(
    paths: Sequence[str], *, limits: CaptureLimits = CaptureLimits(), follow: bool = False,  # noqa: B008  # frozen
    stop: Callable[[], bool] | None = None, ahead: bool = False,
) -> CaptureReader:
    """Open captures: files, directories, globs, "-" for standard input; the kind is told by magic bytes, not by name.

    Args:
        paths: read in the time order of their first packets; what is named twice is read once.
        limits: sizes of batches and packets, and when to give up.
        follow: go on at the end of the last file when it grows, is replaced, or (folder, glob) has a successor.
        stop: asked at least every half second; when it says True the iteration ends early.
        ahead: a batch stays valid while the next one is made, and ends when the one after it is asked for. It takes a
            second buffer.

    Raises (while iterating):
        InputError: no input could be read.
        UnsupportedInput: no input could be read, and at least one is of a kind that is not read.
    """
    return CaptureReader(paths, limits, follow, stop, ahead)
