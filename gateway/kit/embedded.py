"""Images, sound and files inside a body: their bytes say nothing about their tokens."""

import re

EMBEDDED_TOKENS = 1_000
"""About an image in full detail."""
_embedded = re.compile(rb'"(?:data:[^",]{0,100};base64,)?[A-Za-z0-9+/]{1000,}={0,2}"')


def apart(body: bytes) -> tuple[int, int]:
    """Bytes of a body without what is embedded in it, and how much is embedded."""
    size, count = len(body), 0
    if size > EMBEDDED_TOKENS:
        for found in _embedded.finditer(body):
            size, count = size - len(found.group()), count + 1
    return size, count
