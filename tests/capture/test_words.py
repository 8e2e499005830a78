"""Numbers at any offset, in either byte order, are what struct reads there."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from imapids.capture.words import Words

DATA = random.Random(3).randbytes(400)


@pytest.mark.parametrize("order", [pytest.param("<", id="little-endian"), pytest.param(">", id="big-endian")])
@pytest.mark.parametrize("field", [0, 8, 12])
@pytest.mark.parametrize("start", [pytest.param(0, id="an aligned buffer"), pytest.param(1, id="an unaligned buffer")])
def test_every_offset_of_every_alignment(order: str, field: int, start: int) -> None:
    buffer = np.frombuffer(b"-" * start + DATA, np.uint8)[start:]
    offsets = np.arange(len(DATA) - field - 8)
    found = Words(buffer, field, order).read(offsets)
    assert found.dtype == np.int64
    assert found.tolist() == [struct.unpack_from(order + "I", DATA, at + field)[0] for at in offsets.tolist()]


def test_offsets_outside_the_buffer_raise_nothing() -> None:
    found = Words(np.frombuffer(DATA, np.uint8), 8, "<").read(np.array([-(1 << 40), -1, 390, 400, 1 << 61]))
    assert len(found) == 5
    assert (found >= 0).all()
    assert (found < 1 << 32).all()
