"""/v1/models/load, /unload, /active, /deployments (extension, for administrators): which replica serves which model.

Loading and unloading is a worker's work; these routes ask for it and wait. A model that was unloaded comes back when it is
called: unloading frees room, it does not forbid (delete the model, or route its name elsewhere, for that).
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParams, RawBody

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.db.pages import fetch_page
from gateway.db.tables import DeploymentEventRow, LoadedModelRow, ModelRow, ReplicaRow
from gateway.errors import Conflict, InvalidRequest, Unavailable
from gateway.fine_tuning.models import live_models, tuned_model
from gateway.kit.clock import unix
from gateway.kit.ids import new_id
from gateway.protocol.decode import decode
from gateway.protocol.deployments import (
    DeploymentEvent,
    LoadedModel,
    ModelOnReplica,
    Placement,
    ReplicaList,
    ReplicaState,
)
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.queries import cursor, text
from gateway.routes.callers import Admin, Sv
from gateway.services import Services
from gateway.serving import repository

LOOK_SECONDS = 0.1
UNLOAD_SECONDS = 10.0

decode_wanted = msgspec.json.Decoder(ModelOnReplica)

Rows = dict[str, LoadedModelRow]


@post("/v1/models/load", status_code=200)
async def load_model(sv: Sv, admin: Admin, body: RawBody) -> Response[Placement]:
    """Answers once it is ready or refused, 202 when that takes longer than `engine.load_seconds`.

    Raises:
        InvalidRequest: no such replica, or not a fine-tuned model.
        Conflict: no replica takes it; the message says why.
        Unavailable: no replica is up, or the queue is away.
    """
    wanted, urls = await _wanted(sv, body)
    before = await _rows(sv, wanted.model)
    async with sv.database.session() as session:
        states = await repository.replicas(session, urls)
    up = [url for url in urls if url not in states or states[url].state == "up"]
    if not up:
        raise Unavailable(f"No replica is up: {', '.join(f'{url} is {states[url].state}' for url in urls)}.")
    await _ask(sv, "load_model", wanted, admin)

    def settled(rows: Rows) -> bool:
        return all(_is_settled(rows.get(url), before.get(url)) for url in up)

    rows = await _until(sv, wanted.model, settled, sv.settings.engine.load_seconds)
    if any(url in rows and rows[url].state == "ready" for url in up):
        return Response(_placement(wanted.model, urls, rows), status_code=200)
    problems = [str(rows[url].problem) for url in up if url in rows and rows[url].state == "failed"]
    if problems and settled(rows):
        code = rows[next(url for url in up if rows[url].state == "failed")].code
        raise Conflict(problems[0], param="model", code=code, headers={"x-should-retry": "false"})
    return Response(_placement(wanted.model, urls, rows), status_code=202)


@post("/v1/models/unload", status_code=200)
async def unload_model(sv: Sv, admin: Admin, body: RawBody) -> Response[Placement]:
    """It gets no call any more from now on, until one of it loads it again. Raises like `load_model`."""
    wanted, urls = await _wanted(sv, body)
    await _ask(sv, "unload_model", wanted, admin)

    def settled(rows: Rows) -> bool:
        return all(url not in rows or rows[url].state == "unloaded" for url in urls)

    rows = await _until(sv, wanted.model, settled, UNLOAD_SECONDS)
    return Response(_placement(wanted.model, urls, rows), status_code=200 if settled(rows) else 202)


@get("/v1/models/active")
async def list_active(sv: Sv, admin: Admin) -> ReplicaList:
    """Every replica of the engine, and what each has loaded, was refused or has left; what was used last comes first."""
    urls = sv.settings.engine.urls
    async with sv.database.session() as session:
        replicas = await repository.replicas(session, urls)
        loaded = await repository.everything(session)
        models = {row.id: row for row in await live_models(session)}
    return ReplicaList(
        data=[
            _replica(sv, url, replicas.get(url), [row for row in loaded if row.replica == url], models) for url in urls
        ]
    )


@get("/v1/models/deployments")
async def list_deployments(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """The history, newest first; `model` shows that of one, deleted ones too."""
    async with sv.database.session() as session:
        page = await fetch_page(session, repository.history(text(query, "model")), DeploymentEventRow, cursor(query))
    return cursor_list([_event(row) for row in page.rows], has_more=page.has_more)


async def _wanted(sv: Services, body: bytes) -> tuple[ModelOnReplica, tuple[str, ...]]:
    """What is asked for, and the replicas that it is about. Raises ModelNotFound, InvalidRequest."""
    wanted, urls = decode(decode_wanted, body), sv.settings.engine.urls
    if not urls:
        raise InvalidRequest("No engine is configured ([engine] url).")
    if wanted.replica is not None and wanted.replica.rstrip("/") not in urls:
        raise InvalidRequest(f"No such replica: this gateway has {', '.join(urls)}.", param="replica")
    shared = sv.catalog.named(wanted.model)
    if shared is not None and shared.base_model is None:
        raise InvalidRequest(
            f"`{wanted.model}` is not a fine-tuned model: it is there as long as its upstream is.", param="model"
        )
    async with sv.database.session() as session:
        await tuned_model(session, wanted.model)
    return wanted, (wanted.replica.rstrip("/"),) if wanted.replica else urls


async def _ask(sv: Services, task: str, wanted: ModelOnReplica, admin: Administrator) -> None:
    """The audit log tells first that it is asked for: what comes of it is in the history (`list_deployments`).

    Raises Unavailable.
    """
    replica = wanted.replica.rstrip("/") if wanted.replica else ""
    owner = audit.owner_of(sv.settings.organization, None)
    async with sv.database.session() as session:
        changes = {task: {"model": wanted.model, "replica": replica or None}}
        audit.write_change(session, admin.actor, owner, wanted.model, changes)
    await sv.queue.enqueue(task, wanted.model, replica, _reason(admin), unique=new_id(f"{task}:"))


def _reason(admin: Administrator) -> str:
    return f"api key {admin.name}" if admin.actor.shown["type"] == "api_key" else f"user {admin.name}"


async def _until(sv: Services, model: str, settled: Callable[[Rows], bool], seconds: float) -> Rows:
    """The model's rows once they are as wanted, or after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        rows = await _rows(sv, model)
        if settled(rows) or time.monotonic() > end:
            await sv.mirrors.catch_up()
            return rows
        await asyncio.sleep(LOOK_SECONDS)


async def _rows(sv: Services, model: str) -> Rows:
    async with sv.database.session() as session:
        return await repository.of_model(session, model)


def _is_settled(row: LoadedModelRow | None, before: LoadedModelRow | None) -> bool:
    """The worker has come to a result since it was asked."""
    if row is None or row.state == "loading":
        return False
    return row.state == "ready" or before is None or row.changed_at > before.changed_at


def _placement(model: str, urls: tuple[str, ...], rows: Rows) -> Placement:
    return Placement(model=model, replicas={url: _loaded(rows[url], None) if url in rows else None for url in urls})


def _replica(
    sv: Services, url: str, row: ReplicaRow | None, loaded: list[LoadedModelRow], models: dict[str, ModelRow]
) -> ReplicaState:
    shown = [_loaded(each, models[each.model_id]) for each in loaded if each.model_id in models]
    return ReplicaState(
        url=url,
        state=row.state if row else "unknown",
        problem=row.problem if row else None,
        seen_at=unix(row.seen_at) if row and row.seen_at else None,
        base_model=sv.settings.engine.model,
        models=sorted(shown, key=lambda each: each.last_used_at or 0, reverse=True),
    )


def _loaded(row: LoadedModelRow, model: ModelRow | None) -> LoadedModel:
    return LoadedModel(
        model=row.model_id,
        state=row.state,
        code=row.code,
        problem=row.problem,
        probe=row.probe,
        changed_at=unix(row.changed_at),
        last_used_at=unix(model.last_used_at) if model and model.last_used_at else None,
    )


def _event(row: DeploymentEventRow) -> DeploymentEvent:
    return DeploymentEvent(
        id=row.id,
        created_at=unix(row.created_at),
        model=row.model_id,
        replica=row.replica,
        action=row.action,
        reason=row.reason,
        detail=row.detail,
    )
