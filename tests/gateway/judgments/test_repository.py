"""Judgments as they are written."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import CriterionRow, JudgmentRow
from gateway.judgments import repository
from gateway.judgments.verdict import Verdict
from tests.gateway.judgments.verdicts import built_in, make_project, verdict

pytestmark = pytest.mark.anyio


@pytest.fixture
async def thumbs(database: Database) -> CriterionRow:
    await make_project(database)
    return await built_in(database, "thumbs")


async def add(database: Database, *verdicts: Verdict) -> list[str]:
    async with database.session() as session:
        return await repository.add(session, verdicts)


async def every(database: Database) -> Sequence[JudgmentRow]:
    async with database.session() as session:
        return list(await session.scalars(select(JudgmentRow).order_by(JudgmentRow.id)))


class TestAdd:
    async def test_writes_what_was_said(self, database: Database, thumbs: CriterionRow) -> None:
        more = {"tags": ["too long"], "raw_value": True, "judgment_metadata": {"page": "x"}, "choice_index": 1}
        [id] = await add(database, verdict(thumbs, **more))
        (row,) = await every(database)
        assert (row.id, row.criterion_id, row.kind, row.score) == (id, thumbs.id, "boolean", 1.0)
        assert (row.tags, row.raw_value, row.judgment_metadata, row.choice_index) == (*more.values(),)
        assert (row.supersedes_id, row.superseded_at, row.status) == (None, None, "ok")

    async def test_the_same_said_twice_is_one(self, database: Database, thumbs: CriterionRow) -> None:
        first = await add(database, verdict(thumbs, identifier="a", tags=["x"]))
        assert await add(database, verdict(thumbs, identifier="a", tags=["x"])) == first
        assert len(await every(database)) == 1

    async def test_another_word_supersedes_the_first(self, database: Database, thumbs: CriterionRow) -> None:
        [first] = await add(database, verdict(thumbs))
        [second] = await add(database, verdict(thumbs, score=0.0, passed=False))
        old, new = await every(database)
        assert (old.id, old.score, old.superseded_at is not None) == (first, 1.0, True)
        assert (new.id, new.supersedes_id, new.superseded_at) == (second, first, None)
        [third] = await add(database, verdict(thumbs))
        assert third not in (first, second)
        assert len(await every(database)) == 3

    @pytest.mark.parametrize(
        "changes",
        [
            {"exchange_id": "req_2"},
            {"choice_index": 1},
            {"source": "external"},
            {"annotator_id": "key_2"},
            {"end_user": "someone"},
            {"identifier": "b"},
            {"attempt": 1},
        ],
    )
    async def test_somebody_elses_word_supersedes_nothing(
        self, database: Database, thumbs: CriterionRow, changes: dict[str, str]
    ) -> None:
        await add(database, verdict(thumbs), verdict(thumbs, score=0.0, passed=False, **changes))
        assert [row.superseded_at for row in await every(database)] == [None, None]

    async def test_a_comparison_with_another_answer_is_another(self, database: Database, thumbs: CriterionRow) -> None:
        preference = await built_in(database, "preference")
        for other in ({"other_exchange_id": "req_2"}, {"other_exchange_id": "req_3"}):
            await add(database, verdict(preference, preference="a", **other))
        choices = (
            {"other_exchange_id": "req_1", "other_choice_index": 1},
            {"other_exchange_id": "req_1", "other_choice_index": 2},
        )
        for other in choices:
            await add(database, verdict(preference, preference="a", **other))
        shown = [{"other_exchange_id": "req_2", "order_shown": order} for order in ("ab", "ba")]
        await add(database, *(verdict(preference, preference="a", **each) for each in shown))
        assert [row.superseded_at for row in await every(database)] == [None] * 6

    async def test_in_one_call_the_last_word_counts(self, database: Database, thumbs: CriterionRow) -> None:
        up, down = verdict(thumbs), verdict(thumbs, score=0.0, passed=False)
        ids = await add(database, up, down, up, verdict(thumbs, exchange_id="req_2"))
        assert len(set(ids)) == 4
        in_force = [row for row in await every(database) if row.superseded_at is None]
        assert [(row.exchange_id, row.score) for row in in_force] == [("req_2", 1.0), ("req_1", 1.0)]

    async def test_many_at_once(self, database: Database, thumbs: CriterionRow) -> None:
        many = [verdict(thumbs, exchange_id=f"req_{number}") for number in range(1200)]
        ids = await add(database, *many)
        assert len(set(ids)) == 1200
        assert await add(database, *many) == ids

    async def test_by_several_at_the_same_time_are_one_chain(self, database: Database, thumbs: CriterionRow) -> None:
        words = [verdict(thumbs, score=float(number % 2), tags=[str(number)]) for number in range(6)]
        await asyncio.gather(*(add(database, word) for word in words))
        rows = await every(database)
        assert len(rows) == 6
        assert len([row for row in rows if row.superseded_at is None]) == 1

    async def test_the_same_by_several_at_the_same_time_is_one(self, database: Database, thumbs: CriterionRow) -> None:
        ids = await asyncio.gather(*(add(database, verdict(thumbs)) for _ in range(4)))
        assert len({id for [id] in ids}) == 1
        assert len(await every(database)) == 1

    @pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.1])
    async def test_never_takes_what_is_no_score(self, database: Database, thumbs: CriterionRow, score: float) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            await add(database, verdict(thumbs, score=score))
        assert await every(database) == []
