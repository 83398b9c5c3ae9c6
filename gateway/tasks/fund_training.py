"""A fine-tuning job draws on budgets: what it may cost is held before it trains, and more while it trains longer.

Where a budget cannot pay any more the job is paused, with what it trained; it goes on once it is resumed.
"""

import asyncio
import math
from collections.abc import Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets import holds
from gateway.budgets.held import held
from gateway.db.tables import FineTuningJobRow
from gateway.errors import BudgetBusy, BudgetExhausted
from gateway.fine_tuning import repository
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.service import Failure
from gateway.fine_tuning.trained import Tally
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.metering.charges import charged
from gateway.metering.training import Rates, training_cost
from gateway.services import WorkerServices
from gateway.tasks.charge_training import devices_of, training_rates
from gateway.tasks.pauses import Pauses
from trainer.contract import TrainingEvent

QUOTA = "insufficient_quota"
MARGINS = {"measured": 1.25, "computed": 2.0}
"""How much longer than estimated a training may well take, by where its speed is known from."""
LEAST = 1
"""Nano-dollars: a job without an estimate needs a budget that is not used up."""
ENOUGH = 0.8
"""Of what is held: once so much is trained, more is held."""
MORE = 4
"""A part of what is held already."""


async def hold_before_queue(wv: WorkerServices, job_id: str, pauses: Pauses) -> None:
    """Set aside what a validated job may cost. What is leased to others is waited for a while.

    Raises:
        Failure: a budget does not pay for it.
        Unavailable: the database is away.
    """
    for tries_left in reversed(range(pauses.load_tries)):
        try:
            async with wv.database.session() as session:
                await hold_for(wv, session, job_id)
            return
        except BudgetExhausted as refusal:
            raise Failure(QUOTA, str(refusal)) from None
        except BudgetBusy as refusal:
            if not tries_left:
                raise Failure(QUOTA, str(refusal)) from None
        await asyncio.sleep(pauses.load)


async def hold_for(wv: WorkerServices, session: AsyncSession, job_id: str) -> None:
    """What a job may cost and has not set aside yet. Raises BudgetExhausted, BudgetBusy."""
    job = await session.get_one(FineTuningJobRow, job_id)
    rates = await training_rates(wv, session, job)
    moment = job.started_at if job.status == "running" and job.started_at else now()
    have = await held(session, job.project_id, job.api_key_id, job_id, moment)
    if have is None or not rates.known:
        return
    spent = (await charged(session, job_id)).cost_nano
    needed = max(_upper_side(job.estimate, rates, await devices_of(wv, session)) - spent, LEAST)
    if needed > have:
        await holds.hold(session, job.project_id, job.api_key_id, job_id, needed - have, moment)


async def pause_without_funds(wv: WorkerServices, lease: Lease, why: BudgetExhausted | BudgetBusy) -> None:
    async with wv.database.session() as session:
        if await repository.move(session, lease.job_id, "paused", holder=lease.holder):
            message = f"Fine-tuning job paused: {why} Resume it then; nothing that was trained is lost."
            await repository.add_event(session, lease.job_id, new_id("unfunded-"), message, level="warn")


class Funds:
    """What is held for a job that trains, and what it came to."""

    def __init__(self, wv: WorkerServices, lease: Lease, job: FineTuningJobRow) -> None:
        self._wv, self._lease, self._job = wv, lease, job
        self._tally = Tally()
        self._rates: Rates | None = None
        """None: nothing is to be watched."""
        self._devices = 1
        self._may_spend = 0
        """Charged before and held now."""

    @classmethod
    async def of(cls, wv: WorkerServices, lease: Lease, job: FineTuningJobRow) -> "Funds":
        """Raises Unavailable."""
        funds = cls(wv, lease, job)
        async with wv.database.session() as session:
            rates = await training_rates(wv, session, job)
            have = await held(session, job.project_id, job.api_key_id, job.id, job.started_at or now())
            if have is not None and rates.known:
                funds._rates, funds._devices = rates, await devices_of(wv, session)
                funds._may_spend = have + (await charged(session, job.id)).cost_nano
        return funds

    async def cover(self, told: Iterable[TrainingEvent]) -> None:
        """Hold more once what is held is nearly used up; where that is refused, pause the job. Raises Unavailable."""
        self._tally.add(told)
        if self._rates is None:
            return
        trained = self._tally.trained
        cost = training_cost(trained.tokens, trained.ms * self._devices, self._rates).total
        if cost < ENOUGH * self._may_spend:
            return
        more, job = max(math.ceil(cost / ENOUGH) - self._may_spend, 0) + cost // MORE + LEAST, self._job
        try:
            async with self._wv.database.session() as session:
                await holds.hold(session, job.project_id, job.api_key_id, job.id, more, job.started_at)
            self._may_spend += more
        except (BudgetExhausted, BudgetBusy) as refusal:
            self._rates = None
            await pause_without_funds(self._wv, self._lease, refusal)


def _upper_side(estimate: dict[str, Any] | None, rates: Rates, devices: int) -> int:
    """Nano-dollars."""
    if estimate is None:
        return LEAST
    ms = math.ceil(estimate["seconds"] * 1000 * MARGINS.get(estimate["speed_source"], 2.0)) * devices
    return training_cost(estimate["trained_tokens"], ms, rates).total
