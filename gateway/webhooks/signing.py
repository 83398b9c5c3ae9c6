"""Signatures of deliveries, as https://www.standardwebhooks.com wants them and OpenAI's SDKs verify them.

webhook-id          evt_...; the same at each try, for receivers that keep apart what they have seen
webhook-timestamp   Unix seconds of this try; SDKs refuse one that is five minutes off
webhook-signature   v1,BASE64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY"; several, with spaces between, while two secrets hold
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
HINT = 4


def new_secret() -> str:
    """`whsec_` and 256 random bits in base64."""
    return PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def hint_of(secret: str) -> str:
    """What of a secret may be shown."""
    return f"{PREFIX}...{secret.rstrip('=')[-HINT:]}"


def headers(secrets: Sequence[str], event_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The three headers of one try, signed with each of the secrets."""
    signed = b"%s.%d.%s" % (event_id.encode(), seconds, body)
    signatures = (hmac.new(_key(secret), signed, hashlib.sha256).digest() for secret in secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))
