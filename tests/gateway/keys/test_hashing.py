"""Secrets are stored as keyed hashes."""

import pytest

from gateway.keys.hashing import hash_secret, redact


class TestHash:
    def test_is_the_same_for_text_and_bytes(self) -> None:
        assert hash_secret("sk-x", b"k") == hash_secret(b"sk-x", b"k")
        assert len(hash_secret("sk-x", b"k")) == 32

    def test_depends_on_the_secret_and_on_the_key(self) -> None:
        assert len({hash_secret(s, k) for s in ("a", "b") for k in (b"", b"1", b"2")}) == 6

    def test_takes_a_key_of_any_length(self) -> None:
        assert hash_secret("a", b"k" * 1000) == hash_secret("a", b"k" * 64)


class TestRedact:
    @pytest.mark.parametrize(
        ("secret", "shown"),
        [
            ("sk-svcacct-abcdefghijklmnop", "sk-svcacct-...mnop"),
            ("sk-admin-abcdefghijklmnop", "sk-admin-...mnop"),
            ("sk-admin-a-cdefghijklmnop", "sk-admin-...mnop"),
            ("abcdefghijklmnop", "abc...mnop"),
        ],
    )
    def test_keeps_the_prefix_and_four_characters(self, secret: str, shown: str) -> None:
        assert redact(secret) == shown
