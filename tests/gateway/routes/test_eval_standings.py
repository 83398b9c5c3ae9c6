"""All evals with how their runs stand."""

from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import event, update

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import EvalRunRow
from gateway.services import Services
from gateway.settings import Settings, WorkerSettings
from tests.fakes.evals import asking, create_eval, create_run, ended, in_process, qa, working

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
URL = "/v1/eval_standings"
RIGHT = "yes"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, worker=WorkerSettings(eval_calls=4))


async def standings(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(URL, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def done(client: Client, of: dict[str, Any], *answers: str) -> dict[str, Any]:
    lines = [
        {"item": qa(f"Is it {number}?", RIGHT), "sample": {"output_text": answer}}
        for number, answer in enumerate(answers)
    ]
    source = {"type": "jsonl", "source": {"type": "file_content", "content": lines}}
    run = await ended(client, await create_run(client, of["id"], source))
    assert run["status"] == "completed", run
    return run


class TestStandings:
    async def test_without_a_run(self, client: Client) -> None:
        of = await create_eval(client, name="new", metadata={"team": "support"})
        [found] = await standings(client)
        assert (found["id"], found["name"], found["metadata"]) == (of["id"], "new", {"team": "support"})
        assert (found["runs"], found["last_run"], found["last_completed_run"]) == (0, None, None)
        assert (found["direction"], found["run_before"], found["primary"]) == (None, None, "pass_rate")

    async def test_the_last_completed_run_beside_the_one_before(
        self, client: Client, settings: Settings, app: App, project_key: dict[str, Any]
    ) -> None:
        in_process(app.services)
        of = await create_eval(client, metrics={"primary": "same"})
        async with working(settings, app, project_key):
            first = await done(client, of, *["no"] * 20)
            last = await done(client, of, *[RIGHT] * 18, "no", "no")
        waiting = await create_run(client, of["id"], asking(qa("x", "x"), qa("y", "y")))
        [found] = await standings(client)
        assert (found["runs"], found["unfinished"], found["primary"]) == (3, 1, "same")
        assert (found["last_run"]["id"], found["last_run"]["status"]) == (waiting["id"], "queued")
        assert found["last_run"]["result_counts"] == {"total": 2, "errored": 0, "failed": 0, "passed": 0}
        completed = found["last_completed_run"]
        assert (completed["id"], completed["score"]["value"], completed["score"]["n"]) == (last["id"], 0.9, 20)
        assert completed["result_counts"] == {"total": 20, "errored": 0, "failed": 2, "passed": 18}
        assert completed["quality"]["verdict"] == last["metrics"]["quality"]["verdict"]
        assert (found["run_before"]["id"], found["run_before"]["score"]["value"]) == (first["id"], 0)
        assert (found["change"], found["direction"]) == (pytest.approx(0.9), "improving")

    async def test_of_one_model_its_runs_alone(
        self, client: Client, settings: Settings, app: App, project_key: dict[str, Any]
    ) -> None:
        in_process(app.services)
        both, other = await create_eval(client), await create_eval(client)
        async with working(settings, app, project_key):
            for of, model in ((both, "echo"), (both, "no-usage"), (other, "no-usage")):
                await ended(client, await create_run(client, of["id"], asking(qa("a", "a"), model=model)))
        [found] = await standings(client, model="echo")
        assert (found["id"], found["runs"], found["last_run"]["model"]) == (both["id"], 1, "echo")
        assert len(await standings(client, model="no-usage")) == 2
        assert await standings(client, model="slow") == []

    async def test_what_was_deleted_does_not_count(self, client: Client) -> None:
        of, gone = await create_eval(client), await create_eval(client)
        run = await create_run(client, of["id"], asking(qa("a", "a")))
        await client.delete(f"/v1/evals/{of['id']}/runs/{run['id']}")
        await client.delete(f"/v1/evals/{gone['id']}")
        [found] = await standings(client)
        assert (found["id"], found["runs"], found["last_run"]) == (of["id"], 0, None)
        assert await standings(client, model="echo") == []

    async def test_newest_first_in_pages(self, client: Client) -> None:
        made = [(await create_eval(client))["id"] for _ in range(3)]
        page = (await client.get(URL, params={"limit": 2})).json()
        assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:0:-1], True)
        [last] = await standings(client, after=page["last_id"])
        assert last["id"] == made[0]

    async def test_as_many_queries_for_many_as_for_one(self, client: Client, sv: Services) -> None:
        counts: list[int] = []
        for _ in range(2):
            of = await create_eval(client)
            run = await create_run(client, of["id"], asking(qa("a", "a")))
            async with sv.database.session() as session:
                ends = update(EvalRunRow).where(EvalRunRow.id == run["id"])
                await session.execute(ends.values(status="canceled"))
            found = [await _statements(sv.database, standings(client)) for _ in range(3)]
            counts.append(min(found))  # now and then one notes when its key was used
        assert counts[0] == counts[1] > 3


async def _statements(database: Database, call: Any) -> int:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await call
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len(said)
