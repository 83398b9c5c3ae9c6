"""Tables and training examples as the items of an eval."""

import json
from typing import Any

import httpx
import pytest

from tests.fakes.evals import jsonl, upload
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
TABLE = b"ticket,label\nMy screen is black,Hardware\nI cannot log in,Access\n"


async def imported(client: Client, file_id: str, status: int = 200, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/evals/import", json={"file_id": file_id, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


async def lines(client: Client, file: dict[str, Any]) -> list[Any]:
    content = (await client.get(f"/v1/files/{file['id']}/content")).content
    return [json.loads(line) for line in content.splitlines()]


class TestImport:
    async def test_a_table_becomes_a_file_of_items(self, client: Client) -> None:
        source = await upload(client, TABLE, "user_data")
        looked = await imported(client, source)
        assert (looked["layout"], looked["rows"], looked["items"], looked["file"]) == ("table", 2, 2, None)
        assert looked["item_schema"]["required"] == ["ticket", "label"]
        assert looked["examples"][0] == {"ticket": "My screen is black", "label": "Hardware"}
        assert not looked["ready"]
        stored = (await imported(client, source, store=True))["file"]
        assert (stored["purpose"], stored["filename"]) == ("evals", "a.items.jsonl")
        assert await lines(client, stored) == [{"item": each} for each in looked["examples"]]

    async def test_a_run_takes_what_was_stored(self, client: Client) -> None:
        found = await imported(client, await upload(client, TABLE, "user_data"), store=True)
        config = {"type": "custom", "item_schema": found["item_schema"]}
        criterion = {"type": "string_check", "name": "same", "input": "{{ item.label }}", "reference": "Access", "operation": "eq"}  # fmt: skip
        made = await client.post("/v1/evals", json={"data_source_config": config, "testing_criteria": [criterion]})
        assert made.status_code == 201, made.text
        source = {"type": "jsonl", "source": {"type": "file_id", "id": found["file"]["id"]}}
        run = await client.post(f"/v1/evals/{made.json()['id']}/runs", json={"data_source": source})
        assert run.status_code == 201, run.text

    async def test_a_file_of_items_is_ready(self, client: Client) -> None:
        content = jsonl({"item": {"n": 1}}, {"item": {"n": 2.5}, "sample": {"output_text": "x"}})
        found = await imported(client, await upload(client, content))
        assert (found["layout"], found["ready"], found["with_sample"]) == ("items", True, 1)
        assert found["item_schema"]["properties"] == {"n": {"type": "number"}}
        as_data = await imported(client, await upload(client, content, "user_data"))
        assert not as_data["ready"]  # a run refuses a file of another purpose

    async def test_the_first_so_many(self, client: Client) -> None:
        found = await imported(client, await upload(client, TABLE, "user_data"), limit=1, store=True)
        assert len(await lines(client, found["file"])) == 1

    async def test_nothing_in_it_is_an_item(self, client: Client) -> None:
        source = await upload(client, b'{"item": {}}\n{"item": {}}\n', "user_data")
        error = (await imported(client, source, 400))["error"]
        assert "None of the 2 rows is an item" in error["message"]

    async def test_a_file_that_is_not_there(self, client: Client) -> None:
        answer = await client.post("/v1/evals/import", json={"file_id": "file-none"})
        assert error_in(answer, 404)["param"] == "id"
