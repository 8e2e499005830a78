"""Bytes of one input, whatever holds them: a file, a pipe, or a compressed stream; all are read forward only."""

from __future__ import annotations

import os
import select
import stat
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from imapids.errors import UnsupportedInput
from imapids.protocols.capture_formats import container_of

PIECE_BYTES = 32 << 10
"""Compressed bytes given to a decompressor at one time: small, so that a broken stream loses little."""
OUTPUT_BYTES = 256 << 10
"""Most bytes a decompressor may return at one time."""
ZSTD_WINDOW_LOG = 25
"""32 MiB: a zstd frame announces its window, and nothing is allocated for a longer one (zstd -20 and above)."""


class ByteStream(Protocol):
    """Forward-only bytes. `readinto` gives 0 when there are none now: at the end, or until more are appended."""

    fault: str
    """Why the stream ended before its end, or ""."""
    fault_reason: str
    """The reason of damage that goes with it: cut, container, read-error."""
    container: str
    """"gz", "zst", "lz4", or "" for plain bytes."""
    raw: RawStream
    """The file or pipe below."""

    def readinto(self, target: memoryview) -> int:
        """Fill the start of `target`; the number of bytes, 0 when there are none now."""
        ...

    def finish(self) -> None:
        """No more bytes will come: set `fault` where the stream is incomplete."""
        ...


class RawStream:
    """A file or a pipe. Bytes that were peeked are given again."""

    container = ""

    def __init__(self, descriptor: int, stop: Callable[[], bool] | None = None) -> None:
        self.descriptor = descriptor
        self.fault = self.fault_reason = ""
        self.raw = self
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self.is_file = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self.is_file else None
        self.position = 0
        """Bytes read from the operating system."""
        self.ended = False
        """A pipe's writer has closed it."""
        self._peeked = b""
        self._stop = stop

    def peek(self, count: int) -> bytes:
        """The first bytes, fewer than `count` when there are no more now."""
        while len(self._peeked) < count:
            more = self._wait_and_read(count - len(self._peeked))
            if not more:
                break
            self._peeked += more
        return self._peeked

    def readinto(self, target: memoryview) -> int:
        """Fill the start of `target`; a pipe gives what is there and waits only for the first byte."""
        if self._peeked:
            taken = self._peeked[: len(target)]
            target[: len(taken)] = taken
            self._peeked = self._peeked[len(taken) :]
            return len(taken)
        if not self.is_file and not self._await_pipe():
            return 0
        try:
            count = os.readv(self.descriptor, [target])
        except OSError as error:
            self.fault, self.fault_reason = f"reading failed ({error.strerror})", "read-error"
            count = 0
        self.position += count
        if count == 0 and not self.is_file:
            self.ended = True
        return count

    def more_is_ready(self) -> bool:
        """Whether another read gives bytes at once (or almost): a pipe that pauses delivers what it has."""
        if self.is_file or self._peeked:
            return True
        return not self.ended and bool(select.select([self.descriptor], [], [], 0.05)[0])

    def finish(self) -> None:
        """Plain bytes may end anywhere."""

    def close(self) -> None:
        """Give the descriptor back (standard input stays open)."""
        if self.descriptor > 2:
            os.close(self.descriptor)
            self.descriptor = -1

    def _wait_and_read(self, count: int) -> bytes:
        scratch = bytearray(count)
        got = 0
        if self.is_file or self._await_pipe():
            try:
                got = os.readv(self.descriptor, [scratch])
            except OSError as error:
                self.fault, self.fault_reason = f"reading failed ({error.strerror})", "read-error"
        self.position += got
        return bytes(scratch[:got])

    def _await_pipe(self) -> bool:
        """Wait until a pipe has bytes or is closed; False when the run is told to stop."""
        while not select.select([self.descriptor], [], [], 0.25)[0]:
            if self._stop is not None and self._stop():
                return False
        return True


class InflatedStream:
    """The bytes inside a gzip, zstd or lz4 stream of any number of members, in bounded pieces.

    A stream that is cut or broken gives all bytes up to the fault, and says so in `fault`. Output beyond
    `ratio` times the input (after `free` bytes) is a bomb: the stream ends there.
    """

    def __init__(self, raw: RawStream, container: str, ratio: int, free: int) -> None:
        self.raw = raw
        self.container = container
        self.fault = self.fault_reason = ""
        self._new = decompressor_for(container)
        self._machine: Any = None
        self._filled = False
        self._pending = b""
        self._piece = PIECE_BYTES
        self._ratio = ratio
        self._free = free
        self._given = 0
        self._input = 0
        self._members = 0
        self._over = False

    def readinto(self, target: memoryview) -> int:
        """Fill the start of `target` with at most OUTPUT_BYTES decompressed bytes."""
        while not self._over:
            if self._machine is None and not self._start_member():
                return 0
            if not self._pending and self._wants_input() and not self._read_piece():
                return 0
            output = self._step(min(len(target), OUTPUT_BYTES))
            if output:
                self._given += len(output)
                if self._given > self._free and self._given > self._ratio * self._input:
                    self._end(f"inflates more than {self._ratio} times")
                target[: len(output)] = output
                return len(output)
        return 0

    def finish(self) -> None:
        """The file has ended: a member that has not is cut."""
        if self._over:
            return
        if self.raw.fault:
            self._end(self.raw.fault, self.raw.fault_reason)
        elif self._machine is not None or self._pending:
            self._end("the compressed stream is cut", "cut")

    def _end(self, why: str, reason: str = "container") -> None:
        """No more bytes come out of this stream, because of a fault."""
        self.fault, self.fault_reason = why, reason
        self._over = True

    def _wants_input(self) -> bool:
        """Whether the decompressor can give nothing more without input (zlib does not say: it filled the room)."""
        return not self._filled if self.container == "gz" else bool(self._machine.needs_input)

    def _read_piece(self) -> bool:
        scratch = bytearray(self._piece)
        count = self.raw.readinto(memoryview(scratch))
        self._pending = bytes(scratch[:count])
        self._input += count
        self._piece = min(self._piece * 2, PIECE_BYTES)
        return count > 0

    def _start_member(self) -> bool:
        """Begin the next member. Zero padding may follow a member; anything else is damage, not a member."""
        if self._members:
            self._pending = self._pending.lstrip(b"\0")
            # Many tiny members in one piece would copy its rest once for each: read smaller pieces.
            self._piece = 1 << 10
        while len(self._pending) < 4:
            kept = self._pending
            if not self._read_piece():
                self._pending = kept
                return False
            self._pending = (kept + self._pending).lstrip(b"\0") if self._members else kept + self._pending
        if self._members and container_of(self._pending) != self.container:
            self._end("foreign bytes after the compressed stream")
            return False
        self._machine = self._new()
        self._filled = False
        self._members += 1
        return True

    def _step(self, room: int) -> bytes:
        """One call of the decompressor; on an error, what it can give before the fault."""
        data, self._pending = self._pending, b""
        machine = self._machine
        # zlib forgets what it had produced when it meets an error: keep a copy to walk up to the fault.
        spare = machine.copy() if self.container == "gz" and data else None
        try:
            output = bytes(machine.decompress(data, room))
        except Exception as error:  # noqa: BLE001  # each codec has errors of its own (zlib, zstd, lz4: RuntimeError)
            output = _up_to_the_fault(spare, data, room)
            self._end(f"the compressed stream is damaged: {str(error)[:80]}")
            return output
        self._filled = len(output) == room
        if machine.eof:
            self._pending = bytes(machine.unused_data or b"")
            self._machine = None
        elif self.container == "gz":
            self._pending = machine.unconsumed_tail
        return output


def _up_to_the_fault(machine: Any, data: bytes, room: int) -> bytes:
    """What zlib gives byte by byte before it meets the error."""
    output = bytearray()
    if machine is None:
        return b""
    try:
        for at in range(len(data)):
            output += machine.decompress(data[at : at + 1], max(1, room - len(output)))
            if len(output) >= room:
                break
    except zlib.error:
        pass
    return bytes(output[:room])


def decompressor_for(container: str) -> Callable[[], Any]:
    """Makes decompressors with `decompress(data, max_length)`, `eof` and `unused_data`.

    Raises:
        UnsupportedInput: the package that reads this container is not installed; the text names the extra.
    """
    if container == "gz":
        return lambda: zlib.decompressobj(wbits=31)
    if container == "zst":
        try:
            try:
                from compression import zstd  # Python 3.14
            except ImportError:
                from backports import zstd
        except ImportError:
            raise UnsupportedInput("zstd-compressed captures need an extra: pip install 'imapids[zstd]'") from None
        options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        return lambda: zstd.ZstdDecompressor(options=options)
    try:
        from lz4.frame import LZ4FrameDecompressor
    except ImportError:
        raise UnsupportedInput("lz4-compressed captures need an extra: pip install 'imapids[lz4]'") from None
    return LZ4FrameDecompressor
