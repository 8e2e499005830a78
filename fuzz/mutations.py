"""Changes to bytes that tend to break parsers: the plain engine of the fuzzer, from a seed, without coverage."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

EDGES = (0, 1, 2, 3, 4, 7, 8, 15, 16, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Lengths and counts at which sums wrap and comparisons change sides."""
MOST_BYTES = 1 << 16

Change = Callable[[random.Random, bytearray], None]


def _flip_bit(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at] ^= 1 << chance.randrange(8)


def _set_byte(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] = chance.randrange(256)


def _set_edge(chance: random.Random, data: bytearray) -> None:
    """An integer of 1, 2 or 4 bytes becomes one at an edge."""
    width = chance.choice((1, 2, 4))
    at = chance.randrange(len(data))
    value = chance.choice(EDGES) & (1 << 8 * width) - 1
    data[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))


def _remove(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 4, 16, 256))]


def _repeat(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    part = data[at : at + chance.choice((1, 2, 4, 16, 64, 512))]
    data[at:at] = part * chance.choice((1, 1, 2, 8))


def _insert_noise(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.choice((1, 2, 4, 16)))


def _cut(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) + 1 :]


def _swap_parts(chance: random.Random, data: bytearray) -> None:
    low, high = sorted((chance.randrange(len(data)), chance.randrange(len(data))))
    data[:] = data[high:] + data[low:high] + data[:low]


_CHANGES: tuple[Change, ...] = (
    _flip_bit,
    _flip_bit,
    _set_byte,
    _set_byte,
    _set_edge,
    _set_edge,
    _remove,
    _repeat,
    _insert_noise,
    _cut,
    _swap_parts,
)


def mutated(chance: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A seed with one to a dozen changes; now and then two seeds in one, now and then a word of the dictionary."""
    data = bytearray(chance.choice(seeds))
    if chance.random() < 0.15:
        other = chance.choice(seeds)
        at = chance.randrange(len(data) + 1)
        data[at:] = other[chance.randrange(len(other) + 1) :]
    for _ in range(min(1 + int(chance.expovariate(0.5)), 12)):
        if words and chance.random() < 0.2:
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.choice((0, 0, 4))] = chance.choice(words)
        elif data:
            chance.choice(_CHANGES)(chance, data)
    return bytes(data[:MOST_BYTES])
