"""How many blocks of the ring one batch takes (what it reads on a wire stands in tests/run/test_live.py)."""

from __future__ import annotations

import numpy as np
import pytest

from imapids.capture.ring import PacketRing
from imapids.config import CaptureLimits, LiveLimits


@pytest.mark.parametrize(("counts", "taken"), [
    pytest.param([40, 40, 40], 2, id="as many blocks as fit into a batch"),
    pytest.param([40, 60, 40], 2, id="up to the last packet of the limit"),
    pytest.param([500, 10], 1, id="a block of more packets comes alone"),
    pytest.param([40], 1, id="the only one"),
    pytest.param([300] * 4, 3, id="long batches when so many wait that the run is behind"),
    pytest.param([2_000] * 4, 1, id="one block when it is behind and the block is long"),
])
def test_a_batch_is_small_while_the_run_keeps_up(counts: list[int], taken: int) -> None:
    ring = PacketRing.__new__(PacketRing)  # without a socket
    ring.limits = LiveLimits(batch_packets=100, hurry_blocks=4, hurry_packets=1_000)
    ring._batch = CaptureLimits()
    ring._packet_counts = np.array([9, *counts, 9], np.uint32)
    ring._at = 1
    assert ring._in_one_batch(len(counts)) == taken
