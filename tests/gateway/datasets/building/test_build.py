"""A version as a whole: the same bytes, caps, self-training, examples by hand."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.datasets.building.ancestry import Ancestry
from gateway.db.database import Database
from gateway.db.tables import (
    DatasetItemRow,
    DatasetRow,
    DatasetVersionRow,
    FineTuningJobRow,
    ModelRow,
    TrainingExampleRow,
)
from tests.gateway.datasets.building.world import BEGIN, SNAPSHOT, World, built, recipe, sentence

pytestmark = pytest.mark.anyio


async def liked(world: World, count: int, **fields: Any) -> None:
    """Calls with a thumb up each."""
    for number in range(count):
        seed = len(world.exchanges) + 1
        call = world.call(sentence(seed), sentence(seed + 5000), **fields)
        assert number < count
        await world.thumb(call)


class TestSameBytes:
    """The same data and the same recipe."""

    WANTED = recipe(
        split={"validation": 0.3},
        caps={"per_user": 3, "total": 12},
        sources={"exchanges": {}, "examples": {}},
    )

    async def add(self, world: World) -> None:
        for user in ("ann", "bob", "cyd", "dan"):
            await liked(world, 5, end_user=user)
        for row in world.exchanges[::4]:
            await world.edit(row["id"], sentence(len(row["id"]) + len(world.judgments)))

    async def test_in_any_order_of_rows_on_disk(self, world: World, database: Database, tmp_path: Path) -> None:
        await self.add(world)
        await world.store()
        first = await built(world, tmp_path, self.WANTED)
        async with database.session() as session:
            for table in ("judgments", "exchanges"):
                connection = await session.connection()
                await connection.exec_driver_sql(f"DELETE FROM {table}")
        await world.store(backwards=True)
        second = await built(world, tmp_path, self.WANTED)
        assert (first.report.rows, second.sha256) == (12, first.sha256)
        assert first.validation != []

    async def test_with_more_data_but_the_same_moment(self, world: World, tmp_path: Path) -> None:
        await self.add(world)
        await world.store()
        first = await built(world, tmp_path, self.WANTED)
        for row in list(world.exchanges)[:10]:
            await world.thumb(row["id"], up=False, created_at=SNAPSHOT + timedelta(seconds=5))
        known = len(world.exchanges)
        await liked(world, 5, created_at=SNAPSHOT + timedelta(seconds=7))
        world.exchanges, world.judgments = world.exchanges[known:], world.judgments[-15:]
        await world.store()
        again = await built(world, tmp_path, self.WANTED)
        assert again.sha256 == first.sha256
        later = await built(world, tmp_path, self.WANTED, at=SNAPSHOT + timedelta(days=1))
        assert later.sha256 != first.sha256

    async def test_pairs(self, world: World, database: Database, tmp_path: Path) -> None:
        for number in range(6):
            first, second = (world.call(sentence(number + 1), sentence(seed + number)) for seed in (100, 200))
            await world.vote(first, second, "ab"[number % 2])
            await world.judge(first, criterion="rating", score=0.1 * number)
            await world.judge(second, criterion="rating", score=0.9)
        await world.store()
        wanted = recipe("preference", split={"validation": 0.3})
        version = await built(world, tmp_path, wanted)
        async with database.session() as session:
            for table in ("judgments", "exchanges"):
                await (await session.connection()).exec_driver_sql(f"DELETE FROM {table}")
        await world.store(backwards=True)
        assert (await built(world, tmp_path, wanted)).sha256 == version.sha256
        assert version.report.rows >= 6

    async def test_nothing_is_left_on_disk(self, world: World, tmp_path: Path) -> None:
        await self.add(world)
        await world.store()
        await built(world, tmp_path, self.WANTED)
        assert os.listdir(tmp_path) == []


class TestCaps:
    async def test_of_a_user(self, world: World, tmp_path: Path) -> None:
        await liked(world, 4, end_user="ann")
        await liked(world, 2, end_user="bob")
        await liked(world, 2)
        await world.store()
        version = await built(world, tmp_path, recipe(caps={"per_user": 1}))
        assert (version.report.rows, version.dropped) == (4, {"user_cap": 4})
        assert (version.report.users, version.report.largest_user_share) == (2, 0.25)

    async def test_of_all_a_persons_word_stays_before_a_machines(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        for number in range(6):
            call = world.call(sentence(number + 1), f"checked {number}")
            await world.judge(call, criterion="accurate", source="rule", passed=True)
            await world.judge(call, criterion="helpful", source="llm", judge_version_id=judge, passed=True)
        await liked(world, 2)
        await world.store()
        version = await built(world, tmp_path, recipe(caps={"total": 3}), trusted=[judge])
        assert version.report.by_signal == {"checked": 1, "human": 2}
        assert version.dropped == {"total_cap": 5}

    async def test_what_stays_stays_when_others_come(self, world: World, tmp_path: Path) -> None:
        await liked(world, 10)
        await world.store()
        before = await built(world, tmp_path, recipe(caps={"total": 8}))
        known = len(world.exchanges)
        await liked(world, 10)
        world.exchanges, world.judgments = world.exchanges[known:], world.judgments[known:]
        await world.store()
        after = await built(world, tmp_path, recipe(caps={"total": 16}))
        assert len(set(before.answers) & set(after.answers)) >= 5
        first = {sentence(number + 5001) for number in range(8)}
        assert set(before.answers) != first, "those that came first are no fair sample"


async def add_model(database: Database, name: str, base: str, training_file: str, origins: list[str | None]) -> None:
    """A model that was fine-tuned on a version with rows of these origins."""
    async with database.session() as session:
        job = FineTuningJobRow(
            id=f"job-{name}", project_id="proj_1", api_key_id="key", created_at=BEGIN, model=base, status="succeeded",
            training_file=training_file, method={"type": "supervised"}, seed=1, fine_tuned_model=name,
        )  # fmt: skip
        await (await session.connection()).exec_driver_sql("SET LOCAL session_replication_role = replica")
        session.add(job)
        await session.flush()
        session.add(
            ModelRow(id=name, project_id="proj_1", job_id=job.id, base_model=base, adapter_path="x", created_at=BEGIN)
        )
        session.add(
            DatasetRow(
                id=f"ds-{name}", project_id="proj_1", name="x", description="", created_at=BEGIN, updated_at=BEGIN
            )
        )
        version = DatasetVersionRow(
            id=f"ver-{name}", dataset_id=f"ds-{name}", project_id="proj_1", number=1, recipe={}, snapshot_at=BEGIN,
            status="completed", training_file_id=training_file, created_at=BEGIN, created_by="",
        )  # fmt: skip
        session.add(version)
        for line, origin in enumerate(origins, 1):
            session.add(
                DatasetItemRow(
                    version_id=version.id, number=line, split="training", kind="sft", sha256="", cluster="",
                    judgment_ids=[], origin_model=origin,
                )
            )  # fmt: skip


class TestSelfTraining:
    """Pitfall 14: how many trainings on own answers lie behind a row."""

    async def test_depth_of_a_model(self, world: World, database: Database) -> None:
        await add_model(database, "ft:base:1", "base", "file-1", ["base", None])
        await add_model(database, "ft:base:2", "base", "file-2", ["base", "ft:base:1"])
        await add_model(database, "ft:base:3", "ft:base:2", "file-3", [None])
        ancestry = Ancestry(database)
        names = ("base", "ft:base:1", "ft:base:2", "ft:base:3", "somebody else's")
        assert [await ancestry.depth(name) for name in names] == [0, 1, 2, 3, 0]

    async def test_share_of_own_answers_is_bounded(self, world: World, database: Database, tmp_path: Path) -> None:
        await add_model(database, "ft:base:1", "base", "file-1", ["base"])
        await liked(world, 4)
        await liked(world, 8, served_model="ft:base:1")
        await world.store()
        version = await built(world, tmp_path, recipe(self_training={"max_share": 0.2}))
        assert version.dropped == {"self_training_share": 7}
        assert version.report.depths == {"0": 4, "1": 1}
        assert version.report.own_share == 0.2
        assert [(each.model, each.depth) for each in version.report.origins] == [("echo", 0), ("ft:base:1", 1)]

    @pytest.mark.parametrize(("own", "base", "checked"), [(15, 0, 15), (9, 2, 20)])
    async def test_with_a_cap_the_total_is_filled_within_the_share(
        self, world: World, database: Database, tmp_path: Path, own: int, base: int, checked: int
    ) -> None:
        """Own answers that people liked come before others that were checked, and leave them their part."""
        await add_model(database, "ft:base:1", "base", "file-1", ["base"])
        judge = await world.judge_version()
        await liked(world, own, served_model="ft:base:1")
        await liked(world, base)
        for number in range(checked):
            call = world.call(sentence(number + 100), sentence(number + 6000))
            await world.judge(call, criterion="accurate", source="rule", passed=True)
            await world.judge(call, criterion="helpful", source="llm", judge_version_id=judge, passed=True)
        await world.store()
        version = await built(world, tmp_path, recipe(caps={"total": 10}), trusted=[judge])
        assert (version.report.rows, version.report.own_share) == (10, 0.5)
        assert version.report.by_signal == {"human": 5 + base, "checked": 5 - base}

    async def test_and_their_depth(self, world: World, database: Database, tmp_path: Path) -> None:
        await add_model(database, "ft:base:1", "base", "file-1", ["base"])
        await liked(world, 2)
        await liked(world, 1, served_model="ft:base:1")
        await world.store()
        version = await built(world, tmp_path, recipe(self_training={"max_depth": 0}))
        assert version.dropped == {"too_deep": 1}

    async def test_an_edit_of_its_answer_is_a_persons(self, world: World, database: Database, tmp_path: Path) -> None:
        await add_model(database, "ft:base:1", "base", "file-1", ["base"])
        call = world.call(sentence(1), sentence(2), served_model="ft:base:1")
        await world.edit(call, sentence(3))
        await world.store()
        version = await built(world, tmp_path, recipe(self_training={"max_depth": 0, "max_share": 0}))
        assert (version.report.depths, version.report.own_share) == ({"0": 1}, 0.0)


class TestExamples:
    @staticmethod
    def row(number: int, **fields: Any) -> TrainingExampleRow:
        line = {
            "messages": [
                {"role": "user", "content": sentence(number)},
                {"role": "assistant", "content": f"By hand {number}."},
            ]
        }
        values: dict[str, Any] = {
            "id": f"example_{number}", "project_id": "proj_1", "created_at": BEGIN, "updated_at": BEGIN,
            "created_by": "", "kind": "sft", "line": line, "sha256": str(number), "tags": [], "source": "manual",
            "status": "validated", "score": 0.9, "note": "", "validated_at": BEGIN,
        }  # fmt: skip
        return TrainingExampleRow(**values | fields)

    async def test_validated_ones_are_rows(self, world: World, database: Database, tmp_path: Path) -> None:
        async with database.session() as session:
            session.add_all(
                [
                    self.row(1, tags=["billing", "new"]),
                    self.row(2, tags=["billing"], score=0.4),
                    self.row(3, tags=["billing"], status="draft"),
                    self.row(4, tags=["billing"], deleted_at=BEGIN),
                    self.row(5, tags=["billing"], validated_at=SNAPSHOT + timedelta(seconds=1)),
                    self.row(6),
                    self.row(7, project_id="proj_1", kind="preference"),
                ]
            )
        wanted = recipe(sources={"exchanges": None, "examples": {"tags": ["billing"], "min_score": 0.5}})
        version = await built(world, tmp_path, wanted)
        assert version.answers == ["By hand 1."]
        assert version.report.by_signal == {"example": 1}
        wanted = recipe(sources={"exchanges": None, "examples": {"excluded": [self.row(1).id, self.row(6).id]}})
        assert (await built(world, tmp_path, wanted)).answers == ["By hand 2."]

    async def test_pairs(self, world: World, database: Database, tmp_path: Path) -> None:
        line = {
            "input": {"messages": [{"role": "user", "content": "Where?"}]},
            "preferred_output": [{"role": "assistant", "content": sentence(1)}],
            "non_preferred_output": [{"role": "assistant", "content": sentence(2)}],
        }
        async with database.session() as session:
            session.add(self.row(1, kind="preference", line=line))
        wanted = recipe("preference", sources={"exchanges": None, "examples": {}})
        assert (await built(world, tmp_path, wanted)).lines == [line]

    async def test_of_a_call_keep_its_conversation_and_its_user(
        self, world: World, database: Database, tmp_path: Path
    ) -> None:
        """Its questions are as unlike each other as those of others."""
        metadata = {"conversation_id": "one"}
        calls = [
            world.call(sentence(seed), sentence(seed + 50), request_metadata=metadata, end_user="ann")
            for seed in range(1, 5)
        ]
        others = [world.call(sentence(seed), sentence(seed + 50)) for seed in range(11, 15)]
        for call in [*calls[:2], *others]:
            await world.thumb(call)
        await world.store()
        async with database.session() as session:
            session.add_all(self.row(seed, exchange_id=calls[seed - 1]) for seed in (3, 4))
        both = {"exchanges": {}, "examples": {}}
        version = await built(world, tmp_path, recipe(sources=both, split={"validation": 0.4}))
        sides = [
            {line["messages"][0]["content"] for line in lines} & {sentence(seed) for seed in range(1, 5)}
            for lines in (version.training, version.validation)
        ]
        assert sorted(map(len, sides)) == [0, 4]
        capped = await built(world, tmp_path, recipe(sources=both, caps={"per_user": 1}))
        assert capped.dropped["user_cap"] == 3


class TestReport:
    async def test_too_few_rows_are_told(self, world: World, tmp_path: Path) -> None:
        await liked(world, 9)
        await world.store()
        report = (await built(world, tmp_path, recipe())).report
        assert "few_rows" in [each.code for each in report.warnings]
        assert report.training.tokens.total > 9 * 14
        assert report.training.tokens.source == "estimated"

    async def test_at_most_five_examples_of_a_reason(self, world: World, tmp_path: Path) -> None:
        for number in range(7):
            world.call(sentence(number + 1), "x")
        await world.store()
        [dropped] = (await built(world, tmp_path, recipe())).report.dropped
        assert (dropped.count, len(dropped.examples)) == (7, 5)
        assert dropped.meaning == "Nobody said anything of the answer."

    async def test_a_line_that_cannot_be_trained_on(self, world: World, tmp_path: Path) -> None:
        """A tool's result without the call that it answers."""
        messages = [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "call_9", "content": "y"}]
        call = world.call(messages, "z")
        await world.thumb(call)
        await world.store()
        version = await built(world, tmp_path, recipe())
        assert (version.lines, version.dropped) == ([], {"unusable": 1})
