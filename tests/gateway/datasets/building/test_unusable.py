"""One call that no training file can hold costs its row, and not the version."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import TrainingExampleRow
from tests.gateway.datasets.building.world import BEGIN, World, built, pairs, recipe, sentence

pytestmark = pytest.mark.anyio

EMAIL = "ann.lee@example.com"


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "send", "parameters": parameters}}]}


def calling(arguments: str) -> dict[str, Any]:
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    return {"role": "assistant", "content": "Sent.", "tool_calls": [call]}


LARGE = tool({"type": "object", "properties": {"n": {"type": "integer", "maximum": 2**256 - 1}}})
DEEP = tool(nested(350))
LISTS = calling("[" * 490 + json.dumps(EMAIL) + "]" * 490)


@pytest.mark.parametrize("request_", [LARGE, DEEP], ids=["large", "deep"])
@pytest.mark.parametrize("learn", ["last", "every"])
async def test_request(world: World, tmp_path: Path, request_: dict[str, Any], learn: str) -> None:
    good, bad = world.call(sentence(1), "One."), world.call(sentence(2), "Two.", request=request_)
    await world.thumb(good)
    await world.thumb(bad)
    await world.store()
    version = await built(world, tmp_path, recipe(turns={"learn": learn}))
    assert version.answers == ["One."]
    assert version.dropped in ({"unusable": 1}, {"not_text": 1})


@pytest.mark.parametrize("request_", [LARGE, DEEP], ids=["large", "deep"])
async def test_pairs(world: World, tmp_path: Path, request_: dict[str, Any]) -> None:
    for seed, more in ((1, {}), (2, {"request": request_})):
        first, second = (world.call(sentence(seed), sentence(seed + other), **more) for other in (100, 200))
        await world.vote(first, second, "a")
        third = world.call(sentence(seed + 10), sentence(seed + 300), **more)
        await world.edit(third, sentence(seed + 400))
    await world.store()
    version = await built(world, tmp_path, pairs("votes", "edits"))
    assert len(version.lines) == 2
    assert sum(version.dropped.values()) == 2
    assert set(version.dropped) <= {"unusable", "not_text"}


async def test_tools_that_are_no_list_are_none(world: World, tmp_path: Path) -> None:
    """The upstream took no notice of them either."""
    await world.thumb(world.call(sentence(1), "One.", request={"tools": True}))
    await world.store()
    version = await built(world, tmp_path, recipe())
    assert (version.answers, "tools" in version.lines[0]) == (["One."], False)


async def test_arguments_of_an_answer(world: World, tmp_path: Path) -> None:
    """A model wrote them, so whoever uses the product could make it do so."""
    half = calling(json.dumps({"to": EMAIL, "text": "\ud83d"}))
    for seed, answer in ((1, half), (2, LISTS), (3, "Three.")):
        await world.thumb(world.call(sentence(seed), answer))
    await world.store()
    version = await built(world, tmp_path, recipe())
    assert (version.answers, version.dropped) == (["Three."], {"unusable": 2})


async def test_an_example(world: World, database: Database, tmp_path: Path) -> None:
    async with database.session() as session:
        for number, rest in enumerate(({}, DEEP)):
            line = {"messages": [{"role": "user", "content": sentence(number)}, {"role": "assistant", "content": "A."}]}
            session.add(
                TrainingExampleRow(
                    id=f"ex_{number}", project_id=world.project_id, created_at=BEGIN, updated_at=BEGIN, kind="sft",
                    line=line | rest, source="manual", status="validated", validated_at=BEGIN, tags=[], note="",
                    created_by="", sha256=str(number),
                )
            )  # fmt: skip
    version = await built(world, tmp_path, recipe(sources={"examples": {}}))
    assert version.answers == ["A."]
    assert version.dropped == {"unusable": 1}
