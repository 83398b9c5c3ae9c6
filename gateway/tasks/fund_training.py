"""A fine-tuning job draws on budgets: what it may cost is held before it trains, and more while it trains longer.

Where a budget cannot pay any more the job is paused, with what it trained; it goes on once it is resumed. One that was
made while a job trains, and cannot pay for the rest of it, does not stop it: the job's events say so.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets import holds
from gateway.budgets.held import held
from gateway.budgets.opening import open_window
from gateway.db.driver import driver_of
from gateway.db.tables import FineTuningJobRow
from gateway.errors import BudgetBusy, BudgetExhausted, Unavailable
from gateway.fine_tuning import repository
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.service import Failure
from gateway.fine_tuning.trained import Tally
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.kit.money import format_usd
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
    if not rates.known:
        return
    spent = (await charged(session, job_id)).cost_nano
    needed = max(_upper_side(job.estimate, rates, await devices_of(wv, session)) - spent, LEAST)
    await holds.hold_at_least(session, job.project_id, job.api_key_id, job_id, needed, moment)


async def pause_without_funds(wv: WorkerServices, lease: Lease, why: BudgetExhausted | BudgetBusy) -> None:
    async with wv.database.session() as session:
        if await repository.move(session, lease.job_id, "paused", holder=lease.holder):
            message = f"Fine-tuning job paused: {why} Resume it then; nothing that was trained is lost."
            await repository.add_event(session, lease.job_id, new_id("unfunded-"), message, level="warn")


class Funds:
    """What is held for a job that trains, and what it came to.

    A budget that was made meanwhile is to pay for the rest of the job, too. Where it cannot, the job goes on and says so:
    who made the budget decides.
    """

    def __init__(self, wv: WorkerServices, lease: Lease, job: FineTuningJobRow) -> None:
        self._wv, self._lease, self._job = wv, lease, job
        self._began = job.started_at or now()
        self._tally = Tally()
        self._rates: Rates | None = None
        """None: nothing is to be watched."""
        self._devices = 1
        self._charged = 0
        """Before it began, or went on."""
        self._may_spend: int | None = None
        """Charged before and held now, in each budget that pays; None: none does."""
        self._unpaid: set[str] = set()
        """Budgets that could not pay when they were last asked."""
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def of(cls, wv: WorkerServices, lease: Lease, job: FineTuningJobRow) -> "Funds":
        """Raises Unavailable."""
        funds = cls(wv, lease, job)
        async with wv.database.session() as session:
            rates = await training_rates(wv, session, job)
            have = await held(session, job.id, funds._began)
            if rates.known:
                funds._rates, funds._devices = rates, await devices_of(wv, session)
                funds._charged = (await charged(session, job.id)).cost_nano
                funds._may_spend = None if have is None else have + funds._charged
        return funds

    async def cover(self, told: Iterable[TrainingEvent]) -> None:
        """Hold more once what is held is nearly used up; where that is refused, pause the job. Raises Unavailable."""
        self._tally.add(told)
        async with self._one_at_a_time:
            cost = self._cost()
            if self._rates is None or self._may_spend is None or cost < ENOUGH * self._may_spend:
                return
            more = max(math.ceil(cost / ENOUGH) - self._may_spend, 0) + cost // MORE + LEAST
            try:
                async with self._wv.database.session() as session:
                    await holds.hold_more(session, self._job.id, more, self._began)
                self._may_spend += more
            except (BudgetExhausted, BudgetBusy) as refusal:
                self._rates = None
                await pause_without_funds(self._wv, self._lease, refusal)

    @asynccontextmanager
    async def watched(self, seconds: float) -> AsyncGenerator[None]:
        """Meanwhile, look for budgets that were made since, every so many seconds."""
        ended = asyncio.Event()
        watching = self._wv.background.spawn(self._watch(seconds, ended), "look for budgets of a training")
        try:
            yield
        finally:
            ended.set()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, seconds: float, ended: asyncio.Event) -> None:
        """Until told to end: a cancellation amid a transaction can end as a database that is away, and be forgotten."""
        while not ended.is_set():
            with suppress(Unavailable):
                await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await ended.wait()

    async def look(self) -> None:
        """Hold what the job may still cost in hard budgets in which nothing is held for it. Raises Unavailable."""
        job = self._job
        async with self._one_at_a_time:
            if self._rates is None:
                return
            async with self._wv.database.session() as session:
                places = await holds.without_hold(session, job.project_id, job.api_key_id, job.id, self._began)
            for place in places:
                await self._hold_in(place, self._rates)

    async def _hold_in(self, place: holds.Place, rates: Rates) -> None:
        upper = _upper_side(self._job.estimate, rates, self._devices)
        total = max(self._may_spend or 0, upper, math.ceil(self._cost() / ENOUGH), self._charged + LEAST)
        rest, budget_id = total - self._charged, place.budget.id
        try:
            async with self._wv.database.session() as session:
                await holds.hold_in(session, place, self._job.id, rest)
                if budget_id in self._unpaid:
                    await self._tell(session, place, f"Budget {budget_id} now pays for the rest of this job.")
            self._unpaid.discard(budget_id)
            self._may_spend = self._may_spend or total
        except (BudgetExhausted, BudgetBusy) as refusal:
            self._unpaid.add(budget_id)
            message = (
                f"A budget that was made while this job trains cannot pay for the rest of it, up to ${format_usd(rest)}."
                f" The job goes on, and counts in it; pause or cancel the job if it shall not. {refusal}"
            )
            async with self._wv.database.session() as session:
                await open_window(
                    await driver_of(session), budget_id, place.window
                )  # it counts what it does not pay for
                await self._tell(session, place, message, level="warn")

    async def _tell(self, session: AsyncSession, place: holds.Place, message: str, level: str = "info") -> None:
        """Once for each limit."""
        key = f"budget-{level}-{place.budget.id}-{place.budget.limit}"
        await repository.add_event(session, self._job.id, key, message, level=level)

    def _cost(self) -> int:
        """Nano-dollars that the job came to so far, charged or not."""
        if self._rates is None:
            return 0
        trained = self._tally.trained
        return training_cost(trained.tokens, trained.ms * self._devices, self._rates).total


def _upper_side(estimate: dict[str, Any] | None, rates: Rates, devices: int) -> int:
    """Nano-dollars."""
    if estimate is None:
        return LEAST
    ms = math.ceil(estimate["seconds"] * 1000 * MARGINS.get(estimate["speed_source"], 2.0)) * devices
    return training_cost(estimate["trained_tokens"], ms, rates).total
