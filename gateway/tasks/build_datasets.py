"""Builds the versions of datasets that wait for it, one at a time in a worker.

A worker may be killed at any moment: its lease runs out, and another begins anew. What a version says (its files, its rows,
its report) becomes visible in one transaction, or not at all.
"""

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any

import msgspec

from gateway.building import means_of
from gateway.datasets import versions
from gateway.datasets.building.build import Order, build
from gateway.datasets.building.grounds import PLACE
from gateway.datasets.building.reading import Snapshot
from gateway.datasets.building.workplace import Workplace, remove_left
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.validation import Interrupted
from gateway.errors import Refusal, Unavailable
from gateway.kit.clock import now
from gateway.kit.keyed_hash import keyed_hash
from gateway.protocol.dataset_versions import Failure
from gateway.protocol.recipes import Recipe
from gateway.services import WorkerServices
from gateway.tasks.dataset_suites import bring_suites
from gateway.tasks.store_datasets import Anew, Held, discard_left, store_dataset

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
POLL_SECONDS = 1.0


async def build_datasets(wv: WorkerServices) -> None:
    """Build everything that waits, the oldest first. Raises Unavailable; the next round goes on."""
    while (held := await _claim(wv)) is not None:
        if held.tries > versions.TRIES:
            await discard_left(wv, held)
            message = f"Building it ended its worker {versions.TRIES} times. Narrow the recipe, or give the worker more memory."
            await _fail(wv, held, Failure(code="worker_died", message=message))
        else:
            await _hold(wv, held)


async def remove_left_datasets(wv: WorkerServices) -> None:
    """What builds left on disk whose worker died."""
    await asyncio.to_thread(remove_left, wv.settings.data_dir / PLACE)


async def _claim(wv: WorkerServices) -> Held | None:
    holder = secrets.token_hex(8)
    async with wv.database.session() as session:
        row = await versions.claim(session, holder, LEASE_SECONDS, wv.settings.worker.dataset_wait_seconds)
    return Held(row, holder, versions.tries_of(row), now()) if row is not None else None


async def _hold(wv: WorkerServices, held: Held) -> None:
    """Build it for as long as it is ours; a worker that stops gives it back."""
    work = asyncio.ensure_future(_attempt(wv, held))
    keeping = asyncio.ensure_future(_keep(wv, held))
    try:
        await asyncio.wait({work, keeping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (keeping, work):
            task.cancel()
        await asyncio.wait({work, keeping})
        if work.cancelled() or work.exception() is not None:
            await asyncio.shield(_give_back(wv, held))
    if not work.cancelled():
        work.result()


async def _keep(wv: WorkerServices, held: Held) -> None:
    """Extend the lease; returns when it is lost."""
    clock = asyncio.get_running_loop().time
    runs_out = clock() + LEASE_SECONDS
    while clock() < runs_out:
        await asyncio.sleep(POLL_SECONDS)
        asked = clock()
        try:
            async with wv.database.session() as session:
                if not await versions.extend(
                    session, held.row.id, held.holder, LEASE_SECONDS, held.progress, held.tries
                ):
                    return
            runs_out = asked + LEASE_SECONDS
        except Unavailable:
            log.warning("the lease of %s cannot be extended right now", held.row.id)


async def _give_back(wv: WorkerServices, held: Held) -> None:
    with suppress(Unavailable):  # then it runs out on its own
        async with wv.database.session() as session:
            await versions.give_back(session, held.row.id, held.holder, held.tries)


async def _fail(wv: WorkerServices, held: Held, failure: Failure, **values: Any) -> None:
    async with wv.database.session() as session:
        await versions.fail(session, held.row.id, held.holder, failure, **values)
    log.warning("version %s of dataset %s failed: %s", held.row.number, held.row.dataset_id, failure.message)


async def _attempt(wv: WorkerServices, held: Held) -> None:
    """Build and store it, or tell why not. Raises Unavailable."""
    await discard_left(wv, held)
    try:
        while not await _is_stored(wv, held):
            held.anew += 1
            held.begun_at = now()
    except Interrupted:
        await _give_back(wv, held)
    except Unavailable:
        raise
    except Refusal as refused:
        await _fail(wv, held, Failure(code=refused.code or "invalid_request", message=str(refused)))
    except Exception:
        log.exception("building %s broke", held.row.id)
        message = "The dataset could not be built because of an internal error; create a new version."
        await _fail(wv, held, Failure(code="server_error", message=message))


async def _is_stored(wv: WorkerServices, held: Held) -> bool:
    """Build it once, and store it or tell that nothing is left. False: something in it was deleted meanwhile."""
    work = await asyncio.to_thread(Workplace, wv.settings.data_dir / PLACE, held.row.id)
    try:
        built = await build(
            means_of(wv.database, TokenCounter.of(wv.settings.engine.model_path)),
            await _order(wv, held, work),
            work,
            held.tell,
        )
        if built.report.rows:
            await store_dataset(wv, held, built)
        else:
            message = "Nothing is left for the dataset: its report says what was left out and why."
            await _fail(wv, held, Failure(code="no_rows", message=message), report=msgspec.to_builtins(built.report))
    except Anew:
        return False
    finally:
        await asyncio.to_thread(work.close)
    return True


async def _order(wv: WorkerServices, held: Held, work: Workplace) -> Order:
    """Raises InvalidRequest: a test suite is gone."""
    row = held.row
    recipe = msgspec.convert(row.recipe, Recipe)
    return Order(
        dataset_id=row.dataset_id,
        version_id=row.id,
        recipe=recipe,
        snapshot=Snapshot(row.project_id, row.snapshot_at),
        suites=await bring_suites(wv, row.project_id, recipe.contamination, work.directory),
        key=keyed_hash(row.dataset_id, wv.settings.secret_key.reveal(), "redaction"),
    )
