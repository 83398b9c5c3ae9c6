"""Examples of clusters with their words, as long as these are there."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import update

from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow
from gateway.protocol.guidance import Example
from gateway.routes.guidance_objects import with_texts
from tests.fakes.evals import add_run

pytestmark = pytest.mark.anyio


async def question(database: Database, project_id: str, item: dict[str, Any]) -> str | None:
    """Of an example that is an item of an eval."""
    id = (await add_run(database, project_id))["output_item_id"]
    example = Example(created_at=1, model=None, output_item_id=id)
    async with database.session() as session:
        await session.execute(update(EvalOutputItemRow).values(item=item))
        await with_texts(session, cast("Any", [SimpleNamespace(examples=[example], topics=[])]))
    return example.question


class TestItemsOfEvals:
    async def test_have_their_first_text(self, database: Database, project_key: dict[str, Any]) -> None:
        asked = await question(database, project_key["project_id"], {"number": 1, "question": "Where is it?"})
        assert asked == "Where is it?"

    async def test_have_none_once_they_are_erased(self, database: Database, project_key: dict[str, Any]) -> None:
        assert await question(database, project_key["project_id"], {"completion_id": "chatcmpl-1"}) is None
