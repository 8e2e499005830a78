"""What a written indicator means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.intel.values import Value, address_number, classify, endpoint, refang, url

JA4 = "t13d1812ip_85036bcba153_d41ae481755e"


@pytest.mark.parametrize(("text", "kind", "shown"), [
    pytest.param("192.0.2.7", "address", "192.0.2.7", id="an IPv4 address"),
    pytest.param(" 192.0.2[.]7 ", "address", "192.0.2.7", id="a defanged address"),
    pytest.param("192(.)0[.]2{.}7", "address", "192.0.2.7", id="every kind of bracket"),
    pytest.param("192[dot]0[DOT]2.7", "address", "192.0.2.7", id="the word dot"),
    pytest.param("192.0.2.7/32", "address", "192.0.2.7", id="a network of one address"),
    pytest.param("198.51.100.77/24", "network", "198.51.100.0/24", id="a network with host bits set"),
    pytest.param("192.0.2.7:143", "endpoint", "192.0.2.7:143", id="an address and a port"),
    pytest.param("192.0.2[.]7[:]143", "endpoint", "192.0.2.7:143", id="a defanged colon"),
    pytest.param("2001:DB8::1", "address", "2001:db8::1", id="an IPv6 address in capitals"),
    pytest.param("2001:db8:ffff::/32", "network", "2001:db8::/32", id="an IPv6 network with host bits set"),
    pytest.param("[2001:db8::1]:143", "endpoint", "[2001:db8::1]:143", id="an IPv6 endpoint"),
    pytest.param("::ffff:192.0.2.1", "address", "192.0.2.1", id="an IPv4-mapped address is the IPv4 one"),
    pytest.param("Mail.Example.COM.", "domain", "mail.example.com", id="a name in capitals with a final dot"),
    pytest.param("*.example.com", "domain", "example.com", id="a wildcard is the name itself"),
    pytest.param("bad[.]example", "domain", "bad.example", id="a defanged name"),
    pytest.param("b\u00fccher.example", "domain", "xn--bcher-kva.example", id="a name beyond ASCII"),
    pytest.param("mail.example.com:143", "domain", "mail.example.com", id="the port of a name is left out"),
    pytest.param("hxxp://bad[.]example/", "domain", "bad.example", id="a defanged URL without a path"),
    pytest.param("hXXps[://]192.0.2[.]7:8443/x", "endpoint", "192.0.2.7:8443", id="a URL with an address and a port"),
    pytest.param("http://192.0.2.7/gate.php", "address", "192.0.2.7", id="a URL with an address"),
    pytest.param("ja3:" + "0a" * 16, "ja3", "0a" * 16, id="a JA3 that says so"),
    pytest.param(JA4, "ja4", JA4, id="a JA4 is known by its form"),
    pytest.param("sha1:" + "AB" * 20, "certificate", "ab" * 20, id="a certificate's SHA-1"),
    pytest.param("cert:" + ":".join(["ab"] * 32), "certificate", "ab" * 32, id="a certificate's SHA-256 with colons"),
    pytest.param("user:Bob", "user", "bob", id="a user name"),
    pytest.param("bob[at]bad.example", "user", "bob@bad.example", id="a defanged mail address"),
])
def test_a_value_is_recognised(text: str, kind: str, shown: str) -> None:
    value = classify(text)
    assert isinstance(value, Value)
    assert (value.kind, value.text) == (kind, shown)


@pytest.mark.parametrize(("text", "reason"), [
    pytest.param("300.1.1.1", "bad-domain", id="an octet above 255"),
    pytest.param("010.1.1.1", "bad-domain", id="an octet with a leading zero is ambiguous"),
    pytest.param("0.0.0.0/0", "network-too-wide", id="all of IPv4"),
    pytest.param("::/0", "network-too-wide", id="all of IPv6"),
    pytest.param("10.0.0.0/33", "bad-network", id="a prefix beyond 32"),
    pytest.param("192.0.2.7:99999", "bad-port", id="a port beyond 65535"),
    pytest.param("192.0.2.7:0", "bad-port", id="port 0"),
    pytest.param("com", "not-an-indicator", id="a top-level domain"),
    pytest.param("http://files.example/a/b.exe", "url-with-path", id="a path on a named host"),
    pytest.param("d41d8cd98f00b204e9800998ecf8427e", "file-hash", id="a digest that nobody explains"),
    pytest.param("ja3:xyz", "bad-ja3", id="no JA3"),
    pytest.param("x" * 5_000, "too-long", id="a long line"),
    pytest.param("a" * 300 + ".example", "bad-domain", id="a label beyond 63"),
    pytest.param("", "not-an-indicator", id="nothing"),
    pytest.param("user:", "bad-user", id="a kind without a value"),
    pytest.param("http://[::1", "bad-url", id="half a URL"),
])
def test_what_is_no_indicator_has_a_reason(text: str, reason: str) -> None:
    assert classify(text) == reason


def test_bare_digests_are_what_the_file_says() -> None:
    assert classify("0a" * 16, "ja3") == Value("ja3", "0a" * 16, "0a" * 16)
    assert classify("0a" * 20, "certificate") == Value("certificate", "0a" * 20, "0a" * 20)
    assert classify("0a" * 20, "ja3") == "file-hash"


def test_an_endpoint_needs_an_address() -> None:
    assert endpoint("10.0.0.0/8", "143") == "network-with-port"
    assert isinstance(endpoint("2001:db8::5", "143"), Value)
    assert url("no url at all") == "bad-url"


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=80), st.text("0123456789abcdef.:/[]()@xhtp-_*", max_size=60)))
def test_no_text_raises_and_every_value_is_safe(text: str) -> None:
    for hashes in ("", "ja3", "certificate"):
        value = classify(text, hashes)
        shown = value.text if isinstance(value, Value) else value
        assert shown.isascii()
        assert shown.isprintable()


@settings(max_examples=80, deadline=None)
@given(st.ip_addresses())
def test_defanging_changes_nothing(address: object) -> None:
    plain = str(address)
    if "%" in plain:
        return
    value = classify(plain)
    assert classify(plain.replace(".", "[.]").replace(":", "[:]")) == value
    assert refang(plain) == plain
    assert isinstance(value, Value)
    assert address_number(value.text) is not None
