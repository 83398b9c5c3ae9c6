"""Every published adapter is loaded: what a restart of the engine lost comes back."""

import logging

from gateway.errors import UpstreamRefused
from gateway.fine_tuning import repository
from gateway.services import WorkerServices
from gateway.upstreams.engine import Engine

log = logging.getLogger(__name__)


async def reconcile_adapters(wv: WorkerServices) -> None:
    """Compare what should be served with what is. Raises Unavailable or UpstreamFailed; the next round tries again."""
    if wv.settings.engine.url is None:
        return
    engine = Engine(wv.upstreams, wv.settings.engine.url)
    async with wv.database.session() as session:
        models = await repository.live_models(session)
    if not models:
        return
    served = await engine.models()
    for model in models:
        if model.id in served:
            continue
        try:
            await engine.load_adapter(model.id, wv.settings.data_dir / model.adapter_path)
            log.info("loaded %s", model.id)
        except UpstreamRefused as refusal:
            log.error("the engine does not take %s: %s", model.id, refusal)
