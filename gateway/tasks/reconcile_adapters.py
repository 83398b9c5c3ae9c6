"""Each replica serves what the database names: what a restart lost comes back, what was deleted goes.

A round of one replica asks it what it serves and notes that it answered; when neither that nor the tables have changed
since there was nothing left to do, that is all. Of several workers one watches a replica at a time (`replicas.watcher`);
loading for calls and jobs is anybody's work, so nothing here relies on being alone.

With `engine.max_adapters` this loop never loads what left a full engine: it only fills a replica that is new or has lost
what it had. So it cannot undo what calls made of it.
"""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import LoadedModelRow, ModelRow
from gateway.errors import Refusal, Unavailable, UpstreamFailed
from gateway.fine_tuning import claims, models
from gateway.fine_tuning.publish import job_of
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.serving import repository
from gateway.serving.repository import Event
from gateway.serving.room import by_worth
from gateway.serving.watch import Watch
from gateway.tasks import share_device
from gateway.tasks.engine_room import GONE, make_room, tenant, unload_gone
from gateway.tasks.place_models import event_of, is_loading, note, place, probe_again
from gateway.tasks.replicas import engine_at, engine_path, local_path, watch_of

log = logging.getLogger(__name__)

WATCH_SECONDS = 10.0
"""A watcher that gave no sign of life for so long has died."""
RETRY_SECONDS = 30.0
"""What a replica refused is tried again after this long: somebody may have restarted it with other options."""
RESTART = "the replica lost it"
RECONCILE = "the reconcile loop"


@dataclass
class View:
    """What one replica serves, and what the database says of it."""

    served: dict[str, str | None]
    rows: dict[str, ModelRow]
    """Live models, those first that should be loaded first."""
    loaded: dict[str, LoadedModelRow]
    deleted: set[str]
    making: set[str]
    """Jobs whose files may become a model at any moment."""
    unclear: list[str] = field(default_factory=list[str])
    """Adapters of such jobs: the next round looks again."""


async def reconcile_adapters(wv: WorkerServices, *, retry_after: float = RETRY_SECONDS) -> None:
    """A round of every replica, each on its own. Raises what the first of them raised, when all have ended."""
    rounds = (reconcile_replica(wv, url, retry_after=retry_after) for url in wv.settings.engine.urls)
    for outcome in await asyncio.gather(*rounds, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def watch_replica(wv: WorkerServices, url: str, seconds: float) -> None:
    """Rounds of one replica for as long as the worker lives; one that hangs holds no other up."""
    try:
        await wv.background.repeat(lambda: reconcile_replica(wv, url), seconds, f"reconcile {url}")
    finally:
        with suppress(Unavailable):
            async with wv.database.session() as session:
                await repository.stop_watching(session, watch_of(wv, url).watcher)


async def reconcile_replica(wv: WorkerServices, url: str, *, retry_after: float = RETRY_SECONDS) -> None:
    """Compare what should be served with what is.

    One adapter that the engine does not take keeps no other from being loaded; its row says why, for whoever calls it.

    Raises:
        Unavailable, UpstreamFailed: the database or the replica is away; the next round tries again.
    """
    watch = watch_of(wv, url)
    served, state, away = await _look(wv, url)
    async with wv.database.session() as session:
        problem = repository.storable(str(away)) if away else None
        look = await repository.look(session, url, watch.watcher, state=state, problem=problem, seconds=WATCH_SECONDS)
    if look is None:
        return
    if away:
        watch.seen = None
        raise away
    if state == "asleep":
        await _wake_if_nothing_trains(wv, url)
        return
    seen = (look.versions, sorted(served.items(), key=str))
    if watch.seen == seen and time.monotonic() < watch.look_again_at:
        return
    watch.seen = None
    view = await _view(wv, url, served)
    await _unload(wv, url, view)
    await _bring_back(wv, url, view, retry_after=retry_after if look.former_state == "up" else 0.0)
    await make_room(wv, url)
    _rest(watch, view, seen, retry_after)


def _rest(watch: Watch, view: View, seen: object, retry_after: float) -> None:
    """Nothing is left to do until something changes, or a refusal is old."""
    waiting = any(row.state in ("failed", "loading", "lost") for row in view.loaded.values())
    watch.look_again_at = time.monotonic() + (retry_after if waiting else float("inf"))
    watch.seen = None if view.unclear else seen


async def _look(wv: WorkerServices, url: str) -> tuple[dict[str, str | None], str, Refusal | None]:
    """What it serves, its state, and why it is away. It is asked before the database: what a job loads now, it names a
    moment later."""
    engine = engine_at(wv, url)
    try:
        if not share_device.shares(wv):
            return await engine.models(), "up", None
        served, sleeps = await asyncio.gather(engine.models(), engine.is_sleeping())
    except Refusal as refusal:
        return {}, "down", refusal
    if sleeps:
        return served, "asleep", None
    async with wv.database.session() as session:  # it may be about to sleep: it finishes its answers first
        rows = await repository.replicas(session, [url])
        about_to = url in rows and rows[url].state == "asleep" and await claims.any_training(session)
    return served, "asleep" if about_to else "up", None


async def _wake_if_nothing_trains(wv: WorkerServices, url: str) -> None:
    async with wv.database.session() as session:
        if await claims.any_training(session):
            return
    log.warning("%s sleeps although nothing is trained: it is woken", url)
    await share_device.wake_one(wv, url)


async def _view(wv: WorkerServices, url: str, served: dict[str, str | None]) -> View:
    async with wv.database.session() as session:
        view = await _read(session, url, served)
    missing = [name for name, row in view.loaded.items() if row.state == "ready" and name not in served]
    if not missing:
        return view
    served = await engine_at(wv, url).models()  # asked once more, for it may have been loaded since
    async with wv.database.session() as session:
        await repository.set_lost(session, url, [name for name in missing if name not in served], RESTART)
        return await _read(session, url, served)


async def _read(session: AsyncSession, url: str, served: dict[str, str | None]) -> View:
    making = await models.unfinished_jobs(session)
    live = {row.id: row for row in await models.live_models(session)}
    return View(
        served=served,
        rows={each.model: live[each.model] for each in by_worth(map(tenant, live.values()), now())},
        loaded=await repository.loaded_on(session, url),
        deleted=await models.deleted_models(session),
        making=making,
    )


async def _unload(wv: WorkerServices, url: str, view: View) -> None:
    """Deleted, retired, of a job that did not get there, or gone from here although it exists."""
    for name, root in view.served.items():
        path = local_path(wv.settings, root) if root else None
        if path is None:
            continue
        row = view.loaded.get(name)
        if name in view.rows and row is not None and row.state in GONE:
            await unload_gone(wv, url, name)
        elif name in view.deleted or (name not in view.rows and _is_orphan(view, name, path)):
            await _unload_deleted(wv, url, name)
    for name in view.loaded.keys() & view.deleted - view.served.keys():
        async with wv.database.session() as session:
            await repository.forget(session, name, url, Event(action="unloaded", reason="it was deleted"))


def _is_orphan(view: View, name: str, path: Path) -> bool:
    """The job that made it has ended without naming it."""
    if job_of(path) in view.making:
        view.unclear.append(name)
        return False
    return True


async def _unload_deleted(wv: WorkerServices, url: str, name: str) -> None:
    try:
        await engine_at(wv, url).unload_adapter(name)
        log.info("unloaded %s from %s", name, url)
    except Refusal as refusal:
        log.warning("%s is not unloaded from %s: %s", name, url, refusal)


async def _bring_back(wv: WorkerServices, url: str, view: View, *, retry_after: float) -> None:
    """Raises UpstreamFailed: the replica went away meanwhile; the next round goes on."""
    room = wv.settings.engine.max_adapters or len(view.rows)
    room -= sum(row.state == "ready" or is_loading(row) for row in view.loaded.values())
    for name, model in view.rows.items():
        row = view.loaded.get(name)
        if not _is_wanted(row, retry_after):
            continue
        if room <= 0 and name not in view.served:
            continue
        room -= 1
        if name in view.served and await _adopt(wv, url, view, model):
            continue
        is_back = row is not None and row.state == "lost"
        reason, action = (RESTART, "restored") if is_back else (RECONCILE, "loaded")
        outcome = await place(wv, url, model, reason, action=action, wanted=False)
        if outcome.state == "lost" and outcome.problem:
            raise UpstreamFailed(outcome.problem.sentence)


def _is_wanted(row: LoadedModelRow | None, retry_after: float) -> bool:
    if row is None or row.state == "lost":
        return True
    if row.state == "loading":
        return not is_loading(row)
    return row.state == "failed" and row.changed_at <= now() - timedelta(seconds=retry_after)


async def _adopt(wv: WorkerServices, url: str, view: View, model: ModelRow) -> bool:
    """What the replica has already: loaded by a worker that died, by a job that did not wait, or before the replica slept.

    False: it is not what it should be, and was unloaded.
    """
    async with watch_of(wv, url).changing(model.id):
        is_same = view.served[model.id] == str(engine_path(wv.settings, model.adapter_path))
        if is_same and (outcome := await probe_again(wv, url, model)):
            await note(wv, model, url, outcome, event_of(outcome, RECONCILE))
            return True
        await engine_at(wv, url).unload_adapter(model.id)
        return False
