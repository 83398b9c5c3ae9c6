"""A model onto a replica: loaded, shown by a probe that it is applied, and written down; only then it gets traffic."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import msgspec

from gateway.db.tables import LoadedModelRow, ModelRow
from gateway.errors import Refusal, UpstreamRefused
from gateway.fine_tuning import models
from gateway.fine_tuning.lease import to_its_end
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.serving import repository
from gateway.serving.failures import WAYS_OUT, Problem, problem_of
from gateway.serving.repository import Action, Event, Outcome
from gateway.serving.shapes import misfit
from gateway.tasks import engine_room
from gateway.tasks.replicas import engine_at, engine_path, watch_of
from gateway.upstreams.probe import Measured, probe

log = logging.getLogger(__name__)

UNKNOWN = "does not exist"
"""How vLLM and the embedded engine answer calls of a model that they have not loaded."""
LOADING_SECONDS = 30.0
"""Whoever began to load a model longer ago has died over it, most likely; two that load it do each other no harm."""


async def place(
    wv: WorkerServices, url: str, model: ModelRow, reason: str, *, action: Action = "loaded", wanted: bool = True
) -> Outcome:
    """Load a model that exists onto one replica, unless it is ready there; what is worth least leaves a full one.

    Args:
        reason: for the history.
        wanted: False when nobody asks for it: then it is not loaded where it has left room for others, or was unloaded.

    Raises:
        Unavailable: the database is away.
    """
    async with watch_of(wv, url).placing:
        outcome = await _place(wv, url, model, (reason, action), wanted=wanted)
        if outcome.state == "ready":
            await engine_room.make_room(wv, url, newest=model.id)
    return outcome


async def _place(wv: WorkerServices, url: str, model: ModelRow, why: tuple[str, Action], *, wanted: bool) -> Outcome:
    async with watch_of(wv, url).changing(model.id):
        async with wv.database.session() as session:
            row = await session.get(LoadedModelRow, (model.id, url))
            if row is not None and row.state == "ready":
                return Outcome("ready", probe=row.probe)
            if row is not None and row.state in engine_room.GONE and not wanted:
                return Outcome("evicted")
            await repository.set_loaded(session, model.id, url, Outcome("loading"))
        try:
            outcome = await load_and_probe(wv, url, model)
            await note(wv, model, url, outcome, None if _is_known(row, outcome) else event_of(outcome, *why))
        except asyncio.CancelledError:  # this worker stops: the next need not wait for it
            await to_its_end(note(wv, model, url, Outcome("lost"), None))
            raise
    return outcome


def _is_known(row: LoadedModelRow | None, outcome: Outcome) -> bool:
    """It was refused before, in the same words: once in the history and in the log is enough."""
    problem = outcome.problem
    return row is not None and row.state == "failed" and problem is not None and row.problem == problem.sentence


async def load_and_probe(wv: WorkerServices, url: str, model: ModelRow) -> Outcome:
    """`ready`; `failed` with the name of what is wrong; or `lost`: the replica is away, and gets it when it is back.

    What it had loaded before may be stale or not applied (vLLM after a sleep): then it is loaded anew, once.
    """
    if problem := await asyncio.to_thread(_misfit, wv, model):
        return Outcome("failed", problem)
    try:
        await engine_room.load(wv, url, model)
        measured = await _probe(wv, url, model)
        if measured.applied is False:
            await engine_at(wv, url).unload_adapter(model.id)
            await engine_room.load(wv, url, model)
            measured = await _probe(wv, url, model)
    except Refusal as refusal:
        return _refused(wv, model, refusal)
    if measured.applied is not False:
        return Outcome("ready", probe=msgspec.to_builtins(measured))
    return await _not_applied(wv, url, model, measured)


def _misfit(wv: WorkerServices, model: ModelRow) -> Problem | None:
    """Of an adapter of another base."""
    if model.kind == "full" or not wv.settings.engine.model_path:
        return None
    found = misfit(wv.settings.data_dir / model.adapter_path, Path(wv.settings.engine.model_path))
    return Problem("wrong_base", f"{found} {WAYS_OUT['wrong_base']}") if found else None


async def probe_again(wv: WorkerServices, url: str, model: ModelRow) -> Outcome | None:
    """`ready` for what the engine has loaded already and applies; None: load it anew. Raises UpstreamFailed."""
    try:
        measured = await _probe(wv, url, model)
    except Refusal:
        return None
    return None if measured.applied is False else Outcome("ready", probe=msgspec.to_builtins(measured))


async def note(wv: WorkerServices, model: ModelRow, url: str, outcome: Outcome, event: Event | None) -> None:
    """Write it down, and on the model's own row why nobody serves it. Raises Unavailable."""
    async with wv.database.session() as session:
        await repository.set_loaded(session, model.id, url, outcome, event)
        others = await repository.of_model(session, model.id)
    if outcome.problem and event:
        log.error("%s does not serve %s: %s", url, model.id, outcome.problem.sentence)
    elif event:
        log.info("%s serves %s", url, model.id)
    is_ready = outcome.state == "ready" or any(row.state == "ready" for row in others.values())
    sentence = outcome.problem.sentence if outcome.problem and outcome.problem.is_lasting else None
    if is_ready or sentence:
        async with wv.database.session() as session:  # another: all take locks in one order
            await models.set_problem(session, model, None if is_ready else repository.storable(sentence or ""))


def event_of(outcome: Outcome, reason: str, action: Action = "loaded") -> Event | None:
    """The history's line of an outcome; None where nothing came of it yet."""
    if outcome.state == "ready":
        return Event(action=action, reason=reason, detail={"probe": outcome.probe} if outcome.probe else None)
    if outcome.state == "failed" and outcome.problem:
        detail = {"code": outcome.problem.code, "problem": repository.storable(outcome.problem.sentence)}
        return Event(action="failed", reason=reason, detail=detail)
    return None


def is_loading(row: LoadedModelRow) -> bool:
    """Somebody is at it."""
    return row.state == "loading" and row.changed_at > now() - timedelta(seconds=LOADING_SECONDS)


async def _probe(wv: WorkerServices, url: str, model: ModelRow) -> Measured:
    engine = wv.settings.engine
    directory = wv.settings.data_dir / model.adapter_path
    return await probe(engine_at(wv, url), model.id, engine.model, directory, tolerance=engine.probe_tolerance)


async def _not_applied(wv: WorkerServices, url: str, model: ModelRow, measured: Measured) -> Outcome:
    """It leaves the engine: nothing must answer in its name."""
    try:
        await engine_at(wv, url).unload_adapter(model.id)
    except Refusal as refusal:
        log.warning("%s is not unloaded from %s: %s", model.id, url, refusal)
    sentence = (
        f"The engine has loaded it, but its answers are not this model's: {measured.reason} Check that the engine serves the"
        " base that it was trained on, in a version that applies LoRA to it; a quantized engine needs a larger [engine]"
        " probe_tolerance."
    )
    return Outcome("failed", Problem("probe_failed", sentence), msgspec.to_builtins(measured))


def _refused(wv: WorkerServices, model: ModelRow, refusal: Refusal) -> Outcome:
    path = wv.settings.data_dir / model.adapter_path
    seen = engine_path(wv.settings, model.adapter_path)
    if isinstance(refusal, UpstreamRefused) and refusal.upstream_status == 404 and UNKNOWN in str(refusal):
        problem = Problem("replica_down", "The replica lost the model while it was loaded; it is tried again.")
    else:
        problem = problem_of(refusal, kind=model.kind, path=path, engine_path=seen)
    return Outcome("failed" if problem.is_lasting else "lost", problem)
