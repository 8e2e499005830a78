"""Each fuzz target works: its seeds and some mutations of them, from a fixed seed, break no law."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
sys.path.append(str(FUZZ))

from mutations import mutated  # noqa: E402  # the folder is no package of the project
from run import TARGETS, load  # noqa: E402

SLOW = {"whole": 5, "rule_file": 20, "capture": 30, "tls": 30}
"""Mutations where one takes milliseconds."""


def test_there_is_a_target_for_each_parser() -> None:
    assert set(TARGETS) >= {"capture", "decode", "reassembly", "imap", "tls", "opening", "deflate", "rule_file",
                            "whole"}


@pytest.mark.parametrize("name", TARGETS)
def test_no_seed_and_no_mutation_of_one_breaks_the_law(name: str) -> None:
    target = load(name)
    seeds = target.seeds()
    assert seeds
    for given in seeds:
        target.check(given)
    chance = random.Random(143)
    for _ in range(SLOW.get(name, 60)):
        target.check(mutated(chance, seeds, target.DICTIONARY))
