"""Secrets of API keys are stored as keyed hashes: a stolen database cannot be used to call, nor be searched offline."""

from hashlib import blake2b

PROJECT_PREFIX = "sk-svcacct-"
"""Of a service account's key."""
USER_PREFIX = "sk-proj-"
"""Of a person's."""
ADMIN_PREFIX = "sk-admin-"
PREFIXES = (PROJECT_PREFIX, USER_PREFIX, ADMIN_PREFIX)


def hash_secret(secret: str | bytes, secret_key: bytes) -> bytes:
    """32 bytes of BLAKE2b keyed with `secret_key` (at most 64 bytes are used, RFC 7693).

    A fast hash is right here: the secrets are 256 random bits, so there is nothing to guess.
    """
    value = secret.encode() if isinstance(secret, str) else secret
    return blake2b(value, key=secret_key[:64], digest_size=32).digest()


def redact(secret: str) -> str:
    """What may be shown again: the prefix, if it is one of ours, and the last four characters."""
    prefix = next(filter(secret.startswith, PREFIXES), secret[:3])
    return f"{prefix}...{secret[-4:]}"
