"""Sends webhooks what is due for them, each at its own pace."""

import logging
from collections import Counter

from gateway.errors import Unavailable
from gateway.kit.clock import now
from gateway.kit.sealing import CannotOpen
from gateway.services import WorkerServices
from gateway.webhooks import deliveries
from gateway.webhooks.deliveries import Answer, Claim
from gateway.webhooks.repository import secrets_of
from gateway.webhooks.sending import send

log = logging.getLogger(__name__)


class Deliveries:
    """A worker's: what it tries now."""

    def __init__(self, wv: WorkerServices) -> None:
        self._wv = wv
        self._under_way: Counter[str] = Counter()

    async def begin(self) -> None:
        """Start what is due and wait for none of it. Raises Unavailable; the next round goes on."""
        async with self._wv.database.session() as session:
            claimed = await deliveries.claim(session, +self._under_way)
        for each in claimed:
            self._under_way[each.webhook.id] += 1
            self._wv.background.spawn(self._deliver(each), f"deliver {each.id} to webhook {each.webhook.id}")

    async def remove_old(self) -> None:
        """Raises Unavailable."""
        async with self._wv.database.session() as session:
            await deliveries.remove_old(session)

    async def _deliver(self, claimed: Claim) -> None:
        try:
            answer = await self._try(claimed)
            if answer.error is not None:
                log.warning("webhook %s did not take %s: %s", claimed.webhook.id, claimed.event_id, answer.error)
            async with self._wv.database.session() as session:
                await deliveries.record(session, claimed, answer)
        except Unavailable:
            log.warning("what came of %s is not recorded: it is tried again", claimed.id)
        finally:
            self._under_way[claimed.webhook.id] -= 1

    async def _try(self, claimed: Claim) -> Answer:
        try:
            secrets = secrets_of(claimed.webhook, self._wv.sealer, now())
        except CannotOpen as error:
            return Answer(None, f"Its signing secret cannot be opened: {error}.")
        return await send(claimed.webhook.url, secrets, claimed.body)
