"""Loading into an engine that has room for only so many models with weights of their own (ADR 0009)."""

import logging

from gateway.db.tables import ModelRow
from gateway.errors import UpstreamRefused
from gateway.fine_tuning.models import live_models
from gateway.services import WorkerServices
from gateway.upstreams.engine import Engine

log = logging.getLogger(__name__)

NO_ROOM = "--max-models"
"""The embedded engine names its setting when it is full (trainer/engine/weights.py)."""


async def load(wv: WorkerServices, engine: Engine, model: ModelRow) -> None:
    """Load a model; one that a whole job made takes the place of a checkpoint where there is no other.

    Raises:
        UpstreamRefused: the engine does not take it, with its reason.
        UpstreamFailed: it is away, or broke over it.
    """
    path = wv.settings.data_dir / model.adapter_path
    try:
        await engine.load_adapter(model.id, path)
    except UpstreamRefused as refusal:
        is_final = model.kind == "full" and model.step is None
        if not is_final or NO_ROOM not in str(refusal) or not await _make_room(wv, engine):
            raise
        await engine.load_adapter(model.id, path)


async def _make_room(wv: WorkerServices, engine: Engine) -> bool:
    """Unload the oldest checkpoint that has weights of its own; False when none is loaded."""
    served = await engine.models()
    async with wv.database.session() as session:
        rows = await live_models(session)
    loaded = [row for row in rows if row.kind == "full" and row.step is not None and row.id in served]
    if not loaded:
        return False
    await engine.unload_adapter(loaded[-1].id)
    log.info("unloaded %s to make room", loaded[-1].id)
    return True
