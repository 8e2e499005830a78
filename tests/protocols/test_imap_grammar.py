"""IMAP's grammar against the letters of RFC 9051 section 9."""

from __future__ import annotations

import re

import pytest

from imapids.protocols import imap_grammar as grammar

SPECIALS = set(b'(){ %*"\\') | set(range(0x20)) | {0x7F}


@pytest.mark.parametrize(
    ("pattern", "extra", "without"),
    [
        pytest.param(grammar.ATOM_CHAR, b"", b"]", id="ATOM-CHAR is any CHAR except atom-specials"),
        pytest.param(grammar.ASTRING_CHAR, b"]", b"", id="ASTRING-CHAR adds the closing bracket"),
        pytest.param(grammar.TAG_CHAR, b"]", b"+", id="a tag has any ASTRING-CHAR except plus"),
    ],
)
def test_character_classes_on_all_bytes(pattern: bytes, extra: bytes, without: bytes) -> None:
    for code in range(256):
        legal = (code < 0x80 and code not in SPECIALS and code not in without) or code in extra
        assert bool(re.fullmatch(pattern, bytes([code]))) is legal, code


@pytest.mark.parametrize(
    "tag", [b"a1", b"gerg", b".", b"000b", b"A1/imap_cmd", b"[x]", b"a" * 200, b"~^|}'&!#$=,-@`_;:<>?"]
)
def test_every_legal_tag_is_one(tag: bytes) -> None:
    assert grammar.TAG.match(tag)
    assert grammar.COMMAND.match(tag + b" NOOP")


@pytest.mark.parametrize("tag", [b"", b"a+1", b"a b", b"a*", b"a(", b"a\x00", b"\xe4", b'"a"', b"a\n"])
def test_other_words_are_no_tags(tag: bytes) -> None:
    assert not grammar.TAG.match(tag)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param(b"* OK ready", b"OK", id="usual"),
        pytest.param(b"* ok imap4 server ready", b"ok", id="lower case"),
        pytest.param(b"* OK", b"OK", id="no text"),
        pytest.param(b"*  PREAUTH hello", b"PREAUTH", id="two blanks"),
        pytest.param(b"* BYE too many connections", b"BYE", id="refusal"),
    ],
)
def test_greetings(line: bytes, word: bytes) -> None:
    match = grammar.GREETING.match(line)
    assert match
    assert match[1] == word


@pytest.mark.parametrize(
    "line", [b"* OKAY", b"* NO", b"+OK POP3", b"* CAPABILITY IMAP4rev1", b"220 smtp", b" * OK", b"*OK x"]
)
def test_what_is_no_greeting(line: bytes) -> None:
    assert not grammar.GREETING.match(line)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        pytest.param(b"a LOGIN {5}", (5, True), id="synchronising"),
        pytest.param(b"a LOGIN {5+}", (5, False), id="LITERAL+ does not wait"),
        pytest.param(b"a APPEND x ~{12}", (12, True), id="literal8"),
        pytest.param(b"{0}", (0, True), id="empty"),
        pytest.param(b"{99999999999999999999}", (99999999999999999999, True), id="twenty digits"),
        pytest.param(b"{999999999999999999999}", None, id="twenty-one digits are a lie"),
        pytest.param(b"{" + b"9" * 5000 + b"}", None, id="more digits than a number may have"),
        pytest.param(b"{-1}", None, id="negative"),
        pytest.param(b"{5-}", None, id="minus is no form of it"),
        pytest.param(b"{}", None, id="no digits"),
        pytest.param(b"{5} ", None, id="not at the end"),
        pytest.param(b"{5", None, id="open"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_literal_sizes(line: bytes, size: tuple[int, bool] | None) -> None:
    assert grammar.literal_size(line, 20) == size


@pytest.mark.parametrize(
    ("text", "opaque"),
    [
        pytest.param(b"Pre-login capabilities listed, post-login capabilities have more.", False, id="words"),
        pytest.param(b"GpwANOFiepi4B7aNDtr2D/PLQQdvcFS72EwUilHE0673gG3+qvXsUfwfu1jGvuFu", True, id="base64"),
        pytest.param(b"done 4f9d2c1b4f9d2c1b4f9d2c1b4f9d2c1b", True, id="hex among words"),
        pytest.param(
            b"Success (privacy protection) SESSIONID=<cyrus-1795306146-99-1-3497121056632891306>",
            False,
            id="session id",
        ),
        pytest.param(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", False, id="one letter"),
        pytest.param(b"Donaudampfschifffahrtsgesellschaftskapitaen", False, id="a long word"),
        pytest.param(b"GpwANOFiepi4B7aNDtr2D", False, id="too short to be sure"),
    ],
)
def test_opaque_tokens(text: bytes, opaque: bool) -> None:
    assert (grammar.opaque_token(text) is not None) is opaque


@pytest.mark.parametrize(
    ("data", "binary"),
    [
        pytest.param(b"* OK ready", False, id="ASCII"),
        pytest.param("Привет, ящик".encode(), False, id="UTF-8"),
        pytest.param(b'a1 LOGIN "root" "\xff\xfe"', False, id="two Latin-1 letters in a line"),
        pytest.param(bytes(range(128, 192)), True, id="high bytes that are no UTF-8"),
        pytest.param(b"ab\x00", True, id="a NUL"),
        pytest.param(b"\x01\x02\x03abc", True, id="controls"),
        pytest.param(b"tab\tand return\r", False, id="blanks"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_binary(data: bytes, binary: bool) -> None:
    assert grammar.is_binary(data) is binary


@pytest.mark.parametrize(
    ("quoted", "content"),
    [
        pytest.param(b'"bob"', b"bob", id="plain"),
        pytest.param(rb'"a\"b\\c"', rb'a"b\c', id="escaped"),
        pytest.param(b'""', b"", id="empty"),
        pytest.param(b'"', b"", id="one quote"),
    ],
)
def test_unquote(quoted: bytes, content: bytes) -> None:
    assert grammar.unquote(quoted) == content
