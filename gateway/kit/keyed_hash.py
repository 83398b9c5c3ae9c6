"""Hashes that only the holder of the secret key can make: of tokens in the database, and of what a browser keeps."""

from hashlib import blake2b

PURPOSE_BYTES = 16


def keyed_hash(value: str, secret_key: str, purpose: str) -> bytes:
    """32 bytes of BLAKE2b keyed with `secret_key` (at most 64 bytes are used, RFC 7693).

    Args:
        purpose: at most 16 ASCII letters; what was hashed for one purpose is no hash of another.
    """
    key = secret_key.encode()[:64]
    return blake2b(value.encode(), key=key, person=purpose.encode(), digest_size=32).digest()


def end_user_hash(named: str, project_id: str, secret_key: str) -> str:
    """A product's user as the database knows them: 32 hex digits, different in every project."""
    return keyed_hash(f"{project_id}:{named}", secret_key, "end user")[:16].hex()
