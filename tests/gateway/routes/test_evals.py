"""/v1/evals: what is tested, through the application."""

from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.kit.sealing import Sealer, read_keys
from tests.contract import conforms
from tests.fakes.evals import (
    ALIKE,
    ASKED,
    CUSTOM,
    LABEL,
    SAME,
    SCORE,
    asking,
    create_eval,
    create_run,
    in_process,
    inline,
    items_of,
    qa,
    retrieve,
)

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture(autouse=True)
def no_processes(app: App) -> None:
    in_process(app.services)


async def refused(client: Client, url: str, body: Any, status: int = 400) -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == status, answer.text
    conforms("ErrorResponse", answer.json())
    return answer.json()["error"]


def wanted(*criteria: Any, **more: Any) -> dict[str, Any]:
    return {"data_source_config": CUSTOM, "testing_criteria": list(criteria), **more}


class TestCreate:
    async def test_is_shown_as_openai_shows_it(self, client: Client) -> None:
        made = await create_eval(client, SAME, ALIKE, SCORE, LABEL, metadata={"team": "shop"})
        conforms("Eval", made)
        assert (made["object"], made["name"], made["metadata"]) == ("eval", "suite", {"team": "shop"})
        assert made["id"].startswith("eval_")
        criteria = made["testing_criteria"]
        assert [{name: value for name, value in each.items() if name != "id"} for each in criteria] == [
            SAME, ALIKE, SCORE, LABEL,
        ]  # fmt: skip
        assert all(each["id"].startswith(f"{each['name']}-") for each in criteria)
        assert len({each["id"] for each in criteria}) == 4

    async def test_the_schema_is_that_of_what_templates_find(self, client: Client) -> None:
        made = await create_eval(client)
        schema = made["data_source_config"]["schema"]
        assert schema["properties"]["item"] == CUSTOM["item_schema"]
        assert schema["required"] == ["item", "sample"]
        without = await create_eval(client, data_source_config=CUSTOM | {"include_sample_schema": False})
        assert without["data_source_config"]["schema"]["required"] == ["item"]

    @pytest.mark.parametrize("kind", ["logs", "stored_completions"])
    async def test_of_stored_completions(self, client: Client, kind: str) -> None:
        made = await create_eval(client, data_source_config={"type": kind, "metadata": {"use": "shop"}})
        conforms("Eval", made)
        assert made["data_source_config"]["metadata"] == {"use": "shop"}
        assert made["data_source_config"]["type"] == kind

    async def test_without_a_name(self, client: Client) -> None:
        answer = await client.post("/v1/evals", json=wanted())
        assert (answer.status_code, answer.json()["name"]) == (201, "Untitled eval")

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"testing_criteria": []}, "data_source_config"),
            ({"data_source_config": CUSTOM}, "testing_criteria"),
            (wanted(colour="red"), "colour"),
            (wanted(data_source_config={"type": "mail"}), "data_source_config.type"),
            (wanted(SAME | {"operation": "is"}), "testing_criteria[0].operation"),
            (wanted(SAME, SAME | {"input": "{{ itm.x }}"}), "testing_criteria[1].input"),
            (wanted({k: v for k, v in ALIKE.items() if k != "pass_threshold"}), "testing_criteria[0].pass_threshold"),
            (wanted(SCORE | {"model": "nobody"}), "testing_criteria[0].model"),
            (
                wanted({"type": "multi", "name": "m", "graders": SAME, "calculate_output": "same"}),
                "testing_criteria[0].type",
            ),
            (
                wanted({"type": "python", "name": "p", "source": "def grade(sample, item): return 1"}),
                "testing_criteria[0]",
            ),
            (wanted(metadata={str(n): "x" for n in range(17)}), "metadata"),
            (wanted(metrics={"primary": "nobody"}), "metrics.primary"),
            (wanted(SAME, SAME, metrics={"primary": "same"}), "metrics.primary"),
            (wanted(metrics={"reference": "{{ nothing.x }}"}), "metrics.reference"),
            (wanted(metrics={"cluster": "{{ item }}"}), "metrics.cluster"),
            (
                wanted(data_source_config={"type": "custom", "item_schema": {"type": "house"}}),
                "data_source_config.item_schema",
            ),
        ],
    )
    async def test_what_is_wrong_is_named(self, client: Client, body: Any, param: str) -> None:
        assert (await refused(client, "/v1/evals", body))["param"] == param

    async def test_no_python_without_a_sandbox(self, client: Client) -> None:
        grader = {"type": "python", "name": "p", "source": "def grade(sample, item): return 1"}
        error = await refused(client, "/v1/evals", wanted(grader))
        assert error["code"] == "python_graders_disabled"


class TestUpdate:
    async def test_name_and_metadata(self, client: Client) -> None:
        made = await create_eval(client, metadata={"a": "b"})
        url = f"/v1/evals/{made['id']}"
        changed = (await client.post(url, json={"name": "other"})).json()
        assert changed == made | {"name": "other"}
        changed = (await client.post(url, json={"metadata": None})).json()
        assert changed == made | {"name": "other", "metadata": None}
        assert (await client.get(url)).json() == changed

    async def test_nothing_else(self, client: Client) -> None:
        made = await create_eval(client)
        error = await refused(client, f"/v1/evals/{made['id']}", {"testing_criteria": []})
        assert error["param"] == "testing_criteria"


class TestList:
    async def test_pages_in_order(self, client: Client) -> None:
        made = [(await create_eval(client, name=str(n)))["id"] for n in range(3)]
        first = (await client.get("/v1/evals", params={"limit": 2})).json()
        conforms("EvalList", first)
        assert [each["id"] for each in first["data"]] == made[:2]
        assert (first["has_more"], first["first_id"], first["last_id"]) == (True, made[0], made[1])
        rest = (await client.get("/v1/evals", params={"limit": 2, "after": made[1]})).json()
        assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made[2:], False)
        newest = (await client.get("/v1/evals", params={"order": "desc"})).json()
        assert [each["id"] for each in newest["data"]] == made[::-1]

    async def test_by_the_time_of_the_last_change(self, client: Client) -> None:
        made = [(await create_eval(client, name=str(n)))["id"] for n in range(3)]
        await client.post(f"/v1/evals/{made[0]}", json={"name": "changed"})
        query = {"order_by": "updated_at"}
        found = (await client.get("/v1/evals", params=query)).json()
        assert [each["id"] for each in found["data"]] == [*made[1:], made[0]]
        behind = (await client.get("/v1/evals", params={**query, "after": made[2]})).json()
        assert [each["id"] for each in behind["data"]] == [made[0]]

    @pytest.mark.parametrize(
        "query", [{"order": "up"}, {"order_by": "name"}, {"limit": "0"}, {"after": "eval_nobody"}], ids=str
    )
    async def test_what_is_wrong_is_named(self, client: Client, query: dict[str, str]) -> None:
        answer = await client.get("/v1/evals", params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))


class TestDelete:
    async def test_takes_the_runs_along(self, client: Client) -> None:
        made = await create_eval(client)
        run = await create_run(client, made["id"], asking(qa("a", "a")))
        answer = await client.delete(f"/v1/evals/{made['id']}")
        assert answer.json() == {"object": "eval.deleted", "deleted": True, "eval_id": made["id"]}
        for url in (
            f"/v1/evals/{made['id']}",
            f"/v1/evals/{made['id']}/runs",
            f"/v1/evals/{made['id']}/runs/{run['id']}",
        ):
            assert (await client.get(url)).status_code == 404
        assert (await client.get("/v1/evals")).json()["data"] == []
        assert (await client.delete(f"/v1/evals/{made['id']}")).status_code == 404


RUN_ERRORS = [
    ({}, "data_source"),
    ({"data_source": {"type": "mail"}}, "data_source.type"),
    ({"data_source": asking()}, "data_source.source.content"),
    ({"data_source": asking({"answer": "a"})}, "data_source.source"),
    ({"data_source": asking({"question": 7})}, "data_source.source"),
    ({"data_source": asking(qa("a", "a"), model="nobody")}, "model"),
    ({"data_source": asking(qa("a", "a")) | {"model": None}}, "data_source.model"),
    ({"data_source": asking(qa("a", "a")) | {"input_messages": None}}, "data_source.input_messages"),
    ({"data_source": asking(qa("a", "a")), "repeats": 21}, "repeats"),
    ({"data_source": asking(qa("a", "a"), sampling_params={"temperature": 3})}, "data_source.sampling_params.temperature"),
    ({"data_source": asking(qa("a", "a")) | {"source": {"type": "file_id", "id": "file-x"}}}, "data_source.source.id"),
    ({"data_source": asking(qa("a", "a")) | {"source": {"type": "responses"}}}, "data_source.source.type"),
    ({"data_source": {"type": "completions", "source": {"type": "stored_completions"}}}, "data_source.source.type"),
    ({"data_source": {"type": "jsonl", "source": {"type": "stored_completions"}}}, "data_source.source.type"),
    (
        {"data_source": asking(qa("a", "a")) | {"input_messages": {"type": "item_reference", "item_reference": "it"}}},
        "data_source.input_messages.item_reference",
    ),
    (
        {"data_source": asking(qa("a", "a")) | {"input_messages": {"type": "template", "template": [
            {"role": "user", "content": [{"type": "video"}]}]}}},
        "data_source.input_messages.template[0].content[0]",
    ),
    (
        {"data_source": asking(qa("a", "a")) | {"input_messages": {"type": "template", "template": [
            {"role": "user", "content": "{{ sample.output_text }}"}]}}},
        "data_source.input_messages.template[0].content",
    ),
    (
        {"data_source": asking(qa("a", "a")) | {"input_messages": {"type": "template", "template": [
            {"role": "boss", "content": "x"}]}}},
        "data_source.input_messages.template[0].role",
    ),
    ({"data_source": asking(qa("a\0", "a"))}, None),
]  # fmt: skip


class TestCreateRun:
    async def test_waits_for_a_worker(self, client: Client, project_key: dict[str, Any]) -> None:
        of = await create_eval(client)
        source = asking(qa("a", "a"), qa("b", "b"))
        run = await create_run(client, of["id"], source, metadata={"a": "b"}, name="first")
        conforms("EvalRun", run)
        assert (run["status"], run["model"], run["name"], run["metadata"]) == ("queued", "echo", "first", {"a": "b"})
        assert run["result_counts"] == {"total": 2, "errored": 0, "failed": 0, "passed": 0}
        assert run["data_source"] == source
        page = f"/console/projects/{project_key['project_id']}/evals/{of['id']}/runs/{run['id']}"
        assert run["report_url"] == f"http://gateway{page}"
        assert await retrieve(client, run) == run

    @pytest.mark.parametrize(("body", "param"), RUN_ERRORS, ids=[str(n) for n in range(len(RUN_ERRORS))])
    async def test_what_is_wrong_is_named(self, client: Client, body: Any, param: str | None) -> None:
        of = await create_eval(client)
        status = 404 if param == "model" else 400
        error = await refused(client, f"/v1/evals/{of['id']}/runs", body, status)
        assert error["param"] == param
        assert (await client.get(f"/v1/evals/{of['id']}/runs")).json()["data"] == []

    async def test_which_item_does_not_fit(self, client: Client) -> None:
        of = await create_eval(client)
        error = await refused(
            client, f"/v1/evals/{of['id']}/runs", {"data_source": asking(qa("a", "a"), {"question": [1]})}
        )
        assert "Item 2" in error["message"]
        assert "item.question" in error["message"]

    async def test_a_file_of_another_purpose(self, client: Client) -> None:
        of = await create_eval(client)
        files = {"file": ("a.jsonl", b"{}"), "purpose": (None, "user_data")}
        file_id = (await client.post("/v1/files", files=files)).json()["id"]
        source = asking(qa("a", "a")) | {"source": {"type": "file_id", "id": file_id}}
        error = await refused(client, f"/v1/evals/{of['id']}/runs", {"data_source": source})
        assert "purpose 'evals'" in error["message"]

    async def test_a_model_that_the_key_may_not_call(
        self, client: Client, admin: Client, project_key: dict[str, Any]
    ) -> None:
        of = await create_eval(client)
        url = f"/v1/organization/projects/{project_key['project_id']}/model_permissions"
        await admin.post(url, json={"mode": "allow_list", "model_ids": ["slow"]})
        error = await refused(client, f"/v1/evals/{of['id']}/runs", {"data_source": asking(qa("a", "a"))}, 404)
        assert error["code"] == "model_not_found"

    async def test_a_list_of_runs_shows_the_first_items_of_inline_content(self, client: Client) -> None:
        of = await create_eval(client)
        source = {"type": "jsonl", "source": inline(*(qa("x" * 900, str(n)) for n in range(300)))}
        run = await create_run(client, of["id"], source)
        assert run["result_counts"]["total"] == 300
        shown = run["data_source"]["source"]["content"]
        assert shown == source["source"]["content"][: len(shown)]
        assert 50 < len(shown) <= 100

    async def test_more_items_than_a_run_may_have(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.routes.eval_runs.MAX_OUTPUT_ITEMS", 5)
        of = await create_eval(client)
        await create_run(client, of["id"], asking(*(qa("a", "a") for _ in range(2))), repeats=2)
        body = {"data_source": asking(*(qa("a", "a") for _ in range(3))), "repeats": 2}
        assert "more than 2 items" in (await refused(client, f"/v1/evals/{of['id']}/runs", body))["message"]

    async def test_content_that_would_be_stored_too_often(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.routes.eval_runs.MAX_INLINE_BYTES", 100)
        of = await create_eval(client)
        body = {"data_source": asking(qa("a", "a")), "repeats": 9}
        assert (await refused(client, f"/v1/evals/{of['id']}/runs", body))["param"] == "data_source.source.content"

    async def test_a_schema_that_hangs_is_held_to_its_time(self, client: Client) -> None:
        """It hangs in another process; here the refusal is what matters (tests/gateway/datasets/test_fitting.py)."""
        config = {"type": "custom", "item_schema": {"$ref": "http://127.0.0.1:9/schema.json"}}
        of = await create_eval(client, data_source_config=config)
        error = await refused(client, f"/v1/evals/{of['id']}/runs", {"data_source": asking(qa("a", "a"))})
        assert error["param"] == "data_source_config.item_schema"
        assert "leads nowhere" in error["message"]

    async def test_models_are_asked_with_a_key_that_must_be_kept_sealed(self, client: Client, app: App) -> None:
        object.__setattr__(app.services, "sealer", Sealer(read_keys("")))
        data = {"type": "jsonl", "source": inline(qa("?", "x"), samples=[{"output_text": "x"}])}
        for criterion, source in ((SAME, asking(qa("?", "x"))), (SCORE, data)):
            url = f"/v1/evals/{(await create_eval(client, criterion))['id']}/runs"
            error = await refused(client, url, {"data_source": source})
            assert error["code"] == "no_encryption_key"
            assert "TUNEWAY_ENCRYPTION_KEY" in error["message"]
        await create_run(client, (await create_eval(client, SAME))["id"], data)


class TestListRuns:
    async def test_pages_by_status(self, client: Client) -> None:
        of = await create_eval(client)
        runs = [await create_run(client, of["id"], asking(qa("a", "a"))) for _ in range(4)]
        url = f"/v1/evals/{of['id']}/runs"
        await client.post(f"{url}/{runs[1]['id']}/cancel")
        queued = (await client.get(url, params={"status": "queued", "limit": 2})).json()
        conforms("EvalRunList", queued)
        assert [each["id"] for each in queued["data"]] == [runs[0]["id"], runs[2]["id"]]
        assert queued["has_more"]
        canceled = (await client.get(url, params={"status": "canceled", "order": "desc"})).json()
        assert [each["id"] for each in canceled["data"]] == [runs[1]["id"]]
        wrong = await client.get(url, params={"status": "cancelled"})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "status")

    async def test_of_another_eval_are_not_there(self, client: Client) -> None:
        first, second = await create_eval(client), await create_eval(client)
        run = await create_run(client, first["id"], asking(qa("a", "a")))
        assert (await client.get(f"/v1/evals/{second['id']}/runs/{run['id']}")).status_code == 404
        assert (await client.get(f"/v1/evals/{second['id']}/runs")).json()["data"] == []


class TestDeleteRun:
    async def test_is_gone_with_its_items(self, client: Client) -> None:
        of = await create_eval(client)
        run = await create_run(client, of["id"], asking(qa("a", "a")))
        url = f"/v1/evals/{of['id']}/runs/{run['id']}"
        answer = await client.delete(url)
        assert answer.json() == {"object": "eval.run.deleted", "deleted": True, "run_id": run["id"]}
        assert (await client.get(url)).status_code == 404
        assert (await client.get(f"{url}/output_items")).status_code == 404


class TestOutputItems:
    async def test_what_waits_is_not_listed(self, client: Client) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        assert await items_of(client, run) == []

    async def test_an_unknown_one(self, client: Client) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        answer = await client.get(f"/v1/evals/{run['eval_id']}/runs/{run['id']}/output_items/outputitem_x")
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, "output_item_id")


async def test_what_the_tests_ask_with_is_openais() -> None:
    conforms("CreateEvalRequest", wanted(SAME, ALIKE, SCORE, LABEL))
    conforms("CreateEvalRunRequest", {"data_source": asking(qa("a", "a")) | {"input_messages": ASKED}})
