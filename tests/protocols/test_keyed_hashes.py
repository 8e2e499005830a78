"""Secrets are hashed under a key and compared with lists of weak accounts; nothing else of them is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids import kernels
from imapids.protocols.secrets import HASH_DIGITS, SecretHasher, read_accounts

ACCOUNTS = read_accounts([b"# comment", b"", b"Admin:Admin", b"*:123456", b"no colon", b"root:toor "])
HASHER = SecretHasher(b"a key of a run", {"factory": ACCOUNTS})


@pytest.mark.parametrize(("user", "secret", "traits"), [
    pytest.param("bob", "hunter2", [], id="nothing can be said of an ordinary password"),
    pytest.param("bob", "", ["empty"], id="an empty password"),
    pytest.param("bob@example.test", "BOB", ["equal-to-user"], id="the user's name without its domain, in any case"),
    pytest.param("admin", "admin", ["equal-to-user", "default:factory"], id="an account of the list"),
    pytest.param("root@example.test", b"toor", ["default:factory"], id="an account of the list with a domain"),
    pytest.param("alice", "123456", ["default:factory"], id="a password that is weak for everybody"),
    pytest.param("alice", "admin", [], id="a listed password of somebody else"),
])
def test_traits(user: str, secret: str | bytes, traits: list[str]) -> None:
    assert HASHER(user, secret)[1] == traits


def test_the_hash_shows_reuse_under_one_key_only() -> None:
    one, two = HASHER("bob", "hunter2")[0], HASHER("alice", b"hunter2")[0]
    assert one == two
    assert len(one) == HASH_DIGITS
    assert SecretHasher(b"another key")("bob", "hunter2")[0] != one


def test_a_key_of_any_length_is_taken() -> None:
    assert len(SecretHasher(b"k" * 4096)("bob", "hunter2")[0]) == HASH_DIGITS


WORDS = st.one_of(st.binary(max_size=140), st.sampled_from([
    b"", b"admin", b"ADMIN", b"Admin@example.test", b"toor", b"TOOR", b"root", b"123456", b"a" * 128, b"a" * 129]))


@pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")
@pytest.mark.parametrize("key", [pytest.param(b"", id="no key"), pytest.param(b"k" * 200, id="a long key")])
@given(user=WORDS, secret=WORDS)
def test_what_is_compiled_says_the_same_of_secrets_without_traits(key: bytes, user: bytes, secret: bytes) -> None:
    hasher = SecretHasher(key, {"factory": ACCOUNTS})
    hashed, (expected, traits) = hasher.compiled().of(user, secret), hasher(user, secret)
    assert hashed in (expected, None)
    if traits or len(secret) > 128:
        assert hashed is None
    elif not user.lower().startswith(secret.lower()) and secret.lower() not in {b"admin", b"123456", b"toor"}:
        assert hashed == expected
