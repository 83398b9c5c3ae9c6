"""From a leased job to what its trainer is started with, or to the reason why it cannot be trained."""

import asyncio
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import BudgetBusy, BudgetExhausted
from gateway.fine_tuning import claims, models, repository
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.publish import kind_of
from gateway.fine_tuning.runner import TRAINING, VALIDATION, Run, Stopped
from gateway.fine_tuning.service import Failure
from gateway.fine_tuning.specification import specification
from gateway.services import WorkerServices
from gateway.serving.shapes import misfit
from gateway.tasks.fund_training import hold_for, pause_without_funds
from trainer.contract import TrainingSpec


async def begin_training(wv: WorkerServices, lease: Lease, run: Run) -> tuple[FineTuningJobRow, TrainingSpec]:
    """The job, now running.

    Raises:
        Failure: it cannot be trained.
        Stopped: it was cancelled or paused.
        Unavailable: the database is away.
    """
    is_trained = run.has_succeeded()
    try:
        job, parent = await _begin(wv, lease, is_trained=is_trained)
    except (BudgetExhausted, BudgetBusy) as refusal:
        await pause_without_funds(wv, lease, refusal)
        raise Stopped from None
    lease.statuses = ("running",)
    if not is_trained:
        await asyncio.to_thread(_check_disk, wv, job, parent, run.directory)
    continue_from = wv.settings.data_dir / parent.adapter_path if parent else None
    return job, specification(job, base_model=wv.settings.engine.model_path, continue_from=continue_from)


async def _begin(wv: WorkerServices, lease: Lease, *, is_trained: bool) -> tuple[FineTuningJobRow, ModelRow | None]:
    """The job, and what it goes on from. One that was queued a while ago, or paused, has nothing set aside any more in
    the windows of budgets that its training is to be charged to. Raises Failure, Stopped, BudgetExhausted, BudgetBusy."""
    async with wv.database.session() as session:
        before = await repository.get(session, lease.job_id)
        was_queued = before is not None and before.status == "queued"
        if not await claims.begin(session, lease.job_id, lease.holder):
            raise Stopped
        job = await repository.get(session, lease.job_id)
        assert job is not None, "a leased job is there"
        await session.refresh(job)
        parent = None if is_trained else await _parent(wv, session, job)  # what is trained needs it no more
        if await repository.is_archived(session, job.project_id):
            raise Failure("project_archived", "The project of this job was archived before the training began.")
        if was_queued and not is_trained:
            await hold_for(wv, session, job.id)
    return job, parent


async def _parent(wv: WorkerServices, session: AsyncSession, job: FineTuningJobRow) -> ModelRow | None:
    """The tuned model to go on from; None for the base. Raises Failure."""
    if job.model == wv.settings.engine.model:
        return None
    parent = await models.live_model(session, job.project_id, job.model)
    if parent is None:
        message = f"The model {job.model} does not exist any more; create the job again with one of GET /v1/models."
        raise Failure("model_not_found", message, "model")
    base = wv.settings.engine.model
    if parent.kind == "adapter" and parent.base_model != base:
        raise Failure("model_not_available", models.wrong_base(job.model, parent.base_model, base), "model")
    return parent


def _check_disk(wv: WorkerServices, job: FineTuningJobRow, parent: ModelRow | None, directory: Path) -> None:
    """What training needs is on this machine. Raises Failure."""
    check_job_directory(job, directory)
    weights = Path(wv.settings.engine.model_path)
    if weights.is_absolute() and not weights.is_dir():
        raise Failure(
            "model_not_found",
            f"The weights of the base model {wv.settings.engine.model} are not on the server's disk any more; ask its"
            " operator to put them back, then create the job again.",
            "model",
        )
    if parent is not None:
        _check_parent(job, wv.settings.data_dir / parent.adapter_path, weights)


def _check_parent(job: FineTuningJobRow, parent: Path, weights: Path) -> None:
    """What it goes on from is there, and fits `weights`, the base's. Raises Failure."""
    try:
        kind = kind_of(parent)
    except FileNotFoundError:
        message = f"The files of the model {job.model} are not on the server's disk any more; continue from another."
        raise Failure("model_not_found", message, "model") from None
    if kind == "adapter" and (found := misfit(parent, weights)):
        message = f"The model {job.model} does not fit the weights of the base model on this server: {found}"
        raise Failure("model_not_available", message, "model")


def check_job_directory(job: FineTuningJobRow, directory: Path) -> None:
    """The validated copies of the job's files are there. Raises Failure."""
    needed = [TRAINING, VALIDATION] if job.validation_file else [TRAINING]
    if not all((directory / name).exists() for name in needed):
        message = "The job's working directory is gone from the server's disk; create the job again."
        raise Failure("server_error", message)
