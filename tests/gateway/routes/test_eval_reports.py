"""Runs beside each other: compare, sample_size and trend; the statistics in their own process."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.settings import Settings, WorkerSettings
from tests.fakes.evals import (
    RIGHT,
    SAME,
    WRONG,
    asking,
    create_eval,
    create_run,
    done,
    ended,
    eval_worker,
    in_process,
    qa,
    report,
)

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


class TestSampleSize:
    async def test_from_the_last_run(self, client: Client) -> None:
        of = await create_eval(client)
        run = await done(client, of, *[RIGHT] * 8, *[WRONG] * 2)
        found = await report(client, f"/v1/evals/{of['id']}/sample_size", effect="0.05")
        assert (found["baseline"], found["baseline_source"], found["items"]) == (0.8, run["id"], 903)
        assert (found["last_run_items"], found["enough"]) == (10, False)
        assert found["paired_items"] < found["paired_items_at_most"]
        assert "80.0%" in found["message"]

    async def test_before_any_run(self, client: Client) -> None:
        of = await create_eval(client)
        found = await report(client, f"/v1/evals/{of['id']}/sample_size", effect="0.1")
        assert (found["baseline"], found["baseline_source"], found["items"]) == (0.5, "assumed", 385)
        assert (found["last_run_items"], found["enough"]) == (None, None)

    async def test_of_a_given_rate(self, client: Client) -> None:
        of = await create_eval(client)
        found = await report(client, f"/v1/evals/{of['id']}/sample_size", effect="0.05", baseline="0.6")
        assert (found["items"], found["baseline_source"]) == (1468, "given")

    async def test_of_the_best_there_is_a_change_is_for_the_worse(self, client: Client) -> None:
        of = await create_eval(client)
        found = await report(client, f"/v1/evals/{of['id']}/sample_size", effect="0.05", baseline="1")
        assert "to 95.0%" in found["message"]

    @pytest.mark.parametrize(
        ("query", "param"),
        [({}, "effect"), ({"effect": "0"}, "effect"), ({"effect": "x"}, "effect"), ({"effect": "2"}, "effect"),
         ({"effect": "0.1", "baseline": "7"}, "baseline"), ({"effect": "0.9", "baseline": "0.5"}, "effect")],
    )  # fmt: skip
    async def test_what_is_wrong_is_named(self, client: Client, query: dict[str, str], param: str) -> None:
        of = await create_eval(client)
        assert (await report(client, f"/v1/evals/{of['id']}/sample_size", 400, **query))["error"]["param"] == param


class TestTrend:
    async def test_completed_runs_oldest_first(self, client: Client) -> None:
        of = await create_eval(client)
        await done(client, of, *[RIGHT] * 2, *[WRONG] * 28, name="early")
        await done(client, of, *[RIGHT] * 29, WRONG, name="late")
        canceled = await create_run(client, of["id"], asking(qa("a", "a"), model="slow"))
        await client.post(f"/v1/evals/{of['id']}/runs/{canceled['id']}/cancel")
        found = await report(client, f"/v1/evals/{of['id']}/trend")
        assert [(each["name"], each["direction"]) for each in found["data"]] == [
            ("early", "first"),
            ("late", "improving"),
        ]
        assert found["data"][1]["change"] == pytest.approx(27 / 30)
        assert found["data"][0]["metrics"]["pass_rate"]["value"] == pytest.approx(2 / 30)
        assert (found["primary"], found["has_more"]) == ("pass_rate", False)

    async def test_of_one_model_and_the_newest(self, client: Client) -> None:
        of = await create_eval(client, SAME, metrics={"primary": "same"})
        for _ in range(2):
            await ended(client, await create_run(client, of["id"], asking(qa("a", "a"))))
        await done(client, of, RIGHT)
        found = await report(client, f"/v1/evals/{of['id']}/trend", model="echo")
        assert [each["model"] for each in found["data"]] == ["echo", "echo"]
        found = await report(client, f"/v1/evals/{of['id']}/trend", without_model="true")
        assert [(each["model"], each["direction"]) for each in found["data"]] == [("", "first")]
        found = await report(client, f"/v1/evals/{of['id']}/trend", limit=1)
        assert ([each["model"] for each in found["data"]], found["has_more"], found["primary"]) == ([""], True, "same")
