"""Secrets at rest: AES-256-GCM, bound to the place where they are stored.

A sealed value is

    version (1 byte, 1) | id of the key (8) | nonce (12, random) | ciphertext | tag (16)

and everything before the ciphertext, and its place (table, row, field), is authenticated with it: a value that was changed,
or copied into another row, does not open. The layout follows NIST SP 800-38D; with random nonces one key is good for
2^32 values.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES, KEY_ID_BYTES, NONCE_BYTES, TAG_BYTES = 32, 8, 12, 16
HEAD_BYTES = len(VERSION) + KEY_ID_BYTES
HEX_DIGITS = 2 * KEY_BYTES


class SealingError(Exception):
    """A secret cannot be sealed or opened; the message is a sentence without the secret."""


class NoKey(SealingError):
    """There is no key to seal with."""

    def __init__(self) -> None:
        super().__init__("there is no encryption key")


class CannotOpen(SealingError):
    """A sealed value is of another key, was changed, or belongs to another place."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a sealed value belongs to."""

    table: str
    row: str
    field: str

    def __bytes__(self) -> bytes:
        """Each part behind its length, so that no two places are written alike."""
        parts = [part.encode() for part in (self.table, self.row, self.field)]
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Sealer:
    """The encryption keys of a process: the first seals, every one opens."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        """
        Args:
            keys: of 32 bytes each, as `read_keys` gives them.
        """
        self._keys = {key_id(key): key for key in keys}
        self._first = next(iter(self._keys), None)

    def __bool__(self) -> bool:
        """Whether there is a key to seal with."""
        return self._first is not None

    def seal(self, secret: str, place: Place) -> bytes:
        """`secret` as bytes that only `open` with the same key and place can read. Raises NoKey."""
        if self._first is None:
            raise NoKey
        head, nonce = VERSION + self._first, os.urandom(NONCE_BYTES)
        return head + nonce + _cipher(self._keys[self._first]).encrypt(nonce, secret.encode(), head + bytes(place))

    def open(self, sealed: bytes, place: Place) -> str:
        """What was sealed. Raises CannotOpen."""
        head, nonce, rest = sealed[:HEAD_BYTES], sealed[HEAD_BYTES:][:NONCE_BYTES], sealed[HEAD_BYTES + NONCE_BYTES :]
        if head[:1] != VERSION or len(rest) < TAG_BYTES:
            raise CannotOpen("it is not a value that this version has sealed")
        key = self._keys.get(head[1:])
        if key is None:
            raise CannotOpen(
                f"it was sealed with the key {head[1:].hex()}, which is not among the encryption keys"
                if self._keys
                else "there is no encryption key"
            )
        from cryptography.exceptions import InvalidTag  # as in _cipher

        try:
            return _cipher(key).decrypt(nonce, rest, head + bytes(place)).decode()
        except InvalidTag:
            raise CannotOpen("it was changed, or moved here from another place") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the key that seals now."""
        return self._first is not None and sealed[:HEAD_BYTES] == VERSION + self._first


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 6 MB: whoever only reads settings does without

    return AESGCM(key)


def key_id(key: bytes) -> bytes:
    """8 bytes that name a key and tell nothing else about it."""
    return hashlib.sha256(b"tuneway encryption key id\0" + key).digest()[:KEY_ID_BYTES]


def read_keys(text: str) -> tuple[bytes, ...]:
    """Keys as an operator writes them: 32 bytes each, base64 or hexadecimal, with spaces, commas or line breaks between.

    Raises:
        ValueError: one is something else; the message says which by its number and never shows it.
    """
    words = [word for word in re.split(r"[\s,]+", text) if word]
    return tuple(_read_key(word, number) for number, word in enumerate(words, 1))


def _read_key(word: str, number: int) -> bytes:
    try:
        key = bytes.fromhex(word) if len(word) == HEX_DIGITS else _from_base64(word)
    except (ValueError, binascii.Error):
        raise ValueError(f"key {number} is neither base64 nor hexadecimal; {HOW_TO}") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"key {number} has {len(key)} bytes where {KEY_BYTES} are needed; {HOW_TO}")
    return key


HOW_TO = "`openssl rand -base64 32` makes one"


def _from_base64(word: str) -> bytes:
    """Both alphabets of RFC 4648, with and without padding."""
    plain = word.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
