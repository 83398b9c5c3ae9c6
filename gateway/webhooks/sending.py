"""One try of one delivery over HTTP."""

import re
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from gateway.kit.clock import now, unix
from gateway.webhooks import signing
from gateway.webhooks.deliveries import Answer

TIMEOUT = aiohttp.ClientTimeout(total=10.0)
KEPT_CHARACTERS = 300
"""Of an answer that is not 2xx."""
ORDER = ("id", "object", "type", "created_at", "data")
"""As OpenAI writes an event; the database does not keep the order of keys."""
_unprintable = re.compile(r"[^\x20-\x7e\u00a0-\uffff]+")


async def send(url: str, secrets: Sequence[str], event: dict[str, Any]) -> Answer:
    """POST `event`, signed. 2xx means that it was taken; a redirect is not followed. Never raises for the receiver's
    faults."""
    body = msgspec.json.encode({name: event[name] for name in ORDER})
    headers = signing.headers(secrets, event["id"], unix(now()), body)
    headers |= {"content-type": "application/json", "user-agent": "Tuneway-Webhooks/1", "accept-encoding": "identity"}
    try:
        async with (
            aiohttp.ClientSession(
                timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
            ) as client,
            client.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return await _answer(response)
    except TimeoutError:
        return Answer(None, f"It did not answer within {TIMEOUT.total:g} seconds.")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(None, f"It cannot be reached: {_shown(str(error)) or type(error).__name__}")


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(status, None)
    if 300 <= status < 400:
        return Answer(status, f"It answered {status}, and redirects are not followed: give the URL that answers.")
    text = (await response.content.read(KEPT_CHARACTERS)).decode(errors="replace")
    return Answer(status, f"It answered {status}: {_shown(text)}" if text.strip() else f"It answered {status}.")


def _shown(text: str) -> str:
    return _unprintable.sub(" ", text).strip()[:KEPT_CHARACTERS]
