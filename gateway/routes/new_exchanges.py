"""Finding an exchange that may have ended a moment ago: it may still be in the spool of some gateway process."""

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress

from gateway.errors import NotFound, Unavailable
from gateway.exchanges import repository
from gateway.kit.ids import NANOSECONDS
from gateway.services import Services

LOOK_AGAIN_SECONDS = 0.1
SPARE_SECONDS = 0.5
"""Beyond two rounds of the drain."""
MOST_SECONDS = 10.0
"""For one round of this process's own."""
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
    found = await _in_the_log(sv, project_id, names)
    if not patient or not any(_may_be_new(name) for name in names if name not in found):
        return found
    await _bring(sv)
    deadline = time.monotonic() + 2 * sv.settings.exchanges.drain_seconds + SPARE_SECONDS
    while True:
        found = await _in_the_log(sv, project_id, names)
        missing = [name for name in names if name not in found]
        if time.monotonic() > deadline or not any(_may_be_new(name) for name in missing):
            return found
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _in_the_log(sv: Services, project_id: str, names: Collection[str]) -> dict[str, str]:
    async with sv.database.session() as session:
        return await repository.ids_of(session, project_id, names)


async def _bring(sv: Services) -> None:
    """What calls of this process left is brought to the log at once, also on a busy machine; others do it by themselves."""
    if sv.draining is not None:
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(MOST_SECONDS):
                await sv.draining.drain()


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
