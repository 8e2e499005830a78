"""Turns of IMAP dialogues: those that are read on the fast path, and those that are left to the machine."""

from __future__ import annotations

from helpers.imap_talk import C, S, Talk
from hypothesis import strategies as st


def asked(line: bytes, *answer: bytes, tag: bytes = b"k1") -> tuple[tuple[int, bytes], ...]:
    """A command and its answer; the last line of the answer gets the tag."""
    return (
        (C, tag + b" " + line + b"\r\n"),
        (S, b"".join(each + b"\r\n" for each in (*answer[:-1], tag + b" " + answer[-1]))),
    )


PLAIN_TURNS = {
    "capability": asked(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED", b"OK done"),
    "noop with news": asked(b"noop", b"* 17 EXISTS", b"* 2 RECENT", b"* 3 EXPUNGE", b"OK [X5] done"),
    "a login of quoted words": asked(b'LOGIN "bob smith" "hunter2"', b"OK [CAPABILITY IMAP4rev1 IDLE] in"),
    "a login that fails": asked(b"login bob@example.test bob", b"NO [AUTHENTICATIONFAILED] no"),
    "an empty password": asked(b'LOGIN bob ""', b"BAD what"),
    "select": asked(
        b'SELECT "INBOX"',
        b"* FLAGS (\\Seen)",
        b"* 31 EXISTS",
        b"* OK [UIDVALIDITY 1670087628] x",
        b"* OK [UIDNEXT 2245] Predicted",
        b"OK [READ-WRITE] done",
    ),
    "select that fails": asked(b"SELECT nothing", b"NO [NONEXISTENT] none"),
    "examine": asked(b"EXAMINE Archive", b"* 0 EXISTS", b"OK [READ-ONLY] done"),
    "list": asked(b'LIST "" "*"', b'* LIST (\\HasNoChildren) "/" INBOX', b'* LIST () "/" "Sent 2024"', b"OK done"),
    "status": asked(b"STATUS Sent (MESSAGES UNSEEN)", b"* STATUS Sent (MESSAGES 17 UNSEEN 3)", b"OK done"),
    "id": asked(b'ID ("name" "Thunderbird" "version" "115")', b'* ID ("name" "Dovecot" "version" "2.3")', b"OK done"),
    "namespace": asked(b"NAMESPACE", b'* NAMESPACE (("" "/")) NIL NIL', b"OK done"),
    "enable": asked(b"ENABLE CONDSTORE", b"* ENABLED CONDSTORE", b"OK done"),
    "fetch of flags": asked(
        b"UID FETCH 1:* FLAGS", *[b"* %d FETCH (FLAGS (\\Seen) UID %d)" % (n, n * 7) for n in range(1, 12)], b"OK done"
    ),
    "fetch of very many": asked(
        b"FETCH 1:* FLAGS", *[b"* %d FETCH (FLAGS (\\Seen))" % n for n in range(1, 90)], b"OK done"
    ),
    "fetch of a body": asked(
        b"FETCH 5 BODY[]", b"* 5 FETCH (UID 5 BODY[] {20}\r\nFrom: a@b\r\n\r\nhello!!)", b"OK done"
    ),
    "fetch of a blob": asked(b"FETCH 5 BODY.PEEK[]", b"* 5 FETCH (BODY[] {12}\r\nAAAAAAAAAAAA FLAGS ())", b"OK done"),
    "fetch of parts": asked(
        b"FETCH 1:2 (BODY[1] BODY[2])",
        b"* 1 FETCH (BODY[1] {3}\r\nabc BODY[2] {0}\r\n)",
        b"* 2 FETCH (RFC822 {5}\r\n}\r\nk1)",
        b"OK done",
    ),
    "a body that looks like a completion": asked(
        b"FETCH 5 BODY[]", b"* 5 FETCH (BODY[] {14}\r\nk1 OK done\r\nX\n)", b"OK x"
    ),
    "search": asked(b"UID SEARCH UNSEEN SINCE 1-Jan-2024", b"* SEARCH 2 84 882", b"OK done"),
    "esearch": asked(b"SEARCH RETURN (COUNT) ALL", b'* ESEARCH (TAG "k1") COUNT 17', b"OK done"),
    "store": asked(b"STORE 2 +FLAGS (\\Deleted \\Seen)", b"* 2 FETCH (FLAGS (\\Deleted))", b"OK done"),
    "copy": asked(b"UID COPY 3:5,9 Trash", b"OK [COPYUID 38505 304,319:320 3956:3958] Done"),
    "move": asked(b"MOVE 1 Trash", b"* OK [COPYUID 432432 42:69 1202:1229]", b"* 1 EXPUNGE", b"OK Done"),
    "create": asked(b"CREATE Projects", b"OK done"),
    "expunge": asked(b"EXPUNGE", b"* 1 EXPUNGE", b"* 1 EXPUNGE", b"OK done"),
    "close": asked(b"CLOSE", b"OK done"),
    "logout": asked(b"LOGOUT", b"* BYE so long", b"OK done"),
    "news by itself": ((S, b"* 9 EXISTS\r\n"),),
    "a server that ends it": ((S, b"* BYE idle for too long\r\n"),),
}
ODD_TURNS = {
    "capability in two parts": ((C, b"a1 CAPABILITY\r\n"), (S, b"* CAPABILITY IMAP4rev1\r\n"), (S, b"a1 OK done\r\n")),
    "two commands at once": ((C, b"a1 NOOP\r\na2 NOOP\r\n"), (S, b"a1 OK\r\na2 OK\r\n")),
    "a literal": ((C, b"a1 LOGIN {3}\r\n"), (S, b"+ go\r\n"), (C, b"bob hunter2\r\n"), (S, b"a1 OK in\r\n")),
    "idle": ((C, b"a1 IDLE\r\n"), (S, b"+ idling\r\n* 4 EXISTS\r\n"), (C, b"DONE\r\n"), (S, b"a1 OK x\r\n")),
    "authenticate": ((C, b"a1 AUTHENTICATE PLAIN AGJvYgBodW50ZXIy\r\n"), (S, b"a1 OK in\r\n")),
    "starttls": ((C, b"a1 STARTTLS\r\n"), (S, b"a1 OK go\r\n"), (C, b"\x16\x03\x01"), (S, b"\x16\x03\x03")),
    "an unknown word": asked(b"FROBNICATE now", b"BAD what"),
    "a login of odd bytes": asked(b'LOGIN "b\\"ob" "%n..{-"', b"NO no"),
    "a wrong tag": ((C, b"a1 NOOP\r\n"), (S, b"a2 OK done\r\n"), (S, b"a1 OK done\r\n")),
    "encoded data": asked(b"NOOP", b"OK Zm9vYmFyYmF6MTIzNDU2Nzg5MEFCQ0RFRkdISUpLTE1OT1BRUlNU"),
    "encoded data in an argument": asked(b"NOOP Zm9vYmFyYmF6MTIzNDU2Nzg5MEFCQ0RFRkdISUpLTE1OT1BRUlNU", b"OK done"),
    "a lying literal": asked(b"FETCH 1 BODY[]", b"* 1 FETCH (BODY[] {3}\r\nabcdef\r\n)", b"OK"),
    "nonsense": ((C, b"GET / HTTP/1.0\r\n"), (S, b"GET BAD what\r\n")),
    "line feeds only": ((C, b"a1 NOOP\n"), (S, b"* 4 EXISTS\na1 OK done\n")),
    "binary": ((S, bytes(range(256))), (C, bytes(range(256)))),
    "a line without end": ((S, b"* OK still th"), (S, b"ere\r\n")),
}

TURNS = st.sampled_from([*PLAIN_TURNS.values(), *PLAIN_TURNS.values(), *ODD_TURNS.values()])


def damaged(talk: Talk, place: int, put: bytes, replace: bool) -> list[tuple[int, bytes]]:
    """The talk with some bytes put in at a place of it all, or in place of as many."""
    changed = []
    for side, data in talk:
        if 0 <= place < len(data):
            data = data[:place] + put + data[place + (len(put) if replace else 0) :]
        place -= len(data)
        changed.append((side, data))
    return changed
