"""Pairs that contradict each other are not learnt, whichever calls they came in."""

import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.datasets.building.contradictions import settle_contradictions
from gateway.datasets.validation import Interrupted
from gateway.db.tables import TrainingExampleRow
from tests.gateway.datasets.building.world import BEGIN, World, built, pairs, sentence, sides

pytestmark = pytest.mark.anyio

A, B, C = (sentence(seed) for seed in (101, 102, 103))
ASKED = "Where is it?"


async def voted(world: World, better: str, worse: str, asked: Any = ASKED, votes: str = "a", **said: Any) -> None:
    """Two calls more, which nobody else votes on."""
    first, second = world.call(asked, better), world.call(asked, worse)
    for vote in votes:
        await world.vote(first, second, vote, **said)


class TestOpposites:
    async def test_of_other_calls_lose_both(self, world: World, tmp_path: Path) -> None:
        await voted(world, A, B)
        await voted(world, B.upper(), A.upper() + "!")
        await world.store()
        version = await built(world, tmp_path, pairs("votes"))
        assert (version.lines, version.dropped) == ([], {"contradictory": 2})
        [reason] = version.report.dropped
        assert {each["exchange_id"] for each in reason.examples} == {world.exchanges[0]["id"], world.exchanges[2]["id"]}

    async def test_the_majority_of_pairs_stays(self, world: World, tmp_path: Path) -> None:
        await voted(world, B, A)
        await voted(world, A, B)
        await voted(world, A, B)
        await world.store()
        version = await built(world, tmp_path, pairs("votes"))
        assert (sides(version), version.dropped) == ([(A, B)], {"contradictory": 1, "duplicate": 1})

    async def test_the_majority_of_votes_stays(self, world: World, tmp_path: Path) -> None:
        await voted(world, A, B, votes="aaba")
        await voted(world, B, A)
        await world.store()
        version = await built(world, tmp_path, pairs("votes"))
        assert (sides(version), version.dropped) == ([(A, B)], {"contradictory": 1})

    async def test_of_other_prompts_are_none(self, world: World, tmp_path: Path) -> None:
        await voted(world, A, B)
        system = {"role": "system", "content": "Be rude."}
        await voted(world, B, A, [system, {"role": "user", "content": ASKED}])
        await world.store()
        version = await built(world, tmp_path, pairs("votes", duplicates={"near": False}))
        assert (sorted(sides(version)), version.dropped) == (sorted([(A, B), (B, A)]), {})

    async def test_of_other_tools_are_none(self, world: World, tmp_path: Path) -> None:
        await voted(world, A, B)
        tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
        first, second = (world.call(ASKED, text, request={"tools": tools}) for text in (B, A))
        await world.vote(first, second, "a")
        await world.store()
        version = await built(world, tmp_path, pairs("votes", duplicates={"near": False}))
        assert version.dropped == {}

    async def test_a_person_outweighs_a_judge_in_other_calls(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        await voted(world, A, B)
        await voted(world, B, A, votes="aaa", source="llm", judge_version_id=judge)
        await world.store()
        version = await built(world, tmp_path, pairs("votes", "judges"), trusted=[judge])
        assert (sides(version), version.dropped) == ([(A, B)], {"contradictory": 1})

    async def test_a_vote_outweighs_scores(self, world: World, tmp_path: Path) -> None:
        first, second = world.call(ASKED, A), world.call(ASKED, B)
        await world.vote(first, second, "a")
        await world.judge(first, criterion="rating", score=0.1)
        await world.judge(second, criterion="rating", score=0.9)
        await world.store()
        version = await built(world, tmp_path, pairs("votes", "regenerated"))
        assert (sides(version), version.dropped) == ([(A, B)], {"contradictory": 1})

    async def test_an_edit_against_a_vote_loses_both(self, world: World, tmp_path: Path) -> None:
        """Both are a person's word."""
        await world.edit(world.call(ASKED, A), B)
        await voted(world, A, B)
        await world.store()
        version = await built(world, tmp_path, pairs("votes", "edits"))
        assert (version.lines, version.dropped) == ([], {"contradictory": 2})

    async def test_an_example_by_hand_counts_too(self, world: World, tmp_path: Path) -> None:
        await voted(world, A, B)
        await world.store()
        asked = {"messages": [{"role": "user", "content": ASKED}]}
        answers = {"preferred_output": B, "non_preferred_output": A}
        line = {"input": asked} | {name: [{"role": "assistant", "content": text}] for name, text in answers.items()}
        async with world.database.session() as session:
            session.add(
                TrainingExampleRow(
                    id="example_1", project_id=world.project_id, kind="preference", line=line, sha256="", source="manual",
                    status="validated", tags=[], note="", created_by="", created_at=BEGIN, updated_at=BEGIN,
                    validated_at=BEGIN, validated_by="",
                )
            )  # fmt: skip
        version = await built(world, tmp_path, pairs("votes", sources={"exchanges": {}, "examples": {}}))
        assert (version.lines, version.dropped) == ([], {"contradictory": 2})


class TestCircles:
    async def test_of_equal_votes_lose_all(self, world: World, tmp_path: Path) -> None:
        for better, worse in ((A, B), (B, C), (C, A)):
            await voted(world, better, worse)
        await voted(world, A, B, "Another question entirely, about harbours?")
        await world.store()
        version = await built(world, tmp_path, pairs("votes", duplicates={"near": False}))
        assert (sides(version), version.dropped) == ([(A, B)], {"circular": 3})

    async def test_of_the_same_three_calls(self, world: World, tmp_path: Path) -> None:
        first, second, third = (world.call(ASKED, text) for text in (A, B, C))
        for better, worse, votes in ((first, second, "aa"), (second, third, "aa"), (third, first, "a")):
            for vote in votes:
                await world.vote(better, worse, vote)
        await world.store()
        version = await built(world, tmp_path, pairs("votes", duplicates={"near": False}))
        assert (sorted(sides(version)), version.dropped) == (sorted([(A, B), (B, C)]), {"circular": 1})


class TestNobodyWantsIt:
    async def test_it_stops(self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        await voted(world, A, B)
        await world.store()

        def stopped(ground: Any, _: threading.Event) -> None:
            event = threading.Event()
            event.set()
            settle_contradictions(ground, event)

        monkeypatch.setattr("gateway.datasets.building.build.settle_contradictions", stopped)
        with pytest.raises(Interrupted):
            await built(world, tmp_path, pairs("votes"))
