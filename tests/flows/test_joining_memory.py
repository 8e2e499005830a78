"""The joiner's index keeps its size while flows come and go: live runs would take and give memory all the time."""

from __future__ import annotations

import numpy as np
import pytest

from imapids.flows.columns import FlowColumns
from imapids.flows.index import FlowIndex
from imapids.flows.joining import VlanJoiner
from imapids.records.segments import EncapsulationTable

_LEAST = 8_192
"""Slots for no rows at all."""


@pytest.mark.parametrize(("slots", "kept"), [
    pytest.param(_LEAST, _LEAST, id="as small as it may be"),
    pytest.param(8 * _LEAST, 8 * _LEAST, id="grown in a busy minute"),
    pytest.param(16 * _LEAST, _LEAST, id="grown in a flood"),
])
def test_only_an_index_that_is_far_too_large_shrinks(slots: int, kept: int) -> None:
    joiner = VlanJoiner(FlowColumns(), EncapsulationTable(), FlowIndex())
    joiner._active = True
    joiner._tagged.clear(slots)
    joiner._tagged.slots[5] = 7
    joiner.forget(np.zeros(0, bool))
    assert len(joiner._tagged.slots) == kept
    assert (joiner._tagged.slots == -1).all()
