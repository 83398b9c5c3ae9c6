"""/v1/registry (an extension): every model that a project may call or once made, what it costs, and what it was used for."""

from datetime import datetime, timedelta

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParams, RawBody

from gateway.db.pages import fetch_page
from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import Conflict, InvalidRequest, ModelNotFound
from gateway.fine_tuning import registry
from gateway.keys.ring import ApiKey
from gateway.kit.clock import now, unix
from gateway.kit.money import usd_from_nano
from gateway.metering.model_use import Used, use_by_model
from gateway.metering.prices import Price
from gateway.protocol.decode import decode
from gateway.protocol.queries import cursor, flag
from gateway.protocol.registry import Kind, ModelPrice, ModelUse, RegisteredModel, RegistryList, RegistryUpdate, Status
from gateway.routes.callers import Caller, Sv
from gateway.routing.deployment import Deployment
from gateway.services import Services

DAYS = 30
GOAL = "goal"
"""Of a job's metadata: what it is for."""

decode_update = msgspec.json.Decoder(RegistryUpdate)


@get("/v1/registry")
async def list_registry(sv: Sv, caller: Caller, query: QueryParams) -> RegistryList:
    """Deleted models too. checkpoints=true: those of each job beside what came of it."""
    await sv.mirrors.catch_up()
    wanted = cursor(query, limit=100)
    rows = registry.made_by(caller.project_id, checkpoints=flag(query, "checkpoints"))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, ModelRow, wanted)
        jobs = await registry.jobs_of(session, page.rows)
        used = await use_by_model(session, caller.project_id, _since())
    tuned = [_tuned(sv, row, jobs.get(row.job_id), used.get(row.id)) for row in page.rows]
    others = [] if wanted.after or wanted.before else _others(sv, caller, used)
    last = page.rows[-1].id if page.rows else None
    return RegistryList(data=[*others, *tuned], has_more=page.has_more, last_id=last)


@get("/v1/registry/{model_id:path}")
async def retrieve_registered(sv: Sv, caller: Caller, model_id: FromPath[str]) -> RegisteredModel:
    """Raises ModelNotFound."""
    name = model_id.removeprefix("/")
    await sv.mirrors.catch_up()
    async with sv.database.session() as session:
        used = (await use_by_model(session, caller.project_id, _since())).get(name)
        if name.startswith("ft:"):
            try:
                row = await registry.own(session, caller.project_id, name)
            except ModelNotFound:
                return _other(sv, caller, sv.catalog.find(name, caller.project_id), used)
            job = (await registry.jobs_of(session, [row])).get(row.job_id)
            return _tuned(sv, row, job, used)
    return _other(sv, caller, sv.catalog.find(name, caller.project_id), used)


@post("/v1/registry/{model_id:path}", status_code=200)
async def update_registered(sv: Sv, caller: Caller, model_id: FromPath[str], body: RawBody) -> RegisteredModel:
    """Of a model that the project made. Deprecated, it answers all the same, and is not offered any more.

    Raises:
        ModelNotFound: the project made no such model.
        Conflict: it is deleted.
    """
    name, wanted = model_id.removeprefix("/"), decode(decode_update, body)
    if wanted.deprecated is msgspec.UNSET and wanted.description is msgspec.UNSET:
        raise InvalidRequest("There is nothing to change: give `deprecated` or `description`.")
    caller.require_model(name)
    async with sv.database.session() as session:
        row = await registry.own(session, caller.project_id, name, lock=True)
        if row.deleted_at is not None:
            raise Conflict(f"The model `{name}` is deleted.", headers={"x-should-retry": "false"})
        if wanted.deprecated is not msgspec.UNSET:
            row.deprecated_at = (row.deprecated_at or now()) if wanted.deprecated else None
        if wanted.description is not msgspec.UNSET:
            row.description = wanted.description
        await session.flush()
        job = (await registry.jobs_of(session, [row])).get(row.job_id)
        used = (await use_by_model(session, caller.project_id, _since())).get(name)
        return _tuned(sv, row, job, used)


def _since() -> datetime:
    return (now() - timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)


def _others(sv: Services, caller: ApiKey, used: dict[str, Used]) -> list[RegisteredModel]:
    """What the project may call and did not make."""
    visible = sv.catalog.visible_to(caller.project_id)
    return [_other(sv, caller, each, used.get(each.model)) for each in visible if each.project_id != caller.project_id]


def _other(sv: Services, caller: ApiKey, deployment: Deployment, used: Used | None) -> RegisteredModel:
    is_base = deployment.upstream.is_engine and deployment.base_model is None
    kind: Kind = "base" if is_base else "adapter" if deployment.base_model else "provider"
    ours = deployment.upstream.is_engine or deployment.base_model is not None
    return RegisteredModel(
        id=deployment.model,
        kind=kind,
        status="active",
        owned_by=sv.settings.organization if ours else deployment.upstream.name,
        own=deployment.project_id == caller.project_id,
        trainable=sv.catalog.engine is not None and ours,
        created_at=deployment.created or None,
        deprecated_at=None,
        deleted_at=None,
        description="",
        base_model=deployment.base_model,
        trained_from=None,
        job_id=None,
        step=None,
        problem=deployment.problem,
        price=_price(sv.prices.find(deployment.model, deployment.base_model)),
        used=_use(used),
    )


def _tuned(sv: Services, row: ModelRow, job: FineTuningJobRow | None, used: Used | None) -> RegisteredModel:
    return RegisteredModel(
        id=row.id,
        kind="full" if row.kind == "full" else "adapter",
        status=_status(row),
        owned_by=sv.settings.organization,
        own=True,
        trainable=row.deleted_at is None and sv.catalog.engine is not None,
        created_at=unix(row.created_at),
        deprecated_at=unix(row.deprecated_at) if row.deprecated_at else None,
        deleted_at=unix(row.deleted_at) if row.deleted_at else None,
        description=row.description or ((job.request_metadata or {}).get(GOAL, "") if job else ""),
        base_model=row.base_model,
        trained_from=job.model if job else None,
        job_id=row.job_id,
        step=row.step,
        problem=row.problem,
        price=_price(sv.prices.find(row.id, row.base_model)),
        used=_use(used),
    )


def _status(row: ModelRow) -> Status:
    if row.deleted_at is not None:
        return "deleted"
    return "deprecated" if row.deprecated_at is not None else "active"


def _price(price: Price | None) -> ModelPrice | None:
    if price is None:
        return None
    return ModelPrice(
        input_usd=usd_from_nano(price.input),
        cached_input_usd=usd_from_nano(price.cached_input),
        output_usd=usd_from_nano(price.output),
        request_usd=usd_from_nano(price.request),
        training_usd=None if price.training is None else usd_from_nano(price.training),
        training_hour_usd=None if price.training_hour is None else usd_from_nano(price.training_hour),
    )


def _use(used: Used | None) -> ModelUse:
    found = used or Used()
    return ModelUse(
        requests=found.requests,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        cost_usd=usd_from_nano(found.cost_nano),
        unpriced=found.unpriced,
    )
