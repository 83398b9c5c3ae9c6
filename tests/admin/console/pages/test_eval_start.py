"""Runs are started in the console."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.settings import Settings
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.evals import asking, create_eval, create_run, ended, in_process, inline, jsonl, qa, upload, working
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
ASKED = {"asked": "template", "user": "{{ item.question }}", "repeats": "1", "temperature": "0"}
LINES = jsonl({"item": qa("a", "a")}, {"item": qa("b", "c")})


@pytest.fixture
async def of(client: Client) -> dict[str, Any]:
    return await create_eval(client, metadata={"items_file": await upload(client, LINES)})


@pytest.fixture
def url(project_id: str, of: dict[str, Any]) -> str:
    return f"/console/projects/{project_id}/evals/{of['id']}/start"


async def runs(client: Client, of: dict[str, Any]) -> list[dict[str, Any]]:
    return (await client.get(f"/v1/evals/{of['id']}/runs")).json()["data"]


def file_of(of: dict[str, Any]) -> str:
    return of["metadata"]["items_file"]


class TestForm:
    async def test_at_first_it_guesses(self, owner: Browser, url: str, of: dict[str, Any]) -> None:
        page = await owner.open(url)
        assert f'<option value="{file_of(of)}" selected' in page
        assert "{{ item.question }}</textarea>" in page
        assert re.search(r'id="f-asked-template"[^>]*checked', page)

    async def test_then_it_is_as_in_the_last_run(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        template = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "{{ item.answer }}?"}]
        source = asking(qa("a", "a")) | {"input_messages": {"type": "template", "template": template}}
        source["sampling_params"] = {"temperature": 0.5, "reasoning_effort": "low"}
        await create_run(client, of["id"], source, repeats=3)
        page = await owner.open(url)
        for kept in (
            "Be short.</textarea>",
            "{{ item.answer }}?</textarea>",
            'value="3"',
            'value="0.5"',
            "reasoning_effort",
        ):
            assert kept in page
        assert '<option value="again" selected>The 1 items of the last run' in page
        assert '<option value="echo" selected>' in page

    async def test_models_of_the_url(self, owner: Browser, url: str) -> None:
        page = await owner.open(f"{url}?models=echo&models=unpriced")
        assert page.count('<option value="unpriced" selected>') == 1

    async def test_messages_that_no_field_can_say_stay_json(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        parts = [{"role": "user", "content": [{"type": "input_text", "text": "{{ item.question }}"}]}]
        source = asking(qa("a", "a")) | {"input_messages": {"type": "template", "template": parts}}
        await create_run(client, of["id"], source)
        assert "input_text" in await owner.open(url)


class TestData:
    async def chosen(self, owner: Browser, url: str) -> str:
        """What a browser would send."""
        [options] = re.findall(r'<select id="f-data".*?</select>', await owner.open(url), flags=re.DOTALL)
        values: list[str] = re.findall(r'<option value="([^"]*)"', options)
        selected: list[str] = re.findall(r'<option value="([^"]*)" selected', options)
        return [*selected, *values][0]

    async def test_a_file_that_is_gone_gives_way_to_no_other(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        await upload(client, LINES)
        assert await self.chosen(owner, url) == file_of(of)
        await client.delete(f"/v1/files/{file_of(of)}")
        assert await self.chosen(owner, url) == ""
        assert "The file that was chosen is not there any more" in text_of(await owner.open(url))

    async def test_an_older_file_is_offered(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("admin.console.pages.eval_start.FILES", 1)
        await upload(client, LINES)
        assert await self.chosen(owner, url) == file_of(of)

    async def test_items_too_large_to_be_shown_are_not_asked_again(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        await create_run(client, of["id"], asking(qa("a" * 150_000, "a")))
        assert await self.chosen(owner, url) == ""
        assert "cannot all be sent again from here" in text_of(await owner.open(url))
        page = await owner.send(url, 400, **ASKED, model_1="echo", data="again")
        assert "Choose the data" in text_of(page)

    async def test_without_any_before_none_is_chosen(
        self, owner: Browser, project_id: str, of: dict[str, Any], client: Client
    ) -> None:
        other = await create_eval(client)
        assert await self.chosen(owner, f"/console/projects/{project_id}/evals/{other['id']}/start") == ""


class TestStarting:
    async def test_two_models_on_the_same_file(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client, app: App, settings: Settings,
        project_key: dict[str, Any],
    ) -> None:  # fmt: skip
        in_process(app.services)
        fields = ASKED | {"model_1": "echo", "model_2": "no-usage", "data": file_of(of), "max_completion_tokens": "50"}
        page = await owner.send(url, **fields, system="Be short.", more='{"reasoning_effort": "low"}')
        assert "2 runs begin." in text_of(page)
        first, second = await runs(client, of)
        assert {first["model"], second["model"]} == {"echo", "no-usage"}
        source = first["data_source"]
        assert source["source"] == {"type": "file_id", "id": file_of(of)}
        assert source["sampling_params"] == {"reasoning_effort": "low", "temperature": 0, "max_completion_tokens": 50}
        assert [each["content"] for each in source["input_messages"]["template"]] == [
            "Be short.",
            "{{ item.question }}",
        ]
        async with working(settings, app, project_key):
            assert (await ended(client, first))["result_counts"] == {"total": 2, "errored": 0, "failed": 1, "passed": 1}

    async def test_all_of_them_or_none(self, owner: Browser, url: str, of: dict[str, Any], client: Client) -> None:
        page = await owner.send(url, 404, **ASKED, model_1="echo", model_2="nobody", data=file_of(of))
        assert "nobody" in text_of(page)
        assert await runs(client, of) == []

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"user": ""}, "user"),
            ({"user": "{{ item."}, "user"),
            ({"messages": "["}, "messages"),
            ({"temperature": "warm"}, "temperature"),
            ({"temperature": "3"}, "temperature"),
            ({"more": "[]"}, "more"),
            ({"more": '{"no": 1}'}, "more"),
            ({"repeats": "0"}, "repeats"),
        ],
    )
    async def test_what_is_wrong_stands_beside_its_field(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client, wrong: dict[str, str], field: str
    ) -> None:
        page = await owner.send(url, 400, **ASKED | {"model_1": "echo", "data": file_of(of), "seed": "7"} | wrong)
        assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', page)
        assert 'value="7"' in page
        assert await runs(client, of) == []

    async def test_without_a_model_or_data(self, owner: Browser, url: str, of: dict[str, Any]) -> None:
        assert "Choose a model." in text_of(await owner.send(url, 400, **ASKED, data=file_of(of)))
        assert "Choose the data" in text_of(await owner.send(url, 400, **ASKED, model_1="echo", data=""))

    async def test_inline_items_are_asked_again(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        await create_run(client, of["id"], asking(qa("a", "a"), qa("b", "b")), repeats=2)
        await owner.send(url, **ASKED, model_1="no-usage", data="again")
        newest = (await runs(client, of))[-1]
        assert newest["data_source"]["source"] == inline(qa("a", "a"), qa("b", "b"))

    async def test_answers_of_the_data_are_graded(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        await owner.send(url, asked="answered", data=file_of(of), repeats="1")
        [run] = await runs(client, of)
        assert (run["data_source"]["type"], run["model"]) == ("jsonl", "")

    async def test_a_reader_starts_none(self, app: App, admin: Client, owner: Browser, url: str) -> None:
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "Readers start no runs" in text_of(await browser.open(url))
            await browser.send(url, 403, **ASKED, model_1="echo", data="x")


class TestOfTheLog:
    @pytest.fixture
    async def of(self, client: Client) -> dict[str, Any]:
        return await create_eval(client, data_source_config={"type": "logs", "metadata": {"team": "support"}})

    async def test_a_model_answers_the_stored_messages(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        page = await owner.open(url)
        assert re.search(r'id="f-asked-reference"[^>]*checked', page)
        await owner.send(url, asked="reference", reference="input", model_1="echo", limit="5", of_model="large")
        [run] = await runs(client, of)
        assert run["data_source"]["source"] == {"type": "stored_completions", "limit": 5, "model": "large"}
        assert run["data_source"]["input_messages"] == {"type": "item_reference", "item_reference": "item.input"}

    async def test_their_answers_as_they_are(
        self, owner: Browser, url: str, of: dict[str, Any], client: Client
    ) -> None:
        await owner.send(url, asked="answered")
        [run] = await runs(client, of)
        assert run["data_source"] == {"type": "completions", "source": {"type": "stored_completions"}}
        assert re.search(r'id="f-asked-answered"[^>]*checked', await owner.open(url))
