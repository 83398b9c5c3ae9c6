"""How a page asks the API."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, update

from gateway.app import App
from gateway.db.tables import SessionRow
from tests.admin.console.browsers import Browser

pytestmark = pytest.mark.anyio


@contextmanager
def statements(app: App) -> Generator[list[str]]:
    """What is asked of the database."""
    engine, asked = app.services.database.engine.sync_engine, list[str]()

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


class TestWhoAsks:
    async def test_is_looked_up_once_for_all_calls_of_a_page(self, app: App, owner: Browser, project_id: str) -> None:
        await owner.open(f"/console/projects/{project_id}/exchanges")
        with statements(app) as asked:
            await owner.open(f"/console/projects/{project_id}/exchanges")
        assert sum("FROM sessions" in each for each in asked) <= 3  # of the person, of the key, and the session itself
        assert sum("FROM api_keys JOIN console_keys" in each for each in asked) == 1

    async def test_is_looked_up_anew_for_the_next_page(self, app: App, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/exchanges"
        assert "Exchanges" in await owner.open(url)
        async with app.services.database.session() as session:
            await session.execute(update(SessionRow).values(ended_at=func.now()))
        assert "Sign in" in await owner.open(url)  # where it leads
