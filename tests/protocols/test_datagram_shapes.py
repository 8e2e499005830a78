"""Datagrams are called fully encrypted where no byte of theirs has an order, and never where a header shows."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest
from helpers.openings import Turn, datagrams

from imapids.sniff import sniff

SIZES = (80, 60, 112)


def noise(number: int, size: int) -> bytes:
    """Bytes as random as they get, and the same in each run."""
    return hashlib.shake_128(b"datagram %d" % number).digest(size)


def exchange(count: int, make: Callable[[int, bytes], bytes] = lambda _, data: data) -> list[Turn]:
    """Datagrams of changing sizes, both sides in turn; `make`: (number, random bytes) -> payload."""
    return [(number % 2, make(number, noise(number, SIZES[number % 3]))) for number in range(count)]


@pytest.mark.parametrize("count", [pytest.param(count, id=f"{count} datagrams") for count in (4, 6, 8, 40)])
def test_random_datagrams_of_both_sides_look_encrypted(count: int) -> None:
    candidate = sniff(datagrams(*exchange(count)))
    assert candidate.final
    assert candidate.finding is not None
    assert (candidate.finding.protocol, candidate.finding.shape) == (None, "fully-encrypted")
    assert not candidate.finding.by_client_only


@pytest.mark.parametrize("make", [
    pytest.param(lambda _, data: b"\x80" + data, id="a version in the first byte"),
    pytest.param(lambda n, data: bytes((0x40 | data[0] & 0x3F,)) + data[1:], id="two bits that never change"),
    pytest.param(lambda n, data: data[:8] + (b"\x1c\xa2\x53\x9f", b"\x77\xd1\x08\xe4")[n % 2] + data[8:],
                 id="an identifier of each side"),
    pytest.param(lambda n, data: data[:3] + bytes((0xFA + n // 2 & 0xFF,)) + data[4:], id="a counter of one byte"),
    pytest.param(lambda n, data: data[:4] + (0x1FFF0 + n).to_bytes(4, "little") + data[8:], id="a longer counter"),
    pytest.param(lambda _, data: len(data).to_bytes(2, "big") + data, id="a length"),
    pytest.param(lambda _, data: data.hex().encode(), id="hexadecimal digits"),
    pytest.param(lambda _, data: bytes(byte & 0x77 for byte in data), id="bits that are never set"),
    pytest.param(lambda _, data: data[:4] + bytes(24) + data[4:], id="a field of zero bytes"),
    pytest.param(lambda _, data: data[:12], id="datagrams too short for a cipher"),
    pytest.param(lambda _, data: data[:16] * 4, id="blocks that repeat"),
])
def test_datagrams_with_any_order_have_no_shape(make: Callable[[int, bytes], bytes]) -> None:
    assert sniff(datagrams(*exchange(12, make))).finding is None


@pytest.mark.parametrize("turns", [
    pytest.param(exchange(3), id="too few datagrams"),
    pytest.param([(0, data) for _, data in exchange(12)], id="one side only"),
    pytest.param([(int(at == 11), data) for at, (_, data) in enumerate(exchange(12))], id="one answer"),
])
def test_too_little_has_no_shape(turns: list[Turn]) -> None:
    assert sniff(datagrams(*turns)).finding is None


def test_an_answer_never_changes_as_datagrams_come() -> None:
    chance = random.Random(5)
    for start in range(20):
        turns = [(chance.randint(0, 1), noise(100 * start + at, 70)) for at in range(14)]
        answers = [sniff(datagrams(*turns[:count], over=False)) for count in range(1, 15)]
        final = [answer for answer in answers if answer.final]
        assert all(answer == final[0] for answer in final)
        assert all(not answer.final for answer in answers[:7])
