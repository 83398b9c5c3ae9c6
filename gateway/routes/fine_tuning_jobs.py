"""/v1/fine_tuning/jobs"""

import logging
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.pages import fetch_page
from gateway.db.tables import FineTuningCheckpointRow, FineTuningEventRow, FineTuningJobRow
from gateway.errors import InvalidRequest, ModelNotFound, NotFound, Unavailable
from gateway.files import repository as files
from gateway.fine_tuning import creation, models, repository, service, steps
from gateway.fine_tuning.names import base_name, checkpoint_name, model_name
from gateway.keys.ring import ApiKey
from gateway.kit.clock import unix
from gateway.protocol.decode import decode
from gateway.protocol.fine_tuning import Checkpoint, Event, Job, JobCreate, JobError
from gateway.protocol.lists import CursorList, ShortList, cursor_list
from gateway.protocol.queries import cursor, mapping
from gateway.routes.callers import Caller, Sv
from gateway.routes.training_funds import check_price, fund, release_waiting
from gateway.routing.deployment import Deployment
from gateway.services import Services

log = logging.getLogger(__name__)

decode_job = msgspec.json.Decoder(JobCreate)

VALIDATE = "validate_fine_tuning_job"


@post("/v1/fine_tuning/jobs", status_code=200)
async def create_job(sv: Sv, caller: Caller, body: RawBody, request: Request[Any, Any, Any]) -> Job:
    """The job is in the database when this answers; if the queue is away, a worker still finds it there.

    A call that an SDK sends again answers the job that exists.
    """
    wanted = decode(decode_job, body)
    mark = creation.fingerprint(caller.id, body)
    is_retry = request.headers.get("x-stainless-retry-count", "0") != "0"
    await check_model(sv, caller, wanted.model)
    check_price(sv, caller, wanted.model)
    async with sv.database.session() as session:
        row = await creation.find_repeated(session, mark, is_retry=is_retry)
        if row is None:
            row = await _create(session, caller, wanted, mark)
    await _ask_to_validate(sv, row)
    return job(row, sv)


async def _create(session: AsyncSession, caller: ApiKey, wanted: JobCreate, mark: str) -> FineTuningJobRow:
    for param in ("training_file", "validation_file"):
        await check_file(session, caller, param, getattr(wanted, param))
    row = await creation.create(session, wanted, project_id=caller.project_id, api_key_id=caller.id, mark=mark)
    await fund(session, row)
    return row


async def _ask_to_validate(sv: Services, row: FineTuningJobRow) -> None:
    """A worker leaves alone what needs no validation."""
    try:
        await sv.queue.enqueue(VALIDATE, row.id)
    except Unavailable:
        log.warning("queue away: job %s waits for the worker's next round", row.id)


@get("/v1/fine_tuning/jobs")
async def list_jobs(sv: Sv, caller: Caller, query: QueryParams) -> ShortList:
    rows = repository.of_project(caller.project_id)
    if query.get("metadata") == "null":
        rows = rows.where(FineTuningJobRow.request_metadata.is_(None))
    elif wanted := mapping(query, "metadata"):
        rows = rows.where(FineTuningJobRow.request_metadata.contains(wanted))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, FineTuningJobRow, cursor(query))
        last = await steps.last_of(session, [row.id for row in page.rows])
    return ShortList(data=[job(row, sv, last.get(row.id)) for row in page.rows], has_more=page.has_more)


@get("/v1/fine_tuning/jobs/{job_id:str}")
async def retrieve_job(sv: Sv, caller: Caller, job_id: FromPath[str]) -> Job:
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, job_id)
        last = await steps.last_of(session, [row.id])
    return job(row, sv, last.get(row.id))


@post("/v1/fine_tuning/jobs/{job_id:str}/cancel", status_code=200)
async def cancel_job(sv: Sv, caller: Caller, job_id: FromPath[str]) -> Job:
    async with sv.database.session() as session:
        row = await service.cancel(session, caller.project_id, job_id)
        await release_waiting(session, row)
    return job(row, sv)


@post("/v1/fine_tuning/jobs/{job_id:str}/pause", status_code=200)
async def pause_job(sv: Sv, caller: Caller, job_id: FromPath[str]) -> Job:
    async with sv.database.session() as session:
        row = await service.pause(session, caller.project_id, job_id)
        await release_waiting(session, row)
    return job(row, sv)


@post("/v1/fine_tuning/jobs/{job_id:str}/resume", status_code=200)
async def resume_job(sv: Sv, caller: Caller, job_id: FromPath[str]) -> Job:
    async with sv.database.session() as session:
        row = await service.resume(session, caller.project_id, job_id)
        await fund(session, row)
    await _ask_to_validate(sv, row)
    return job(row, sv)


@get("/v1/fine_tuning/jobs/{job_id:str}/events")
async def list_events(sv: Sv, caller: Caller, job_id: FromPath[str], query: QueryParams) -> ShortList:
    """Newest first."""
    async with sv.database.session() as session:
        await repository.find(session, caller.project_id, job_id)
        rows = select(FineTuningEventRow).where(FineTuningEventRow.job_id == job_id)
        order = [FineTuningEventRow.number]
        page = await fetch_page(session, rows, FineTuningEventRow, cursor(query), order=order)
    return ShortList(data=[event(row) for row in page.rows], has_more=page.has_more)


@get("/v1/fine_tuning/jobs/{job_id:str}/metrics")
async def list_metrics(sv: Sv, caller: Caller, job_id: FromPath[str]) -> ShortList:
    """An extension: what each step measured, in the order of the steps, all at once: for curves."""
    async with sv.database.session() as session:
        await repository.find(session, caller.project_id, job_id)
        told = await steps.measured(session, job_id)
    return ShortList(data=[each | {"created_at": unix(each["created_at"])} for each in told])


@get("/v1/fine_tuning/jobs/{job_id:str}/checkpoints")
async def list_checkpoints(sv: Sv, caller: Caller, job_id: FromPath[str], query: QueryParams) -> CursorList:
    """Newest first."""
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, job_id)
        rows = select(FineTuningCheckpointRow).where(FineTuningCheckpointRow.job_id == job_id)
        order = [FineTuningCheckpointRow.step]
        page = await fetch_page(session, rows, FineTuningCheckpointRow, cursor(query, limit=10), order=order)
    return cursor_list([checkpoint(each, row, sv) for each in page.rows], has_more=page.has_more)


async def check_model(sv: Services, caller: ApiKey, model: str) -> None:
    """Only the engine's base can be trained, and what was tuned from it, wherever that is served; and only what the key
    may call."""
    caller.require_model(model)
    deployment = await _named_itself(sv, caller, model)
    if sv.catalog.engine is None or not (deployment.upstream.is_engine or deployment.base_model):
        raise InvalidRequest(
            f"Model {model} is not available for fine-tuning: its weights are not on this server. "
            f"Use '{sv.settings.engine.model}' or a model tuned from it."
            if sv.catalog.engine
            else "This server was started without an engine, so no model can be fine-tuned.",
            param="model",
            code="model_not_available",
        )
    base = sv.settings.engine.model
    if deployment.is_adapter and deployment.base_model != base:
        raise InvalidRequest(
            models.wrong_base(model, deployment.base_model, base), param="model", code="model_not_available"
        )


async def _named_itself(sv: Services, caller: ApiKey, model: str) -> Deployment:
    """The model of that very name: a job, and the model that comes of it, bear the name of what is trained.

    Raises:
        ModelNotFound: there is none, not even by another name.
        InvalidRequest: it is an alias, or a route.
    """
    try:
        deployment = await sv.names.model(model, caller.project_id)
    except ModelNotFound:
        if not sv.names.route(model, caller.project_id):
            raise
        raise InvalidRequest(
            f"`{model}` is a route: it stands for one or more models. Name the model that is to be trained.",
            param="model",
            code="model_not_available",
        ) from None
    if deployment.model != model:
        raise InvalidRequest(
            f"`{model}` is another name of `{deployment.model}`. Name the model that is to be trained itself.",
            param="model",
            code="model_not_available",
        )
    return deployment


async def check_file(session: AsyncSession, caller: ApiKey, param: str, file_id: str | None) -> None:
    if file_id is None:
        return
    try:
        row = await files.find(session, caller.project_id, file_id)
    except NotFound:
        raise InvalidRequest(f"'{param}': no such file: {file_id}", param=param, code="file_not_found") from None
    if row.purpose != "fine-tune":
        raise InvalidRequest(
            f"'{param}': file {file_id} has purpose '{row.purpose}'; upload it with purpose 'fine-tune'.", param=param
        )


def job(row: FineTuningJobRow, sv: Services, last_step: dict[str, Any] | None = None) -> Job:
    """Args: last_step: what its last step measured, where it is asked for."""
    method: dict[str, Any] = row.method
    return Job(
        id=row.id,
        created_at=unix(row.created_at),
        finished_at=unix(row.finished_at) if row.finished_at else None,
        model=row.model,
        fine_tuned_model=row.fine_tuned_model,
        organization_id=f"org-{sv.settings.organization}",
        status=row.status,
        training_file=row.training_file,
        validation_file=row.validation_file,
        result_files=row.result_files,
        trained_tokens=row.trained_tokens,
        error=JobError(**row.error) if row.error else None,
        hyperparameters=method[method["type"]]["hyperparameters"],
        seed=row.seed,
        estimated_finish=unix(row.estimated_finish) if row.estimated_finish and row.status == "running" else None,
        integrations=row.integrations,
        method=method,
        metadata=row.request_metadata,
        user_provided_suffix=row.suffix,
        training=row.training,
        estimate=row.estimate,
        actual=row.actual,
        last_step=last_step,
    )


def event(row: FineTuningEventRow) -> Event:
    return Event(
        id=row.id,
        created_at=unix(row.created_at),
        level=row.level,
        message=row.message,
        type=row.type,
        data=row.values,
    )


def checkpoint(row: FineTuningCheckpointRow, of: FineTuningJobRow, sv: Services) -> Checkpoint:
    name = of.fine_tuned_model or model_name(of, base_name(of.model), sv.settings.organization)
    return Checkpoint(
        id=row.id,
        created_at=unix(row.created_at),
        fine_tuned_model_checkpoint=checkpoint_name(name, row.step),
        step_number=row.step,
        fine_tuning_job_id=row.job_id,
        metrics=row.metrics,
    )
