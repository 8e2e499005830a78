"""Habits by which programs that sign in are known, and those of honest ones that must not be taken for theirs."""

from __future__ import annotations

import pytest

from imapids.protocols.guessing_tools import PROGRAMS, SignIn, program_of

QUOTED, ATOMS, MIXED = "LOGIN quoted quoted", "LOGIN atom atom", "LOGIN atom quoted"


@pytest.mark.parametrize(("sign_in", "program"), [
    # as they were captured
    pytest.param(SignIn("gerg", QUOTED, 5), "medusa", id="Medusa gives every command the same tag"),
    pytest.param(SignIn("01", ATOMS, 7), "ncrack", id="so does Ncrack"),
    pytest.param(SignIn("3", QUOTED, 2), "hydra", id="Hydra asks for capabilities, then tries; the second try"),
    pytest.param(SignIn("4", "AUTHENTICATE", 3), "hydra", id="Hydra's third try of a connection"),
    pytest.param(SignIn("A0002", QUOTED, 2), "nmap", id="the second try of Nmap's imap-brute"),
    pytest.param(SignIn("KDPL1", MIXED, 1), "imaplib", id="Python's imaplib, which Patator uses"),
    pytest.param(SignIn("ODEE3", "AUTHENTICATE", 1), "imaplib", id="OfflineIMAP: its heir"),
    pytest.param(SignIn("A002", "AUTHENTICATE", 1, True), "curl", id="curl"),
    pytest.param(SignIn("00000000", "AUTHENTICATE", 1), "c-client", id="PHP's imap_open, Alpine"),
    pytest.param(SignIn("A0001", "AUTHENTICATE", 1, True), "roundcube", id="Roundcube"),
    pytest.param(SignIn("RUBY0001", ATOMS, 1), "net-imap", id="Ruby"),
    pytest.param(SignIn("1001", QUOTED, 1), "imapfilter", id="imapfilter"),
    pytest.param(SignIn("1", ATOMS, 1), "mail-imapclient", id="Perl's Mail::IMAPClient"),
    pytest.param(SignIn("0", MIXED, 1), "net-imap-simple", id="Perl's Net::IMAP::Simple"),
    pytest.param(SignIn("2", "authenticate", 1), "thunderbird", id="Thunderbird: decimal tags, small letters"),
    # what is nobody's
    pytest.param(SignIn("A0001", QUOTED, 1), "", id="fetchmail, or the first try of Nmap"),
    pytest.param(SignIn("2", "login quoted quoted", 1), "thunderbird", id="Thunderbird counts as Hydra does"),
    pytest.param(SignIn("2", QUOTED, 1), "", id="mbsync, or the first try of Hydra"),
    pytest.param(SignIn("1", QUOTED, 1), "", id="mbsync that knows the capabilities, Dovecot as a client"),
    pytest.param(SignIn("3", QUOTED, 1), "", id="Hydra sends one command before the first try"),
    pytest.param(SignIn("5", QUOTED, 4), "", id="Hydra tries three times"),
    pytest.param(SignIn("01", QUOTED, 1), "", id="Ncrack writes no quotes"),
    pytest.param(SignIn("gerg1", QUOTED, 1), "", id="a tag that only begins like Medusa's"),
    pytest.param(SignIn("a001", QUOTED, 1), "", id="many mail programs"),
    pytest.param(SignIn("a0001", QUOTED, 1), "", id="mutt"),
    pytest.param(SignIn("KZPL1", MIXED, 1), "", id="a letter that imaplib never uses"),
    pytest.param(SignIn("100", QUOTED, 99), "", id="more commands than a guessing program sends"),
    pytest.param(SignIn("", "", 1), "", id="no tag"),
    pytest.param(SignIn("9" * 64, QUOTED, 1), "", id="a long tag"),
    pytest.param(SignIn("\\xb2", QUOTED, 1), "", id="an escaped byte"),
    pytest.param(SignIn("\u0662", QUOTED, 1), "", id="a digit of another script"),
])
def test_habits(sign_in: SignIn, program: str) -> None:
    assert program_of(sign_in) == program
    assert program in (*PROGRAMS, "")
