"""Budgets as several gateway processes see them, and what reaches the ledger, for tests."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from gateway.budgets.book import Cover
from gateway.budgets.charges import charge
from gateway.budgets.reservation import Reservation
from gateway.budgets.service import Budgets
from gateway.budgets.waiting import Asked
from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.mirror import Mirrors
from gateway.db.tables import (
    ApiKeyRow,
    BudgetEventRow,
    BudgetLeaseRow,
    BudgetRow,
    BudgetWindowRow,
    ProjectRow,
    ServiceAccountRow,
)
from gateway.kit.clock import from_unix, now
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups
from gateway.settings import BudgetSettings
from tests.gateway.metering.ledger_rows import charge as ledger_row

PROJECT, KEY = "proj_1", "key_1"
PATIENT = BudgetSettings(wait_seconds=20, idle_seconds=60)
HASTY = BudgetSettings(wait_seconds=0.2, idle_seconds=60)
_numbers = itertools.count()


def exactly(amount: int) -> Asked:
    """What a call demands that says how long its answer may be."""
    return Asked(amount, amount, amount)


async def add_key(database: Database, project_id: str = PROJECT, key_id: str = KEY) -> None:
    async with database.session() as session:
        if await session.get(ProjectRow, project_id) is None:
            session.add(ProjectRow(id=project_id, name=project_id, created_at=now()))
            await session.flush()
        account = ServiceAccountRow(
            id=f"account_of_{key_id}", project_id=project_id, name="a", role="member", created_at=now()
        )
        session.add(account)
        await session.flush()
        session.add(
            ApiKeyRow(
                id=key_id,
                name=key_id,
                hash=key_id.encode(),
                redacted_value="sk-...",
                project_id=project_id,
                service_account_id=account.id,
                created_at=now(),
            )
        )


async def add_budget(database: Database, limit: int, id: str = "budget_1", **changes: Any) -> None:
    """On the key, in total, hard, and as old as the hills, unless `changes` say otherwise."""
    scope = changes.setdefault("scope", "api_key")
    row = BudgetRow(
        id=id,
        created_at=changes.pop("created_at", from_unix(1_700_000_000)),
        name=None,
        project_id=changes.pop("project_id", None if scope == "organization" else PROJECT),
        api_key_id=changes.pop("api_key_id", KEY if scope == "api_key" else None),
        limit_nano=limit,
        source="budgets",
        **({"period": "total", "hard": True, "thresholds": [50, 80, 100]} | changes),
    )
    async with database.session() as session:
        session.add(row)
        await touch(session, "budgets")


async def set_limit(database: Database, limit: int, id: str = "budget_1") -> None:
    async with database.session() as session:
        row = await session.get_one(BudgetRow, id)
        row.limit_nano = limit
        await touch(session, "budgets")


@dataclass
class Process:
    """A gateway process, as far as budgets go. What it spends waits in `unposted`, as in a spool."""

    database: Database
    holder: str
    settings: BudgetSettings = PATIENT
    unposted: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budgets = Budgets(self.database, self.holder, self.settings)
        self.mirrors = Mirrors(self.database, [self.budgets.book, self.budgets.wants])

    async def poll(self) -> None:
        await self.mirrors.refresh()

    @asynccontextmanager
    async def polling(self) -> AsyncGenerator[None]:
        """As a gateway does all the time."""

        async def poll() -> None:
            while True:
                await self.poll()
                await asyncio.sleep(0.01)

        task = asyncio.create_task(poll())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def cover(self) -> Cover:
        cover = self.budgets.of(PROJECT, KEY)
        assert cover is not None
        return cover

    async def reserve(self, demand: Asked | int, *, at: float | None = None) -> Reservation:
        asked = exactly(demand) if isinstance(demand, int) else demand
        return await self.budgets.reserve(self.cover, time.time() if at is None else at, asked)

    def settle(self, reservation: Reservation, cost: int, *, at: float | None = None) -> None:
        reservation.settle(cost)
        self.spend(cost, at=at)

    def spend(self, cost: int, *, at: float | None = None) -> None:
        """Without a reservation."""
        if cost:
            moment = time.time() if at is None else at
            self.unposted.append(spent(cost, holder=self.holder, created_at=moment))

    async def drain(self) -> None:
        rows, self.unposted = self.unposted, []
        await post(self.database, rows)

    @property
    def accounts(self) -> dict[Any, Any]:
        return self.budgets.accounts

    @property
    def account(self) -> Any:
        """Its only one."""
        [account] = self.accounts.values()
        return account


async def polled(database: Database, holder: str, settings: BudgetSettings = PATIENT) -> Process:
    """One that has read the budgets."""
    process = Process(database, holder, settings)
    await process.poll()
    return process


def spent(cost: int, **changes: Any) -> dict[str, Any]:
    nothing = {"input_nano": 0, "cached_input_nano": 0, "output_nano": 0, "request_nano": cost}
    return ledger_row(f"req_{next(_numbers):06}", **({"created_at": time.time()} | nothing | changes))


async def post(database: Database, rows: Sequence[dict[str, Any]]) -> None:
    async with database.raw() as connection:
        await Ledger([post_rollups, charge]).post(connection, rows)


async def windows(database: Database) -> dict[tuple[str, datetime], int]:
    """What was spent of each."""
    async with database.session() as session:
        rows = await session.scalars(select(BudgetWindowRow))
        return {(row.budget_id, row.starts_at): row.spent_nano for row in rows}


async def leases(database: Database) -> dict[str, tuple[int, int]]:
    """Holder -> granted and spent, where there is one window."""
    async with database.session() as session:
        rows = await session.scalars(select(BudgetLeaseRow))
        return {row.holder: (row.granted_nano, row.spent_nano) for row in rows}


async def events(database: Database) -> list[tuple[int, int, int]]:
    """Threshold, limit and what was spent."""
    async with database.session() as session:
        rows = await session.scalars(
            select(BudgetEventRow).order_by(BudgetEventRow.limit_nano, BudgetEventRow.threshold)
        )
        return [(row.threshold, row.limit_nano, row.spent_nano) for row in rows]


async def committed(database: Database) -> int:
    return sum(max(granted, used) for granted, used in (await leases(database)).values())
