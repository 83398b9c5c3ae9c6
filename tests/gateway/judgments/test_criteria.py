"""Criteria and their versions."""

import asyncio
from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import CriterionRow
from gateway.errors import InvalidRequest
from gateway.judgments import criteria
from gateway.judgments.criteria import BUILT_IN
from gateway.protocol.criteria import CriterionSpec
from tests.gateway.judgments.verdicts import PROJECT, built_in, make_project

pytestmark = pytest.mark.anyio

TONE = CriterionSpec(name="tone", kind="categorical", labels=["kind", "plain", "rude"], passing_labels=["kind"])


@pytest.fixture(autouse=True)
async def project(database: Database) -> str:
    return await make_project(database)


async def make(database: Database, spec: CriterionSpec, project_id: str = PROJECT) -> CriterionRow:
    async with database.session() as session:
        return await criteria.find_or_make(session, project_id, spec, "key_1")


class TestFindOrMake:
    async def test_the_same_is_one_version(self, database: Database) -> None:
        first, second = await make(database, TONE), await make(database, TONE)
        assert (first.id, first.version) == (second.id, 1)

    async def test_a_change_is_the_next_version_and_the_first_stays(self, database: Database) -> None:
        first = await make(database, TONE)
        changed = CriterionSpec(name="tone", kind="categorical", labels=["kind", "rude"])
        second = await make(database, changed)
        assert (second.version, second.labels) == (2, ["kind", "rude"])
        async with database.session() as session:
            assert criteria.spec_of(await criteria.find(session, PROJECT, first.id)) == TONE
            assert (await criteria.by_name(session, PROJECT, "tone")).id == second.id
            assert sorted(await criteria.ids_named(session, PROJECT, "tone")) == sorted([first.id, second.id])
            assert await criteria.ids_named(session, PROJECT, first.id) == [first.id]

    async def test_several_at_once_make_one_version(self, database: Database) -> None:
        made = await asyncio.gather(*(make(database, TONE) for _ in range(4)))
        assert {row.id for row in made} == {made[0].id}

    async def test_projects_have_their_own(self, database: Database) -> None:
        await make_project(database, "proj_other")
        assert (await make(database, TONE)).id != (await make(database, TONE, "proj_other")).id

    async def test_a_scale_without_ends_is_from_0_to_1(self, database: Database) -> None:
        row = await make(database, CriterionSpec(name="x", kind="numeric"))
        assert (row.lowest, row.highest, row.pass_score) == (0.0, 1.0, None)
        assert (await make(database, CriterionSpec(name="x", kind="numeric"))).id == row.id

    async def test_an_archived_one_comes_back_as_the_next_version(self, database: Database) -> None:
        await make(database, TONE)
        async with database.session() as session:
            await criteria.archive(session, PROJECT, "tone")
        async with database.session() as session:
            with pytest.raises(InvalidRequest, match="no criterion 'tone'"):
                await criteria.by_name(session, PROJECT, "tone")
        assert (await make(database, TONE)).version == 2


class TestBuiltIn:
    async def test_are_made_when_they_are_needed(self, database: Database) -> None:
        for name, spec in BUILT_IN.items():
            row = await built_in(database, name)
            assert (row.version, row.created_by, criteria.spec_of(row)) == (1, "", spec)
        assert {"helpful", "accurate", "clear", "safe", "complete", "concise"} < set(BUILT_IN)

    async def test_may_be_changed_by_a_project(self, database: Database) -> None:
        await built_in(database, "rating")
        ten = await make(database, CriterionSpec(name="rating", kind="numeric", lowest=0, highest=10))
        assert (await built_in(database, "rating")).id == ten.id

    async def test_keep_their_kind(self, database: Database) -> None:
        with pytest.raises(InvalidRequest, match="'thumbs' comes with Tuneway and is boolean") as refused:
            await make(database, CriterionSpec(name="thumbs", kind="numeric"))
        assert refused.value.param == "kind"


@pytest.mark.parametrize(
    ("param", "spec"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "x" * 65}),
        ("name", {"name": "two words"}),
        ("description", {"description": "x" * 10_001}),
        ("highest", {"kind": "numeric", "lowest": 5, "highest": 5}),
        ("highest", {"kind": "numeric", "highest": float("inf")}),
        ("highest", {"kind": "numeric", "lowest": -1.7e308, "highest": 1.7e308}),
        ("pass_score", {"kind": "numeric", "pass_score": 4}),
        ("pass_score", {"kind": "numeric", "pass_score": float("nan")}),
        ("lowest", {"lowest": 1}),
        ("labels", {"kind": "numeric", "labels": ["a", "b"]}),
        ("labels", {"kind": "categorical"}),
        ("labels", {"kind": "categorical", "labels": ["a", "a"]}),
        ("labels", {"kind": "categorical", "labels": ["a", ""]}),
        ("passing_labels", {"kind": "categorical", "labels": ["a", "b"], "passing_labels": ["c"]}),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(
    database: Database, param: str, spec: dict[str, Any]
) -> None:
    plain: dict[str, Any] = {"name": "x", "kind": "boolean"}
    with pytest.raises(InvalidRequest) as refused:
        await make(database, CriterionSpec(**plain | spec))
    assert refused.value.param == param
