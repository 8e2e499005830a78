"""The newest connections of many pairs in one table, which has its place in memory from the beginning.

As a buffer of its own for each pair they would grow and move for hours, among everything else: a run of weeks should
soon tell how much memory it needs.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error

Unit = tuple[int, int, int, int]
"""One connection: start in ns, bytes of the client and of the server, length in ms."""
NONE = -1
"""Instead of a row: there is none."""
ROW = Struct("<qIIIi")
"""A row: a unit, and the row of the connection before it. 24 bytes where a tuple of numbers takes 200."""
_EARLIER = Struct("<i")
_EARLIER_AT = ROW.size - _EARLIER.size


class Histories:
    """Units in rows; each row says which one came before it. Who asks holds the newest row, and how many there are."""

    __slots__ = ("free", "large", "memory", "used")

    def __init__(self, rows: int) -> None:
        self.memory = bytearray(b"\0") * (rows * ROW.size)  # written once: its pages are there, not only promised
        self.used = 0
        """Rows that were ever taken."""
        self.free = NONE
        """The first of the rows that were given back; each says which one is the next."""
        self.large: dict[int, Unit] = {}
        """By row, what is too large for one."""

    def add(self, unit: Unit, earlier: int) -> int:
        """Writes a unit; returns its row. Who asks keeps within the rows that there are.

        Args:
            earlier: the row of the connection before it, or NONE.
        """
        row = self.free
        if row == NONE:
            row = self.used
            self.used += 1
        else:
            self.free = self._before(row)
        try:
            ROW.pack_into(self.memory, row * ROW.size, *unit, earlier)
        except struct_error:
            self.large[row] = unit
            ROW.pack_into(self.memory, row * ROW.size, 0, 0, 0, 0, earlier)
        return row

    def units(self, newest: int) -> list[Unit]:
        """All that are held of one pair, the oldest first."""
        found: list[Unit] = []
        row = newest
        while row != NONE:
            start_ns, client, server, duration_ms, before = ROW.unpack_from(self.memory, row * ROW.size)
            found.append(self.large.get(row) or (start_ns, client, server, duration_ms))
            row = before
        return found[::-1]

    def keep(self, newest: int, count: int) -> None:
        """Gives back what is older than the `count` (1 or more) newest."""
        row = newest
        for _ in range(count - 1):
            row = self._before(row)
        self.give_back(self._before(row))
        self._put_behind(row, NONE)

    def give_back(self, newest: int) -> None:
        """Gives back a row and all before it."""
        row = oldest = newest
        while row != NONE:
            self.large.pop(row, None)
            oldest, row = row, self._before(row)
        if oldest != NONE:
            self._put_behind(oldest, self.free)
            self.free = newest

    def clear(self) -> None:
        """Gives all rows back."""
        self.used, self.free = 0, NONE
        self.large.clear()

    def _before(self, row: int) -> int:
        before: int = _EARLIER.unpack_from(self.memory, row * ROW.size + _EARLIER_AT)[0]
        return before

    def _put_behind(self, row: int, before: int) -> None:
        _EARLIER.pack_into(self.memory, row * ROW.size + _EARLIER_AT, before)
