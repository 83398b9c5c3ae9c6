"""Removes what nobody may keep any longer (docs/retention.md).

A round says first what goes (`retention_marks`), and then removes it in small transactions, so that a worker which dies is
followed by one that goes on. What is old enough is what was so at midnight (UTC): later rounds of a day find nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.audit import log as audit
from gateway.db.partitions import EXCHANGE_TEXTS, EXCHANGES, Busy, Part, begins, drop_before, parts
from gateway.db.tables import ExchangeRow
from gateway.exchanges import erasure, removal
from gateway.kit.clock import now, unix
from gateway.kit.ids import first_request_id
from gateway.protocol.audit_logs import own_actor
from gateway.protocol.retention import Periods
from gateway.retention import repository
from gateway.retention.periods import cut
from gateway.retention.repository import BODIES, EVERYBODY, Kind
from gateway.retention.repository import EXCHANGES as ROWS
from gateway.services import WorkerServices
from gateway.tasks.remove_aged_logs import remove_audit_entries, remove_training_events

log = logging.getLogger(__name__)

ALONE = text("SELECT pg_try_advisory_xact_lock(7416023118)")
"""Any fixed number that is no other lock's (gateway/db/locks.py)."""
LOOKED_BACK = 7 * 86_400
"""Seconds: what a spool was left with comes to the log late. On the first day of a month everything is looked at."""


async def apply_retention(wv: WorkerServices) -> None:
    """One at a time does it. Raises Unavailable; the next round goes on."""
    async with wv.database.session() as alone:
        if await alone.scalar(ALONE):
            await Round(wv, now()).run()


@dataclass(frozen=True)
class Round:
    wv: WorkerServices
    moment: datetime

    async def run(self) -> None:
        async with self.wv.database.session() as session:
            every = await repository.of_projects(session, self.wv.settings.retention)
        for project_id, periods in every.items():
            waits = self._goes_by_months(periods, every)
            await self._remove_bodies(project_id, periods, waits=waits)
            if periods.exchange_days and not waits:
                await self._remove_exchanges(project_id, cut(periods.exchange_days, self.moment))
            await remove_training_events(self.wv, project_id, self._cut(periods.training_log_days))
        if (longest := _longest(every)) is not None:
            await self._remove_months(every, cut(longest, self.moment))
        await remove_audit_entries(self.wv, self._cut(self.wv.settings.retention.audit_log_days))

    def _goes_by_months(self, periods: Periods, every: dict[str, Periods]) -> bool:
        return self.wv.settings.retention.whole_months and periods.exchange_days == _longest(every)

    def _cut(self, days: int) -> datetime | None:
        return cut(days, self.moment) if days else None

    async def _remove_bodies(self, project_id: str, periods: Periods, *, waits: bool) -> None:
        """Not of what goes itself by then. Args: waits: exchanges go with the last of their month."""
        if not periods.body_days or (not waits and 0 < periods.exchange_days <= periods.body_days):
            return
        until = cut(periods.body_days, self.moment)
        if (since := await self._begin(project_id, BODIES, until)) is None:
            return
        end, place, count = _first_of(until), since, 0
        while ids := await self._next_full(project_id, place, end, until):
            place = ids[-1]
            count += len(ids)
        await self._in_batches(lambda session: erasure.take_words(session, project_id, since, end))
        await self._finish(project_id, BODIES, until, count)

    async def _next_full(self, project_id: str, after: str, end: str, until: datetime) -> list[str]:
        async with self.wv.database.session() as session:
            ids = await removal.next_full(session, project_id, after, end, until)
            await erasure.empty_aged(session, project_id, ids)
        return ids

    async def _remove_exchanges(self, project_id: str, until: datetime) -> None:
        if await self._begin(project_id, ROWS, until) is None:
            return
        end = _first_of(until)
        await self._in_batches(lambda session: removal.remove_hanging(session, project_id, end))
        count = await self._in_batches(lambda session: removal.remove_next(session, project_id, end, until))
        await self._finish(project_id, ROWS, until, count)

    async def _begin(self, project_id: str, kind: Kind, until: datetime) -> str | None:
        """Says that it goes; the id from which on there may be something, None: it has gone already."""
        async with self.wv.database.session() as session:
            mark = (await repository.marks(session, kind)).get(project_id)
            if mark is not None and mark.done is not None and mark.done >= until:
                return None
            await repository.announce(session, project_id, kind, until)
        if mark is None or mark.done is None or self.moment.day == 1:
            return ""
        return first_request_id(unix(mark.done) - LOOKED_BACK)

    async def _in_batches(self, work: Callable[[AsyncSession], Awaitable[int]]) -> int:
        total = 0
        while True:
            async with self.wv.database.session() as session:
                count = await work(session)
            total += count
            if not count:
                return total

    async def _finish(self, project_id: str, kind: Kind, until: datetime, count: int) -> None:
        async with self.wv.database.session() as session:
            await repository.finish(session, project_id, kind, until)
            if count:
                _tell(session, project_id, kind, until, count)
        if count:
            log.info("retention: %s %s of project %s of before %s are gone", count, kind, project_id, until.date())

    async def _remove_months(self, every: dict[str, Periods], until: datetime) -> None:
        """Whole parts; row by row what is of as old a month in a part that has younger ones, too: the log of before there were
        parts is one (ADR 0014)."""
        if not await self._drop_months(list(every), until):
            return
        for project_id, periods in every.items():
            if self._goes_by_months(periods, every):
                await self._remove_exchanges(project_id, until.replace(day=1))

    async def _drop_months(self, project_ids: list[str], until: datetime) -> bool:
        """Those of which everybody's time has passed. False: not in this round."""
        async with self.wv.database.session() as session:
            passed = await _passed(session, until)
        if passed is None:
            return True
        month = begins(passed)
        async with self.wv.database.session() as session:
            for project_id in (EVERYBODY, *project_ids):
                await repository.announce(session, project_id, ROWS, month)
        for project_id in project_ids:
            await self._in_batches(lambda session, id=project_id: removal.remove_hanging(session, id, passed))
        try:
            await self._drop(passed, month)
        except Busy as busy:
            log.info("%s is in use: its months are dropped in the next round", busy)
            return False
        return True

    async def _drop(self, end: str, month: datetime) -> None:
        async with self.wv.database.session() as session:
            await removal.remove_unread(session, end)
            await drop_before(session, EXCHANGE_TEXTS, end)
        async with self.wv.database.session() as session:
            per_project = select(ExchangeRow.project_id, func.count()).where(ExchangeRow.id < end)
            for project_id, count in await session.execute(per_project.group_by(ExchangeRow.project_id)):
                _tell(session, project_id, ROWS, month, count)
            await session.flush()
            dropped = await drop_before(session, EXCHANGES, end)
        log.info("retention: dropped %s parts of the log, all before %s", dropped, month.date())


def _longest(every: dict[str, Periods]) -> int | None:
    """Days after which no project keeps exchanges; None: one keeps them for ever, or there is none."""
    days = [periods.exchange_days for periods in every.values()]
    return max(days) if days and all(days) else None


async def _passed(session: AsyncSession, until: datetime) -> str | None:
    """The end of the last month that is over by then, where there is anything of it."""
    every = await parts(session, EXCHANGES)
    ended = [part for part in every if part.end is not None and part.end <= _first_of(until)]
    if not ended or ended[-1].end is None:
        return None
    if len(ended) == 1 and not await _has_any(session, ended[0]):  # what takes what comes late
        return None
    newer = select(ExchangeRow.id).where(ExchangeRow.id < ended[-1].end, ExchangeRow.created_at >= until).limit(1)
    return None if await session.scalar(newer) is not None else ended[-1].end


async def _has_any(session: AsyncSession, part: Part) -> bool:
    return await session.scalar(select(ExchangeRow.id).where(ExchangeRow.id < part.end).limit(1)) is not None


def _first_of(until: datetime) -> str:
    return first_request_id(unix(until))


def _tell(session: AsyncSession, project_id: str, kind: Kind, until: datetime, count: int) -> None:
    removed = {"retention": {"removed": kind, "count": count, "before": unix(until)}}
    audit.write_change(session, own_actor(), audit.Owner("project", project_id, project_id), project_id, removed)
