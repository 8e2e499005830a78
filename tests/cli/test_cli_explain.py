"""`imapids explain`: the right session, its evidence at its place, and no secret in sight."""

import re
from pathlib import Path

import pytest

import imapids as package
from imapids.config import DialogueLimits
from imapids.desk.transcript import FIRST_LINES, LAST_LINES, Transcript
from imapids.records.events import Session
from imapids.records.streams import CLIENT, SERVER, StreamChunk, StreamEnd, StreamGap

SAMPLES = Path(package.__file__).parent / "_samples"
SECRETS = ("hunter2", "s3cret", "Winter2024", "aHVudGVyMg", "czNjcmV0")


def session(**fields):
    facts = {
        "verdict": "genuine",
        "confidence": "high",
        "protocol": "imap",
        "shape": None,
        "reason": None,
        "evidence": [],
        "sides_seen": "both",
        "midstream": False,
        "limits": [],
        "packets": 1,
        "bytes_client": 1,
        "bytes_server": 1,
        "direction": "outbound",
        "state": "closed",
    }
    return Session(**(facts | fields))


def transcript(turns, **fields):
    """The lines of a dialogue of (side, bytes), one packet each, fed in two ways that must agree."""
    results = []
    for cut in (10**6, 1):
        made = Transcript(session(**fields), DialogueLimits())
        offsets = [0, 0]
        for number, (side, data) in enumerate(turns, 1):
            for start in range(0, len(data), cut):
                part = data[start : start + cut]
                made.feed([StreamChunk(side, offsets[side], part, number * 10**9, number)])
                offsets[side] += len(part)
        made.feed([StreamEnd(10**12, 99, "fin")])
        results.append(made)
    return results[0], results[1]


@pytest.mark.parametrize("name", [pytest.param(path.stem, id=path.stem) for path in sorted(SAMPLES.glob("*.pcap"))])
def test_every_sample_can_be_explained_without_its_secrets(imapids, name):
    outcome = imapids("explain", SAMPLES / f"{name}.pcap")
    assert outcome.code == 0, outcome.err
    assert "Dialogue" in outcome.out
    assert [secret for secret in SECRETS if secret in outcome.out] == []
    assert outcome.out.isascii()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", outcome.out)


def test_the_worst_case_comes_without_being_asked(imapids):
    outcome = imapids(
        "explain", SAMPLES / "genuine-session.pcap", SAMPLES / "reverse-shell.pcap", SAMPLES / "pop3-on-143.pcap"
    )
    assert outcome.out.startswith("not-imap (high confidence): interactive-shell")
    assert re.search(r"^ +4 +0\.000  C +Microsoft Windows.*<-.*\[1\]", outcome.out, re.MULTILINE)


def test_a_session_is_found_by_its_flow_and_by_its_alert(imapids):
    capture = SAMPLES / "ssh-on-143.pcap"
    first = imapids("explain", capture).out
    flow = re.search(r"^flow (\d+)", first, re.MULTILINE)[1]
    alert = re.search(r"alert ([0-9a-f]{16})\)", first)[1]
    others = SAMPLES / "reverse-shell.pcap"
    assert imapids("explain", others, capture, "--flow", flow).out == first
    assert imapids("explain", others, capture, "--alert", alert).out == first


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["--flow", "1"], 3, "no session with flow id 1", id="an unknown flow"),
        pytest.param(["--alert", "0123456789abcdef"], 3, "no alert", id="an unknown alert"),
        pytest.param(["--alert", "0", "--flow", "1"], 2, "give one of them", id="both at once"),
        pytest.param(["-"], 2, "twice", id="standard input"),
    ],
)
def test_what_cannot_be_explained(imapids, arguments, code, says):
    outcome = imapids("explain", SAMPLES / "udp-143.pcap", *arguments)
    assert outcome.code == code
    assert says in outcome.err


DIALOGUES = [
    pytest.param(
        [(SERVER, b"* OK hi\r\n"), (CLIENT, b'a LOGIN "maria" "hunter2"\r\n'), (SERVER, b"a NO hunter2 is wrong\r\n")],
        {},
        ["* OK hi", "a LOGIN [redacted]", "a NO [redacted] is wrong"],
        id="a login, and a server that repeats the password",
    ),
    pytest.param(
        [
            (SERVER, b"* OK hi\r\n"),
            (CLIENT, b"a LOGIN maria {7}\r\n"),
            (SERVER, b"+ go\r\n"),
            (CLIENT, b"hunter2\r\n"),
            (SERVER, b"a OK in\r\n"),
        ],
        {},
        ["* OK hi", "a LOGIN {7}", "+ go", "[7 bytes of a literal]", "", "a OK in"],
        id="a password in a literal",
    ),
    pytest.param(
        [
            (SERVER, b"* OK hi\r\n"),
            (CLIENT, b"a AUTHENTICATE LOGIN\r\n"),
            (SERVER, b"+ UGFzc3dvcmQ6\r\n"),
            (CLIENT, b"aHVudGVyMg==\r\n"),
            (SERVER, b"a OK in\r\n"),
        ],
        {},
        ["* OK hi", "a AUTHENTICATE LOGIN", "+ [SASL challenge: 12 bytes]", "[SASL response: 12 bytes]", "a OK in"],
        id="a SASL exchange",
    ),
    pytest.param(
        [(SERVER, b"+OK\r\n"), (CLIENT, b"USER maria\r\n"), (SERVER, b"+OK\r\n"), (CLIENT, b"PASS hunter2\r\n")],
        {"protocol": "pop3", "verdict": "not-imap"},
        ["+OK", "USER maria", "+OK", "PASS [redacted]"],
        id="POP3",
    ),
]


@pytest.mark.parametrize(("turns", "fields", "expected"), DIALOGUES)
def test_a_dialogue_is_shown_line_by_line_without_secrets(turns, fields, expected):
    whole, _ = transcript(turns, **fields)
    assert [line.text for line in whole.lines] == expected


@pytest.mark.parametrize(("turns", "fields", "expected"), DIALOGUES[:3])
def test_no_cut_of_the_bytes_shows_a_secret(turns, fields, expected):
    _, pieces = transcript(turns, **fields)
    shown = "\n".join(line.text for line in pieces.lines)
    assert [secret for secret in SECRETS if secret in shown] == []
    assert next(line.text for line in pieces.lines if "literal" not in line.text) == expected[0]


@pytest.mark.parametrize(
    ("turns", "shown"),
    [
        pytest.param(
            [
                (SERVER, b"220 ready\r\n"),
                (CLIENT, b"AUTH LOGIN\r\n"),
                (SERVER, b"334 UGFzc3dvcmQ6\r\n"),
                (CLIENT, b"aHVudGVyMg==\r\n"),
            ],
            "[14 bytes that answer a prompt: redacted]",
            id="SMTP AUTH",
        ),
        pytest.param(
            [(SERVER, b"host login: "), (CLIENT, b"maria\r\n"), (SERVER, b"Password: "), (CLIENT, b"hunter2\r\n")],
            "[9 bytes that answer a prompt: redacted]",
            id="a telnet prompt",
        ),
        pytest.param(
            [(CLIENT, b"POST / HTTP/1.1\r\nAuthorization: Basic aHVudGVyMg==\r\n\r\nuser=m&password=hunter2")],
            "Authorization: [redacted]",
            id="HTTP",
        ),
        pytest.param([(CLIENT, b"\x01\x05maria\x07hunter2")], "[user name and password: redacted]", id="SOCKS5"),
    ],
)
def test_other_protocols_lose_their_secrets(turns, shown):
    whole, _ = transcript(turns, protocol="socks5" if turns[0][1][:1] == b"\x01" else "http", verdict="not-imap")
    text = "\n".join(line.text for line in whole.lines)
    assert shown in text
    assert [secret for secret in SECRETS if secret in text] == []


def test_a_long_dialogue_keeps_its_beginning_and_its_end():
    turns = [(SERVER, b"* OK hi\r\n"), *((CLIENT, b"a%d NOOP\r\n" % number) for number in range(5000))]
    whole, _ = transcript(turns)
    assert len(whole.lines) == FIRST_LINES + LAST_LINES
    assert whole.left_out == 5001 - FIRST_LINES - LAST_LINES
    assert whole.lines[-1].text == "a4999 NOOP"


def test_gaps_are_shown():
    made = Transcript(session(), DialogueLimits())
    made.feed([StreamChunk(SERVER, 0, b"* OK hi\r\n", 1, 1), StreamGap(SERVER, 9, 1460, 2, 2)])
    assert made.lines[-1].text == "[1,460 bytes missing: lost]"


def test_binary_is_shown_as_hex():
    whole, _ = transcript([(CLIENT, bytes(range(128, 208)))], protocol=None, verdict="not-imap")
    rows = whole.lines[0].text.split("\n")
    assert rows[0].startswith("80 81 82")
    assert rows[-1] == "... 80 bytes"
