"""The IMAP machine: nothing raises, the cut of the bytes changes neither events nor verdict."""

from __future__ import annotations

from helpers.imap_talk import SESSION, play
from talks import of_samples, talk_of, written

DICTIONARY = (
    b"a1 LOGIN bob {3+}\r\n",
    b"AUTHENTICATE PLAIN ",
    b"\r\n",
    b"\n",
    b"{0}\r\n",
    b"{4294967295}\r\n",
    b"{9+}\r\n",
    b"~{3}\r\n",
    b"* ",
    b"+ ",
    b"* BYE ",
    b"* OK [",
    b"a1 OK ",
    b"a1 NO ",
    b"STARTTLS",
    b"COMPRESS DEFLATE",
    b"IDLE\r\n",
    b"DONE\r\n",
    b"FETCH",
    b"BODY[]",
    b'"\\"',
    b"\0",
    b"\xff",
    b"UID ",
    b"LOGOUT\r\n",
)


def seeds() -> list[bytes]:
    """A session of every day, and what the samples hold."""
    return [
        written(SESSION),
        *of_samples(
            (
                "genuine-session",
                "cleartext-login",
                "fake-greeting",
                "failed-logins-flood",
                "dead-drop",
                "odd-bytes",
                "overlong-login",
                "encrypted",
            )
        ),
    ]


def check(data: bytes) -> None:
    talk = talk_of(data)
    if not talk:
        return
    whole = play(talk)
    assert play(talk, 1).story == whole.story
    assert play(talk, 7, joined=True).story == whole.story
    play(talk, midstream=True)
