"""Evidence shows first lines of any protocol: what they announce as a secret is left out."""

import pytest

from imapids.protocols.redaction import hide_secrets


@pytest.mark.parametrize(("line", "shown"), [
    pytest.param(b"PASS hunter2", b"PASS [redacted]", id="PASS of POP3, FTP and IRC"),
    pytest.param(b"pass :hunter2 more", b"pass :[redacted]", id="a password of several words"),
    pytest.param(b"AUTH PLAIN AGJvYgBodW50ZXIy", b"AUTH PLAIN [redacted]", id="AUTH of SMTP"),
    pytest.param(b"AUTH hunter2", b"AUTH [redacted]", id="AUTH of Redis"),
    pytest.param(b'CONNECT {"user":"bob","pass":"hunter2"}', b'CONNECT {"user":"bob","pass":"[redacted]',
                 id="CONNECT of NATS"),
    pytest.param(b"Authorization: Bearer hunter2", b"Authorization: Bearer [redacted]", id="a header of HTTP"),
    pytest.param(b"GET /in?user=bob&password=hunter2 HTTP/1.1", b"GET /in?user=bob&password=[redacted]",
                 id="a query with a password"),
    pytest.param(b"GET /in?api_key=hunter2", b"GET /in?api_key=[redacted]", id="a query with a key"),
    pytest.param(b"GET http://bob:hunter2@x/ HTTP/1.1", b"GET http://bob:[redacted]@x/ HTTP/1.1", id="a URL"),
    pytest.param(b"POST /gate.php HTTP/1.1", b"POST /gate.php HTTP/1.1", id="no secret"),
    pytest.param(b"220 ESMTP; no passing through", b"220 ESMTP; no passing through", id="a longer word"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2", b"SSH-2.0-OpenSSH_9.2", id="a banner"),
])
def test_what_a_word_announces_is_hidden(line, shown):
    assert hide_secrets(line) == shown


def test_time_is_linear_in_hostile_text():
    hide_secrets(b"//:" * 20_000)
    hide_secrets(b"pass auth " * 20_000)
    hide_secrets(b"//" + b"a" * 100_000)
