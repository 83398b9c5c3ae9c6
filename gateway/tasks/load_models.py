"""Load and unload a model because somebody asks: a call that waits, or an operator.

A model is loaded on every replica that is up, each on its own: one that is called may be called a lot, and each replica
lets go of what it needs least. The call waits for the first.
"""

import asyncio
import logging

from sqlalchemy import func, update

from gateway.db.tables import ModelRow
from gateway.errors import ModelNotFound
from gateway.fine_tuning.models import tuned_model
from gateway.services import WorkerServices
from gateway.serving import repository
from gateway.serving.repository import Event, Outcome
from gateway.tasks.engine_room import unload_gone
from gateway.tasks.place_models import place
from gateway.tasks.replicas import MIRROR_SECONDS

log = logging.getLogger(__name__)


async def load_model(wv: WorkerServices, model_id: str, replica: str, reason: str) -> None:
    """Harmless when repeated, and when two workers do it.

    Args:
        replica: a base URL; "" means every one that is up.
        reason: for the history.

    Raises:
        Unavailable: the database is away.
    """
    async with wv.database.session() as session:
        try:
            model = await tuned_model(session, model_id)
        except ModelNotFound:
            return  # deleted since it was asked for
        states = await repository.replicas(session, wv.settings.engine.urls)
        # now, not when the gateway writes its notes: else the next one to be loaded might drive it out
        await session.execute(update(ModelRow).where(ModelRow.id == model_id).values(last_used_at=func.now()))
    urls = [url for url in wv.settings.engine.urls if url not in states or states[url].state == "up"]
    targets = [url for url in urls if replica in ("", url)]
    await asyncio.gather(*(place(wv, url, model, reason) for url in targets))


async def unload_model(wv: WorkerServices, model_id: str, replica: str, reason: str) -> None:
    """Calls see it at once; it stays unloaded until it is called, or loaded again. Raises Unavailable."""
    async with wv.database.session() as session:
        rows = await repository.of_model(session, model_id)
        targets = [url for url in rows if replica in ("", url)]
        gone = Outcome("unloaded"), Event(action="unloaded", reason=reason)
        await repository.set_loaded_on(session, model_id, dict.fromkeys(targets, gone))
    await asyncio.sleep(MIRROR_SECONDS)
    await asyncio.gather(*(unload_gone(wv, url, model_id) for url in targets))
