"""The laws of the IMAP machine: any cut of the bytes tells the same story, and no bytes raise."""

from __future__ import annotations

import pytest
from helpers.imap_talk import FETCH, GREETING, LOGIN, LOGOUT, SELECT, SESSION, C, S, Talk, play
from hypothesis import given, settings
from hypothesis import strategies as st

TALKS: dict[str, Talk] = {
    "login, select, fetch, logout": SESSION,
    "greeting only": (GREETING,),
    "an answer that is no IMAP, to a line that ends with LF": (GREETING, (C, b"a1 r\n"), (S, b"a1 \x00")),
    "literals of both kinds": (
        GREETING,
        (C, b"l1 LOGIN {3}\r\n"),
        (S, b"+ go\r\n"),
        (C, b"bob {7+}\r\nhunter2\r\n"),
        (S, b"l1 OK done\r\n"),
        (C, b"l2 APPEND Drafts (\\Seen) {20}\r\n"),
        (S, b"+ go\r\n"),
        (C, b"From: a\r\n\r\nhello!!\r\n\r\n"),
        (S, b"l2 OK [APPENDUID 1 2] done\r\n"),
        *LOGOUT,
    ),
    "a refused literal": (
        GREETING,
        (C, b"l1 LOGIN {3}\r\n"),
        (S, b"l1 BAD no literals here\r\n"),
        (C, b"l2 NOOP\r\n"),
        (S, b"l2 OK done\r\n"),
    ),
    "sasl with responses": (
        GREETING,
        (C, b"s1 AUTHENTICATE LOGIN\r\n"),
        (S, b"+ VXNlcm5hbWU6\r\n"),
        (C, b"Ym9i\r\n"),
        (S, b"+ UGFzc3dvcmQ6\r\n"),
        (C, b"aHVudGVyMg==\r\n"),
        (S, b"s1 OK in\r\n"),
        *SELECT,
        *LOGOUT,
    ),
    "sasl security layer": (
        GREETING,
        (C, b"s1 AUTHENTICATE DIGEST-MD5\r\n"),
        (S, b"+ bm9uY2U9IngiCg==\r\n"),
        (C, b"dXNlcm5hbWU9ImJvYiI=\r\n"),
        (S, b"+ cnNwYXV0aD0x\r\n"),
        (C, b"\r\n"),
        (S, b"s1 OK in\r\n"),
        (C, b"\0\0\0\x05abcd\n\0\0\0\x02\r\n"),
        (S, b"\0\0\0\x03\n\n\n"),
        (C, b"\0\0\0\x01x"),
    ),
    "starttls": (
        GREETING,
        (C, b"t1 STARTTLS\r\n"),
        (S, b"t1 OK go\r\n"),
        (C, b"\x16\x03\x01\0\x05\x01\0\0\n1"),
        (S, b"\x16\x03\x03\n"),
    ),
    "starttls with an early hello": (
        GREETING,
        (C, b"t1 STARTTLS\r\n\x16\x03\x01\0\x05\x01\n"),
        (S, b"t1 OK go\r\n"),
        (S, b"\x16\x03"),
    ),
    "starttls with injected commands": (
        GREETING,
        (C, b"t1 STARTTLS\r\nt2 NOOP\r\nt3 CAPABI"),
        (S, b"t1 OK go\r\n"),
        (C, b"\x16\x03\x01\0\x05\x01\n"),
    ),
    "starttls refused": (GREETING, (C, b"t1 STARTTLS\r\nt2 NOOP\r\n"), (S, b"t1 NO never\r\nt2 OK done\r\n"), *LOGOUT),
    "compress": (GREETING, *LOGIN, (C, b"c1 COMPRESS DEFLATE\r\n"), (S, b"c1 OK go\r\n\x01\x02\n"), (C, b"\n\n\x03")),
    "idle": (
        GREETING,
        *LOGIN,
        *SELECT,
        (C, b"i1 IDLE\r\n"),
        (S, b"+ idling\r\n* 4 EXISTS\r\n"),
        (C, b"DONE\r\n"),
        (S, b"i1 OK x\r\n"),
    ),
    "pipelined": (
        GREETING,
        (C, b"p1 LOGIN bob hunter2\r\np2 SELECT INBOX\r\np3 FETCH 1:2 FLAGS\r\np4 LOGOUT\r\n"),
        (
            S,
            (b"p1 OK in\r\n* 2 EXISTS\r\np2 OK done\r\n* 1 FETCH (FLAGS ())\r\n* 2 FETCH (FLAGS ())\r\np3 OK\r\n"
            b"* BYE\r\np4 OK\r\n"),
        ),
    ),
    "one tag for all": (
        GREETING,
        (C, b"gerg NOOP\r\ngerg CAPABILITY\r\ngerg NOOP\r\n"),
        (S, b"gerg OK\r\ngerg OK\r\n"),
    ),
    "a scanner": (GREETING, (C, b"GET / HTTP/1.0\r\n\r\n"), (S, b"GET BAD what\r\n* BAD what\r\n* BYE too many\r\n")),
    "binary after the greeting": (
        GREETING,
        (C, bytes(range(256))),
        (S, bytes(range(255, -1, -1)) * 2),
        (C, b"\xff\xfe\n\0"),
    ),
    "shell after the greeting": (
        (S, b"* OK ready\r\n"),
        (S, b"whoami\n"),
        (C, b"root\n# "),
        (S, b"id"),
        (C, b"uid=0(root)\n# "),
    ),
    "a lying literal": (
        GREETING,
        *LOGIN,
        *SELECT,
        (C, b"x FETCH 1 BODY[]\r\n"),
        (S, b"* 1 FETCH (BODY[] {3}\r\nabcdef\r\n)\r\nx OK\r\n"),
    ),
    "echo": ((C, b"a1 NOOP\r\n"), (S, b"a1 NOOP\r\n"), (C, b"a2 NOOP\r\n"), (S, b"a2 NOOP\r\n")),
    "reversed roles": (
        (C, b"* OK ready\r\n"),
        (S, b"a0 LOGIN a b\r\n"),
        (C, b"a0 OK abc\r\n"),
        (S, b"a1 NOOP\r\n"),
        (C, b"a1 OK\r\n"),
    ),
    "line feeds only": (
        (S, b"* OK x\n"),
        (C, b"a LOGIN bob hunter2\n"),
        (S, b"a OK\n"),
        (C, b"b LOGOUT\n"),
        (S, b"* BYE\nb OK\n"),
    ),
    "carriage returns inside": ((S, b"* OK a\rb\r\r\n"), (C, b"a NO\rOP\r\r\n"), (S, b"a OK\r\r\n")),
    "many quiet lines": (
        GREETING,
        *LOGIN,
        (C, b"a2 SELECT INBOX\r\n"),
        (
            S,
            (b"* FLAGS (\\Seen $x)\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] Flags permitted.\r\n* 37 EXISTS\r\n"
            b"* 1 RECENT\r\n"
            b"* OK [UIDVALIDITY 1795306266] UIDs valid\r\n* OK [UIDNEXT 46] Predicted next UID\r\n"
            b"* OK [NOMODSEQ] none\r\n"
            b"a2 OK [READ-WRITE] done\r\n"),
        ),
        (C, b"a3 FETCH 1:* (UID FLAGS)\r\n"),
        (
            S,
            b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n" % (n, n) for n in range(1, 9))
            + b"* 38 EXISTS\r\n* OK half\r\n"
            b'* 9 FETCH (UID 9 INTERNALDATE "03-Jul-2024 09:46:40 +0000" RFC822.SIZE 77 MODSEQ (5) FLAGS ())\r\n'
            b"* 10 FETCH (UID 10 BODY[] {2}\r\nx\n)\r\n* 11 FETCH (FLAGS (\\Seen))\na3 OK done\r\n",
        ),
    ),
    "fetch twice": (GREETING, *LOGIN, *SELECT, *FETCH, *FETCH),
}


@pytest.mark.parametrize("name", TALKS)
@pytest.mark.parametrize("cuts", [1, 2, 3, 7])
def test_the_story_does_not_depend_on_the_cut(name: str, cuts: int) -> None:
    whole = play(TALKS[name]).story
    assert play(TALKS[name], cuts).story == whole
    assert play(TALKS[name], cuts, joined=True).story == whole


@pytest.mark.parametrize("name", TALKS)
def test_a_session_that_stops_anywhere_is_judged(name: str) -> None:
    data = TALKS[name]
    total = sum(len(part) for _, part in data)
    for stop in range(0, total, max(1, total // 60)):
        left, cut = stop, []
        for side, part in data:
            cut.append((side, part[:left]))
            left -= len(part)
            if left <= 0:
                break
        cut = [each for each in cut if each[1]]
        assert play(cut).story == play(cut, 1).story


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(TALKS)), st.lists(st.integers(1, 600), max_size=40))
def test_random_cuts(name: str, cuts: list[int]) -> None:
    assert play(TALKS[name], cuts).story == play(TALKS[name]).story


WORDS = st.sampled_from(
    [
        b"* OK ",
        b"* PREAUTH x\r\n",
        b"* BYE ",
        b"a1 ",
        b"a1 OK ",
        b"a1 NO [X] ",
        b"a1 BAD ",
        b"+ ",
        b"+\r\n",
        b"\r\n",
        b"\n",
        b"{3}\r\n",
        b"{3+}\r\n",
        b"~{2}\r\n",
        b"{99999999999999999999}\r\n",
        b"{-1}\r\n",
        b"LOGIN ",
        b"a1 LOGIN ",
        b"a1 AUTHENTICATE PLAIN ",
        b"a1 AUTHENTICATE DIGEST-MD5\r\n",
        b"a1 STARTTLS\r\n",
        b"a1 COMPRESS DEFLATE\r\n",
        b"a1 IDLE\r\n",
        b"DONE\r\n",
        b"* 1 FETCH (BODY[] ",
        b"a1 UID FETCH 1 BODY[]\r\n",
        b"a1 SELECT INBOX\r\n",
        b'"',
        b"(",
        b")",
        b"\x16\x03\x01",
        b"\0\0\0\x02",
        b"\0",
        b"\xff",
        b"*",
        b"=",
        b"AGJvYgBodW50ZXIy\r\n",
        b"* CAPABILITY IMAP4rev1\r\n",
        b"* 3 EXISTS\r\n",
        b'a1 ID ("name" "x")\r\n',
        b" ",
        b"\r",
        b"a1 LOGOUT\r\n",
    ]
)
MESSAGE = st.lists(st.one_of(WORDS, st.binary(max_size=12)), min_size=1, max_size=6).map(b"".join)


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([C, S]), MESSAGE.filter(bool)), min_size=1, max_size=14),
    st.booleans(),
    st.sampled_from(["both", "client", "server"]),
    st.integers(1, 5),
)
def test_no_bytes_raise_and_no_cut_matters(
    talk: list[tuple[int, bytes]], midstream: bool, sides: str, size: int
) -> None:
    whole = play(talk, midstream=midstream, sides=sides)
    assert play(talk, size, midstream=midstream, sides=sides).story == whole.story
    for field in msgspec_texts(whole.story):
        assert field.isascii()
        assert field.isprintable()


def msgspec_texts(value: object) -> list[str]:
    """All texts inside a built-in value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in msgspec_texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in msgspec_texts(each)]
    return []
