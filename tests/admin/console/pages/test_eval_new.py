"""An eval is made in the console."""

import json
import re
from html import unescape
from typing import Any

import httpx
import msgspec
import pytest

from gateway.settings import GradingSettings, Settings
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.evals import jsonl, upload
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
TABLE = b"ticket,label\nMy screen is black,Hardware\nI cannot log in,Access\n"
CHECK = {
    "c0_type": "string_check", "c0_name": "exact", "c0_input": "{{ sample.output_text }}", "c0_operation": "eq",
    "c0_reference": "{{ item.label }}",
}  # fmt: skip
SCORE = {
    "c1_type": "score_model", "c1_name": "judge", "c1_model": "echo", "c1_low": "0", "c1_high": "10",
    "c1_pass_threshold": "7", "c1_prompt": "Score {{ sample.output_text }}",
}  # fmt: skip


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/evals"


def found_of(page: str) -> str:
    return unescape(re.findall(r'name="found" value="([^"]*)"', page)[0])


def filled(page: str) -> dict[str, str]:
    """What a browser would send of the form: its fields as they are."""
    named = re.findall(r'<input[^>]*name="([cf]\d+_\w+|name)"[^>]*value="([^"]*)"', page)
    fields = {name: unescape(value) for name, value in named if "_required" not in name}
    areas = re.findall(r'<textarea[^>]*name="(c\d+_\w+)"[^>]*>([^<]*)<', page)
    fields |= {name: unescape(value) for name, value in areas}
    for name, options in re.findall(r'<select[^>]*name="([cf]\d+_\w+)"[^>]*>(.*?)</select>', page, flags=re.DOTALL):
        fields[name] = (
            unescape(re.findall(r'<option(?: value="([^"]*)")? selected>([^<]*)', options)[0][0])
            or (re.findall(r"<option selected>([^<]*)", options)[0])
        )
    fields |= dict.fromkeys(re.findall(r'name="(f\d+_required)"[^>]*checked', page), "true")
    return fields | {"found": found_of(page), "fields_shown": "true"}


async def looked(owner: Browser, url: str, client: Client, content: bytes = TABLE, purpose: str = "user_data") -> str:
    return await owner.send(f"{url}/new", file_id=await upload(client, content, purpose))


async def the_eval(client: Client) -> dict[str, Any]:
    [found] = (await client.get("/v1/evals")).json()["data"]
    return found


class TestData:
    async def test_files_of_the_project_are_offered(self, owner: Browser, url: str, client: Client) -> None:
        await upload(client, jsonl({"item": {"a": 1}}))
        page = await owner.open(f"{url}/new")
        assert "Data of evals" in page
        assert "Stored completions" in text_of(page)

    async def test_a_table_is_uploaded_and_its_fields_are_detected(self, owner: Browser, url: str) -> None:
        token = (await owner.client.get("/v1/sessions/current")).json()["csrf_token"]
        form = {"_csrf": token, "file_id": ""}
        files = {"file": ("support.csv", TABLE)}
        page = (await owner.client.post(f"{url}/new", data=form, files=files)).text
        text = text_of(page)
        assert "support.csv: 2 items" in text
        assert "ticket My screen is black" in text
        assert 'value="support"' in page
        assert filled(page)["c0_reference"] == "{{ item.label }}"

    async def test_of_training_data_the_answer_is_held_out(self, owner: Browser, url: str, client: Client) -> None:
        chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
        page = await looked(owner, url, client, jsonl({"messages": chat}), "fine-tune")
        assert "the last answer is held out" in text_of(page)
        assert filled(page)["c0_type"] == "text_similarity"

    async def test_what_cannot_be_read_is_said(self, owner: Browser, url: str, client: Client) -> None:
        file_id = await upload(client, b"PK\x03\x04zip", "user_data")
        page = await owner.send(f"{url}/new", 400, file_id=file_id)
        assert "compressed" in text_of(page)
        assert "Drop a file here" in text_of(page)
        rows = await upload(client, TABLE, "fine-tune")
        newest = await upload(client, TABLE, "fine-tune")
        page = await owner.send(f"{url}/new", 400, file_id=rows, limit="0")
        assert 'aria-invalid="true"' in page
        assert f'<option value="{rows}" selected>' in page
        assert f'<option value="{newest}">' in page


class TestCriteria:
    async def test_they_are_added_and_removed(self, owner: Browser, url: str, client: Client) -> None:
        fields = filled(await looked(owner, url, client))
        page = await owner.send(f"{url}/new", **fields, do="add:score_model")
        assert "{{ item.ticket }}" in filled(page)["c1_prompt"]
        assert "{{ item.label }}" in filled(page)["c1_prompt"]
        page = await owner.send(f"{url}/new", **filled(page), do="remove:0")
        assert (filled(page)["c0_type"], "c1_type" in filled(page)) == ("score_model", False)

    async def test_python_needs_a_sandbox(self, owner: Browser, url: str, client: Client) -> None:
        page = await looked(owner, url, client)
        assert "need a sandbox" in text_of(page)
        assert 'value="add:python"' not in page

    async def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(
        self, owner: Browser, url: str, client: Client
    ) -> None:
        fields = filled(await looked(owner, url, client)) | CHECK | SCORE | {"do": "make"}
        wrong = {
            "c1_pass_threshold": "often",
            "c1_model": "nobody",
            "metrics_primary": "none of them",
            "criteria_json": "{",
        }
        for name, value in wrong.items():
            page = await owner.send(f"{url}/new", 400, **fields | {name: value})
            assert re.search(rf'name="{name}"[^>]*aria-invalid="true"', page), name
            assert "Score {{ sample.output_text }}" in filled(page)["c1_prompt"]
        page = await owner.send(f"{url}/new", 400, **{name: value for name, value in fields.items() if name[0] != "c"})
        assert "Add a criterion first" in text_of(page)
        assert (await client.get("/v1/evals")).json()["data"] == []


class TestMaking:
    async def test_an_eval_of_a_table(self, owner: Browser, url: str, client: Client) -> None:
        fields = filled(await looked(owner, url, client)) | CHECK | SCORE
        more = [{"type": "string_check", "name": "more", "input": "x", "reference": "x", "operation": "ne"}]
        page = await owner.send(
            f"{url}/new", **fields | {"name": "Support", "f1_type": "integer", "criteria_json": json.dumps(more)},
            metrics_reference="{{ item.label }}", metrics_cluster="{{ item.ticket }}", metrics_primary="exact", do="make",
        )  # fmt: skip
        assert "The eval is made." in text_of(page)
        made = await the_eval(client)
        assert [each["name"] for each in made["testing_criteria"]] == ["exact", "judge", "more"]
        assert (made["testing_criteria"][1]["range"], made["testing_criteria"][1]["pass_threshold"]) == ([0, 10], 7)
        assert made["metrics"] == {
            "reference": "{{ item.label }}", "cluster": "{{ item.ticket }}", "primary": "exact",
        }  # fmt: skip
        schema = made["data_source_config"]["schema"]["properties"]["item"]
        assert schema["properties"] == {"ticket": {"type": "string"}, "label": {"type": "integer"}}
        file = (await client.get(f"/v1/files/{made['metadata']['items_file']}")).json()
        assert (file["purpose"], file["filename"]) == ("evals", "a.items.jsonl")

    async def test_a_file_of_items_is_used_as_it_is(self, owner: Browser, url: str, client: Client) -> None:
        source = await upload(client, jsonl({"item": {"q": "a", "answer": "b"}}))
        fields = filled(await owner.send(f"{url}/new", file_id=source))
        await owner.send(f"{url}/new", **fields, do="make")
        assert (await the_eval(client))["metadata"] == {"items_file": source}
        assert len((await client.get("/v1/files")).json()["data"]) == 1

    async def test_without_its_file_there_is_no_eval(self, owner: Browser, url: str, client: Client) -> None:
        fields = filled(await looked(owner, url, client))
        [file] = (await client.get("/v1/files")).json()["data"]
        await client.delete(f"/v1/files/{file['id']}")
        page = await owner.send(f"{url}/new", 404, **fields, do="make")
        assert 'role="alert"' in page
        assert (await client.get("/v1/evals")).json()["data"] == []

    async def test_of_stored_completions(self, owner: Browser, url: str, client: Client) -> None:
        page = await owner.send(f"{url}/new", source="log")
        fields = filled(page) | {"name": "answers"}
        assert 'aria-invalid="true"' in await owner.send(f"{url}/new", 400, **fields, metadata="team", do="make")
        await owner.send(f"{url}/new", **fields, metadata="team=support", do="make")
        config = (await the_eval(client))["data_source_config"]
        assert (config["type"], config["metadata"]) == ("logs", {"team": "support"})

    async def test_what_was_carried_along_and_is_broken_begins_anew(self, owner: Browser, url: str) -> None:
        page = await owner.send(f"{url}/new", 400, found='{"schema": {"properties": 5}}', do="make")
        assert "Choose a file first." in text_of(page)

    async def test_a_reader_makes_none(self, app: Any, admin: Client, owner: Browser, url: str) -> None:
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            await browser.send(f"{url}/new", 403, **CHECK, found='{"schema": {}}', name="x", do="make")


class TestWithASandbox:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, grading=GradingSettings(python_runner=("/bin/false",)))

    async def test_python_is_offered(self, owner: Browser, url: str, client: Client) -> None:
        fields = filled(await looked(owner, url, client))
        page = await owner.send(f"{url}/new", **fields, do="add:python")
        assert "def grade(sample, item)" in filled(page)["c1_source"]
        await owner.send(f"{url}/new", **filled(page), do="make")
        assert [each["type"] for each in (await the_eval(client))["testing_criteria"]] == ["string_check", "python"]
