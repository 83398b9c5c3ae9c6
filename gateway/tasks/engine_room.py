"""Room in an engine: for models with weights of their own (ADR 0009), and for adapters when there are more than fit."""

import asyncio
import logging
from datetime import timedelta

from gateway.db.tables import LoadedModelRow, ModelRow
from gateway.errors import Refusal, UpstreamRefused
from gateway.fine_tuning.models import live_models
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.serving import repository
from gateway.serving.failures import NO_ROOM
from gateway.serving.repository import Event, Outcome
from gateway.serving.room import Tenant, leaving
from gateway.tasks.replicas import MIRROR_SECONDS, engine_at, engine_path, watch_of

log = logging.getLogger(__name__)

EVICTED = Event(action="evicted", reason="room for others")
GONE = ("evicted", "unloaded")
"""States of a model that should not be in the engine, though it exists."""


async def load(wv: WorkerServices, url: str, model: ModelRow) -> None:
    """Load a model; one that a whole job made takes the place of a checkpoint where there is no other.

    Raises:
        UpstreamRefused: the engine does not take it, with its reason.
        UpstreamFailed: it is away, or broke over it.
    """
    engine, path = engine_at(wv, url), engine_path(wv.settings, model.adapter_path)
    try:
        await engine.load_adapter(model.id, path)
    except UpstreamRefused as refusal:
        is_final = model.kind == "full" and model.step is None
        if not is_final or NO_ROOM not in str(refusal) or not await _displace_checkpoint(wv, url):
            raise
        await engine.load_adapter(model.id, path)


async def _displace_checkpoint(wv: WorkerServices, url: str) -> bool:
    """Unload the oldest checkpoint that has weights of its own; False when none is loaded."""
    served = await engine_at(wv, url).models()
    async with wv.database.session() as session:
        rows = await live_models(session)
    loaded = [row for row in rows if row.kind == "full" and row.step is not None and row.id in served]
    if not loaded:
        return False
    await evict(wv, url, [loaded[-1].id])
    return True


async def make_room(wv: WorkerServices, url: str, *, newest: str | None = None) -> None:
    """Unload what is worth least while a replica holds more than `engine.max_adapters`.

    A model is loaded first and another one leaves then: so the engine holds one more for a moment, and whoever waits for
    it does not wait for this.

    Args:
        newest: was loaded a moment ago for somebody who waits, and stays.
    """
    room = wv.settings.engine.max_adapters
    if not room:
        return
    async with watch_of(wv, url).evicting:
        async with wv.database.session() as session:
            loaded = await repository.loaded_on(session, url)
            rows = await live_models(session)
        ready = [tenant(row) for row in rows if row.id in loaded and loaded[row.id].state == "ready"]
        if going := leaving(ready, room, now(), newest=newest):
            await evict(wv, url, going)
        elif _others_are_leaving(loaded):
            await asyncio.sleep(MIRROR_SECONDS)


def _others_are_leaving(loaded: dict[str, LoadedModelRow]) -> bool:
    """Another worker has made room, and the engine still holds what it drives out."""
    lately = now() - timedelta(seconds=MIRROR_SECONDS)
    return any(row.state == "evicted" and row.changed_at > lately for row in loaded.values())


async def evict(wv: WorkerServices, url: str, model_ids: list[str]) -> None:
    """First every gateway process learns of it, then the engine: no call meets an engine that has just forgotten."""
    for model_id in model_ids:
        async with wv.database.session() as session:
            await repository.set_loaded(session, model_id, url, Outcome("evicted"), EVICTED)
    await asyncio.sleep(MIRROR_SECONDS)
    for model_id in model_ids:
        await unload_gone(wv, url, model_id)


async def unload_gone(wv: WorkerServices, url: str, model_id: str) -> None:
    """Make the engine forget what should not be there, unless it was called back meanwhile. What fails here, the next round
    of reconcile_adapters does."""
    async with watch_of(wv, url).changing(model_id):
        async with wv.database.session() as session:
            row = await session.get(LoadedModelRow, (model_id, url))
        if row is None or row.state not in GONE:
            return
        try:
            await engine_at(wv, url).unload_adapter(model_id)
            log.info("%s left %s (%s)", model_id, url, row.state)
        except Refusal as refusal:
            log.warning("%s is not unloaded from %s: %s", model_id, url, refusal)


def tenant(row: ModelRow) -> Tenant:
    return Tenant(row.id, row.step is not None, row.created_at, row.last_used_at)
