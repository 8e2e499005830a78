"""Lines that are no known command: what may be a secret is left out."""

import pytest

from imapids.parse.imap_commands import redact


@pytest.mark.parametrize(("line", "shown"), [
    pytest.param(b"PASS hunter2", "PASS [redacted]", id="a POP3 command"),
    pytest.param(b"Authorization: Basic aHVudGVyMg==", "Authorization: [redacted]", id="an HTTP header"),
    pytest.param(b"password=hunter2", "[redacted]", id="a form field"),
    pytest.param(b"user=maria&password=hunter2&x=1", "[redacted]", id="a form"),
    pytest.param(b'{"password": "hunter2"}', "[redacted]", id="JSON"),
    pytest.param(b"passwordhunter2", "[redacted]", id="one long word"),
    pytest.param(b"GET / HTTP/1.1", "GET / HTTP/1.1", id="a request line"),
])
def test_secrets_are_left_out(line, shown):
    assert redact(line, 200) == shown
