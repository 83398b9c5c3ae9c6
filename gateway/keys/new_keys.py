"""Keys that another process made a moment ago: whoever is handed one may use it at once, at every process.

A process hears of a new key with its mirrors' next look (gateway/db/mirror.py), and no SDK tries a 401 again.
"""

from collections.abc import Callable

from gateway.db.mirror import Mirrors
from gateway.errors import UnknownKey
from gateway.keys.hashing import PREFIXES
from gateway.keys.ring import ApiKey

_BEGINNINGS = tuple(prefix.encode() for prefix in PREFIXES)


async def look_again(
    mirrors: Mirrors, authenticate: Callable[[bytes | None], ApiKey], authorization: bytes | None, unknown: UnknownKey
) -> ApiKey:
    """The key behind an Authorization header, after the next look.

    Args:
        authenticate: of the key ring.
        unknown: what it raised.

    Raises what `authenticate` does; at once where the secret is none of ours.
    """
    secret = (authorization or b"").partition(b" ")[2].strip()
    if not secret.startswith(_BEGINNINGS):
        raise unknown
    await mirrors.next_look()
    return authenticate(authorization)
