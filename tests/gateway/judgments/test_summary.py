"""Figures of judgments stay small, however many values people and judges make up."""

from collections import Counter
from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import ProjectRow
from gateway.judgments import summary as module
from gateway.judgments.queries import JudgmentFilters
from gateway.judgments.summary import summary
from tests.gateway.datasets.building.world import BEGIN, World

pytestmark = pytest.mark.anyio

USERS = ("ann", "bob", None, "cyd", "dan")


@pytest.fixture
async def said(database: Database) -> dict[str | None, Counter[str]]:
    """Tags by end user: of each fewer than of the one before, and of its tags too."""
    async with database.session() as session:
        session.add(ProjectRow(id="proj_1", name="first", created_at=BEGIN))
    world, tags = World(database, "proj_1"), dict[str | None, Counter[str]]()
    for place, user in enumerate(USERS):
        call = world.call("q", "a", end_user=user)
        for number in range(30 - place):
            tag = f"tag-{number % 7}"
            tags.setdefault(user, Counter())[tag] += 1
            await world.judge(call, passed=True, label=f"{user}-{number}", tags=[tag])
    await world.store()
    return tags


async def test_nothing_is_read_that_is_not_shown(
    database: Database, said: dict[str | None, Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    monkeypatch.setattr(module, "MOST_VALUES", 4)
    read: list[int] = []
    async with database.session() as session:
        execute = session.execute

        async def counted(*arguments: Any) -> Any:
            rows = list(await execute(*arguments))
            read.append(len(rows))
            return rows

        monkeypatch.setattr(session, "execute", counted)
        found = await summary(session, "proj_1", JudgmentFilters(), ["end_user"])
    assert found.truncated
    assert [row.group for row in found.data] == [{"end_user": user} for user in USERS[:3]]
    for row in found.data:
        most = sorted(said[row.group["end_user"]].items(), key=lambda item: (-item[1], item[0]))[:4]
        assert list(row.tags.items()) == most
        assert len(row.labels) == 4
    assert read == [4, 12, 0, 12]
