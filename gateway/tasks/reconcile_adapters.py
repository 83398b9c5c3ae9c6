"""The engine serves what the database names: what a restart lost comes back, what was deleted goes."""

import logging
from pathlib import Path

from gateway.db.tables import ModelRow
from gateway.errors import Refusal, Unavailable
from gateway.fine_tuning import models
from gateway.fine_tuning.publish import DIRECTORY, job_of
from gateway.fine_tuning.repository import storable
from gateway.services import WorkerServices
from gateway.tasks import engine_room
from gateway.upstreams.engine import Engine

log = logging.getLogger(__name__)


async def reconcile_adapters(wv: WorkerServices, refused: set[str]) -> None:
    """Compare what should be served with what is.

    One adapter that the engine does not take keeps no other from being loaded; its row says why, for whoever calls it.

    Args:
        refused: names that the engine did not take in earlier rounds; kept up to date, so that each is logged once.

    Raises:
        Unavailable, UpstreamFailed: the database or the engine is away; the next round tries again.
    """
    if wv.settings.engine.url is None or not await _any_model(wv):
        return
    engine = Engine(wv.upstreams, wv.settings.engine.url)
    served = await engine.models()  # before the database is asked: what a job loads now, it names a moment later
    async with wv.database.session() as session:
        making = await models.unfinished_jobs(session)
        rows = await models.live_models(session)
        deleted = await models.deleted_models(session)
    nameless = served.keys() - {row.id for row in rows} - deleted
    ours = {name: Path(root) for name, root in served.items() if root and _is_ours(wv, root)}
    for name, path in ours.items():
        if name in deleted or (name in nameless and job_of(path) not in making):
            await _unload(engine, name)
    for row in rows:
        if row.id not in served:
            await _load(wv, engine, row, refused)
        elif row.problem:
            await _tell(wv, row, None)


async def _any_model(wv: WorkerServices) -> bool:
    async with wv.database.session() as session:
        return await models.any_model(session)


def _is_ours(wv: WorkerServices, root: str) -> bool:
    """An engine may serve adapters of others, too."""
    return wv.settings.data_dir / DIRECTORY in Path(root).parents


async def _unload(engine: Engine, name: str) -> None:
    """Deleted, retired, or of a job that did not get there."""
    try:
        await engine.unload_adapter(name)
        log.info("unloaded %s", name)
    except Refusal as refusal:
        log.warning("%s is not unloaded: %s", name, refusal)


async def _load(wv: WorkerServices, engine: Engine, row: ModelRow, refused: set[str]) -> None:
    path = wv.settings.data_dir / row.adapter_path
    try:
        await engine_room.load(wv, engine, row)
    except Unavailable:
        raise
    except Refusal as refusal:
        await engine.health()
        problem = (
            str(refusal) if path.is_dir() else "Its files are gone: restore them from a backup, or delete the model."
        )
        if row.id not in refused:
            log.error("the engine does not take %s: %s", row.id, problem)
        refused.add(row.id)
        await _tell(wv, row, problem)
    else:
        refused.discard(row.id)
        log.info("loaded %s", row.id)
        await _tell(wv, row, None)


async def _tell(wv: WorkerServices, row: ModelRow, problem: str | None) -> None:
    async with wv.database.session() as session:
        await models.set_problem(session, row, storable(problem) if problem else None)
