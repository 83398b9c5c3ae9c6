"""Calls that a browser makes for a page of somebody else, while its user is signed in here, are refused.

A cookie travels with every call of a browser, so a call that only a cookie vouches for must prove that our own page made
it: by a token that no other page can read, and by what the browser itself says of the page (OWASP, Cross-Site Request
Forgery Prevention). Calls with an Authorization header need none of it: no browser adds that by itself.
"""

import hmac
from collections.abc import Mapping

from gateway.access.source import Source
from gateway.errors import Forbidden
from gateway.kit.keyed_hash import keyed_hash

CODE = "csrf"
HEADER = "x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def token_of(session_id: str, secret_key: str) -> str:
    """Bound to the session: another's is worth nothing."""
    return keyed_hash(session_id, secret_key, "csrf").hex()


def check(method: str, headers: Mapping[str, str], session_id: str, secret_key: str) -> None:
    """Raises Forbidden, unless the call changes nothing or has the session's token."""
    if method in SAFE:
        return
    expected = token_of(session_id, secret_key)
    if not hmac.compare_digest(headers.get(HEADER, "").encode(), expected.encode()):
        raise Forbidden(
            f"The header {HEADER} is missing or wrong: send csrf_token of GET /v1/sessions/current.", code=CODE
        )


def check_origin(headers: Mapping[str, str], source: Source, url: str, *, needed: bool) -> None:
    """Whether the page that made a call is one of ours.

    Args:
        url: where browsers reach this gateway (settings), if it is set.
        needed: refuse a call that tells nothing of its page; no browser of today sends one that changes something.

    Raises:
        Forbidden: it is not.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None and not needed:
        return
    if site is not None and site not in ("same-origin", "none"):
        raise Forbidden("This call came from a page of another site.", code=CODE)
    if origin is not None and not _is_ours(origin, source, url):
        raise Forbidden("This call came from a page of another origin; behind a proxy, set [console] url.", code=CODE)
    if site is None and origin is None:
        raise Forbidden("The header Origin is missing.", code=CODE)


def _is_ours(origin: str, source: Source, url: str) -> bool:
    """Without `url`, the scheme cannot be known behind a proxy that is not trusted: then https is good for http."""
    if url:
        return origin == url.rstrip("/")
    return origin == source.origin or origin == f"https://{source.host}"
