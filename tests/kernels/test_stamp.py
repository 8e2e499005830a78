"""A compiled module that was made of other sources than those beside it is not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from imapids import kernels
from imapids.kernels.stamp import is_stale, stamp_of


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "a.pyx").write_text("one")
    (tmp_path / "b.pxi").write_text("two")
    return tmp_path


def test_the_stamp_is_that_of_the_sources(sources: Path) -> None:
    assert not is_stale(sources, stamp_of(sources), stamp_of(sources))


@pytest.mark.parametrize(("name", "text"), [
    pytest.param("a.pyx", "onetwo", id="a module is another"),
    pytest.param("b.pxi", "2", id="what a module includes is another"),
    pytest.param("c.pxi", "", id="a file came"),
])
def test_changed_sources_make_it_stale(sources: Path, name: str, text: str) -> None:
    stamp = stamp_of(sources)
    (sources / name).write_text(text)
    assert is_stale(sources, stamp)


def test_a_file_that_left_makes_it_stale(sources: Path) -> None:
    stamp = stamp_of(sources)
    (sources / "b.pxi").unlink()
    assert is_stale(sources, stamp)


def test_without_sources_nothing_is_stale(tmp_path: Path) -> None:
    assert not is_stale(tmp_path, "0123456789abcdef")


def test_a_module_that_was_compiled_by_other_means_is_trusted(sources: Path) -> None:
    assert not is_stale(sources, "")


@pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")
def test_the_kernels_in_use_are_those_of_these_sources() -> None:
    assert not is_stale(Path(kernels.__file__).parent, kernels.compiled.STAMP, kernels.events.STAMP)
