"""Fine-tuning jobs draw on budgets: what is asked before one is made or resumed."""

import time

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets import holds
from gateway.db.tables import FineTuningJobRow
from gateway.errors import InvalidRequest
from gateway.keys.ring import ApiKey
from gateway.metering.training import Rates, rates_of
from gateway.services import Services

FIRST = 1
"""Nano-dollars: less than this left refuses a job at once. What it may cost is held once its files are validated."""


def training_rates(sv: Services, model: str) -> Rates:
    """What training `model` costs now."""
    fallback = sv.settings.fine_tuning.usd_per_hour
    return rates_of(sv.prices, model, sv.settings.engine.model, time.time(), usd_per_hour=fallback)


def check_price(sv: Services, caller: ApiKey, model: str) -> None:
    """A hard budget pays for nothing whose cost nobody knows. Raises InvalidRequest."""
    cover = sv.budgets.of(caller.project_id, caller.id)
    if cover is None or not cover.hard or training_rates(sv, model).known:
        return
    raise InvalidRequest(
        f"Training `{model}` has no price, and your budget pays only for what has one. Ask an administrator to set"
        " `training` or `training_hour` of it (POST /v1/prices, or [[prices]] in the settings); 0 is a price, too.",
        param="model",
        code="price_missing",
    )


async def fund(session: AsyncSession, job: FineTuningJobRow) -> None:
    """Raises BudgetExhausted, BudgetBusy: the budgets of the job's key pay for nothing now."""
    await holds.hold(session, job.project_id, job.api_key_id, job.id, FIRST)


async def release_waiting(session: AsyncSession, job: FineTuningJobRow) -> None:
    """What is held for a job that no worker ever trained; of others it is kept until what they trained is charged."""
    if job.lease_holder is None and job.started_at is None:
        await holds.release(session, job.id)
