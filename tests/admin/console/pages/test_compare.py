"""What the comparison lab offers."""

import json

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import Browser, text_of
from tests.admin.console.pages.test_chat import offered
from tests.gateway.people import add

pytestmark = pytest.mark.anyio
PROMPTS = json.dumps({"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]})


class TestThePage:
    async def test_offers_models_and_those_of_the_url_first(self, owner: Browser, project_id: str) -> None:
        page = await owner.open(f"/console/projects/{project_id}/compare?models=unicode&models=echo")
        assert '<option value="unicode" selected>' in page.partition('name="model_b"')[0]
        assert '<option value="echo" selected>' in page.partition('name="model_b"')[2].partition("</select>")[0]
        assert offered(page, "model_c")[0] == ""

    async def test_offers_files_with_prompts(self, client: httpx.AsyncClient, owner: Browser, project_id: str) -> None:
        files = {"file": ("questions.jsonl", (PROMPTS + "\n").encode() * 10)}
        made = await client.post("/v1/files", data={"purpose": "fine-tune"}, files=files)
        assert made.status_code == 200, made.text
        page = await owner.open(f"/console/projects/{project_id}/compare")
        assert offered(page, "project_file") == ["", made.json()["id"]]
        assert "questions.jsonl (fine-tune)" in text_of(page)

    async def test_is_not_for_readers(self, app: App, admin: httpx.AsyncClient, project_id: str) -> None:
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            page = await browser.open(f"/console/projects/{project_id}/compare")
        assert "Readers do not call models" in text_of(page)
        assert "data-compare" not in page
