"""What SASL messages hold, mechanism by mechanism."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids.protocols.imap_sasl import decode_response, read_exchange

NTLM = (
    b"NTLMSSP\0\x03\0\0\0"
    + bytes(24)
    + b"\x06\0\x06\0\x40\0\0\0"
    + bytes(16)
    + b"\x01\0\0\0"
    + "bob".encode("utf-16-le")
)


@pytest.mark.parametrize(
    ("mechanism", "messages", "user", "secret"),
    [
        pytest.param("PLAIN", [b"\0bob\0hunter2"], b"bob", b"hunter2", id="PLAIN"),
        pytest.param("PLAIN", [b"admin\0bob\0hunter2"], b"bob", b"hunter2", id="PLAIN for somebody else"),
        pytest.param("PLAIN", [b"bob hunter2"], b"", None, id="PLAIN without its NULs"),
        pytest.param("LOGIN", [b"bob", b"hunter2"], b"bob", b"hunter2", id="LOGIN"),
        pytest.param("LOGIN", [b"bob"], b"bob", None, id="LOGIN, cut after the user"),
        pytest.param("CRAM-MD5", [b"bob b913a602c7eda7a495b4e6e7334d3890"], b"bob", None, id="CRAM-MD5"),
        pytest.param(
            "CRAM-MD5", [b"bob smith b913a602c7eda7a495b4e6e7334d3890"], b"bob smith", None, id="CRAM-MD5 with a blank"
        ),
        pytest.param("DIGEST-MD5", [b'realm="x",username="bob",nonce="1"'], b"bob", None, id="DIGEST-MD5"),
        pytest.param("SCRAM-SHA-256", [b"n,,n=bob=2Cjr,r=abc", b"c=biws,r=abc,p=xyz"], b"bob,jr", None, id="SCRAM"),
        pytest.param(
            "XOAUTH2",
            [b"user=bob@example.test\x01auth=Bearer s3cret\x01\x01"],
            b"bob@example.test",
            b"s3cret",
            id="XOAUTH2",
        ),
        pytest.param(
            "OAUTHBEARER",
            [b"n,a=bob@example.test,\x01host=x\x01auth=Bearer s3cret\x01\x01"],
            b"bob@example.test",
            b"s3cret",
            id="OAUTHBEARER",
        ),
        pytest.param("NTLM", [b"NTLMSSP\0\x01\0\0\0", NTLM], b"bob", None, id="NTLM"),
        pytest.param("NTLM", [b"NTLMSSP\0\x03\0\0\0"], b"", None, id="NTLM, cut"),
        pytest.param("EXTERNAL", [b"bob"], b"bob", None, id="EXTERNAL"),
        pytest.param("GSSAPI", [b"`\x82"], b"", None, id="GSSAPI hides all"),
        pytest.param("X-OWN", [b"bob"], b"", None, id="an unknown mechanism"),
        pytest.param("PLAIN", [], b"", None, id="nothing sent"),
    ],
)
def test_credentials(mechanism: str, messages: list[bytes], user: bytes, secret: bytes | None) -> None:
    assert read_exchange(mechanism, messages) == (user, secret)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b64encode(b"bob"), b"bob", id="base64"),
        pytest.param(b"=", b"", id="empty initial response"),
        pytest.param(b"", b"", id="empty line"),
        pytest.param(b"Ym9", b"bo", id="padding left out"),
        pytest.param(b"a1 NOOP", None, id="a command"),
        pytest.param(b"Ym9i=Ym9i", None, id="padding inside"),
        pytest.param(b"A", None, id="one character"),
    ],
)
def test_decode(line: bytes, message: bytes | None) -> None:
    assert decode_response(line) == message


@given(
    st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "NTLM", "XOAUTH2", "OAUTHBEARER"]),
    st.lists(
        st.binary(max_size=90) | st.binary(max_size=60).map(lambda tail: b"NTLMSSP\0\x03\0\0\0" + tail), max_size=3
    ),
)
def test_no_message_raises(mechanism: str, messages: list[bytes]) -> None:
    assert isinstance(read_exchange(mechanism, messages).user, bytes)
