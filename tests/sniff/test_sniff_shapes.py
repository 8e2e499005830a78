"""Shapes of what has no name: they follow sizes, lengths and alphabets, and words only of shells."""

from __future__ import annotations

import hashlib

import pytest
from helpers.openings import Turn, c, growing, s, talk

from imapids.sniff import sniff

NOISE = b"".join(hashlib.sha256(bytes((at,))).digest() for at in range(64))


def le(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def be(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def frame(width: int, order: str, body: bytes, whole: bool = False) -> bytes:
    """A body behind its length; `whole`: the length counts itself."""
    return (len(body) + (width if whole else 0)).to_bytes(width, order) + body  # type: ignore[arg-type]


def framed(width: int, order: str, whole: bool = False) -> tuple[Turn, ...]:
    """Five exchanges of frames whose bodies differ in size."""
    return tuple(
        turn
        for at in range(5)
        for turn in (
            c(frame(width, order, NOISE[at * 40 : at * 40 + 20 + at], whole)),
            s(frame(width, order, NOISE[at * 30 : at * 30 + 9 + at], whole) * (1 + at % 2)),
        )
    )


KEY = bytes.fromhex("1c9f3ab4d077e25581aa")
LISTING = b"total 8\ndrwxr-xr-x 2 root root 4096 Jan  2 2026 bin\n-rw-r--r-- 1 root root 17 Jan  2 2026 motd\n"
SHAPES: tuple[tuple[str, str, tuple[Turn, ...]], ...] = (
    (
        "interactive-shell",
        "cmd.exe at the client",
        (
            c(b"Microsoft Windows [Version 10.0.19045]\r\n(c) Microsoft\r\n\r\nC:\\Users\\bob>"),
            s(b"whoami\n"),
            c(b"whoami\r\npc\\bob\r\n\r\nC:\\Users\\bob>"),
        ),
    ),
    ("interactive-shell", "PowerShell", (c(b"PS C:\\Windows\\system32> "), s(b"dir\n"))),
    ("interactive-shell", "a Unix shell, bound", (c(b"id\n"), s(b"uid=0(root) gid=0(root) groups=0(root)\n"))),
    (
        "interactive-shell",
        "bash without job control",
        (c(b"bash: cannot set terminal process group (4): x\nbash: no job control in this shell\n"), s(b"id\n")),
    ),
    (
        "interactive-shell",
        "a prompt with colours",
        (c(b"\x1b[01;32mroot@web-1:/\x1b[00m# \r\nroot@web-1:/# "), s(b"pwd\n")),
    ),
    ("interactive-shell", "only the operator was captured", (s(b"id\nuname -a\npwd\nls -la /\n"),)),
    ("interactive-shell", "a listing that somebody asked for", (c(b"dirs please\n"), s(LISTING))),
    ("length-prefixed-frames", "32 bits little-endian", framed(4, "little")),
    ("length-prefixed-frames", "32 bits big-endian", framed(4, "big")),
    ("length-prefixed-frames", "32 bits, itself included", framed(4, "big", whole=True)),
    ("length-prefixed-frames", "16 bits little-endian", framed(2, "little")),
    ("length-prefixed-frames", "16 bits big-endian", framed(2, "big")),
    ("length-prefixed-frames", "8 bits", framed(1, "big")),
    ("length-prefixed-frames", "one exchange of 32 bits", (c(le(64) + NOISE[:64]), s(le(200) + NOISE[64:264]))),
    ("executable-stage", "a PE behind its length", (s(le(4_000) + b"MZ\x90\x00\x03\x00\x00\x00\x04\x00" + bytes(80)),)),
    ("executable-stage", "an ELF program, bare", (s(b"\x7fELF\x02\x01\x01" + bytes(80)), c(b"x" * 30))),
    (
        "executable-stage",
        "shellcode behind its length",
        (s(le(300) + bytes.fromhex("fce8820000006089e531c0648b50") + bytes(60)),),
    ),
    (
        "repeated-keystream-prefix",
        "the same ten bytes begin all",
        tuple(
            turn
            for at in range(3)
            for turn in (c(KEY + NOISE[at * 31 : at * 31 + 17 + at]), s(KEY + NOISE[at * 29 : at * 29 + 23 - at]))
        ),
    ),
    ("fully-encrypted", "random bytes on both sides", (c(NOISE[:300]), s(NOISE[300:700]), c(NOISE[700:750]))),
    ("fully-encrypted", "random bytes of a silent peer's client", (c(NOISE[:300]),)),
    ("fully-encrypted", "a server that answers words with noise", (c(b"a1 CAPABILITY\r\n"), s(NOISE[:80]))),
    (
        "base64-lines",
        "base64 both ways",
        (c(b"SG9zdDogUEMtMTIz\r\n"), s(b"b2sgMA==\r\n"), c(b"c2VxIDE3OyBpZGxl\r\n"), s(b"b2sgMQ==\r\n")),
    ),
    (
        "hex-lines",
        "hex both ways",
        (c(b"486f73743a205043\n"), s(b"6f6b2030\n"), c(b"73657120313b\n"), s(b"6f6b2031\n")),
    ),
    ("json-lines", "JSON objects", (c(b'{"id": "PC-1", "seq": 0}\n'), s(b'{"cmd":"noop"}\n'))),
    (
        "fixed-size-beats",
        "one byte each, after a check-in",
        (c(b"\x00HOST-A5CD"), s(b"\x02"), *[turn for _ in range(5) for turn in (c(b"\x01"), s(b"\x02"))]),
    ),
    ("file-transfer", "a ZIP archive to a mute sink", (c(b"PK\x03\x04" + NOISE[:500]),)),
)


@pytest.mark.parametrize(
    ("shape", "turns"), [pytest.param(shape, turns, id=f"{shape}: {what}") for shape, what, turns in SHAPES]
)
def test_a_shape_is_seen_and_stays(shape: str, turns: tuple[Turn, ...]) -> None:
    whole = sniff(talk(*turns))
    assert whole.kind == "opaque"
    assert whole.finding is not None
    assert (whole.finding.protocol, whole.finding.shape) == (None, shape)
    assert whole.finding.evidence
    for cuts in ([1], [7, 3], [1_000]):
        finals = [now for now in map(sniff, growing(turns, cuts)) if now.final]
        assert finals
        assert all(now == whole for now in finals)


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param((c(b"hello there\r\n"), s(b"hello yourself\r\n")), id="plain talk"),
        pytest.param((c(b"\x00\x01"), s(b"\x00\x02")), id="two bytes each"),
        pytest.param((c(bytes(100)), s(bytes(100))), id="zeros"),
        pytest.param((s(b"12345678"),), id="eight digits"),
        pytest.param((c(b"username"), s(b"password")), id="words that base64 could spell"),
        pytest.param((s(LISTING),), id="a directory sent over FTP, which nobody asked for here"),
        pytest.param((c(b"the MZ header\n"), s(b"uid is a word\n")), id="words of shells and programs inside text"),
    ],
)
def test_no_shape_for_little_or_nothing(turns: tuple[Turn, ...]) -> None:
    assert sniff(talk(*turns)).finding is None


def test_a_shell_says_who_holds_it() -> None:
    reverse = sniff(talk(c(b"uid=0(root) gid=0(root)\n"), s(b"id\n"))).finding
    bound = sniff(talk(c(b"id\n"), s(b"uid=0(root) gid=0(root)\n"))).finding
    assert reverse is not None
    assert bound is not None
    assert (reverse.evidence[0].side, bound.evidence[0].side) == ("client", "server")
    assert reverse.confidence == bound.confidence == "high"


def test_encrypted_bytes_of_a_conversation_under_way_have_no_shape() -> None:
    """They may as well be IMAP's own COMPRESS or TLS seen from the middle."""
    assert sniff(talk(c(NOISE[:300]), s(NOISE[300:700]), midstream=True)).finding is None


def test_a_beacon_is_decided_while_it_goes_on() -> None:
    beats = [turn for _ in range(40) for turn in (c(b"\xa1\xa2\xa3\xa4"), s(b"\xb1\xb2\xb3\xb4"))]
    opening = talk(*beats[:17], over=False)
    assert sniff(opening).final
    assert sniff(opening) == sniff(talk(*beats))
