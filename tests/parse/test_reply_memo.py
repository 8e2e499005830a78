"""What is remembered of one server's lines never changes what another's say."""

from __future__ import annotations

import pytest

from imapids.parse.imap_replies import read_tagged


@pytest.mark.parametrize(("first", "second"), [
    pytest.param(b"OK done", b"O5K done", id="a digit inside the word"),
    pytest.param(b"OK done", b"5OK done", id="a digit before the word"),
    pytest.param(b"OK [X5] done", b"OK [X6] done", id="a digit inside the code"),
    pytest.param(b"OK [X0] done", b"OK [X7] done", id="a zero inside the code"),
])
def test_numbers_inside_words_matter(first: bytes, second: bytes) -> None:
    alone = read_tagged(second)
    read_tagged(first)
    after = read_tagged(second)
    assert (alone is None) == (after is None) == (not second.startswith(b"OK"))
    if after is not None:
        assert after.code == second[4:6].decode()


def test_lines_that_differ_in_plain_numbers_share_one_record() -> None:
    assert read_tagged(b"OK completed (0.001 + 0.000 secs).") is read_tagged(b"OK completed (0.042 + 0.017 secs).")
