"""A URL as the header `location` takes it: of ASCII alone (RFC 9110, section 10.2.2)."""

from urllib.parse import quote

SIGNS = "/?&=#%:+,;@!$'()*~[]"
"""They mean something in a URL, or stand for others already."""


def location(url: str) -> str:
    """Every other letter, and each line break, is written in percent."""
    return quote(url, safe=SIGNS)
