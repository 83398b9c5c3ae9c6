"""Two runs beside each other: computed once, in their own process, and item by item."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, select, update

from gateway.app import App
from gateway.datasets.isolated import Isolated
from gateway.db.database import Database
from gateway.db.tables import EvalComparisonRow, EvalRunRow
from gateway.evals import comparisons
from gateway.services import EVAL_PROCESS, Services
from gateway.settings import Settings, WorkerSettings
from tests.fakes.evals import RIGHT, WRONG, create_eval, done, eval_worker, in_process, report

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, worker=WorkerSettings(eval_calls=4))


@pytest.fixture(autouse=True)
async def worker(settings: Settings, app: App, project_key: dict[str, Any]) -> AsyncIterator[None]:
    in_process(app.services)
    async with eval_worker(settings, app, project_key["value"]) as (wv, _, runs):
        wv.background.repeat(runs.begin, 0.02, "take up runs of evals")
        yield


def compare_url(run: dict[str, Any]) -> str:
    return f"/v1/evals/{run['eval_id']}/runs/{run['id']}/compare"


async def kept(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(EvalComparisonRow)) or 0


class TestCompare:
    async def test_two_runs_on_the_same_items(self, client: Client, sv: Services) -> None:
        of = await create_eval(client)
        base = await done(client, of, *[WRONG] * 7, *[RIGHT] * 3, WRONG)
        run = await done(client, of, *[RIGHT] * 9, WRONG, WRONG)
        object.__setattr__(sv, "evals", Isolated(command=EVAL_PROCESS))  # the real one
        found = await report(client, compare_url(run), **{"with": base["id"]})
        assert (found["run_id"], found["with_run_id"]) == (run["id"], base["id"])
        comparison = found["comparison"]
        primary = comparison["primary"]
        assert (primary["run"], primary["base"]) == (pytest.approx(9 / 11), pytest.approx(3 / 11))
        assert (primary["test"], primary["p"]) == ("mcnemar", pytest.approx(0.0703125))
        assert not primary["significant"]
        assert (comparison["pass_to_fail"], comparison["fail_to_pass"]) == (1, 7)
        assert comparison["flips"][0] == {
            "datasource_item_id": 9, "base_datasource_item_id": 9, "change": "pass_to_fail",
        }  # fmt: skip
        assert (comparison["paired"], comparison["left_out"]) == (11, 0)
        assert comparison["win_rate"]["wins"] == 7

    async def test_the_base_is_needed(self, client: Client) -> None:
        run = await done(client, await create_eval(client), RIGHT)
        assert (await report(client, compare_url(run), 400))["error"]["param"] == "with"

    async def test_of_another_eval(self, client: Client) -> None:
        run = await done(client, await create_eval(client), RIGHT)
        other = await done(client, await create_eval(client), RIGHT)
        error = (await report(client, compare_url(run), 404, **{"with": other["id"]}))["error"]
        assert error["param"] == "with"

    async def test_of_a_run_that_has_not_ended(self, client: Client, database: Database) -> None:
        of = await create_eval(client)
        run, other = await done(client, of, RIGHT), await done(client, of, RIGHT)
        async with database.session() as session:
            await session.execute(update(EvalRunRow).where(EvalRunRow.id == other["id"]).values(status="failed"))
        error = (await report(client, compare_url(run), 409, **{"with": other["id"]}))["error"]
        assert error["param"] == "with"
        assert "failed" in error["message"]


class TestKept:
    async def test_is_computed_once(self, client: Client, sv: Services, database: Database) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, WRONG, RIGHT), await done(client, of, RIGHT, RIGHT)
        first = await report(client, compare_url(run), **{"with": base["id"]})
        object.__setattr__(sv, "evals", None)  # what would compute it again
        assert await report(client, compare_url(run), **{"with": base["id"]}) == first
        assert await kept(database) == 1

    async def test_the_other_way_round_is_another(self, client: Client) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, WRONG, RIGHT), await done(client, of, RIGHT, RIGHT)
        there = await report(client, compare_url(run), **{"with": base["id"]})
        back = await report(client, compare_url(base), **{"with": run["id"]})
        assert there["comparison"]["primary"]["difference"] == -back["comparison"]["primary"]["difference"] != 0

    async def test_of_another_method_is_made_anew(self, client: Client, database: Database) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, WRONG, RIGHT), await done(client, of, RIGHT, RIGHT)
        first = await report(client, compare_url(run), **{"with": base["id"]})
        async with database.session() as session:
            await session.execute(update(EvalComparisonRow).values(method=0, comparison={"old": True}))
        assert await report(client, compare_url(run), **{"with": base["id"]}) == first
        assert await kept(database) == 1

    @pytest.mark.parametrize("gone", [0, 1])
    async def test_goes_with_either_run(self, client: Client, database: Database, gone: int) -> None:
        of = await create_eval(client)
        runs = [await done(client, of, WRONG), await done(client, of, RIGHT)]
        await report(client, compare_url(runs[1]), **{"with": runs[0]["id"]})
        await client.delete(f"/v1/evals/{of['id']}/runs/{runs[gone]['id']}")
        assert await kept(database) == 0
        await report(client, compare_url(runs[1]), 404, **{"with": runs[0]["id"]})

    async def test_goes_with_the_eval(self, client: Client, database: Database) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, WRONG), await done(client, of, RIGHT)
        await report(client, compare_url(run), **{"with": base["id"]})
        await client.delete(f"/v1/evals/{of['id']}")
        assert await kept(database) == 0

    @pytest.mark.parametrize("path", ["", "/items"])
    @pytest.mark.parametrize("gone", [0, 1])
    async def test_a_run_that_is_deleted_meanwhile_leaves_nothing(
        self, client: Client, sv: Services, database: Database, monkeypatch: pytest.MonkeyPatch, gone: int, path: str
    ) -> None:
        of = await create_eval(client)
        runs = [await done(client, of, WRONG), await done(client, of, RIGHT)]
        compare = sv.evals.run

        async def slow(*arguments: Any, **more: Any) -> bytes:
            found = await compare(*arguments, **more)
            deleted = await client.delete(f"/v1/evals/{of['id']}/runs/{runs[gone]['id']}")
            assert deleted.status_code == 200, deleted.text
            return found

        monkeypatch.setattr(sv.evals, "run", slow)
        error = (await report(client, compare_url(runs[1]) + path, 404, **{"with": runs[0]["id"]}))["error"]
        assert runs[gone]["id"] in error["message"]
        assert await kept(database) == 0

    @pytest.mark.parametrize("step", ["places", "answers"])
    async def test_so_does_one_that_is_deleted_while_its_items_are_read(
        self, client: Client, database: Database, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, WRONG), await done(client, of, RIGHT)
        places = comparisons.places

        async def slow(*arguments: Any) -> list[comparisons.Place]:
            found = await places(*arguments) if step == "answers" else []
            await client.delete(f"/v1/evals/{of['id']}/runs/{run['id']}")
            return found or await places(*arguments)

        monkeypatch.setattr(comparisons, "places", slow)
        url, query = f"{compare_url(run)}/items", {"with": base["id"]}
        if step == "places":
            await report(client, url, 404, **query)
        else:
            assert (await report(client, url, **query))["data"] == []


class TestItems:
    async def test_what_got_worse_comes_first_with_both_answers(self, client: Client) -> None:
        of = await create_eval(client)
        base = await done(client, of, WRONG, RIGHT, RIGHT)
        run = await done(client, of, RIGHT, WRONG, RIGHT)
        found = await report(client, f"{compare_url(run)}/items", **{"with": base["id"]})
        shown = [
            (each["datasource_item_id"], each["base_datasource_item_id"], each["change"]) for each in found["data"]
        ]
        assert shown == [(1, 1, "pass_to_fail"), (0, 0, "fail_to_pass")]
        worse = found["data"][0]
        assert [each["run_id"] for each in worse["items"] + worse["base_items"]] == [run["id"], base["id"]]
        assert worse["items"][0]["sample"]["output"][0]["content"] == WRONG
        assert worse["base_items"][0]["sample"]["output"][0]["content"] == RIGHT
        assert worse["items"][0]["reference"] == RIGHT

    @pytest.mark.parametrize(
        ("change", "numbers"), [("flips", [1, 0]), ("pass_to_fail", [1]), ("fail_to_pass", [0]), ("all", [0, 1, 2])]
    )
    async def test_of_one_kind(self, client: Client, change: str, numbers: list[int]) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, WRONG, RIGHT, RIGHT), await done(client, of, RIGHT, WRONG, RIGHT)
        found = await report(client, f"{compare_url(run)}/items", 200, **{"with": base["id"], "change": change})
        assert [each["datasource_item_id"] for each in found["data"]] == numbers
        assert not found["has_more"]

    @pytest.mark.parametrize("change", ["flips", "all"])
    async def test_are_paged(self, client: Client, change: str) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, *[RIGHT] * 5), await done(client, of, *[WRONG] * 5)
        seen: list[int] = []
        query: dict[str, Any] = {"with": base["id"], "change": change, "limit": 2}
        for count in (2, 2, 1):
            found = await report(client, f"{compare_url(run)}/items", **query)
            assert len(found["data"]) == count
            seen += [each["datasource_item_id"] for each in found["data"]]
            query["after"] = found["last_id"]
        assert seen == [0, 1, 2, 3, 4]
        assert not found["has_more"]

    async def test_at_another_place_or_not_in_the_base(self, client: Client) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, RIGHT, RIGHT, first=1), await done(client, of, RIGHT, RIGHT, RIGHT)
        found = await report(client, f"{compare_url(run)}/items", 200, **{"with": base["id"], "change": "all"})
        shown = [(each["datasource_item_id"], each["base_datasource_item_id"]) for each in found["data"]]
        assert shown == [(0, None), (1, 0), (2, 1)]
        assert [len(each["base_items"]) for each in found["data"]] == [0, 1, 1]
        assert found["data"][1]["base_items"][0]["datasource_item"] == found["data"][1]["items"][0]["datasource_item"]

    async def test_have_all_repeats(self, client: Client) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, RIGHT, repeats=2), await done(client, of, WRONG, repeats=3)
        [found] = (await report(client, f"{compare_url(run)}/items", **{"with": base["id"]}))["data"]
        assert [each["repeat"] for each in found["items"]] == [0, 1, 2]
        assert [each["repeat"] for each in found["base_items"]] == [0, 1]

    @pytest.mark.parametrize(
        ("query", "param"), [({"change": "none"}, "change"), ({"limit": "51"}, "limit"), ({"after": "x"}, "after")]
    )
    async def test_what_is_wrong_is_named(self, client: Client, query: dict[str, str], param: str) -> None:
        of = await create_eval(client)
        base, run = await done(client, of, RIGHT), await done(client, of, RIGHT)
        error = (await report(client, f"{compare_url(run)}/items", 400, **{"with": base["id"]} | query))["error"]
        assert error["param"] == param
