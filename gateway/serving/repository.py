"""SQL of replicas, of what each has loaded, and of the deployment history."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Select, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import DeploymentEventRow, LoadedModelRow, ReplicaRow
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.serving.failures import Problem

MIRROR = "residency"
State = Literal["loading", "ready", "failed", "lost", "evicted", "unloaded"]
Action = Literal["loaded", "unloaded", "evicted", "failed", "lost", "restored"]
SENTENCE_LIMIT = 2000
COUNTED = {"loaded": "loads", "restored": "loads", "evicted": "evictions", "failed": "failures"}
"""Action -> the replica's counter of it."""


class Watched(NamedTuple):
    """What a watcher learns of its replica at each look."""

    former_state: str | None
    """None: nobody has looked at it before."""
    versions: str
    """Of the tables that decide on what it should serve."""


class Outcome(NamedTuple):
    """What a replica has of a model."""

    state: State
    problem: Problem | None = None
    probe: dict[str, Any] | None = None


class Event(msgspec.Struct, kw_only=True, frozen=True):
    """A line of the history, to be written with the change that it tells of."""

    action: Action
    reason: str
    """Who or what wanted it."""
    detail: dict[str, Any] | None = None


_LOOK = text("""
    WITH former AS (SELECT state FROM replicas WHERE url = :url)
    INSERT INTO replicas AS r (url, state, problem, seen_at, watcher, watched_until)
    VALUES (:url, :state, :problem, CASE WHEN :answered THEN now() END, :watcher, now() + make_interval(secs => :seconds))
    ON CONFLICT (url) DO UPDATE SET state = excluded.state, problem = excluded.problem, watcher = excluded.watcher,
        seen_at = coalesce(excluded.seen_at, r.seen_at), watched_until = excluded.watched_until
    WHERE r.watcher = :watcher OR r.watched_until IS NULL OR r.watched_until < now()
    RETURNING (SELECT state FROM former),
        (SELECT string_agg(name || version, ' ' ORDER BY name) FROM changes WHERE name IN ('models', 'residency'))
""")


async def look(
    session: AsyncSession, url: str, watcher: str, *, state: str, problem: str | None, seconds: float
) -> Watched | None:
    """Note how a replica was found and go on watching it for `seconds`; None while another worker watches it.

    One statement, because it is the one that every round costs.
    """
    answered = problem is None
    values = {"url": url, "watcher": watcher, "state": state, "problem": problem, "seconds": seconds}
    row = (await session.execute(_LOOK, values | {"answered": answered})).first()
    if row is None:
        return None
    if row[0] != state:
        await touch(session, MIRROR)
    return Watched(row[0], row[1] or "")


async def stop_watching(session: AsyncSession, watcher: str) -> None:
    """So that the next worker need not wait until it is sure that this one is gone."""
    await session.execute(update(ReplicaRow).where(ReplicaRow.watcher == watcher).values(watched_until=None))


async def set_state(session: AsyncSession, url: str, state: Literal["up", "asleep"]) -> None:
    """For who puts a replica to sleep, and wakes it."""
    values = {"url": url, "state": state, "problem": None}
    query = insert(ReplicaRow).values(values)
    await session.execute(query.on_conflict_do_update(index_elements=["url"], set_=values))
    await touch(session, MIRROR)


async def replicas(session: AsyncSession, urls: Iterable[str]) -> dict[str, ReplicaRow]:
    rows = await session.scalars(select(ReplicaRow).where(ReplicaRow.url.in_(list(urls))))
    return {row.url: row for row in rows}


async def loaded_on(session: AsyncSession, url: str) -> dict[str, LoadedModelRow]:
    """Model -> its row on one replica, whatever its state."""
    rows = await session.scalars(select(LoadedModelRow).where(LoadedModelRow.replica == url))
    return {row.model_id: row for row in rows}


async def of_model(session: AsyncSession, model_id: str) -> dict[str, LoadedModelRow]:
    """Replica -> the row of one model on it."""
    rows = await session.scalars(select(LoadedModelRow).where(LoadedModelRow.model_id == model_id))
    return {row.replica: row for row in rows}


async def everything(session: AsyncSession) -> list[LoadedModelRow]:
    return list(await session.scalars(select(LoadedModelRow).order_by(LoadedModelRow.model_id)))


async def set_loaded(
    session: AsyncSession, model_id: str, url: str, outcome: Outcome, event: Event | None = None
) -> None:
    """What a replica has of a model from now on, known to every gateway process within a second of the commit."""
    await set_loaded_on(session, model_id, {url: (outcome, event)})


async def set_loaded_on(
    session: AsyncSession, model_id: str, changes: Mapping[str, tuple[Outcome, Event | None]]
) -> None:
    """`set_loaded` for several replicas: base URL -> outcome and event.

    Whoever writes here takes locks in one order, so that nobody waits for each other: rows of models, then replicas by
    their URL, then the mirror's version. So a transaction calls this once, and for one model.
    """
    for url, (outcome, _) in sorted(changes.items()):
        await _set_loaded(session, model_id, url, outcome)
    for url, (_, event) in sorted(changes.items()):
        if event:
            await add_event(session, model_id, url, event)
    await touch(session, MIRROR)


async def _set_loaded(session: AsyncSession, model_id: str, url: str, outcome: Outcome) -> None:
    problem = outcome.problem
    values = {
        "model_id": model_id,
        "replica": url,
        "state": outcome.state,
        "code": problem.code if problem else None,
        "problem": storable(problem.sentence) if problem else None,
        "probe": outcome.probe,
        "changed_at": now(),
    }
    query = insert(LoadedModelRow).values(values)
    await session.execute(query.on_conflict_do_update(index_elements=["model_id", "replica"], set_=values))


async def forget(session: AsyncSession, model_id: str, url: str, event: Event) -> None:
    query = delete(LoadedModelRow).where(LoadedModelRow.model_id == model_id, LoadedModelRow.replica == url)
    await session.execute(query)
    await add_event(session, model_id, url, event)
    await touch(session, MIRROR)


async def set_lost(session: AsyncSession, url: str, model_ids: Iterable[str], reason: str) -> None:
    """What was ready on a replica gets no traffic there until it is loaded and probed again."""
    query = update(LoadedModelRow).where(LoadedModelRow.replica == url, LoadedModelRow.state == "ready")
    query = query.where(LoadedModelRow.model_id.in_(list(model_ids)))
    changed = query.values(state="lost", changed_at=now()).returning(LoadedModelRow.model_id)
    for model_id in list(await session.scalars(changed)):
        await add_event(session, model_id, url, Event(action="lost", reason=reason))
    await touch(session, MIRROR)


async def add_event(session: AsyncSession, model_id: str, url: str, event: Event) -> None:
    row = DeploymentEventRow(
        id=new_id("dpl_"),
        created_at=now(),
        model_id=model_id,
        replica=url,
        action=event.action,
        reason=event.reason,
        detail=event.detail,
    )
    session.add(row)
    if counter := COUNTED.get(event.action):
        column = getattr(ReplicaRow, counter)
        await session.execute(update(ReplicaRow).where(ReplicaRow.url == url).values({counter: column + 1}))


def history(model_id: str | None = None) -> Select[DeploymentEventRow]:
    query = select(DeploymentEventRow)
    return query.where(DeploymentEventRow.model_id == model_id) if model_id else query


def storable(sentence: str) -> str:
    """PostgreSQL stores no NUL."""
    return sentence.replace("\0", "\ufffd")[:SENTENCE_LIMIT]
