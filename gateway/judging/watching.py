"""Which of a project's answers a judge judges by itself.

An answer is in when a hash of its exchange's id and the judge's is below the share that holds for its hour: the same
answer is in or out however often it is looked at, whichever worker looks. Exchanges arrive a little out of order (a long call, a
spool that was left behind), so each round looks back OVERLAP_SECONDS, and now and then SWEEP_SECONDS.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import JudgeRow, JudgeVersionRow
from gateway.judging.work import NEW_ID
from gateway.kit.clock import now
from gateway.kit.ids import NANOSECONDS, first_request_id
from gateway.protocol.judges import Watch

OVERLAP_SECONDS = 120
SWEEP_SECONDS = 86_400
HOUR = 3600
AT_A_TIME = 5000
"""Calls a judge and a round."""
HOURS_KEPT = 26
EVERYTHING = 1.0

MATCHING = """
    e.project_id = :project AND e.id >= :first AND e.id < :last AND e.purpose = '' AND e.outcome = 'completed'
    AND e.logging = 'full' AND NOT e.cache_hit
    AND (:any_route OR e.route = ANY(CAST(:routes AS text[])))
    AND (:any_model OR e.requested_model = ANY(CAST(:models AS text[])) OR e.served_model = ANY(CAST(:models AS text[])))
    AND (:any_metadata OR e.request_metadata @> CAST(CAST(:metadata AS text) AS jsonb))
"""
"""Only what Tuneway did not ask itself, a model answered to its end (not the reply cache), and may be read."""
CHANCE = "CAST(CAST('x' || substr(md5(:judge || e.id), 1, 12) AS bit(48)) AS bigint) < CAST(:threshold AS bigint)"
CHANCES = 2**48

COUNT = text(f"SELECT count(*) FROM exchanges e WHERE {MATCHING}")  # noqa: S608
TAKEN = text("""
SELECT count(DISTINCT exchange_id) FROM judging_tasks
WHERE judge_version_id = ANY(CAST(:versions AS text[])) AND sampling IS NOT NULL AND exchange_id >= :first AND exchange_id < :last
""")
SAMPLE = text(f"""
INSERT INTO judging_tasks (id, project_id, judge_version_id, exchange_id, attempt, sampling, created_at, due_at)
SELECT {NEW_ID}, s.project_id, CAST(:version AS text), s.id, a.n,
       CAST(CAST(:sampling AS text) AS jsonb), now(), now()
FROM (
    SELECT e.id, e.project_id FROM exchanges e WHERE {MATCHING} AND {CHANCE}
    AND NOT EXISTS (SELECT 1 FROM judging_tasks t
        WHERE t.judge_version_id = ANY(CAST(:versions AS text[])) AND t.exchange_id = e.id)
    AND NOT EXISTS (SELECT 1 FROM exchange_deletions d WHERE d.exchange_id = e.id)
    ORDER BY e.id LIMIT CAST(:most AS int)
) s CROSS JOIN generate_series(0, CAST(:repeats AS int) - 1) AS a(n)
ON CONFLICT DO NOTHING RETURNING exchange_id
""")  # noqa: S608


class Watched(msgspec.Struct, kw_only=True, frozen=True):
    """What `judges.watch` holds: the rules, and how far they were followed."""

    watch: Watch
    since: int
    """Unix second; what began before is left alone."""
    hours: dict[str, float] = {}
    """Unix second in which an hour began -> the share of its answers, where the number is limited."""


def begin(watch: Watch | None, moment: datetime) -> dict[str, Any] | None:
    """The column for rules that hold from now on."""
    return msgspec.to_builtins(Watched(watch=watch, since=int(moment.timestamp()))) if watch else None


def watched(row: JudgeRow) -> Watched | None:
    return msgspec.convert(row.watch, Watched) if row.watch is not None else None


async def due(session: AsyncSession) -> list[str]:
    """Ids of the judges that watch."""
    query = select(JudgeRow.id).where(JudgeRow.watch.is_not(None), JudgeRow.archived_at.is_(None))
    return list(await session.scalars(query))


async def lock(session: AsyncSession, judge_id: str) -> JudgeRow | None:
    """None while another worker looks, or when it watches no longer."""
    query = select(JudgeRow).where(JudgeRow.id == judge_id, JudgeRow.watch.is_not(None), JudgeRow.archived_at.is_(None))
    return await session.scalar(query.with_for_update(skip_locked=True))


@dataclass
class Round:
    """One look at the traffic for one judge, whose row is locked."""

    session: AsyncSession
    judge: JudgeRow
    version: JudgeVersionRow
    repeats: int
    moment: datetime = field(default_factory=now)
    _versions: list[str] = field(default_factory=list[str])

    async def sample(self, *, sweep: bool) -> int:
        """Have what is in judged; how many answers. Args: sweep: look back for long."""
        state = watched(self.judge)
        assert state is not None
        ids = select(JudgeVersionRow.id).where(JudgeVersionRow.judge_id == self.judge.id)
        self._versions = list(await self.session.scalars(ids))
        end = int(self.moment.timestamp()) + 1
        start = max(state.since, self._start(end, sweep=sweep))
        took = 0
        for first, last in self._segments(start, end, limited=state.watch.max_per_hour is not None):
            took, state = await self._take(first, last, state, took)
            if took >= AT_A_TIME:
                self._looked(first, state)  # the rest is for the next round
                return took
        self._looked(end - 1, state)
        return took

    def _start(self, end: int, *, sweep: bool) -> int:
        until = self.judge.watched_until
        return end - SWEEP_SECONDS if sweep or until is None else second_of(until) - OVERLAP_SECONDS

    def _looked(self, until: int, state: Watched) -> None:
        self.judge.watched_until = first_request_id(until)
        self.judge.watch = msgspec.to_builtins(state)

    @staticmethod
    def _segments(start: int, end: int, *, limited: bool) -> list[tuple[int, int]]:
        """One, or one an hour."""
        if not limited:
            return [(start, end)]
        hours = range(start - start % HOUR, end, HOUR)
        return [(max(start, hour), min(end, hour + HOUR)) for hour in hours]

    async def _take(self, first: int, last: int, state: Watched, took: int) -> tuple[int, Watched]:
        share, most, limit = state.watch.rate, AT_A_TIME - took, state.watch.max_per_hour
        if limit is not None:
            hour = first - first % HOUR
            if str(hour) not in state.hours:
                state = await self._with_hour(state, hour)
            share = state.hours[str(hour)]
            most = min(most, limit - await self._taken(hour))
        if most <= 0:
            return took, state
        return took + await self._insert(first, last, state.watch, share, most), state

    async def _with_hour(self, state: Watched, hour: int) -> Watched:
        """With the share of an hour's answers: that of the hour itself when it is over, else by the one before."""
        counted = hour if hour + HOUR <= int(self.moment.timestamp()) else hour - HOUR
        values = self._values(counted, counted + HOUR, state.watch)
        volume = await self.session.scalar(COUNT, values) or 0
        share = min(state.watch.rate, (state.watch.max_per_hour or 0) / max(volume, 1))
        kept = {name: value for name, value in state.hours.items() if int(name) > hour - HOURS_KEPT * HOUR}
        return msgspec.structs.replace(state, hours=kept | {str(hour): share})

    async def _taken(self, hour: int) -> int:
        values = {"versions": self._versions, "first": first_request_id(hour), "last": first_request_id(hour + HOUR)}
        return await self.session.scalar(TAKEN, values) or 0

    async def _insert(self, first: int, last: int, watch: Watch, share: float, most: int) -> int:
        sampling: dict[str, Any] = {"probability": share, "policy": "watch"}
        if watch.max_per_hour is not None:
            sampling["max_per_hour"] = watch.max_per_hour
        values = self._values(first, last, watch) | {
            "judge": self.judge.id,
            "version": self.version.id,
            "versions": self._versions,
            "threshold": round(share * CHANCES),
            "sampling": msgspec.json.encode(sampling).decode(),
            "most": most,
            "repeats": self.repeats,
        }
        return len({row.exchange_id for row in await self.session.execute(SAMPLE, values)})

    def _values(self, first: int, last: int, watch: Watch) -> dict[str, Any]:
        return {
            "project": self.judge.project_id,
            "first": first_request_id(first),
            "last": first_request_id(last),
            "any_route": not watch.routes,
            "routes": watch.routes,
            "any_model": not watch.models,
            "models": watch.models,
            "any_metadata": not watch.metadata,
            "metadata": msgspec.json.encode(watch.metadata).decode(),
        }


def second_of(request_id: str) -> int:
    """The Unix second in which an exchange began, by its id."""
    return int(request_id.removeprefix("req_")[:16], 16) // NANOSECONDS
