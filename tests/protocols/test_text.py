"""Safe text: printable ASCII only, reversible, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids.protocols.text import safe_str, safe_text, unsafe_bytes


@pytest.mark.parametrize(("data", "text"), [
    pytest.param(b"* OK ready", "* OK ready", id="plain ASCII is kept"),
    pytest.param(b"", "", id="nothing is nothing"),
    pytest.param(b"a\r\n\x00\x7f\xff", "a\\x0d\\x0a\\x00\\x7f\\xff", id="control and 8-bit bytes are escaped"),
    pytest.param(b"\x1b[31mred", "\\x1b[31mred", id="a terminal escape cannot act"),
    pytest.param("\u202etxt".encode(), "\\xe2\\x80\\xaetxt", id="a bidi override cannot act"),
    pytest.param(b"C:\\Users", "C:\\Users", id="a backslash stays a backslash"),
    pytest.param(b"C:\\x00", "C:\\x5cx00", id="a backslash that would look like an escape is escaped"),
    pytest.param(b"\\\xff", "\\\\xff", id="a backslash before an escaped byte"),
])
def test_each_kind_of_byte(data: bytes, text: str) -> None:
    assert safe_text(data) == text
    assert unsafe_bytes(text) == data


@given(st.binary(max_size=300))
def test_text_is_printable_ascii_and_reversible(data: bytes) -> None:
    text = safe_text(data, limit=300)
    assert text.isascii()
    assert text.isprintable()
    assert unsafe_bytes(text) == data


@given(st.binary(max_size=60), st.integers(0, 40))
def test_longer_input_is_cut_with_a_mark(data: bytes, limit: int) -> None:
    text = safe_text(data, limit)
    assert len(text) <= 4 * limit + 3
    assert text == safe_text(data[:limit]) + ("..." if len(data) > limit else "")


@given(st.text(st.characters(exclude_categories=()), max_size=60), st.integers(0, 40))
def test_text_from_outside_is_printable_ascii_whatever_it_holds(text: str, limit: int) -> None:
    safe = safe_str(text, limit)
    assert safe.isascii()
    assert safe.isprintable()
    assert len(safe) <= 4 * limit + 3


def test_a_file_name_that_is_not_utf8_shows_its_bytes() -> None:
    assert safe_str(b"caf\xe9.pcap".decode("utf-8", "surrogateescape")) == "caf\\xe9.pcap"
    assert safe_str("café.pcap") == "caf\\xc3\\xa9.pcap"
    assert safe_str("\ud800") == "\\xed\\xa0\\x80"
