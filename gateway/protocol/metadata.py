"""OpenAI's `metadata`: what clients tie to an object, and the bounds of it (contract section 0)."""

from gateway.errors import InvalidRequest

PAIRS, KEY, VALUE = 16, 64, 512
"""How many, and characters."""


def check_metadata(metadata: dict[str, str] | None, param: str = "metadata") -> None:
    """At most 16 pairs, keys of 64 and values of 512 characters. Raises InvalidRequest."""
    if metadata and len(metadata) > PAIRS:
        raise InvalidRequest(f"Invalid '{param}': at most {PAIRS} pairs.", param=param)
    for key, value in (metadata or {}).items():
        if len(key) > KEY or len(value) > VALUE:
            limits = f"keys have at most {KEY} and values {VALUE} characters"
            raise InvalidRequest(f"Invalid '{param}': {limits}.", param=param)
