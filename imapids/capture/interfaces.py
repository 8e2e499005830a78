"""The interfaces of a pcapng section: link type, snaplen and clock of each, as columns for whole batches."""

from __future__ import annotations

import struct

import numpy as np

from imapids.capture.ledger import Ledger, printable
from imapids.protocols import capture_formats as formats
from imapids.records.packets import I64, U16, U64

INTERFACES_MAX = 65_536
"""In one section: what the 16-bit column of a batch can name. Packets of later ones are skipped and counted."""
NAMES_MAX = 4_096
"""Different interfaces of a capture that are told apart by name; the rest share the last name."""
NAME_CHARACTERS = 64
SECONDS_MAX = 9_000_000_000
"""About the year 2255: 64-bit nanoseconds end in 2262."""


class InterfaceTable:
    """The interfaces that a section has described so far."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.count = 0
        self._rows: list[tuple[int, int, int, formats.TimeUnit, int]] = []
        self._columns: tuple[U16, I64, I64, U64, I64] | None = None
        self.uniform = True
        """All interfaces have one clock: unit and offset."""

    def describe(self, body: bytes, order: str, names: dict[tuple[str, int], int]) -> None:
        """Add an interface description block; `body` is what stands between the lengths (at least 8 bytes)."""
        if self.count >= INTERFACES_MAX:
            self._ledger.note("interfaces-limit")
            return
        link_type, _, snaplen = struct.unpack_from(order + "HHI", body)
        options, proper = formats.parse_options(body[8:], order)
        if not proper:
            self._ledger.note("option-past-block")
        unit: formats.TimeUnit | None = formats.MICROSECONDS
        if len(options.get(formats.OPTION_IF_TSRESOL, b"")) >= 1:
            unit = formats.time_unit(options[formats.OPTION_IF_TSRESOL][0])
        if unit is None:
            self._ledger.note("absurd-tsresol")
            unit = formats.MICROSECONDS
        shift = 0
        if len(options.get(formats.OPTION_IF_TSOFFSET, b"")) >= 8:
            shift = struct.unpack_from(order + "q", options[formats.OPTION_IF_TSOFFSET])[0]
            if abs(shift) > SECONDS_MAX:
                self._ledger.note("absurd-tsoffset")
                shift = 0
        name = printable(options.get(formats.OPTION_IF_NAME, b"")[:256].decode("utf-8", "replace"), NAME_CHARACTERS)
        self._rows.append((link_type, self._named(name, link_type, names), snaplen, unit, shift))
        self.uniform = self.uniform and self._rows[0][3:] == (unit, shift)
        self.count += 1
        self._columns = None

    def _named(self, name: str, link_type: int, names: dict[tuple[str, int], int]) -> int:
        """The index into `source.interfaces`: the same interface in another section keeps its index."""
        listed = self._ledger.source.interfaces
        index = names.get((name, link_type))
        if index is None:
            if len(listed) >= NAMES_MAX:
                self._ledger.note("interface-names-limit")
                return NAMES_MAX - 1
            index = names[name, link_type] = len(listed)
            listed.append(name)
        return index

    @property
    def snaplen(self) -> int:
        """The first interface's, which simple packet blocks go by; 0 for no limit."""
        return self._rows[0][2] if self._rows else 0

    def look_up(self, interface: I64) -> tuple[U16, U16]:
        """Link type, and index into `source.interfaces`, of packets by their interface number in the section."""
        if self.count == 1:
            link_type, index = self._rows[0][:2]
            return np.full(len(interface), link_type, np.uint16), np.full(len(interface), index, np.uint16)
        link_types, indices = self._packed()[:2]
        return link_types[interface], indices.astype(np.uint16)[interface]

    def time_ns(self, interface: I64, ticks: U64) -> tuple[I64, int]:
        """Nanoseconds since 1970 of packets, and how many had to be clamped to what 64 bits hold."""
        _, _, shift, units, _ = self._packed()
        if self.uniform:
            a_second, before, times, after = (np.uint64(x) for x in units[0])
            moved = shift[:1]
            if not moved[0] and before == after == 1 and int(ticks.max()) < SECONDS_MAX * int(a_second):
                return (ticks * times).view(np.int64), 0  # the usual clocks: whole multiples of nanoseconds
            seconds, rest = np.divmod(ticks, a_second)
            fraction = rest // before * times // after
        else:
            a_second, before, times, after = units[interface].T
            moved = shift[interface]
            seconds, rest = np.divmod(ticks, a_second)
            fraction = rest // before * times // after
        clamped = seconds > SECONDS_MAX
        whole = np.minimum(seconds, np.uint64(SECONDS_MAX)).astype(np.int64) + moved
        absurd = clamped | (np.abs(whole) > SECONDS_MAX)
        whole = np.clip(whole, -SECONDS_MAX, SECONDS_MAX)
        return whole * 1_000_000_000 + fraction.astype(np.int64), int(np.count_nonzero(absurd))

    def _packed(self) -> tuple[U16, I64, I64, U64, I64]:
        """Columns by interface number: link type, index of the name, time offset, clock (n, 4), snaplen."""
        if self._columns is None:
            link_types, indices, snaplens, units, shifts = zip(*self._rows, strict=True)
            clock = np.array([(u.a_second, u.before, u.times, u.after) for u in units], np.uint64)
            self._columns = (
                np.array(link_types, np.uint16), np.array(indices, np.int64), np.array(shifts, np.int64), clock,
                np.array(snaplens, np.int64),
            )
        return self._columns
