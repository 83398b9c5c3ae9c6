"""Every published adapter is loaded: what a restart of the engine lost comes back."""

import logging

from gateway.db.tables import ModelRow
from gateway.errors import Refusal
from gateway.fine_tuning.models import live_models
from gateway.services import WorkerServices
from gateway.upstreams.engine import Engine

log = logging.getLogger(__name__)


async def reconcile_adapters(wv: WorkerServices, refused: set[str]) -> None:
    """Compare what should be served with what is.

    One adapter that the engine does not take keeps no other from being loaded.

    Args:
        refused: names that the engine did not take in earlier rounds; kept up to date, so that each is logged once.

    Raises:
        Unavailable, UpstreamFailed: the database or the engine is away; the next round tries again.
    """
    if wv.settings.engine.url is None:
        return
    engine = Engine(wv.upstreams, wv.settings.engine.url)
    async with wv.database.session() as session:
        models = await live_models(session)
    served = await engine.models() if models else set[str]()
    for model in models:
        if model.id not in served:
            await _load(wv, engine, model, refused)


async def _load(wv: WorkerServices, engine: Engine, model: ModelRow, refused: set[str]) -> None:
    try:
        await engine.load_adapter(model.id, wv.settings.data_dir / model.adapter_path)
    except Refusal as refusal:
        await engine.health()
        if model.id not in refused:
            log.error("the engine does not take %s: %s", model.id, refusal)
        refused.add(model.id)
    else:
        refused.discard(model.id)
        log.info("loaded %s", model.id)
