"""Reads the exchange log and the judgments of one project as they were at one moment, page by page.

Ids of exchanges sort by time, so pages go on where the last one ended: no transaction stays open for a long build, and
neither the order of rows on disk nor what is added meanwhile changes anything.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, cast, func, select
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets.building.logged import Bodies, Call
from gateway.datasets.building.verdicts import Required, Verdict
from gateway.db.bodies import size_of
from gateway.db.database import Database
from gateway.db.large_bodies import load_pair
from gateway.db.tables import (
    CriterionRow,
    ExchangeDeletionRow,
    ExchangeRow,
    JudgmentRow,
    TrainingExampleRow,
)
from gateway.kit.clock import from_unix
from gateway.kit.ids import first_request_id
from gateway.protocol.recipes import Condition, Examples, Exchanges

T = TypeVar("T")

PAGE = 2000
"""Exchanges that are looked at together, without their bodies."""
BODIES_BYTES = 16 * 1024 * 1024
"""Of bodies in memory at a time, unless a single exchange has more."""
EARLIER, LATER = timedelta(hours=1), timedelta(minutes=1)
"""An id is made before `created_at` is known, and the clock may be set back (gateway/exchanges/repository.py)."""

HASHED = "hash:"
"""Before the hash of a user in a stored recipe."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Whose data, and of which moment: what was made later does not count, nor what was taken back before."""

    project_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Sized:
    """An exchange, and how much its bodies are."""

    call: Call
    bytes: int


class Log:
    """One project's exchanges that a recipe takes, and what was said of them."""

    def __init__(self, database: Database, snapshot: Snapshot, wanted: Exchanges) -> None:
        self._database, self._snapshot, self._wanted = database, snapshot, wanted

    async def pages(self, newest: int | None = None) -> AsyncIterator[list[Sized]]:
        """Every one in the order of their ids.

        Args:
            newest: only so many, the last ones.
        """
        behind = await self._start_of(newest) if newest else ""
        while page := await self._page(behind):
            yield page
            behind = page[-1].call.id

    def unfiltered(self) -> "Log":
        """All that could be learnt, whatever the recipe leaves out."""
        return Log(self._database, self._snapshot, Exchanges())

    async def disliked_pages(self) -> AsyncIterator[list[Sized]]:
        """Those of which a person said that an answer is not good, or how it should be; a page may be empty."""
        said = self._judgments().with_only_columns(JudgmentRow.exchange_id).order_by(None).distinct()
        said = said.where(JudgmentRow.source == "human", ~JudgmentRow.passed | (JudgmentRow.kind == "edit"))
        behind = ""
        while True:
            page = said.where(JudgmentRow.exchange_id > behind).order_by(JudgmentRow.exchange_id).limit(PAGE)
            async with self._database.session() as session:
                ids = list(await session.scalars(page))
            if not ids:
                return
            yield list((await self.calls(ids)).values())
            behind = ids[-1]

    async def count(self, most: int | None = None) -> int:
        """Args: most: counted no further."""
        matching = self._matching().limit(most).subquery()
        async with self._database.session() as session:
            return int(await session.scalar(select(func.count()).select_from(matching)) or 0)

    async def calls(self, ids: Collection[str]) -> dict[str, Sized]:
        """Those of `ids` that the recipe takes."""
        async with self._database.session() as session:
            rows = await session.execute(self._matching().where(ExchangeRow.id.in_(ids)))
            return {row.id: _sized(row) for row in rows}

    async def bodies(self, ids: Collection[str]) -> dict[str, Bodies]:
        """One that was deleted meanwhile is missing."""
        columns = select(ExchangeRow.id, ExchangeRow.request, ExchangeRow.reply)
        async with self._database.session() as session:
            rows = list(await session.execute(columns.where(ExchangeRow.id.in_(ids))))
            both = [(id, *await load_pair(session, request, reply)) for id, request, reply in rows]
        return {id: Bodies(request, reply) for id, request, reply in both if reply}

    async def verdicts(self, ids: Collection[str]) -> dict[str, list[Verdict]]:
        """What was said of these exchanges, in the order of the judgments' ids."""
        found: dict[str, list[Verdict]] = {}
        async with self._database.session() as session:
            rows = list(await session.execute(self._judgments().where(JudgmentRow.exchange_id.in_(ids))))
        parts = {part for row, _ in rows for part in row.derived_from or ()}
        for row, criterion in rows:
            if row.id not in parts:
                found.setdefault(row.exchange_id, []).append(_verdict(row, criterion))
        return found

    def _judgments(self) -> Select[JudgmentRow, str]:
        at = self._snapshot.at
        of_project = select(JudgmentRow, CriterionRow.name).join(CriterionRow).order_by(JudgmentRow.id)
        return of_project.where(
            JudgmentRow.project_id == self._snapshot.project_id,
            JudgmentRow.status == "ok",
            JudgmentRow.eval_run_id.is_(None),
            JudgmentRow.created_at <= at,
            JudgmentRow.superseded_at.is_(None) | (JudgmentRow.superseded_at > at),
        )

    async def _page(self, behind: str) -> list[Sized]:
        query = self._matching().where(ExchangeRow.id > behind).order_by(ExchangeRow.id).limit(PAGE)
        async with self._database.session() as session:
            return [_sized(row) for row in await session.execute(query)]

    async def _start_of(self, newest: int) -> str:
        """The id behind which the last `newest` begin."""
        ids = self._matching().with_only_columns(ExchangeRow.id).order_by(ExchangeRow.id.desc())
        async with self._database.session() as session:
            return await session.scalar(ids.offset(newest).limit(1)) or ""

    def _matching(self) -> Any:
        sizes = size_of("request") + size_of("reply")
        columns = select(*_CALL, sizes.label("bytes"))
        return columns.where(*self._learnable(), *self._asked_for())

    def _learnable(self) -> Iterator[ColumnElement[bool]]:
        """A call whose answer had arrived at the snapshot, that Tuneway did not make itself and that is still there."""
        ended = ExchangeRow.created_at + cast(func.concat(ExchangeRow.duration_ms, " ms"), INTERVAL)
        yield ExchangeRow.project_id == self._snapshot.project_id
        yield ExchangeRow.purpose == ""
        yield ExchangeRow.outcome == "completed"
        yield ExchangeRow.logging == "full"
        yield ExchangeRow.reply.is_not(None)
        yield ExchangeRow.id < first_request_id(ceil((self._snapshot.at + LATER).timestamp()))
        yield ended <= self._snapshot.at
        yield ~select(ExchangeDeletionRow.exchange_id).where(ExchangeDeletionRow.exchange_id == ExchangeRow.id).exists()

    def _asked_for(self) -> Iterator[ColumnElement[bool]]:
        wanted = self._wanted
        if wanted.models:
            yield ExchangeRow.requested_model.in_(wanted.models) | ExchangeRow.served_model.in_(wanted.models)
        if wanted.routes:
            yield ExchangeRow.route.in_(wanted.routes)
        if wanted.metadata:
            yield ExchangeRow.request_metadata.contains(dict(wanted.metadata))
        if wanted.excluded_users:
            hashes = [user.removeprefix(HASHED) for user in wanted.excluded_users]
            yield ExchangeRow.end_user.is_(None) | ExchangeRow.end_user.not_in(hashes)
        if wanted.excluded:
            yield ExchangeRow.id.not_in(wanted.excluded)
        yield from _of_a_time(wanted)


def _of_a_time(wanted: Exchanges) -> Iterator[ColumnElement[bool]]:
    """By `created_at`, exactly, and by id about as much, for the index."""
    if wanted.created_after is not None:
        after = from_unix(wanted.created_after)
        yield ExchangeRow.created_at >= after
        yield ExchangeRow.id >= first_request_id(floor((after - EARLIER).timestamp()))
    if wanted.created_before is not None:
        yield ExchangeRow.created_at < from_unix(wanted.created_before)
        yield ExchangeRow.id < first_request_id(wanted.created_before + int(LATER.total_seconds()))


def batches(each: Iterable[T], bytes_of: Callable[[T], int]) -> Iterator[list[T]]:
    """In the same order, of a bounded number of bytes each."""
    batch: list[T] = []
    size = 0
    for one in each:
        if batch and size + bytes_of(one) > BODIES_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += bytes_of(one)
    if batch:
        yield batch


async def required(session: AsyncSession, snapshot: Snapshot, conditions: Sequence[Condition]) -> list[Required]:
    """Each condition with the version of its criterion that was in force at the snapshot, unless it names one."""
    found: list[Required] = []
    for condition in conditions:
        query = select(CriterionRow.id).where(
            CriterionRow.project_id == snapshot.project_id,
            CriterionRow.name == condition.criterion,
            CriterionRow.created_at <= snapshot.at,
        )
        if condition.version is not None:
            query = query.where(CriterionRow.version == condition.version)
        newest = await session.scalar(query.order_by(CriterionRow.version.desc()).limit(1))
        found.append(Required(condition, newest))
    return found


async def judges_of(session: AsyncSession, snapshot: Snapshot) -> set[str]:
    """Versions of all models that judged anything of the project up to the snapshot."""
    query = select(JudgmentRow.judge_version_id).where(
        JudgmentRow.project_id == snapshot.project_id,
        JudgmentRow.source == "llm",
        JudgmentRow.created_at <= snapshot.at,
        JudgmentRow.judge_version_id.is_not(None),
    )
    return {each for each in await session.scalars(query.distinct()) if each is not None}


async def examples(
    database: Database, snapshot: Snapshot, wanted: Examples, kind: str
) -> AsyncIterator[list[TrainingExampleRow]]:
    """Validated examples, oldest first by id, as they are now: an example that is changed is another one."""
    query = select(TrainingExampleRow).where(
        TrainingExampleRow.project_id == snapshot.project_id,
        TrainingExampleRow.kind == kind,
        TrainingExampleRow.status == "validated",
        TrainingExampleRow.validated_at <= snapshot.at,
        TrainingExampleRow.deleted_at.is_(None) | (TrainingExampleRow.deleted_at > snapshot.at),
    )
    if wanted.tags:
        query = query.where(TrainingExampleRow.tags.contains(list(wanted.tags)))
    if wanted.min_score is not None:
        query = query.where(TrainingExampleRow.score >= wanted.min_score)
    if wanted.excluded:
        query = query.where(TrainingExampleRow.id.not_in(wanted.excluded))
    place, behind = TrainingExampleRow.id.collate("C"), ""
    while True:
        async with database.session() as session:
            page = list(await session.scalars(query.where(place > behind).order_by(place).limit(PAGE)))
        if not page:
            return
        yield page
        behind = page[-1].id


async def calls_of(database: Database, snapshot: Snapshot, ids: Collection[str]) -> dict[str, Call]:
    """What the log still knows of these, whether or not a recipe takes them."""
    query = select(*_CALL).where(ExchangeRow.project_id == snapshot.project_id, ExchangeRow.id.in_(ids))
    async with database.session() as session:
        return {row.id: _call(row) for row in await session.execute(query)} if ids else {}


_CALL = (
    ExchangeRow.id,
    func.coalesce(ExchangeRow.served_model, ExchangeRow.requested_model).label("model"),
    ExchangeRow.end_user,
    ExchangeRow.request_metadata,
)


def _call(row: Any) -> Call:
    metadata: Mapping[str, Any] | None = row.request_metadata
    return Call(row.id, row.model, row.end_user, metadata)


def _sized(row: Any) -> Sized:
    return Sized(_call(row), row.bytes or 0)


def _verdict(row: JudgmentRow, criterion: str) -> Verdict:
    return Verdict(
        id=row.id,
        created_at=row.created_at,
        exchange_id=row.exchange_id,
        choice_index=row.choice_index,
        other_exchange_id=row.other_exchange_id,
        other_choice_index=row.other_choice_index,
        source=row.source,
        judge=row.judge_version_id or f"{row.annotator_id or ''} {row.end_user or ''}",
        criterion_id=row.criterion_id,
        criterion=criterion,
        kind=row.kind,
        score=row.score,
        label=row.label,
        passed=row.passed,
        preference=row.preference,
        edited_message=row.edited_message,
        reconciled=row.order_shown is None,
    )
