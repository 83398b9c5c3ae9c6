"""Finding an exchange that may have ended a moment ago: it may still be in the spool of some gateway process."""

import asyncio
import time
from collections.abc import Collection

from gateway.errors import NotFound
from gateway.exchanges import repository
from gateway.kit.ids import NANOSECONDS
from gateway.services import Services

LOOK_AGAIN_SECONDS = 0.1
SPARE_SECONDS = 0.5
"""Beyond two rounds of the drain."""
NEW_SECONDS = 60
"""A call with an id of its own that began longer ago, and is not in the log, is not looked for again."""


async def exchanges_named(
    sv: Services, project_id: str, names: Collection[str], *, patient: bool = True
) -> dict[str, str]:
    """Ids of exchanges by what they were named: that id, or the one of the reply (`chatcmpl-...`).

    Looks again for as long as an exchange that ended just now may take to get there. What is then not found is left out.

    Args:
        patient: False looks once.
    """
    deadline = time.monotonic() + 2 * sv.settings.exchanges.drain_seconds + SPARE_SECONDS
    while True:
        async with sv.database.session() as session:
            found = await repository.ids_of(session, project_id, names)
        missing = [name for name in names if name not in found]
        if not patient or time.monotonic() > deadline or not any(_may_be_new(name) for name in missing):
            return found
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def not_in_the_log(name: str, param: str) -> NotFound:
    return NotFound(
        f"No exchange '{name[:100]}' in this project. Name it by the `id` of its completion or by the `x-request-id` of the "
        "call. An exchange appears within a second of its end; one of a key with `logging: off` never does.",
        param=param,
    )


def began_at(exchange_id: str) -> float | None:
    """Unix seconds, of an id as `new_request_id` makes them; None for any other text."""
    digits = exchange_id.removeprefix("req_")
    if len(exchange_id) != len("req_") + 32 or len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        return None
    return int(digits[:16], 16) / NANOSECONDS


def _may_be_new(name: str) -> bool:
    began = began_at(name)
    return began is None or time.time() - began < NEW_SECONDS
