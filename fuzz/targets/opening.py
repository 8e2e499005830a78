"""First bytes of any protocol: no probe raises, a final answer stays the same as bytes are added."""

from __future__ import annotations

from helpers.openings import datagrams, growing
from talks import of_samples, talk_of

from imapids.sniff import sniff

DICTIONARY = (
    b"SSH-2.0-",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"\x05\x01\0",
    b"RFB 003.008\n",
    b"220 ",
    b"+OK ",
    b"EHLO ",
    b"\x03\0\0\x13\x0e\xe0",
    b"\xffSMB",
    b"\xfeSMB",
    b"NICK ",
    b"\x30\x0c\x02\x01\x01\x60",
    b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"MZ",
    b"\x7fELF",
    b"Gh0st",
    b"* OK ",
)


def seeds() -> list[bytes]:
    """The dialogues of the samples."""
    return of_samples(
        (
            "binary-beacon",
            "http-beacon",
            "fake-tls",
            "gh0st",
            "pop3-on-143",
            "reverse-shell",
            "ssh-on-143",
            "genuine-session",
            "odd-probes",
            "fake-greeting",
            "udp-143",
        ),
        1024,
    )


def check(data: bytes) -> None:
    talk = talk_of(data)
    if not talk:
        return
    said = None
    for opening in growing(talk, (1 + len(data) // 40, 3)):
        candidate = sniff(opening)
        if said is not None:
            assert (candidate.kind, candidate.final) == (said.kind, said.final), (said, candidate)
        elif candidate.final and not (opening.client_ended or opening.server_ended):
            said = candidate
    sniff(datagrams(*talk))
