"""What a job will take, before it starts: the trainer's own program works it out (trainer/estimate.py), from the data's
report, this installation's hardware, and the speeds that earlier jobs measured."""

import logging
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow, TrainingHardwareRow, TrainingSpeedRow
from gateway.errors import InvalidRequest, Unavailable
from gateway.fine_tuning import models
from gateway.fine_tuning.programs import NoAnswer, answer_of
from gateway.fine_tuning.specification import specification
from gateway.kit.clock import now
from gateway.kit.money import usd_from_nano
from gateway.protocol.datasets import Report
from gateway.settings import Settings
from trainer.contract import (
    Estimate,
    EstimateCall,
    EstimateOption,
    HardwareDescription,
    Speed,
    decode_estimate,
    encode,
)

log = logging.getLogger(__name__)

ESTIMATOR = "trainer.estimate"
SECONDS = 20.0
"""It takes a tenth of one."""


async def question(session: AsyncSession, settings: Settings, job: FineTuningJobRow, report: Report) -> EstimateCall:
    """What the trainer must know to tell what a job will take.

    Args:
        job: stored or only drafted.
        report: of its training file.

    Raises:
        InvalidRequest: the file has no usable example.
        Unavailable: no worker has told yet what it trains on.
    """
    if not report.good_examples:
        raise InvalidRequest("The training file has no usable example; its report says why.", param="training_file")
    parent = await models.live_model(session, job.project_id, job.model)
    path = settings.data_dir / parent.adapter_path if parent else None
    spec = specification(job, base_model=settings.engine.model_path, continue_from=path)
    hardware = await _hardware(session)
    return EstimateCall(
        spec=spec,
        examples=report.good_examples,
        tokens=_trained_once(report),
        longest=max(report.tokens.longest, 1),
        hardware=hardware,
        speeds=await _speeds(session, settings.engine.model, spec.method, hardware.name),
    )


def priced(call: EstimateCall, *, tokens_nano: int | None, hour_nano: int | None) -> EstimateCall:
    """With what 1M trained tokens and an hour of one device cost, in nano-dollars."""
    return msgspec.structs.replace(
        call,
        usd_per_million_tokens=None if tokens_nano is None else usd_from_nano(tokens_nano),
        usd_per_hour=None if hour_nano is None else usd_from_nano(hour_nano),
    )


async def estimate(call: EstimateCall) -> Estimate:
    """The trainer's answer; no database connection waits for it.

    Raises:
        Unavailable: the base model's files cannot be read here, or this machine is too busy.
    """
    try:
        return decode_estimate(await answer_of(ESTIMATOR, encode(call), seconds=SECONDS))
    except NoAnswer as reason:
        log.error("no estimate: %s", reason)
        message = (
            "Nothing can be estimated: the base model's files cannot be read here, or the server is too busy; its log"
            " says which."
        )
        raise Unavailable(message, retry_after=60) from None


def _trained_once(report: Report) -> int:
    """Tokens of one epoch. A pair is trained on as two sequences, so its prompt counts twice."""
    again = report.tokens.mean_input * report.good_examples if report.method == "dpo" else 0
    return report.tokens.total + round(again)


def chosen_option(told: Estimate) -> EstimateOption:
    """The option that the job will be trained with."""
    return next(option for option in told.options if option.training_type == told.hyperparameters.training_type)


def for_job(told: Estimate) -> dict[str, Any]:
    """What stands on the job, beside what it really took (`actual`, with the same names)."""
    option = chosen_option(told)
    return {
        "training_type": option.training_type,
        "seconds": option.seconds,
        "tokens_per_second": option.tokens_per_second,
        "speed_source": option.speed_source,
        "trained_tokens": told.trained_tokens,
        "steps": told.steps,
        "memory_bytes": option.memory_bytes.total,
        "fits": option.fits,
        "cost_usd": option.cost_usd,
        "device": told.hardware.name,
    }


async def save_hardware(session: AsyncSession, host: str, description: HardwareDescription) -> None:
    """Of one worker's machine."""
    values = {"description": msgspec.to_builtins(description), "seen_at": now()}
    row = insert(TrainingHardwareRow).values(host=host, **values)
    await session.execute(row.on_conflict_do_update(index_elements=["host"], set_=values))


async def device_count(session: AsyncSession) -> int:
    """Of the machine whose worker started last; 1 while none has told."""
    try:
        return (await _hardware(session)).devices
    except Unavailable:
        return 1


async def _hardware(session: AsyncSession) -> HardwareDescription:
    """Of the machine whose worker started last."""
    newest = select(TrainingHardwareRow.description).order_by(TrainingHardwareRow.seen_at.desc()).limit(1)
    description = await session.scalar(newest)
    if description is None:
        raise Unavailable(
            "No worker has told yet what it trains on; it does so within seconds of its start.", retry_after=5
        )
    return msgspec.convert(description, HardwareDescription)


async def _speeds(session: AsyncSession, base_model: str, method: str, device: str) -> list[Speed]:
    rows = await session.scalars(
        select(TrainingSpeedRow).where(
            TrainingSpeedRow.base_model == base_model,
            TrainingSpeedRow.method == method,
            TrainingSpeedRow.device == device,
        )
    )
    return [msgspec.convert(row, Speed, from_attributes=True) for row in rows]
